"""Lock files that were changed on purpose: as an earlier version wrote them, or as if they had been written so."""

from __future__ import annotations

import re
import tomllib

from perstack.lock.file import FILE_HASH, file_hash

_LINE = re.compile(rf'^{FILE_HASH} = "([^"]*)"\n', re.MULTILINE)


def unhashed(text: str) -> str:
    """`text` without the digest over the whole of it: what is found then is found by the digests of its parts."""
    assert _LINE.search(text)
    return _LINE.sub("", text)


def rehashed(text: str) -> str:
    """`text` with the digest that fits it."""
    digest = file_hash(tomllib.loads(text))
    return _LINE.sub(f'{FILE_HASH} = "{digest}"\n', text)
