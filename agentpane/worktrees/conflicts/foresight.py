"""What would come of a merge that nobody has asked for yet: its conflicts by line, and the places of a change.

Whether a file conflicts is the word of `merge-tree`, which merges in the object store as approving does. Which lines
collide cannot be read off the file that it writes: between its marks stand lines that merged by themselves, and they
shift the numbers of both sides. They come from the difference of the three blobs that it names for the file, found
by the same method as its own (histogram, without the heuristic for indents), which holds for renames and for an
ancestor that git made up from several.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence

from agentpane.domain.collisions import collisions
from agentpane.domain.conflicts import Conflict, joined
from agentpane.domain.diff import FileChange, MalformedGitOutputError, decode_path, parse_raw
from agentpane.domain.hunks import Hunk, bounded, parse_hunk, parse_patches
from agentpane.domain.overlaps import FileEdit
from agentpane.worktrees.conflicts.merge_tree import Stages, parse_merge_tree, parse_stages
from agentpane.worktrees.git.runner import LONG_TIMEOUT, GitRunner, Place
from agentpane.worktrees.places import objects_of
from agentpane.worktrees.values import Repository

LARGEST = 4 * 1024 * 1024  # bytes of a file whose lines are compared; a larger one conflicts as a whole
MOST_AT_ONCE = 64 * 1024 * 1024  # of all files of one merge
MOST_BY_LINES = 200  # files of one merge whose lines are told; every window is sent them with each change of the card
_AS_MERGING = (
    "--no-ext-diff",
    "--no-textconv",
    "--no-color",
    "--diff-algorithm=histogram",
    "--no-indent-heuristic",
    "--inter-hunk-context=0",
    "--ignore-submodules=none",
    "--submodule=short",
    "--no-relative",
    "-O/dev/null",
)
_FILE_TYPES = frozenset({"100644", "100755"})
_ANCESTOR, _TARGET, _CARD = 1, 2, 3
_BY_LINES = frozenset({"contents", "add/add", "modify/delete", "rename/delete"})
_FILE, _HUNK = b"diff --git ", b"@@ -"
_LOOKED_AT = 256

Pair = tuple[str, str]  # two blobs


async def foreseen(git: GitRunner, repo: Repository, target: str, card: str) -> tuple[Conflict, ...]:
    """The conflicts of merging the commit `card` into the commit `target`, by path. Nothing that has a name changes."""
    place = objects_of(repo)
    shape = ("merge-tree", "--write-tree", "-z", "--messages", target, card)
    merged = await git.run(place, *shape, ok=(0, 1), timeout=LONG_TIMEOUT)
    if merged.exit_code == 0:
        return ()
    _, paths = parse_merge_tree(merged.stdout)
    stages = parse_stages(merged.stdout)
    kinds = [(path, _kind(kind, stages.get(path, {})), stages.get(path, {})) for path, kind in paths]
    wanted = {pair for _, kind, of_path in kinds[:MOST_BY_LINES] for pair in _pairs(kind, of_path)}
    hunks = await _hunks(git, repo, sorted(wanted))
    return tuple(_conflict(path, kind, of_path, hunks) for path, kind, of_path in kinds)


async def clashes(git: GitRunner, repo: Repository, one: str, other: str) -> frozenset[str]:
    """The paths at which two commits cannot be merged with each other."""
    shape = ("merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", one, other)
    merged = await git.run(objects_of(repo), *shape, ok=(0, 1), timeout=LONG_TIMEOUT)
    _, *paths = merged.stdout.rstrip(b"\0").split(b"\0")
    return frozenset(map(decode_path, paths)) if merged.exit_code == 1 else frozenset()


async def edits(git: GitRunner, repo: Repository, base: str, card: str) -> tuple[FileEdit, ...]:
    """What lies between two commits, file by file, with the places of files that have lines."""
    place = objects_of(repo)
    shape = ("diff", *_AS_MERGING, "--find-renames")
    listed = await git.run(place, *shape, "--raw", "-z", "--no-abbrev", base, card, "--")
    changes = parse_raw(listed.stdout)
    # Of files that are new or gone no line is compared, and their text may be long: git is not asked for it.
    compared = [change.path for change in changes if change.status in ("M", "R")]
    found: list[list[Hunk]] = []
    if compared:
        async for line in _headers(git, place, *shape, "--unified=0", "--diff-filter=MR", base, card, "--"):
            if line.startswith(_FILE):
                found.append([])
            elif found:
                found[-1].append(parse_hunk(line))
    if len(found) != len(compared):
        raise MalformedGitOutputError(f"{len(found)} patches of {len(compared)} files")
    hunks = dict(zip(compared, map(bounded, found), strict=True))
    return tuple(_edit(change, hunks.get(change.path, ())) for change in changes)


async def _headers(git: GitRunner, place: Place, *arguments: str) -> AsyncIterator[bytes]:
    """The lines of a patch that begin a file or a hunk. Its text is let go as it comes."""
    rest = b""
    async for part in git.stream(place, *arguments):
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            if line.startswith((_FILE, _HUNK)):
                yield line
        # Of a line that goes on for long only the beginning is looked at.
        rest = rest[:_LOOKED_AT]


def _edit(change: FileChange, hunks: tuple[Hunk, ...]) -> FileEdit:
    old = None if change.status == "A" else change.old_path or change.path
    if change.status == "D":
        return FileEdit(change.path, old, deleted=True)
    plain = {change.old_mode, change.new_mode} <= _FILE_TYPES
    if change.status == "A":
        return FileEdit(change.path, None, whole=True)
    whole = not plain or (not hunks and change.old_sha != change.new_sha)
    return FileEdit(change.path, old, whole=whole, hunks=hunks if plain else ())


def _kind(kind: str, stages: Stages) -> str:
    """Git's word for the conflict, or ours where it has none: it says "contents" of a file that both sides add."""
    if kind in ("contents", "conflict") and _ANCESTOR not in stages and len(stages) == 2:
        same_text = stages[_TARGET][1] == stages[_CARD][1]
        return "mode" if same_text else "add/add"
    if kind == "conflict" and len(stages) == 3:
        return "mode"
    return kind


def _pairs(kind: str, stages: Stages) -> tuple[Pair, ...]:
    """The blobs to compare for the lines of one conflict; none where the file collides as a whole."""
    if kind not in _BY_LINES or any(mode not in _FILE_TYPES for mode, _ in stages.values()):
        return ()
    blobs = {stage: sha for stage, (_, sha) in stages.items()}
    if _ANCESTOR in blobs:
        return tuple((blobs[_ANCESTOR], blobs[side]) for side in (_TARGET, _CARD) if side in blobs)
    return ((blobs[_TARGET], blobs[_CARD]),) if len(blobs) == 2 else ()


def _conflict(path: str, kind: str, stages: Stages, hunks: Mapping[Pair, tuple[Hunk, ...]]) -> Conflict:
    pairs = _pairs(kind, stages)
    if not pairs or any(pair not in hunks for pair in pairs):
        return Conflict(path, kind)
    first, last = hunks[pairs[0]], hunks[pairs[-1]]
    if _ANCESTOR not in stages:
        return Conflict(
            path, kind, joined(tuple(each.old for each in first)), joined(tuple(each.new for each in first))
        )
    if len(pairs) == 2:
        return Conflict(path, kind, *collisions(first, last))
    changed = joined(tuple(each.new for each in first))
    return Conflict(path, kind, changed) if _TARGET in stages else Conflict(path, kind, (), changed)


async def _hunks(git: GitRunner, repo: Repository, pairs: Sequence[Pair]) -> dict[Pair, tuple[Hunk, ...]]:
    """Where the two blobs of each pair differ, with their lines. Pairs that are too large are left out.

    The blobs are compared as the files of two trees, so that one git compares them all, and no name needs quoting.
    """
    place = objects_of(repo)
    small = await _small(git, place, {blob for pair in pairs for blob in pair})
    kept = [pair for pair in pairs if small.issuperset(pair)]
    if not kept:
        return {}
    trees = "\n".join(
        "".join(f"100644 blob {pair[side]}\t{number}\n" for number, pair in enumerate(kept)) for side in (0, 1)
    )
    made = await git.run(place, "mktree", "--batch", stdin=trees.encode("ascii"))
    patch = await git.run(place, "diff", *_AS_MERGING, "--no-renames", "--unified=0", *made.line.split("\n"), "--")
    by_name = parse_patches(patch.stdout)
    found = {pair: by_name.get(f"a/{number} b/{number}".encode(), ()) for number, pair in enumerate(kept)}
    return {pair: hunks for pair, hunks in found.items() if hunks or pair[0] == pair[1]}


async def _small(git: GitRunner, place: Place, blobs: Collection[str]) -> frozenset[str]:
    """Those blobs whose lines may be compared: each small enough, and all of them together."""
    if not blobs:
        return frozenset()
    asked = "".join(f"{blob}\n" for blob in sorted(blobs)).encode("ascii")
    told = await git.run(place, "cat-file", "--batch-check=%(objectname) %(objectsize)", stdin=asked)
    found: list[str] = []
    total = 0
    for line in told.stdout.decode("ascii", "replace").splitlines():
        name, _, size = line.partition(" ")
        if size.isdigit() and int(size) <= LARGEST and total + int(size) <= MOST_AT_ONCE:
            total += int(size)
            found.append(name)
    return frozenset(found)
