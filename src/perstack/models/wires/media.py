"""Files as a model can read them. What an API has no part for is said in words, never left out silently."""

from __future__ import annotations

import base64
import binascii

from perstack.job import File, Image

_TEXTUAL = frozenset(
    f"application/{kind}"
    for kind in ("json", "xml", "yaml", "x-yaml", "toml", "javascript", "sql", "x-sh", "x-ndjson")
)


def data_url(part: Image | File) -> str:
    """The bytes of `part` as a data: URL."""
    return f"data:{part.mime_type};base64,{part.data}"


def text_of(file: File) -> str | None:
    """The words in `file`; None if it is not text."""
    mime = file.mime_type.partition(";")[0].strip().lower()
    if not (mime.startswith("text/") or mime in _TEXTUAL or mime.endswith(("+json", "+xml"))):
        return None
    try:
        return base64.b64decode(file.data, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


def in_words(part: Image | File) -> str:
    """What stands in for a part this API cannot take: its text if it has any, else that it was there."""
    text = text_of(part) if isinstance(part, File) else None
    return text if text is not None else f"[{part.mime_type}: cannot be shown to this model]"
