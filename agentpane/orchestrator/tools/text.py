"""Bytes of a file as text and back, so that what is not edited keeps its encoding, mark and line ends."""

from __future__ import annotations

import codecs
from dataclasses import dataclass

from agentpane.orchestrator.tools.base import Refusal

# What a model cannot read as text, and is not offered as anything else.
SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF87a", "a GIF image"),
    (b"GIF89a", "a GIF image"),
    (b"BM", "a BMP image"),
    (b"RIFF", "a media file"),
    (b"%PDF-", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x7fELF", "a compiled program"),
)
MARKS: tuple[tuple[bytes, str], ...] = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file's text with its line ends as they are, and what is needed to write it back. mark: a byte order mark."""

    text: str
    encoding: str
    mark: bytes = b""

    def encoded(self, text: str) -> bytes:
        """Raises Refusal when the file's encoding has no place for a character."""
        try:
            return self.mark + text.encode(self.encoding)
        except UnicodeEncodeError as error:
            character = error.object[error.start]
            raise Refusal(f"The file is in {self.encoding}, which has no character {character!r}.") from error


def decoded(data: bytes, path: str) -> TextFile:
    """What is neither UTF-8 nor marked is taken as Latin-1, which keeps every byte. Raises Refusal for binaries."""
    for mark, encoding in MARKS:
        if data.startswith(mark):
            try:
                return TextFile(data[len(mark) :].decode(encoding), encoding, mark)
            except UnicodeDecodeError:
                break
    if b"\0" in data:
        kind = next((words for start, words in SIGNATURES if data.startswith(start)), "a binary file")
        raise _unreadable(path, kind, len(data))
    for start, words in SIGNATURES:
        if data.startswith(start) and not _is_utf8(data):
            raise _unreadable(path, words, len(data))
    return TextFile(data.decode("utf-8"), "utf-8") if _is_utf8(data) else TextFile(data.decode("latin-1"), "latin-1")


def _unreadable(path: str, kind: str, size: int) -> Refusal:
    hint = " Turn it into text with a program, such as pdftotext, and read that." if "PDF" in kind else ""
    return Refusal(f"{path} is {kind} ({size:,} bytes), and only text and pictures can be read here.{hint}")


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def encoded_new(text: str) -> bytes:
    """A new file's bytes. Raises Refusal for text that is none."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise Refusal("The text holds half a character (a lone surrogate) and cannot be written.") from error


def line_counts(before: str, after: str) -> tuple[int, int]:
    """Lines added and removed, not counting what is alike at the start and at the end."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    return len(new) - start - end, len(old) - start - end


def numbered(lines: list[str], first: int) -> str:
    """Lines as a model is shown them: the number, a tab, the line."""
    return "\n".join(f"{number:6d}\t{line}" for number, line in enumerate(lines, first))
