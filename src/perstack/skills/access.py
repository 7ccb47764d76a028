"""How a remote server is reached over HTTP: its URL, our headers, the proxy, who is signed in.

And what is said to a person when it does not let us in.
"""

from __future__ import annotations

from collections.abc import Mapping

import httpx2

from perstack._version import version
from perstack.definition import RemoteSkill

from .oauth import FileTokens, SignIn, SkillAuth
from .patience import LONGEST
from .public_http import CONNECT_S, PublicTransport, proxy_for
from .remote import endpoint_of, headers_of


class Access:
    """The way into one remote server. name: the skill's. The rest, and what is raised, as in `servers.py`."""

    def __init__(
        self,
        name: str,
        skill: RemoteSkill,
        env: Mapping[str, str],
        *,
        tool_s: float,
        allow_loopback: bool = False,
        sign_in: SignIn | None = None,
    ) -> None:
        self.endpoint = endpoint_of(name, skill, allow_loopback=allow_loopback)
        own_headers = headers_of(name, skill, env)
        self._headers = {"user-agent": f"perstack/{version()}", **own_headers}
        tokens, self._auth = FileTokens(self.endpoint, env), None
        has_header = any(header.lower() == "authorization" for header in own_headers)
        if not has_header and (sign_in is not None or tokens.exist()):
            self._auth = SkillAuth(self.endpoint, tokens, sign_in, allow_loopback=allow_loopback)
        self._advice = (
            "`headersEnv` says which variable has the value of its header Authorization"
            if has_header
            else f"`perstack skill login <expert> {name}` signs in, "
            "or `headersEnv` gives it a header from a variable"
        )
        # A call may be silent for as long as it may take; its own clock is the stricter one.
        self._silence = httpx2.Timeout(CONNECT_S, read=LONGEST * tool_s + CONNECT_S)
        self._proxy = proxy_for(self.endpoint, env)
        self._allow_loopback = allow_loopback

    def transport(self) -> PublicTransport:
        return PublicTransport(proxy=self._proxy, allow_loopback=self._allow_loopback)

    def client(self, transport: PublicTransport) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            transport=transport,
            headers=dict(self._headers),
            timeout=self._silence,
            trust_env=False,
            auth=self._auth,
        )

    @property
    def fault(self) -> str:
        """Why signing in failed, "" if it did not."""
        return self._auth.fault if self._auth else ""

    def refusal(self, status: int) -> str:
        """What a status, or a sign-in that failed, says of why there is no connection; "" if nothing."""
        if self.fault:
            return self.fault
        if status in (401, 403, 407):
            return f"it wants authorization (HTTP {status}); {self._advice}"
        return f"it answered HTTP {status}" if status == 429 or status >= 500 else ""
