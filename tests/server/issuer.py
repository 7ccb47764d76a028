"""An issuer of CI tokens on this machine: its configuration, its keys, and tokens that are signed with them."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

Body = Callable[[BaseHTTPRequestHandler], None]

AUDIENCE = "https://registry.test"
REPOSITORY = "Acme/Experts"
WORKFLOW = ".github/workflows/publish.yml"
START_S = 1_790_000_000
"""Where the clock of tests begins."""

_MAKERS: dict[str, Callable[[], Any]] = {
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


class Issuer:
    """url: of itself. asked: paths that were asked for. answers: what a path says instead of the truth.

    keys: private ones, by kid. kind: how the registry reads its tokens. audience, now: what they say of whom they
    are for, and of when they were made, in seconds.
    """

    def __init__(self, url: str, kind: str) -> None:
        self.url = url
        self.kind = kind
        self.asked: list[str] = []
        self.answers: dict[str, Body] = {}
        self.audience = AUDIENCE
        self.now: Callable[[], int] = lambda: START_S
        self.keys: dict[str, tuple[str, Any]] = {}
        self.add_key("one", "RS256")

    @property
    def setting(self) -> str:
        return f"{self.url}={self.kind}"

    def add_key(self, kid: str, algorithm: str) -> None:
        self.keys[kid] = (algorithm, _MAKERS[algorithm]())

    def jwks(self) -> dict[str, Any]:
        return {
            "keys": [
                public_jwk(algorithm, private) | {"kid": kid, "alg": algorithm, "use": "sig"}
                for kid, (algorithm, private) in self.keys.items()
            ]
        }

    def claims(self, **changed: Any) -> dict[str, Any]:
        """Of a job that fits; None takes a claim away."""
        told: dict[str, Any] = {
            "iss": self.url,
            "aud": self.audience,
            "sub": f"repo:{REPOSITORY}:ref:refs/tags/v1",
            "jti": uuid4().hex,
            "iat": self.now(),
            "nbf": self.now(),
            "exp": self.now() + 600,
            "ref": "refs/tags/v1",
            "sha": "4f1d2c3b4f1d2c3b4f1d2c3b4f1d2c3b4f1d2c3b",
        }
        if self.kind == "github":
            at = f"{REPOSITORY}/{WORKFLOW}@refs/tags/v1"
            told |= {"repository": REPOSITORY, "repository_owner_id": "77", "workflow_ref": at}
            told |= {"job_workflow_ref": at, "event_name": "push"}
        else:
            host = self.url.partition("://")[2]
            at = f"{host}/{REPOSITORY}//.gitlab-ci.yml@refs/tags/v1"
            told |= {"project_path": REPOSITORY, "namespace_id": "77", "ci_config_ref_uri": at}
            told |= {"pipeline_source": "push", "ref": "v1", "ref_type": "tag"}
        told |= changed
        return {name: value for name, value in told.items() if value is not None}

    def token(
        self, kid: str = "one", header: dict[str, Any] | None = None, /, **changed: Any
    ) -> str:
        """A token of a job that fits, but for what is changed. header: more in it, or in place of it."""
        algorithm, private = self.keys[kid]
        said = json.dumps(self.claims(**changed)).encode()
        return jwt.PyJWS().encode(said, private, algorithm, headers={"kid": kid, **(header or {})})


def public_jwk(algorithm: str, private: Any) -> dict[str, Any]:
    return jwt.get_algorithm_by_name(algorithm).to_jwk(private.public_key(), as_dict=True)


def says(status: int, body: bytes = b"", **headers: str) -> Body:
    """An answer."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("content-length", str(len(body)))
        with suppress(ConnectionError):  # who asked may have gone
            handler.end_headers()
            handler.wfile.write(body)

    return answer


@contextmanager
def open_issuer(kind: str = "github", certificate: Path | None = None) -> Generator[Issuer]:
    """An issuer that answers until the block is left. certificate: file with it and its key, to speak TLS."""
    made: list[Issuer] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer = made[0]
            issuer.asked.append(self.path)
            path = self.path.partition("?")[0]
            configuration = {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/jwks"}
            truth = {
                "/.well-known/openid-configuration": configuration,
                "/jwks": issuer.jwks(),
            }
            if path in issuer.answers:
                issuer.answers[path](self)
            elif path in truth:
                says(200, json.dumps(truth[path]).encode())(self)
            else:
                says(404)(self)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        scheme = "http"
        if certificate is not None:
            context, scheme = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), "https"
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        made.append(Issuer(f"{scheme}://127.0.0.1:{server.server_port}", kind))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield made[0]
        finally:
            server.shutdown()
            thread.join()
