"""Objects in a bucket, by key: read, listed, and written only on a condition. What went wrong, in words.

The only module that imports `obstore`; it is imported when a bucket is opened and not before. Everything here
blocks and is called in a worker thread. All waits are bounded: a request that is refused or lost on the way is
tried again for some seconds, one that hangs is given up.

An answer can be lost after the storage did what it was asked. So a conditional write that was tried again and then
refused may have been refused because of itself; whoever asked is told by what the object holds now.
"""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    GenericError,
    NotSupportedError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import S3Store

from perstack.errors import StoreError

if TYPE_CHECKING:
    from obstore import PutMode
    from obstore.store import ClientConfig, RetryConfig
    from obstore.store import ObjectStore as Objects

CONNECT_S = 3
ANSWER_S = 8
"""A request is given up after this, its retries included after `AGAIN_S` more."""

PATIENT_S = 120
"""The same for requests that carry a large object."""

AGAIN_S = 4
OWN_AGAIN_S = 3
LARGE_BYTES = 1 << 20

_MACHINE_CREDENTIALS = ("/latest/api/token", "/latest/meta-data/", "169.254.170.2")
"""Where a machine in the cloud is asked for credentials when none were given."""

_CODE = re.compile(r"<Code>(\w+)</Code>")
_STATUS = re.compile(r"status code: (\d{3})")


class Object(NamedTuple):
    """What an object holds, and the tag of this version of it."""

    data: bytes
    tag: str


class Found(NamedTuple):
    """An object in a listing. name: what follows the prefix. modified: by the storage's clock."""

    name: str
    size_bytes: int
    modified: datetime


class Bucket:
    """A place in a bucket. objects, patient: the same place, with usual and with long limits. url: its name."""

    def __init__(self, objects: Objects, patient: Objects, url: str) -> None:
        self._objects = objects
        self._patient = patient
        self._keeps_conditions = False
        self.url = url

    def get(self, key: str, size_bytes: int | None = 0) -> Object | None:
        """An object, None if there is none. size_bytes: how large it is, None if unknown. Raises StoreError."""
        objects = self._for(size_bytes)
        try:
            got = obstore.get(objects, key)
            return Object(bytes(got.bytes()), got.meta["e_tag"] or "")
        except FileNotFoundError as error:
            if _code(error) == "NoSuchBucket":
                raise self._trouble(error) from error
            return None
        except BaseError as error:
            raise self._trouble(error) from error

    def create(self, key: str, data: bytes) -> str | None:
        """Writes an object that must not be there yet; gives its tag, None if another is. Raises StoreError."""
        return self._put(key, data, "create")

    def swap(self, key: str, data: bytes, tag: str) -> str | None:
        """Writes an object in place of the version `tag`; gives the new tag, None if it is that no longer.

        Raises StoreError.
        """
        return self._put(key, data, {"e_tag": tag})

    def _put(self, key: str, data: bytes, mode: PutMode) -> str | None:
        objects = self._for(len(data))
        until = time.monotonic() + OWN_AGAIN_S
        while True:
            try:
                put = obstore.put(objects, key, data, mode=mode, use_multipart=False)
                return put["e_tag"] or ""
            except (AlreadyExistsError, PreconditionError) as error:
                if _code(error) == "NoSuchBucket":
                    raise self._trouble(error) from error
                there = self.get(key, len(data))
                if there is not None:
                    return there.tag if there.data == data else None
                if mode != "create":
                    return None
                trouble = self._trouble(error)  # two creations got into each other's way
            except (BaseError, FileNotFoundError) as error:
                trouble = self._trouble(error)
                if not (isinstance(error, GenericError) and _status(error) is None):
                    raise trouble from error
            if time.monotonic() > until:
                raise trouble
            time.sleep(0.1)

    def _for(self, size_bytes: int | None) -> Objects:
        return self._patient if size_bytes is None or size_bytes > LARGE_BYTES else self._objects

    def listed(self, prefix: str, after: str = "") -> list[Found]:
        """The objects below `prefix` whose names come after `after`, by name. Raises StoreError."""
        try:
            rows = obstore.list(  # pyright: ignore[reportUnknownMemberType]  # of a package we do not have
                self._objects, prefix, offset=prefix + after if after else None, chunk_size=1000
            )
            found = [
                Found(meta["path"].removeprefix(prefix), meta["size"], meta["last_modified"])
                for chunk in rows
                for meta in chunk
            ]
        except (BaseError, FileNotFoundError) as error:
            raise self._trouble(error) from error
        return sorted(found)

    def folders(self, prefix: str) -> list[str]:
        """What stands between `prefix` and the next slash in the keys that have one. Raises StoreError."""
        try:
            rows = obstore.list_with_delimiter(  # pyright: ignore[reportUnknownMemberType]  # the same
                self._objects, prefix
            )
        except (BaseError, FileNotFoundError) as error:
            raise self._trouble(error) from error
        return [path.removeprefix(prefix) for path in rows["common_prefixes"]]

    def need_conditions(self, key: str, data: bytes) -> None:
        """Asks, once, whether this storage keeps to conditions at all. Some take them and write all the same.

        key, data: an object that is there, and what it holds, for it may be written. Raises StoreError.
        """
        if self._keeps_conditions:
            return
        conditions: tuple[PutMode, ...] = ("create", {"e_tag": f'"{"0" * 32}"'})
        for mode in conditions:
            try:
                obstore.put(self._objects, key, data, mode=mode, use_multipart=False)
            except (AlreadyExistsError, PreconditionError):
                continue
            except BaseError as error:
                raise self._trouble(error) from error
            raise StoreError(_no_conditions(self.url))
        self._keeps_conditions = True

    def _trouble(self, error: Exception) -> StoreError:
        return StoreError(f"{self.url}: {_why(error)}")


def open_s3(
    bucket: str, prefix: str, url: str, *, settings: dict[str, str], endpoint: str, region: str
) -> Bucket:
    """A place in an S3 bucket. settings: credentials, as `S3Store` calls them. Nothing is asked of it yet."""
    again: RetryConfig = {
        "max_retries": 6,
        "retry_timeout": timedelta(seconds=AGAIN_S),
        "backoff": {
            "init_backoff": timedelta(milliseconds=100),
            "max_backoff": timedelta(seconds=2),
            "base": 2,
        },
    }

    def opened(timeout_s: int) -> S3Store:
        client: ClientConfig = {
            "timeout": timedelta(seconds=timeout_s),
            "connect_timeout": timedelta(seconds=CONNECT_S),
            "allow_http": endpoint.startswith("http://"),
        }
        more = {**settings, **({"endpoint": endpoint} if endpoint else {})}
        return S3Store(
            bucket,
            prefix=prefix or None,
            region=region,
            client_options=client,
            retry_config=again,
            **more,  # pyright: ignore[reportArgumentType]  # all are options whose value is text
        )

    return Bucket(opened(ANSWER_S), opened(PATIENT_S), url)


def _code(error: Exception) -> str:
    found = _CODE.search(str(error))
    return found[1] if found else ""


def _status(error: Exception) -> int | None:
    found = _STATUS.search(str(error))
    return int(found[1]) if found else None


def _no_conditions(url: str) -> str:
    return (
        f"{url}: this storage does not keep to conditional writes (If-None-Match, If-Match), so two processes "
        "could write one job. Use one that does: Amazon S3, Cloudflare R2, MinIO."
    )


def _why(error: Exception) -> str:
    """What went wrong, and what to do."""
    text, code, status = str(error), _code(error), _status(error)
    if code == "NoSuchBucket":
        return "there is no such bucket. Create it, or correct the URL, then try again."
    if any(place in text for place in _MACHINE_CREDENTIALS):
        return (
            "no credentials were found. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY "
            "(and AWS_SESSION_TOKEN, if they are temporary), then try again."
        )
    if code == "RequestTimeTooSkewed":
        return "the storage says that the clock of this machine is wrong. Set it, then try again."
    if code in ("PermanentRedirect", "AuthorizationHeaderMalformed", "TemporaryRedirect") or (
        "redirect" in text and status in (None, 301, 307)
    ):
        return "the bucket is in another region. Set AWS_REGION to it, then try again."
    if code == "AccessDenied":
        return (
            "access denied. The credentials need the right to list the bucket, and to get and put objects "
            "in it. Give it to them, then try again."
        )
    if isinstance(error, PermissionDeniedError | UnauthenticatedError) or status in (401, 403):
        said = f" ({code})" if code else ""
        return (
            f"the credentials were refused{said}. Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and "
            "AWS_SESSION_TOKEN, then try again."
        )
    if isinstance(error, NotSupportedError) or status == 501:
        return _no_conditions("").removeprefix(": ")
    if status is not None:
        said = f"{status} {code}".strip()
        return f"the storage answered {said}. Look after it, then try again."
    if "HTTP error" in text or "error sending request" in text or "timed out" in text:
        return "it cannot be reached, or does not answer. Check the endpoint and the network, then try again."
    return f"{text.splitlines()[0][:300]}. Look after it, then try again."
