"""What git prints about a difference, as values: lists of changed files and their counts.

Pure parsing of bytes. The text of a patch is indexed by `domain.patch`; both are offered here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from agentpane.domain.gitpaths import (
    MalformedGitOutputError,
    decode_path,
    display_path,
    encode_path,
    visible_text,
)
from agentpane.domain.patch import LineKind, PatchFile, PatchHunk, PatchIndex, PatchLine, index_patch

__all__ = [
    "DiffStat",
    "FileChange",
    "FileStat",
    "LineKind",
    "MalformedGitOutputError",
    "PatchFile",
    "PatchHunk",
    "PatchIndex",
    "PatchLine",
    "decode_path",
    "display_path",
    "encode_path",
    "index_patch",
    "parse_name_status",
    "parse_numstat",
    "parse_raw",
    "parse_raw_numstat",
    "split_z",
    "total",
    "visible_text",
]


@dataclass(frozen=True, slots=True)
class DiffStat:
    """How large a change is. Lines of binary files are not counted."""

    files: int
    added: int
    removed: int


@dataclass(frozen=True, slots=True)
class FileStat:
    """The lines that changed in one file; None for a binary one."""

    path: str
    old_path: str | None
    added: int | None
    removed: int | None


@dataclass(frozen=True, slots=True)
class FileChange:
    """One file of a difference. Paths carry bytes that are not UTF-8 as surrogate escapes."""

    path: str
    old_path: str | None  # set for a rename or copy
    status: str  # A M D R C T
    added: int | None  # None: binary, or not counted
    removed: int | None
    binary: bool
    old_mode: str  # six octal digits; 000000 where the file is absent
    new_mode: str
    old_sha: str = ""
    new_sha: str = ""
    target: str | None = None  # of a symbolic link; None too where it is too long to be read


def split_z(output: bytes) -> list[bytes]:
    """The records of output in which each one ends with a zero byte."""
    if not output:
        return []
    if not output.endswith(b"\0"):
        raise MalformedGitOutputError("a record is cut short")
    return output[:-1].split(b"\0")


def parse_numstat(output: bytes) -> tuple[FileStat, ...]:
    """Read what `git diff --numstat -z` prints.

    output: raw bytes. A record is `ADDED\\tREMOVED\\tPATH\\0`; for a rename or copy PATH is
        empty and `OLD\\0NEW\\0` follow. Paths are not quoted under -z, and may not be UTF-8.
    Returns one FileStat a file, in git's order. Counts are lines; both are None for a
        binary file, for which git prints `-`.
    Raises MalformedGitOutputError if a record is cut short.
    Source: git-diff(1), "OTHER DIFF FORMATS", --numstat with -z.
    """
    records = iter(split_z(output))
    return tuple(_numstat_record(record, records) for record in records)


def _numstat_record(record: bytes, rest: Iterator[bytes]) -> FileStat:
    try:
        added, removed, path = record.split(b"\t", 2)
        old_path = None if path else decode_path(next(rest))
        new_path = decode_path(path or next(rest))
        counts = (None, None) if added == b"-" else (int(added), int(removed))
    except (ValueError, StopIteration) as error:
        raise MalformedGitOutputError(f"not a --numstat record: {record[:80]!r}") from error
    return FileStat(new_path, old_path, *counts)


def parse_name_status(output: bytes) -> tuple[tuple[str, str, str | None], ...]:
    """Read what `git diff --name-status -z` prints: (status letter, path, old path of a rename or copy).

    A record is `STATUS\\0PATH\\0`, for a rename or copy `R100\\0OLD\\0NEW\\0`.
    Source: git-diff(1), --name-status with -z.
    """
    records = iter(split_z(output))
    found: list[tuple[str, str, str | None]] = []
    for status in records:
        letter = status[:1].decode("ascii", "replace")
        try:
            first = decode_path(next(records))
            found.append((letter, decode_path(next(records)), first) if letter in "RC" else (letter, first, None))
        except StopIteration:
            raise MalformedGitOutputError("a --name-status record is cut short") from None
    return tuple(found)


def parse_raw(output: bytes) -> tuple[FileChange, ...]:
    """Read what `git diff --raw -z --no-abbrev` prints; nothing is counted yet.

    A record is `:OLDMODE NEWMODE OLDSHA NEWSHA STATUS\\0PATH\\0`, for a rename or copy `…R087\\0OLD\\0NEW\\0`.
    Source: git-diff(1), "RAW OUTPUT FORMAT".
    """
    return _raw_records(split_z(output))[0]


def parse_raw_numstat(output: bytes) -> tuple[FileChange, ...]:
    """Read what `git diff --raw --numstat -z --no-abbrev` prints: all raw records, then all counts."""
    records = split_z(output)
    changes, read = _raw_records(records)
    rest = iter(records[read:])
    stats = {(stat.path, stat.old_path): stat for stat in (_numstat_record(record, rest) for record in rest)}
    counted: list[FileChange] = []
    for change in changes:
        stat = stats.get((change.path, change.old_path))
        if stat is None:
            raise MalformedGitOutputError(f"no counts for {display_path(change.path)}")
        counted.append(replace(change, added=stat.added, removed=stat.removed, binary=stat.added is None))
    return tuple(counted)


def _raw_records(records: list[bytes]) -> tuple[tuple[FileChange, ...], int]:
    """The raw records that `records` begin with, and how many records they took."""
    changes: list[FileChange] = []
    at = 0
    while at < len(records) and records[at].startswith(b":"):
        try:
            old_mode, new_mode, old_sha, new_sha, status = records[at][1:].decode("ascii").split(" ")
            renamed = status[0] in "RC"
            old_path = decode_path(records[at + 1]) if renamed else None
            path = decode_path(records[at + 2 if renamed else at + 1])
        except (ValueError, IndexError) as error:
            raise MalformedGitOutputError(f"not a --raw record: {records[at][:80]!r}") from error
        changes.append(FileChange(path, old_path, status[0], None, None, False, old_mode, new_mode, old_sha, new_sha))
        at += 3 if renamed else 2
    return tuple(changes), at


def total(stats: tuple[FileStat, ...]) -> DiffStat:
    return DiffStat(len(stats), sum(stat.added or 0 for stat in stats), sum(stat.removed or 0 for stat in stats))
