"""What somebody made of a conflict that was laid out: whether all of it is decided, and the tree that follows."""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path

from agentpane.domain.diff import decode_path, display_path, encode_path, parse_raw, split_z
from agentpane.domain.filemodes import LINK, SUBMODULE
from agentpane.domain.resolving import BASE_LABEL, CARD_LABEL, LaidPath, Layout, Merging, Undecided, open_words
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.worktrees.conflicts.conflicted import POINTER, Entry, entries, is_separator, read_blobs
from agentpane.worktrees.git.runner import GitRunner, Place
from agentpane.worktrees.keeping import contents
from agentpane.worktrees.keeping.exact import sizes
from agentpane.worktrees.keeping.recovery import head_commit, staged_alone
from agentpane.worktrees.places import inside
from agentpane.worktrees.repository import commit_tree
from agentpane.worktrees.values import Repository, Worktree

LARGEST = 50 * 1024 * 1024  # of a file that was laid out whole, in which markers are looked for
_SHA = re.compile(rb"[0-9a-f]{40}(?:[0-9a-f]{24})?")


async def differs(git: GitRunner, repo: Repository, worktree: Worktree, commit: str, excluded: tuple[str, ...]) -> bool:
    """Whether the worktree holds anything else than `commit`, aside from what git ignores and what is excluded.

    What is staged counts where neither a file nor HEAD nor the commit has it.
    """
    place = inside(repo, worktree)
    async with git.scratch() as folder:
        index = folder / "index"
        staged = await contents.start_index(git, place, index, commit)
        await contents.refresh(git, place, index)
        listing = (await contents.list_changes(git, place, index, staged)).without(excluded)
        if listing.paths or listing.nested:
            return True
        trees = [await commit_tree(git, repo, sha) for sha in (commit, await head_commit(git, repo, place))]
        return await staged_alone(git, repo, place, folder / "staged", *trees) is not None


async def decide(git: GitRunner, place: Place, index: Path, tree: str, merging: Merging, merged: bool) -> str:
    """The tree of a resolution whose worktree gave `tree`, which `index` holds.

    merged: a commit with both parents is there already, and what was decided about submodules is in it.
    Raises MERGE_CONFLICT with the paths, and the lines of their markers, while something is undecided; nothing has
    changed then.
    """
    await _check_still_there(git, place, tree, merging)
    listed = await git.run(place, "ls-files", "--stage", "-z", index=index)
    held = await asyncio.to_thread(entries, listed.stdout)
    left = [Undecided(laid.beside) for laid in merging.paths if laid.beside in held and laid.layout != Layout.POINTER]
    left += await _marked(git, place, tree, merging, held)
    pointers = [laid for laid in merging.paths if laid.layout == Layout.POINTER]
    lines: list[bytes] = []
    for laid in pointers:
        decision = await _pointed(git, place, laid, held, merged)
        if decision is None:
            left.append(Undecided(str(laid.beside)))
        else:
            lines += decision
    if left:
        by_path = {each.path: each for each in sorted(left, key=lambda each: each.lines)}
        raise undecided(tuple(by_path[path] for path in sorted(by_path)), merging.target)
    if not lines:
        return tree
    own = index.with_name("decided")
    await asyncio.to_thread(shutil.copy2, index, own)
    await git.run(place, "update-index", "-z", "--index-info", stdin=b"".join(lines), index=own)
    return await contents.write_tree(git, place, own)


def undecided(left: tuple[Undecided, ...], target: str) -> AgentPaneError:
    return AgentPaneError(
        ErrorCode.MERGE_CONFLICT,
        f"The conflict with {display_path(target)} is not resolved yet: {open_words(left)}.",
        "Take every marker line out, and decide about each file that lies beside its path. Nothing was lost.",
        {
            "paths": [each.path for each in left],
            "undecided": [{"path": each.path, "lines": list(each.lines)} for each in left],
        },
    )


async def _marked(git: GitRunner, place: Place, tree: str, merging: Merging, held: dict[str, Entry]) -> list[Undecided]:
    """Files that hold a marker line: of the conflicted paths, and of all that were changed since they were laid."""
    since = await git.run(
        place, "diff-tree", "-r", "--raw", "-z", "--no-abbrev", "--no-renames", f"{merging.laid}^{{tree}}", tree
    )
    own = {path: laid.separators for laid in merging.paths if laid.marked for path in (laid.path, laid.beside)}
    changed = await asyncio.to_thread(parse_raw, since.stdout)
    wanted = {change.path for change in changed} | {path for path in own if path is not None}
    wanted -= {laid.beside or "" for laid in merging.paths if laid.layout == Layout.POINTER}
    files = sorted(path for path in wanted if path in held and held[path].mode not in {LINK, SUBMODULE})
    known = await sizes(git, place, [held[path].sha for path in files])
    files = [path for path in files if path in own or known[held[path].sha] <= LARGEST]
    texts = await read_blobs(git, place, [held[path].sha for path in files])
    marks = _marks(merging.target)
    lines = await asyncio.to_thread(
        lambda: [_lines(text, marks, own.get(path)) for path, text in zip(files, texts, strict=True)]
    )
    return [Undecided(path, found) for path, found in zip(files, lines, strict=True) if found]


async def _check_still_there(git: GitRunner, place: Place, tree: str, merging: Merging) -> None:
    """A worktree that was set to the card's files holds nothing of the target's, and all of it would seem decided.

    Raises MERGE_CONFLICT when what merged by itself is gone like that.
    """
    card = await git.run(place, "rev-parse", "--verify", f"{merging.card}^{{tree}}")
    if card.line != tree:
        return
    brought = await git.run(place, "diff-tree", "-r", "--name-only", "-z", "--no-renames", merging.card, merging.laid)
    conflicted = {path for laid in merging.paths for path in (laid.path, laid.beside)}
    gone = sorted({decode_path(name) for name in split_z(brought.stdout)} - conflicted)
    if gone:
        raise AgentPaneError(
            ErrorCode.MERGE_CONFLICT,
            f"Nothing of {display_path(merging.target)} is in the worktree any more: somebody has set it to the card's "
            f"own files. {len(gone)} file(s) that had merged by themselves would be taken back.",
            "Abandon the resolution, then begin it anew. Nothing was lost.",
            {"paths": gone[:100], "undecided": []},
        )


def _marks(target: str) -> re.Pattern[bytes]:
    # The last one is git's own, of conflicts inside of what both sides come from.
    labels = rb"<{7,} %s|\|{7,} %s|>{7,} %s|[<>]{7,} Temporary merge branch [12]" % (
        re.escape(CARD_LABEL.encode()),
        re.escape(BASE_LABEL.encode()),
        re.escape(encode_path(target)),
    )
    return re.compile(rb"(?:%s)\r?" % labels)


def _lines(text: bytes, marks: re.Pattern[bytes], own: int | None) -> tuple[int, ...]:
    """The numbers, from 1, of the lines that are markers. own: how many separators the file may have; None: any."""
    lines = tuple(enumerate(text.split(b"\n"), 1))
    found = [number for number, line in lines if marks.fullmatch(line)]
    between = [number for number, line in lines if is_separator(line)]
    if own is not None and len(between) > own:
        found += between
    return tuple(sorted(found))


async def _pointed(
    git: GitRunner, place: Place, laid: LaidPath, held: dict[str, Entry], merged: bool
) -> list[bytes] | None:
    """What becomes of a submodule, as lines for the index. None: undecided; no lines: nothing is left to do."""
    nothing = "0" * len(next(iter(held.values())).sha) if held else ""
    dropped = f"0 {nothing}\t".encode()
    path = encode_path(laid.path)
    is_submodule = laid.path in held and held[laid.path].mode == SUBMODULE
    pointer = held.get(str(laid.beside))
    if pointer is None:
        return [dropped + path + b"\0"] if is_submodule and not merged else []
    said = [line.strip() for line in (await read_blobs(git, place, [pointer.sha]))[0].split(b"\n") if line.strip()]
    named = {line.removeprefix(POINTER) for line in said if line.startswith(POINTER)}
    if len(said) > 1 or len(named) != len(said) or not all(_SHA.fullmatch(sha) for sha in named):
        return None
    lines = [dropped + encode_path(str(laid.beside)) + b"\0"]
    if named:
        lines.append(f"{SUBMODULE} ".encode() + named.pop() + b" 0\t" + path + b"\0")
    elif is_submodule:
        lines.append(dropped + path + b"\0")
    return lines
