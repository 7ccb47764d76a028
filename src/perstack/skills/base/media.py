"""What a file is: by its name, which is a claim, and by its bytes, which decide what a model is shown.

The structure is walked to its end (chunks, segments, blocks), so a file cut short or only dressed with the
right first bytes is not taken for what it says. Pixels are not decoded.
"""

from __future__ import annotations

import mimetypes
import os
import re
import zlib
from functools import cache

IMAGE_TYPES = ("image/png", "image/jpeg", "image/gif", "image/webp")

_ADDED = {
    ".bz2": "application/x-bzip2",
    ".conf": "text/plain",
    ".gz": "application/gzip",
    ".ini": "text/plain",
    ".jsx": "text/jsx",
    ".less": "text/less",
    ".log": "text/plain",
    ".markdown": "text/markdown",
    ".md": "text/markdown",
    ".sql": "application/sql",
    ".toml": "application/toml",
    ".ts": "video/mp2t",
    ".wasm": "application/wasm",
    ".webp": "image/webp",
    ".xz": "application/x-xz",
    ".yaml": "text/yaml",
    ".yml": "text/yaml",
}


def media_type_by_name(name: str) -> str:
    """The media type the extension of `name` stands for; "application/octet-stream" if nobody knows it."""
    return _known_names().get(extension_of(name).lower(), "application/octet-stream")


def extension_of(name: str) -> str:
    """From the last dot on; empty for a name without one, and for a hidden file's only dot."""
    return os.path.splitext(name)[1]


@cache
def _known_names() -> dict[str, str]:
    # Python's own list, not the machine's: the same answer everywhere
    table = mimetypes.MimeTypes()
    usual, common = table.types_map[True], table.types_map[False]
    return {**common, **usual, **_ADDED}


def media_type_of(data: bytes) -> str | None:
    """One of IMAGE_TYPES, "application/pdf", or None for anything else and for what is broken."""
    for media_type, is_whole in _KINDS:
        if is_whole(data):
            return media_type
    return None


def _is_png(data: bytes) -> bool:
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return False
    at, first, has_pixels = 8, True, False
    while True:
        size = int.from_bytes(data[at : at + 4], "big")
        end = at + 12 + size
        kind = data[at + 4 : at + 8]
        if end > len(data) or len(kind) < 4:
            return False
        body = memoryview(data)[at + 4 : end - 4]
        if zlib.crc32(body) != int.from_bytes(data[end - 4 : end], "big"):
            return False
        if first and (kind != b"IHDR" or size != 13 or not _sized(data[at + 8 : at + 16])):
            return False
        if kind == b"IEND":
            return has_pixels
        has_pixels = has_pixels or kind == b"IDAT"
        at, first = end, False


def _sized(width_and_height: bytes) -> bool:
    """Neither of two big-endian 32-bit numbers is 0."""
    return any(width_and_height[:4]) and any(width_and_height[4:8])


def _is_jpeg(data: bytes) -> bool:
    if not data.startswith(b"\xff\xd8\xff"):
        return False
    at, has_frame = 2, False
    while data[at : at + 1] == b"\xff":
        marker = data[at + 1 : at + 2]
        if marker == b"\xff":  # fill byte
            at += 1
            continue
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        end = at + 2 + size
        if size < 2 or end > len(data):
            return False
        if marker in _JPEG_FRAMES:
            frame = data[at + 4 : end]  # precision, height (may be 0: told later), width
            if len(frame) < 6 or not any(frame[3:5]):
                return False
            has_frame = True
        if marker == b"\xda":  # the scan: entropy-coded data up to the end of the image
            return has_frame and data.find(b"\xff\xd9", end) > 0
        at = end
    return False


_JPEG_FRAMES = frozenset(
    bytes([marker]) for marker in range(0xC0, 0xD0) if marker not in (0xC4, 0xC8, 0xCC)
)


def _is_gif(data: bytes) -> bool:
    if data[:6] not in (b"GIF87a", b"GIF89a") or len(data) < 13:
        return False
    if not (any(data[6:8]) and any(data[8:10])):
        return False
    at, has_image = 13 + _palette_bytes(data[10]), False
    while True:
        match data[at : at + 1]:
            case b";":
                return has_image
            case b"!":  # extension: label, then sub-blocks
                at = _after_blocks(data, at + 2)
            case b"," if at + 10 < len(data):  # image: descriptor, palette, code size, sub-blocks
                at = _after_blocks(data, at + 10 + _palette_bytes(data[at + 9]) + 1)
                has_image = True
            case _:
                return False


def _palette_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _after_blocks(data: bytes, at: int) -> int:
    """The place after a row of length-prefixed blocks; the end of `data` if the row has none."""
    while at < len(data) and data[at]:
        at += data[at] + 1
    return at + 1


def _is_webp(data: bytes) -> bool:
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        return False
    end = int.from_bytes(data[4:8], "little") + 8
    if end > len(data):
        return False
    at, has_image = 12, False
    while at + 8 <= end:
        kind = data[at : at + 4]
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if at + 8 + size > end:
            return False
        has_image = has_image or kind in (b"VP8 ", b"VP8L", b"ANMF")
        at += 8 + size + (size & 1)
    return has_image


def _is_pdf(data: bytes) -> bool:
    # Readers accept a little before the header and after the end, and so do we.
    return (
        re.search(rb"%PDF-[12]\.\d", data[:1024]) is not None
        and re.search(rb"startxref\s+\d+\s+%%EOF", data[-2048:]) is not None
    )


_KINDS = (
    ("image/png", _is_png),
    ("image/jpeg", _is_jpeg),
    ("image/gif", _is_gif),
    ("image/webp", _is_webp),
    ("application/pdf", _is_pdf),
)
