"""Images and PDFs: what they are is read from their bytes."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import pytest
from PIL import Image as Picture
from pypdf import PdfWriter

from perstack.job import File, Image
from perstack.skills.base.media import IMAGE_TYPES, media_type_of

from .told import base_over, first

pytestmark = pytest.mark.anyio

FORMATS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/gif": "GIF", "image/webp": "WEBP"}
EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/gif": "gif", "image/webp": "webp"}


def picture(media_type: str, **options: object) -> bytes:
    """A small real image."""
    drawn = Picture.effect_noise((40, 30), 50).convert("RGB")
    out = io.BytesIO()
    drawn.save(out, FORMATS[media_type], **options)
    return out.getvalue()


def pdf() -> bytes:
    """A PDF of one empty page."""
    writer = PdfWriter()
    writer.add_blank_page(72, 72)
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def sample(media_type: str) -> bytes:
    return pdf() if media_type == "application/pdf" else picture(media_type)


KINDS = (*IMAGE_TYPES, "application/pdf")


@pytest.mark.parametrize("media_type", KINDS)
def test_a_whole_file_is_known_by_its_bytes(media_type: str):
    assert media_type_of(sample(media_type)) == media_type


@pytest.mark.parametrize(
    ("media_type", "options"),
    [
        ("image/jpeg", {"progressive": True}),
        ("image/jpeg", {"exif": b"Exif\0\0" + b"x" * 200, "comment": b"hello"}),
        ("image/gif", {"save_all": True, "append_images": [Picture.new("RGB", (40, 30), "red")]}),
        ("image/webp", {"lossless": True}),
        ("image/webp", {"save_all": True, "append_images": [Picture.new("RGB", (40, 30), "red")]}),
        ("image/png", {"save_all": True, "append_images": [Picture.new("RGB", (40, 30), "red")]}),
    ],
)
def test_less_usual_forms_are_known(media_type: str, options: dict[str, object]):
    assert media_type_of(picture(media_type, **options)) == media_type


@pytest.mark.parametrize("media_type", KINDS)
def test_a_file_cut_short_anywhere_is_not(media_type: str):
    data = sample(media_type)
    whole = data.rstrip(b"\n")  # a PDF ends in a line break it can do without
    for length in range(0, len(whole), 7):
        assert media_type_of(whole[:length]) is None
    assert media_type_of(whole[:-1]) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"plain text",
        b"\x89PNG\r\n\x1a\n" + b"\0" * 100,
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8\xff" + b"\0" * 50,
        b"\xff\xd8" + b"\xff" * 100,
        b"GIF89a" + b"\1" * 50,
        b"GIF89a\1\0\1\0\0\0\0;",
        b"RIFF\x04\0\0\0WEBP",
        b"RIFF\xff\xff\xff\xffWEBPVP8 ",
        b"%PDF-1.7\nroot:x:0:0\n",
        b"startxref 1 %%EOF",
    ],
)
def test_what_is_only_dressed_up_is_not(data: bytes):
    assert media_type_of(data) is None


def test_a_png_with_a_changed_byte_is_not():
    data = bytearray(picture("image/png"))
    data[40] ^= 1
    assert media_type_of(bytes(data)) is None


@pytest.mark.parametrize("media_type", IMAGE_TYPES)
async def test_an_image_comes_with_the_result(tmp_path: Path, media_type: str):
    data = sample(media_type)
    name = f"i.{EXTENSIONS[media_type].upper()}"
    (tmp_path / name).write_bytes(data)
    async with base_over(tmp_path) as base:
        outcome = await base.use("readImageFile", path=name)
    assert not outcome.is_error
    assert first(outcome) == {
        "path": str(tmp_path / name),
        "mimeType": media_type,
        "size": len(data),
    }
    encoded = base64.b64encode(data).decode()
    assert outcome.parts[1:] == (Image(data=encoded, mime_type=media_type),)


async def test_a_pdf_comes_with_the_result(tmp_path: Path):
    data = pdf()
    (tmp_path / "d.pdf").write_bytes(data)
    async with base_over(tmp_path) as base:
        outcome = await base.use("readPdfFile", path="d.pdf")
    assert first(outcome)["size"] == len(data)
    encoded = base64.b64encode(data).decode()
    assert outcome.parts[1:] == (File(data=encoded, mime_type="application/pdf"),)


async def test_a_file_that_is_not_what_its_name_says_is_not_shown(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(picture("image/jpeg"))
    (tmp_path / "b.png").write_text("root:x:0:0", encoding="utf-8")
    (tmp_path / "c.txt").write_bytes(picture("image/png"))
    (tmp_path / "d.pdf").write_bytes(picture("image/png"))
    (tmp_path / "e.svg").write_text("<svg/>", encoding="utf-8")
    async with base_over(tmp_path) as base:
        told = [
            await base.fault("readImageFile", path=name)
            for name in ("a.png", "b.png", "c.txt", "e.svg")
        ]
        assert told == [
            "File a.png is not supported. Its name says image/png, its content is image/jpeg.",
            "File b.png is not supported. Its name says image/png, its content is no whole image.",
            "File c.txt is not supported.",
            "File e.svg is not supported.",
        ]
        told = await base.fault("readPdfFile", path="d.pdf")
        assert told == "File d.pdf is not a PDF file. Its content is not that of a whole PDF."
        assert await base.fault("readPdfFile", path="a.png") == "File a.png is not a PDF file."


async def test_files_too_large_for_a_model_are_refused(tmp_path: Path):
    with (tmp_path / "i.png").open("wb") as image, (tmp_path / "d.pdf").open("wb") as document:
        image.truncate(15 * 1024 * 1024 + 60_000)
        document.truncate(31 * 1024 * 1024)
    async with base_over(tmp_path) as base:
        assert await base.fault("readImageFile", path="i.png") == (
            "Image file too large (15.1MB). Maximum supported size is 15MB. "
            "Please use a smaller image file."
        )
        assert await base.fault("readPdfFile", path="d.pdf") == (
            "PDF file too large (31.0MB). Maximum supported size is 30MB. Please use a smaller PDF file."
        )
