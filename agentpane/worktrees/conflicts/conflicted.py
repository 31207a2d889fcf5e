"""Laying a conflicted merge out as one commit: both sides between markers, or as files of their own beside the path.

Works on objects alone; what is laid out reaches a worktree by `restore.set_back`.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agentpane.domain.diff import decode_path, encode_path
from agentpane.domain.filemodes import LINK, SUBMODULE
from agentpane.domain.resolving import BASE_LABEL, CARD_LABEL, LaidPath, Layout
from agentpane.worktrees.conflicts.merge_tree import Stages, parse_merge_tree, parse_stages
from agentpane.worktrees.git.runner import LONG_TIMEOUT, GitRunner, Place
from agentpane.worktrees.places import objects_of
from agentpane.worktrees.repository import merge_base
from agentpane.worktrees.values import Repository

BASE, CARD, TARGET = 1, 2, 3  # git's numbers for the sides of a conflict, the card's coming first
LONGEST_NAME = 255  # bytes, of one component of a path
POINTER = b"Subproject commit "


@dataclass(frozen=True, slots=True)
class ConflictedMerge:
    """A conflict laid out: `laid` is a commit on both parents whose tree is what the worktree is to hold."""

    laid: str
    paths: tuple[LaidPath, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    mode: str
    sha: str


Sides = Mapping[int, Entry]


def merging_ref(run_id: str) -> str:
    """Keeps what was laid out, and with it both sides, from being collected."""
    return f"refs/agentpane/run/{run_id}/merging"


async def lay_out(
    git: GitRunner, repo: Repository, card: str, target: str, name: str, run_id: str
) -> ConflictedMerge | None:
    """Merge `target` into `card` and lay what conflicts out for somebody to resolve. None when nothing conflicts.

    name: what the target's side is called. run_id: the run whose work it is; what is laid out is pinned under it.
    Raises MERGE_BASE_MOVED when the two share no history.
    """
    await merge_base(git, repo, card, target)
    place = objects_of(repo)
    merged = await git.run(
        place, "merge-tree", "--write-tree", "-z", "--messages", card, target, ok=(0, 1), timeout=LONG_TIMEOUT,
        config={"merge.conflictStyle": "diff3"},
    )  # fmt: skip
    if merged.exit_code == 0:
        return None
    merged_tree, kinds, conflicts = await asyncio.to_thread(_read, merged.stdout)
    async with git.scratch() as folder:
        index = folder / "index"
        await git.run(place, "read-tree", merged_tree, index=index)
        listed = await git.run(place, "ls-files", "--stage", "-z", index=index)
        table = _Table(await asyncio.to_thread(entries, listed.stdout), card, target, name)
        table.texts.update(await _marked_texts(git, place, conflicts, table))
        await asyncio.to_thread(table.lay_all, kinds, conflicts)
        await _store(git, place, index, folder, table)
        tree = (await git.run(place, "write-tree", index=index)).line
    words = f"The conflict with {name}, laid out\n".encode("utf-8", "replace")
    laid = (await git.run(place, "commit-tree", tree, "-p", card, "-p", target, stdin=words)).line
    await git.run(place, "update-ref", merging_ref(run_id), laid)
    return ConflictedMerge(laid, tuple(table.laid))


def _read(output: bytes) -> tuple[str, tuple[tuple[str, str], ...], dict[str, Sides]]:
    """The merged tree, the conflicts and their kinds, and the sides of each."""
    conflicts = {path: _sides(stages) for path, stages in parse_stages(output).items()}
    return *parse_merge_tree(output), conflicts


def _sides(stages: Stages) -> Sides:
    return {number: Entry(*entry) for number, entry in stages.items()}


def entries(output: bytes) -> dict[str, Entry]:
    """Read what `git ls-files --stage -z` prints of an index without conflicts: `MODE SHA 0\\tPATH\\0` a file."""
    found: dict[str, Entry] = {}
    for record in output.split(b"\0")[:-1]:
        about, _, path = record.partition(b"\t")
        mode, sha, _stage = about.decode("ascii").split(" ")
        found[decode_path(path)] = Entry(mode, sha)
    return found


async def _marked_texts(
    git: GitRunner, place: Place, conflicts: Mapping[str, Sides], table: _Table
) -> dict[str, bytes]:
    """The files of the merge that hold git's markers, with the sides named for a person."""
    wanted = [path for path, sides in conflicts.items() if table.has_text(path, sides)]
    found = await read_blobs(git, place, [table.entries[path].sha for path in wanted])
    named = await asyncio.to_thread(lambda: [name_sides(text, table.card, table.target, table.name) for text in found])
    return {path: text for path, text in zip(wanted, named, strict=True) if text is not None}


async def read_blobs(git: GitRunner, place: Place, shas: list[str]) -> list[bytes]:
    """The contents of these blobs, in their order."""
    if not shas:
        return []
    asked = "".join(f"{sha}\n" for sha in shas).encode("ascii")
    answered = await git.run(place, "cat-file", "--batch", stdin=asked, timeout=LONG_TIMEOUT)
    return await asyncio.to_thread(_blobs, answered.stdout, len(shas))


def _blobs(answered: bytes, count: int) -> list[bytes]:
    found: list[bytes] = []
    at = 0
    for _ in range(count):
        end = answered.index(b"\n", at)
        size = int(answered[at:end].split(b" ")[2])
        found.append(answered[end + 1 : end + 1 + size])
        at = end + 1 + size + 1
    return found


def is_separator(line: bytes) -> bool:
    return line.removesuffix(b"\r") == b"======="


def name_sides(text: bytes, card: str, target: str, name: str) -> bytes | None:
    """The text with its markers labelled `this card`, `before both` and `name` instead of commits.

    None when it holds no conflict of these two commits. Sizes of markers and line ends stay as git wrote them.
    """
    begin = re.compile(rb"(<{7,}) " + card.encode() + rb"(:[^\r\n]*)?(\r?)")
    end = re.compile(rb"(>{7,}) " + target.encode() + rb"(:[^\r\n]*)?(\r?)")
    lines = text.split(b"\n")
    size = 0  # of the markers that we are between; 0 outside
    based = any_found = False
    for number, line in enumerate(lines):
        if opened := begin.fullmatch(line):
            size, based, any_found = len(opened[1]), False, True
            lines[number] = b"%s %s%s" % (opened[1], CARD_LABEL.encode(), opened[3])
        elif size and not based and line.startswith(b"|" * size) and line[size : size + 1] in {b"", b" ", b"\r"}:
            based = True
            lines[number] = b"%s %s%s" % (b"|" * size, BASE_LABEL.encode(), b"\r" if line.endswith(b"\r") else b"")
        elif size and (closed := end.fullmatch(line)) and len(closed[1]) == size:
            size = 0
            lines[number] = b"%s %s%s" % (closed[1], encode_path(name), closed[3])
    return b"\n".join(lines) if any_found else None


@dataclass(slots=True)
class _Table:
    """The tree that is being laid out, path by path."""

    entries: dict[str, Entry]
    card: str
    target: str
    name: str
    laid: list[LaidPath] = field(default_factory=list)
    texts: dict[str, bytes] = field(default_factory=dict)  # marked files, by the path that merge-tree gave them
    gone: set[str] = field(default_factory=set)
    added: dict[str, Entry | bytes] = field(default_factory=dict)
    modes: dict[str, str] = field(default_factory=dict)  # of the texts that are added, where they are not plain
    folders: set[str] = field(default_factory=set)

    def lay_all(self, kinds: Iterable[tuple[str, str]], conflicts: Mapping[str, Sides]) -> None:
        for path in self.entries:
            while (path := path.rpartition("/")[0]) and path not in self.folders:
                self.folders.add(path)
        for path, kind in kinds:
            self.lay(path, conflicts[path], kind)

    def has_text(self, path: str, sides: Sides) -> bool:
        entry = self.entries.get(path)
        whole = {side.sha for number, side in sides.items() if number != BASE}
        return entry is not None and entry.mode not in {LINK, SUBMODULE} and entry.sha not in whole

    def lay(self, path: str, sides: Sides, kind: str) -> None:
        if sides.keys() == {BASE}:
            return  # it has another name on either side, and those are conflicts of their own
        meant = self._meant(path)
        entry = self.entries.get(path)
        if any(side.mode == SUBMODULE for number, side in sides.items() if number != BASE):
            self._point(path, meant, sides)
        elif CARD in sides and TARGET in sides:
            self._both(path, sides, kind)
        else:
            side = CARD if CARD in sides else TARGET
            beside = self._free(meant, "card" if side == CARD else self.name)
            content = self.texts.get(path) or entry or sides[side]
            self._replace(path, beside, content, sides[side].mode)
            layout = Layout.CARD if side == CARD else Layout.TARGET
            self.laid.append(LaidPath(meant, kind, layout, beside, path in self.texts, self._separators(path)))

    def _both(self, path: str, sides: Sides, kind: str) -> None:
        fresh = "add/add" if BASE not in sides and kind == "contents" else kind
        if path in self.texts:
            entry = self.entries[path]
            self._replace(path, path, self.texts[path], entry.mode)
            self.laid.append(LaidPath(path, fresh, Layout.MARKED, None, True, self._separators(path)))
            return
        beside = self._free(path, self.name)
        self.added[path] = sides[CARD]
        self.added[beside] = sides[TARGET]
        only_mode = sides[CARD].sha == sides[TARGET].sha
        self.laid.append(LaidPath(path, "mode" if only_mode else fresh, Layout.BOTH, beside))

    def _point(self, path: str, meant: str, sides: Sides) -> None:
        """A submodule's commit is in no file: the sides are written into one beside it."""
        free = meant not in self.added and (meant in self.gone or meant not in self.entries)
        place = meant if meant == path or free else path
        beside = self._free(place, "submodule")
        parts = [f"<<<<<<< {CARD_LABEL}\n".encode()]
        for side, marker in ((CARD, f"||||||| {BASE_LABEL}\n"), (BASE, "=======\n"), (TARGET, "")):
            if side in sides and sides[side].mode == SUBMODULE:
                parts.append(POINTER + sides[side].sha.encode() + b"\n")
            parts.append(marker.encode())
        parts.append(b">>>>>>> " + encode_path(self.name) + b"\n")
        side = CARD if CARD in sides else TARGET
        self.gone.add(path)
        self.added[place] = sides[side]
        self.added[beside] = b"".join(parts)
        self.laid.append(LaidPath(place, "submodule", Layout.POINTER, beside, marked=True))

    def _replace(self, old: str, new: str, content: Entry | bytes, mode: str) -> None:
        self.gone.add(old)
        self.added[new] = content
        self.modes[new] = mode

    def _separators(self, path: str) -> int:
        """How many lines of a marked text are separators of its own, and none of a conflict."""
        lines = self.texts.get(path, b"").split(b"\n")
        conflicts = sum(line.removesuffix(b"\r") == b"<<<<<<< " + CARD_LABEL.encode() for line in lines)
        return sum(map(is_separator, lines)) - conflicts

    def _meant(self, path: str) -> str:
        """The path without the commit that git put behind it where two things cannot have one name."""
        found = re.fullmatch(rf"(.*)~(?:{self.card}|{self.target})(?:_\d+)?", path, re.DOTALL)
        return found[1] if found else path

    def _free(self, path: str, side: str) -> str:
        """`path~side`, or the like of it that no file and no folder of the merge has."""
        suffix = "~" + side.replace("/", "_")
        for number in itertools.count():
            name = _fitted(path, suffix + (f"_{number}" if number else ""))
            if name not in self.entries and name not in self.added and name not in self.folders:
                return name
        raise AssertionError("there is always a next number")


def _fitted(path: str, suffix: str) -> str:
    """The path with a suffix, its last component cut where no file system could hold it."""
    folder, slash, last = path.rpartition("/")
    room = LONGEST_NAME - len(encode_path(suffix))
    return folder + slash + encode_path(last)[: max(room, 1)].decode("utf-8", "surrogateescape") + suffix


async def _store(git: GitRunner, place: Place, index: Path, folder: Path, table: _Table) -> None:
    """Write the marked texts as blobs, and take over the table's changes into the index."""
    texts = {path: content for path, content in table.added.items() if isinstance(content, bytes)}
    names = await asyncio.to_thread(_write, folder, texts.values())
    made = await git.run(place, "hash-object", "-w", "--no-filters", "--stdin-paths", stdin=names)
    shas = dict(zip(texts, made.stdout.decode("ascii").split(), strict=True))
    lines = await asyncio.to_thread(_index_lines, table, shas)
    await git.run(place, "update-index", "-z", "--index-info", stdin=lines, index=index)


def _write(folder: Path, texts: Iterable[bytes]) -> bytes:
    """Write each text into a file of its own; returns the files, a line for each."""
    files = []
    for number, content in enumerate(texts):
        files.append(folder / f"text-{number}")
        files[-1].write_bytes(content)
    return "".join(f"{file}\n" for file in files).encode("utf-8", "surrogateescape")


def _index_lines(table: _Table, shas: Mapping[str, str]) -> bytes:
    """What `update-index --index-info` is told of the table's changes. shas: of the texts."""
    lines: list[bytes] = []
    nothing = "0" * len(table.card)
    for path in sorted(table.gone - table.added.keys()):
        lines.append(f"0 {nothing}\t".encode() + encode_path(path) + b"\0")
    for path, added in table.added.items():
        entry = Entry(table.modes.get(path, "100644"), shas[path]) if isinstance(added, bytes) else added
        lines.append(f"{entry.mode} {entry.sha} 0\t".encode() + encode_path(path) + b"\0")
    return b"".join(lines)
