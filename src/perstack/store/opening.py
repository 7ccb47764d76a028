"""From the name of a place to the store there.

s3://bucket/prefix?endpoint=https://...&region=...     objects in a bucket, see objects.py
any/directory                                          files, see files.py
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

from perstack.errors import UserError

from .files import FileStore
from .objects import ObjectStore
from .store import Store

if TYPE_CHECKING:
    from .bucket import Bucket

FORM = "s3://bucket/prefix?endpoint=https://...&region=..."

_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "access_key_id",
    "AWS_SECRET_ACCESS_KEY": "secret_access_key",
    "AWS_SESSION_TOKEN": "session_token",
}


def store_at(place: str, env: Mapping[str, str], cwd: Path) -> Store:
    """The store at `place`: an s3:// URL, or a directory, seen from `cwd`. Nothing is asked of it yet.

    env: where credentials, region and endpoint come from, under their AWS_* names. Raises UserError.
    """
    if "://" not in place:
        return FileStore(cwd / os.path.expanduser(place))
    if not place.startswith("s3://"):
        raise UserError(f"{_named(place)}: history is kept in a directory or at {FORM}.")
    return ObjectStore(bucket_at(place, env))


def bucket_at(url: str, env: Mapping[str, str]) -> Bucket:
    """The place in a bucket that an s3:// URL names. env: as above. Raises UserError."""
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise UserError(
            f"{_named(url)}: credentials do not belong in a URL. "
            "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead."
        )
    query = parse_qs(parts.query, keep_blank_values=True)
    unknown = sorted(query.keys() - {"endpoint", "region"})
    if unknown or parts.fragment or not parts.netloc or ":" in parts.netloc:
        about = f'nobody knows "{unknown[0]}" here' if unknown else "this is no place in a bucket"
        raise UserError(f"{_named(url)}: {about}. Write it as {FORM}.")
    endpoint = query.get("endpoint", [""])[-1] or env.get("AWS_ENDPOINT_URL_S3", "")
    endpoint = endpoint or env.get("AWS_ENDPOINT_URL", "")
    if endpoint and not endpoint.startswith(("http://", "https://")):
        raise UserError(f"{_named(url)}: the endpoint {endpoint!r} is no http:// or https:// URL.")
    region = query.get("region", [""])[-1] or env.get("AWS_REGION", "")
    region = region or env.get("AWS_DEFAULT_REGION", "") or ("auto" if endpoint else "us-east-1")
    if find_spec("obstore") is None:
        raise UserError(
            "History in object storage needs one more package: pip install 'perstack[s3]'"
        )
    from .bucket import open_s3  # heavy, and not there without its extra

    prefix = unquote(parts.path).strip("/")
    name = f"s3://{parts.netloc}/{prefix}".rstrip("/")
    settings = {ours: env[theirs] for theirs, ours in _CREDENTIALS.items() if env.get(theirs)}
    return open_s3(parts.netloc, prefix, name, settings=settings, endpoint=endpoint, region=region)


def _named(url: str) -> str:
    """The URL without what may be secret in it."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"
