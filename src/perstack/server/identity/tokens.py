"""Tokens of CI jobs: whether one is genuine, for this registry, and in force.

Of the header only `alg` and `kid` are looked at: a key comes from the issuer's own address or not at all. What
the token says counts after its signature was checked, but for `iss`, which only chooses among issuers that are
believed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from .issuer_keys import IssuerKeys, Jwk
from .issuers import Issuer, Unfit

KEY_TYPES = {"RS256": "RSA", "ES256": "EC", "EdDSA": "OKP"}
"""The algorithms that are taken, each with the type of its keys."""

LEEWAY_S = 60
"""By how much two clocks may differ."""

MAX_LIFE_S = 24 * 3600
"""How far away a token's end may be. For as long it is remembered that it was used."""

FAR_S = 1 << 40
RSA_BITS = range(2048, 8193)


class NotGenuine(Exception):
    """It is not a token of an issuer that is believed."""


async def claims_of(
    token: str, issuers: Mapping[str, Issuer], keys: IssuerKeys, audience: str, now: int
) -> tuple[Issuer, dict[str, Any]]:
    """Who made a token, and what it says. audience: this registry's URL. now: ms.

    Raises NotGenuine, Unfit; IssuerUnreachable if the issuer's keys cannot be had.
    """
    header, payload = _opened(token)
    algorithm, kid = header.get("alg"), header.get("kid")
    if algorithm not in KEY_TYPES or not isinstance(kid, str):
        raise NotGenuine("The token's signature is of a kind that is not taken")
    if "crit" in header or "b64" in header:
        raise NotGenuine("The token has a header that is not understood")
    issuer = issuers.get(str(payload.get("iss")))
    if issuer is None:
        raise Unfit("iss", "is of nobody who is believed here")
    found = await keys.find(issuer, kid, now)
    if not any(_is_signed(token, key, algorithm) for key in found):
        raise NotGenuine("The token's signature is not its issuer's")
    _check_claims(payload, audience, now / 1000)
    return issuer, payload


def _opened(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims, as they are said; nothing is known of them yet."""
    try:
        read = jwt.api_jws.PyJWS().decode_complete(token, options={"verify_signature": False})
        payload = msgspec.json.decode(read["payload"])
    except (jwt.PyJWTError, msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise NotGenuine("The token cannot be read") from error
    if not isinstance(payload, dict):
        raise NotGenuine("The token cannot be read")
    return read["header"], cast("dict[str, Any]", payload)


def _is_signed(token: str, key: Jwk, algorithm: str) -> bool:
    if key.get("kty") != KEY_TYPES[algorithm] or key.get("alg", algorithm) != algorithm:
        return False
    if key.get("use", "sig") != "sig":
        return False
    try:
        known = jwt.PyJWK(key, algorithm)
        if isinstance(known.key, RSAPublicKey) and known.key.key_size not in RSA_BITS:
            return False
        jwt.api_jws.PyJWS().decode_complete(token, known, [algorithm])
    except (jwt.PyJWTError, ValueError, TypeError):
        return False
    return True


def _check_claims(claims: Mapping[str, Any], audience: str, now: float) -> None:
    said = claims.get("aud")
    if said not in (audience, [audience]):
        raise Unfit("aud", f"is not {audience}")
    if _time(claims, "exp") <= now - LEEWAY_S:
        raise Unfit("exp", "says that it has expired")
    if _time(claims, "exp") > now + MAX_LIFE_S:
        raise Unfit("exp", "is too far away")
    for claim in ("iat", "nbf") if "nbf" in claims else ("iat",):
        if _time(claims, claim) > now + LEEWAY_S:
            raise Unfit(claim, "is in the future")


def _time(claims: Mapping[str, Any], claim: str) -> float:
    value = claims.get(claim)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < FAR_S:
        raise Unfit(claim, "is missing, or is not a time")
    return value
