"""An index of a patch as git prints it: files, hunks and lines as offsets into its bytes.

A patch stays one piece of bytes, and a line becomes an object only while somebody looks at it.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate, repeat

from agentpane.domain.gitpaths import MalformedGitOutputError, decode_path, unquote


class LineKind(StrEnum):
    """What a line of a patch is."""

    HEADER = "header"  # from `diff --git` to the first hunk
    HUNK = "hunk"  # @@ -1,2 +1,3 @@
    CONTEXT = "context"
    ADDED = "added"
    REMOVED = "removed"
    NO_NEWLINE = "no_newline"  # "\ No newline at end of file"


@dataclass(frozen=True, slots=True)
class PatchLine:
    """One line of a patch. `start` and `end` frame its text without the marker and the newline."""

    kind: LineKind
    old_number: int | None
    new_number: int | None
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class PatchHunk:
    """One hunk. `start` and `end` are byte offsets, `first_line` is its "@@" line counted in the whole patch."""

    old_start: int
    old_count: int
    new_start: int
    new_count: int
    section: bytes  # what git prints after the second @@
    start: int
    end: int
    first_line: int
    line_count: int  # the "@@" line included


@dataclass(frozen=True, slots=True)
class PatchFile:
    """One file of a patch: where it lies, and which hunks are its own."""

    path: str
    old_path: str | None  # None for an added file; the same as path where nothing was renamed
    binary: bool
    start: int
    header_end: int
    end: int
    first_line: int
    line_count: int
    first_hunk: int
    hunk_count: int
    deleted: bool = False


_HUNK_MARK = re.compile(rb"\n@@ -")
_FILE_MARK = re.compile(rb"\ndiff --git ")
_HUNK_HEADER = re.compile(rb"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@ ?(.*)")
_KINDS = {
    ord("+"): LineKind.ADDED,
    ord("-"): LineKind.REMOVED,
    ord(" "): LineKind.CONTEXT,
    ord("\\"): LineKind.NO_NEWLINE,
}
_IN_OLD = frozenset({LineKind.CONTEXT, LineKind.REMOVED})
_IN_NEW = frozenset({LineKind.CONTEXT, LineKind.ADDED})
_KEPT_HUNKS = 8  # offsets of lines are kept for the hunks that were looked at last


def index_patch(data: bytes) -> PatchIndex:
    """Index what `git diff --patch` prints (not a combined diff of a merge).

    Content lines begin with a blank, a plus, a minus or a backslash, and git quotes a name that holds a
    newline, so that a line beginning with `@@ -` or `diff --git ` is always a header.
    """
    return PatchIndex(data)


def _add_with_newline(total: int, size: int) -> int:
    return total + size + 1


class PatchIndex:
    """Files, hunks and lines of a patch, as offsets into its bytes.

    Lines are counted from 0 over the whole patch, headers included. The lines of a hunk are found when
    one of them is first asked for.
    """

    __slots__ = ("_file_starts", "_hunk_starts", "_line_of_hunk", "_seen", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._hunk_starts = array("q", [mark.start() + 1 for mark in _HUNK_MARK.finditer(data)])
        self._file_starts = array("q", [mark.start() + 1 for mark in _FILE_MARK.finditer(data)])
        if data.startswith(b"diff --git "):
            self._file_starts.insert(0, 0)
        self._line_of_hunk: array[int] | None = None
        self._seen: OrderedDict[int, tuple[array[int], bytes]] = OrderedDict()

    @property
    def file_count(self) -> int:
        return len(self._file_starts)

    @property
    def hunk_count(self) -> int:
        return len(self._hunk_starts)

    @property
    def line_count(self) -> int:
        """Lines of the whole patch; a last one without a newline counts."""
        return self.data.count(b"\n") + (1 if self.data and not self.data.endswith(b"\n") else 0)

    def files(self) -> Iterator[PatchFile]:
        return map(self.file, range(self.file_count))

    def file(self, number: int) -> PatchFile:
        start, end = self._file_starts[number], self._file_end(number)
        first_hunk = bisect_left(self._hunk_starts, start)
        next_hunk = bisect_left(self._hunk_starts, end)
        header_end = self._hunk_starts[first_hunk] if first_hunk < next_hunk else end
        first_line = self._line_at(start, first_hunk)
        until = self.line_count if end == len(self.data) else self._line_at(end, next_hunk)
        header = self.data[start:header_end]
        path, old_path, binary = read_file_header(header)
        return PatchFile(
            path, old_path, binary, start, header_end, end, first_line, until - first_line,
            first_hunk, next_hunk - first_hunk, b"\ndeleted file mode " in header,
        )  # fmt: skip

    def hunk(self, number: int) -> PatchHunk:
        start, end = self._hunk_starts[number], self._hunk_end(number)
        match = _HUNK_HEADER.match(self.data, start, end)
        if match is None:
            raise MalformedGitOutputError(f"not a hunk header: {self.data[start : start + 80]!r}")
        old_start, old_count, new_start, new_count, section = match.groups()
        count = self.data.count(b"\n", start, end) + (0 if self.data.endswith(b"\n", start, end) else 1)
        return PatchHunk(
            int(old_start), int(old_count or 1), int(new_start), int(new_count or 1), section,
            start, end, self._hunk_lines()[number], count,
        )  # fmt: skip

    def hunk_of_line(self, line: int) -> int | None:
        """The hunk that this line of the patch belongs to; None for a line of a file's header."""
        number = bisect_right(self._hunk_lines(), line) - 1
        if number < 0:
            return None
        hunk = self.hunk(number)
        return number if line < hunk.first_line + hunk.line_count else None

    def file_of_line(self, line: int) -> int:
        """The file that this line of the patch belongs to."""
        low, high = 0, self.file_count
        while low < high:
            middle = (low + high) // 2
            start = self._file_starts[middle]
            if self._line_at(start, bisect_left(self._hunk_starts, start)) <= line:
                low = middle + 1
            else:
                high = middle
        return max(low - 1, 0)

    def lines(self, first: int, count: int) -> list[PatchLine]:
        """The lines [first, first + count) of the patch, as far as they exist."""
        found: list[PatchLine] = []
        line, until = first, min(first + count, self.line_count)
        while line < until:
            number = self.hunk_of_line(line)
            part = self._lines_of_header(line, until) if number is None else self._lines_of_hunk(number, line, until)
            found += part
            line += len(part)
        return found

    def text(self, line: PatchLine) -> bytes:
        """The bytes of a line, without its marker and its newline."""
        return self.data[line.start : line.end]

    def _file_end(self, number: int) -> int:
        return self._file_starts[number + 1] if number + 1 < self.file_count else len(self.data)

    def _hunk_end(self, number: int) -> int:
        start = self._hunk_starts[number]
        end = self._hunk_starts[number + 1] if number + 1 < self.hunk_count else len(self.data)
        next_file = bisect_right(self._file_starts, start)
        return min(end, self._file_starts[next_file]) if next_file < self.file_count else end

    def _line_at(self, offset: int, next_hunk: int) -> int:
        """The number of the line that begins at `offset`, where `next_hunk` is the first hunk from there on."""
        if next_hunk == 0:
            return self.data.count(b"\n", 0, offset)
        before = next_hunk - 1
        return self._hunk_lines()[before] + self.data.count(b"\n", self._hunk_starts[before], offset)

    def _hunk_lines(self) -> array[int]:
        """The line that each hunk begins at, counted when somebody first asks for a line."""
        if self._line_of_hunk is None:
            stops = [0, *self._hunk_starts]
            newlines = map(self.data.count, repeat(b"\n"), stops, self._hunk_starts)
            self._line_of_hunk = array("q", accumulate(newlines))
        return self._line_of_hunk

    def _content(self, number: int) -> tuple[array[int], bytes]:
        """Where each line of a hunk begins ("@@" first, the end last), and the marks that they begin with."""
        known = self._seen.get(number)
        if known is not None:
            self._seen.move_to_end(number)
            return known
        start, end = self._hunk_starts[number], self._hunk_end(number)
        parts = self.data[start:end].split(b"\n")
        if not parts[-1]:
            parts.pop()
        offsets = array("q", accumulate(map(len, parts), _add_with_newline, initial=start))
        self._seen[number] = offsets, b"".join(part[:1] or b" " for part in parts)
        if len(self._seen) > _KEPT_HUNKS:
            self._seen.popitem(last=False)
        return self._seen[number]

    def _lines_of_hunk(self, number: int, line: int, until: int) -> list[PatchLine]:
        hunk = self.hunk(number)
        offsets, marks = self._content(number)
        at, stop = line - hunk.first_line, min(until - hunk.first_line, hunk.line_count)
        found: list[PatchLine] = []
        if at == 0:
            found.append(PatchLine(LineKind.HUNK, None, None, hunk.start, offsets[1] - 1))
            at = 1
        added, removed = marks.count(b"+", 1, at), marks.count(b"-", 1, at)
        remarks = marks.count(b"\\", 1, at)
        # A side without lines is numbered 0 in its header, and nothing of it is ever numbered.
        old, new = hunk.old_start + at - 1 - added - remarks, hunk.new_start + at - 1 - removed - remarks
        for i in range(at, stop):
            kind = _KINDS.get(marks[i], LineKind.CONTEXT)
            in_old, in_new = kind in _IN_OLD, kind in _IN_NEW
            end = min(offsets[i + 1] - 1, len(self.data))
            start = min(offsets[i] + 1, end)
            found.append(PatchLine(kind, old if in_old else None, new if in_new else None, start, end))
            old, new = old + in_old, new + in_new
        return found

    def _lines_of_header(self, line: int, until: int) -> list[PatchLine]:
        file = self.file(self.file_of_line(line))
        offset = file.start
        for _ in range(line - file.first_line if line >= file.first_line else 0):
            offset = self.data.index(b"\n", offset) + 1
        found: list[PatchLine] = []
        while line + len(found) < until and offset < file.header_end:
            newline = self.data.find(b"\n", offset)
            end = len(self.data) if newline < 0 else newline
            found.append(PatchLine(LineKind.HEADER, None, None, offset, end))
            offset = end + 1
        if not found:
            raise MalformedGitOutputError("text outside of every file")
        return found


_DEV_NULL = b"/dev/null"


def read_file_header(header: bytes) -> tuple[str, str | None, bool]:
    """Read the lines from `diff --git` to the first hunk: path, old path (None for an added file), whether binary."""
    old: bytes | None = None
    new: bytes | None = None
    binary = added = False
    lines = header.split(b"\n")
    for line in lines[1:]:
        if line.startswith(b"--- "):
            old = _side(line[4:])
        elif line.startswith(b"+++ "):
            new = _side(line[4:])
        elif line.startswith((b"rename from ", b"copy from ")):
            old = unquote(line.split(b" from ", 1)[1])
        elif line.startswith((b"rename to ", b"copy to ")):
            new = unquote(line.split(b" to ", 1)[1])
        elif line.startswith(b"new file mode "):
            added = True
        elif line.startswith((b"Binary files ", b"GIT binary patch")):
            binary = True
    same = _same_name(lines[0].removeprefix(b"diff --git ")) if old is None and new is None else None
    path = new or old or same or b""
    old_path = None if added else old or same
    return decode_path(path), None if old_path is None else decode_path(old_path), binary


def _side(text: bytes) -> bytes | None:
    """The path behind `--- ` or `+++ `; None for /dev/null. A name with a blank in it is followed by a tab."""
    name = unquote(text.removesuffix(b"\t"))
    return None if name == _DEV_NULL else name[2:]


def _same_name(names: bytes) -> bytes:
    """The path of `a/PATH b/PATH`, which has the same name twice when nothing else names it."""
    if names.startswith(b'"'):
        return unquote(names[: (len(names) - 1) // 2])[2:]
    return names[: (len(names) - 1) // 2][2:]
