"""What programs inside a sandbox must know to get out: where the proxy is, and which certificates to trust."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .listener import PORT


def proxy_variables(bundle: str | None = None, port: int = PORT) -> dict[str, str]:
    """The variables by which programs inside find the proxy. Those that heed none of them have no network.

    bundle: a file inside with certificates, where the system trusts others than programs do by themselves.
    """
    url = f"http://127.0.0.1:{port}"
    found: dict[str, str] = dict.fromkeys(
        (
            "HTTPS_PROXY",
            "https_proxy",
            "HTTP_PROXY",
            "http_proxy",
            "ALL_PROXY",
            "all_proxy",
            "npm_config_proxy",
            "npm_config_https_proxy",
            "PERSTACK_PROXY_URL",
        ),
        url,
    )
    found |= dict.fromkeys(("NO_PROXY", "no_proxy"), "localhost,127.0.0.1,::1")
    found["NODE_USE_ENV_PROXY"] = "1"
    if bundle is not None:
        names = (
            "SSL_CERT_FILE",
            "NODE_EXTRA_CA_CERTS",
            "REQUESTS_CA_BUNDLE",
            "CURL_CA_BUNDLE",
            "PIP_CERT",
        )
        found |= dict.fromkeys(names, bundle)
    return found


def certificates(env: Mapping[str, str]) -> Path | None:
    """The file of certificates that this system trusts; None if none is known."""
    for name in ("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"):
        if env.get(name) and Path(env[name]).is_file():
            return Path(env[name])
    usual = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")
    return next((Path(place) for place in usual if Path(place).is_file()), None)
