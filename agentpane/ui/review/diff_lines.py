"""The rows of a diff view: which lines of a patch are shown, in what order, with comments between them. No painting.

git's header lines of a file (index, ---, +++) become one row; everything else is a line of the patch.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from dataclasses import dataclass
from enum import Enum

from agentpane.domain.diff import LineKind, PatchFile, PatchIndex, PatchLine, visible_text

TAB = "    "


class RowKind(Enum):
    FILE = "file"
    LINE = "line"
    GAP = "gap"  # breathing space between files


@dataclass(frozen=True, slots=True)
class Row:
    kind: RowKind
    file: int
    line: PatchLine | None


class DiffRows:
    """Maps rows to lines of the patch. A file has a head row, the lines of its hunks, and a gap row."""

    def __init__(self, index: PatchIndex) -> None:
        self.index = index
        self.files: list[PatchFile] = list(index.files())
        self._starts = array("q")
        total = 0
        for file in self.files:
            self._starts.append(total)
            total += 2 + self._content(file)
        self.count = total

    def first_row(self, file: int) -> int:
        return self._starts[file]

    def file_of(self, row: int) -> int:
        return max(bisect_right(self._starts, row) - 1, 0)

    def rows(self, first: int, count: int) -> list[Row]:
        """The rows [first, first + count), as far as they exist."""
        found: list[Row] = []
        row, until = first, min(first + count, self.count)
        while row < until:
            file = self.file_of(row)
            patch_file = self.files[file]
            offset = row - self._starts[file]
            content = self._content(patch_file)
            if offset == 0:
                found.append(Row(RowKind.FILE, file, None))
                row += 1
            elif offset <= content:
                start = self._first_line(patch_file) + offset - 1
                wanted = min(content - offset + 1, until - row)
                lines = self.index.lines(start, wanted)
                found += [Row(RowKind.LINE, file, line) for line in lines]
                row += len(lines)
            else:
                found.append(Row(RowKind.GAP, file, None))
                row += 1
        return found

    def row(self, number: int) -> Row | None:
        found = self.rows(number, 1)
        return found[0] if found else None

    def text(self, line: PatchLine) -> str:
        """A line as it is shown: nothing in it can hide, tabs are blanks."""
        return visible_text(self.index.text(line)).replace("\t", TAB)

    def hunk_rows(self) -> list[int]:
        """The rows where hunks begin."""
        found: list[int] = []
        for number, file in enumerate(self.files):
            first = self._first_line(file)
            for hunk in range(file.first_hunk, file.first_hunk + file.hunk_count):
                found.append(self._starts[number] + 1 + self.index.hunk(hunk).first_line - first)
        return found

    def row_of_offset(self, offset: int) -> int | None:
        """The row that shows the byte at `offset` of the patch; None for one of git's header lines."""
        for number, file in enumerate(self.files):
            if file.start <= offset < file.end:
                if offset < file.header_end:
                    return None
                lines = self.index.data.count(b"\n", file.header_end, offset)
                return self._starts[number] + 1 + lines
        return None

    def _content(self, file: PatchFile) -> int:
        """How many lines of the file's hunks there are; a file without any has one row that says why."""
        if not file.hunk_count:
            return 0
        return file.first_line + file.line_count - self._first_line(file)

    def _first_line(self, file: PatchFile) -> int:
        return self.index.hunk(file.first_hunk).first_line if file.hunk_count else file.first_line


def marker(kind: LineKind) -> str:
    return {LineKind.ADDED: "+", LineKind.REMOVED: "−"}.get(kind, "")
