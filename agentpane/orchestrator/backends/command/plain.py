"""What a command prints, as text without a terminal's control sequences, whole characters at a time."""

from __future__ import annotations

import codecs
import re

# CSI, OSC (ended by BEL or ST), other string sequences, two-character escapes.
SEQUENCE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[PX^_][^\x1b]*\x1b\\|[ -/]+[0-~]|[0-OQ-WYZ\\`-~])"
    r"|\x9b[0-?]*[ -/]*[@-~]"
)
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f]")
LONGEST_SEQUENCE = 4_096  # what begins like a sequence and is longer than this is none


class PlainText:
    """Takes bytes as they come and gives text; what may be half a sequence or half a character waits for its rest."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""

    def take(self, chunk: bytes, last: bool = False) -> str:
        text = self._held + self._decoder.decode(chunk, last)
        self._held = ""
        text = SEQUENCE.sub("", text.replace("\r\n", "\n"))
        start = text.find("\x1b")
        if not last:
            if start >= 0 and len(text) - start <= LONGEST_SEQUENCE:
                text, self._held = text[:start], text[start:]
            elif text.endswith("\r"):
                text, self._held = text[:-1], "\r"
        return CONTROLS.sub("", text.replace("\r", "\n").replace("\x1b", ""))
