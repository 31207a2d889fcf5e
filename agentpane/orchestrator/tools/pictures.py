"""Pictures that a model can look at: which kind the bytes are, and how large the picture is."""

from __future__ import annotations

import base64
import struct
from dataclasses import dataclass

from agentpane.orchestrator.tools.base import Image, Refusal

MAX_BYTES = 3_750_000  # as base64 this is just below the 5 MB that the Messages API takes
MAX_SIDE = 8000  # pixels; the API refuses more, and with it every later request of the conversation


@dataclass(frozen=True, slots=True)
class Picture:
    media_type: str
    width: int
    height: int


def picture_of(data: bytes) -> Picture | None:
    """None for what is no whole head of a PNG, JPEG, GIF or WebP file."""
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n") and data[12:16] == b"IHDR":
            return Picture("image/png", *struct.unpack(">II", data[16:24]))
        if data.startswith((b"GIF87a", b"GIF89a")):
            return Picture("image/gif", *struct.unpack("<HH", data[6:10]))
        if data.startswith(b"\xff\xd8\xff"):
            return _jpeg(data)
        if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            return _webp(data)
    except (struct.error, IndexError):
        return None
    return None


def shown(data: bytes, picture: Picture, path: str) -> Image:
    """Raises Refusal for a picture that is larger than a model takes."""
    if len(data) > MAX_BYTES:
        raise Refusal(
            f"{path} has {len(data):,} bytes; pictures up to {MAX_BYTES:,} can be looked at. Make it smaller."
        )
    if max(picture.width, picture.height) > MAX_SIDE or not min(picture.width, picture.height):
        raise Refusal(
            f"{path} is {picture.width} × {picture.height} pixels; at most {MAX_SIDE} a side can be looked at. "
            "Make it smaller."
        )
    return Image(picture.media_type, base64.b64encode(data).decode("ascii"))


def _jpeg(data: bytes) -> Picture | None:
    """Source: ITU T.81, annex B: segments of a marker and a length, up to the frame's head."""
    at = 2
    while at + 9 < len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return Picture("image/jpeg", width, height)
        else:
            at += 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
    return None


def _webp(data: bytes) -> Picture | None:
    """Source: RFC 9649, sections 2.5 to 2.7."""
    kind = data[12:16]
    if kind == b"VP8X":
        return Picture("image/webp", 1 + _int24(data[24:27]), 1 + _int24(data[27:30]))
    if kind == b"VP8L" and data[20] == 0x2F:
        (bits,) = struct.unpack("<I", data[21:25])
        return Picture("image/webp", 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack("<HH", data[26:30])
        return Picture("image/webp", width & 0x3FFF, height & 0x3FFF)
    return None


def _int24(data: bytes) -> int:
    if len(data) < 3:
        raise IndexError
    return int.from_bytes(data, "little")
