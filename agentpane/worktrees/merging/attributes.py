"""What tells git how to write the files of either side of a merge: the attributes as that side has them.

Where a merge changes any, those in a checkout that is half moved are neither side's, or the wrong one's.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from agentpane.domain.diff import FileChange
from agentpane.domain.filemodes import LINK, SUBMODULE
from agentpane.worktrees.git.files import read_regular
from agentpane.worktrees.git.runner import GitError, GitRunner, Place
from agentpane.worktrees.keeping.ground import Ground, ways_to
from agentpane.worktrees.merging.expected import Wanted, contents_of

OLD_SIDE, NEW_SIDE = "old", "new"
ATTRIBUTES = ".gitattributes"


@asynccontextmanager
async def sided(git: GitRunner, place: Place, changes: Sequence[FileChange]) -> AsyncIterator[Mapping[str, Place]]:
    """The checkout as git is to see it when it says what it writes for a side: it itself, unless attributes differ.

    Raises GitError where the attributes of a side cannot be had.
    """
    changed = [each for each in changes if each.path.rpartition("/")[2] == ATTRIBUTES]
    if not changed:
        yield {OLD_SIDE: place, NEW_SIDE: place}
        return
    assert place.work_tree is not None
    own = {
        OLD_SIDE: {each.path: (each.path, each.old_mode, each.old_sha) for each in changed},
        NEW_SIDE: {each.path: (each.path, each.new_mode, each.new_sha) for each in changed},
    }
    wanted = [each for side in own.values() for each in side.values() if _is_file(each)]
    known = await contents_of(git, place, wanted, as_stored=True)
    if not known.keys() >= {*wanted}:
        raise _unknown(place.work_tree, "a blob cannot be read")
    async with git.scratch() as folder:
        for side, files in own.items():
            contents = {path: known.get(each) for path, each in files.items()}
            try:
                await asyncio.to_thread(_stand_in, place.work_tree, folder / side, contents)
            except OSError as error:
                raise _unknown(place.work_tree, error.strerror or str(error)) from error
        yield {side: replace(place, stand_in=folder / side) for side in own}


def _is_file(wanted: Wanted) -> bool:
    """Whether there is one, of a kind that git reads attributes from."""
    return bool(wanted[2].strip("0")) and wanted[1] not in (LINK, SUBMODULE)


def _stand_in(root: Path, folder: Path, own: Mapping[str, bytes | None]) -> None:
    """Let `folder`, which is not there, look to git and its filters as the checkout does, aside from these files.

    own: what they hold; None: they are not there. Links lead to all else. Blocks.
    """
    ground, ways = Ground(root), ways_to(own)
    for way in ("", *sorted(ways)):  # a folder before what it holds
        (folder / way).mkdir()
        if way and not ground.is_folder(way):
            continue
        for name in os.listdir(root / way):
            path = f"{way}/{name}" if way else name
            if path in ways or path in own or path == ".git":
                continue
            if name != ATTRIBUTES:
                (folder / path).symlink_to(root / path)
            elif (root / path).is_file() and not (root / path).is_symlink():  # git follows no link to attributes
                (folder / path).write_bytes(read_regular(root / path))
    for path, content in own.items():
        if content is not None:
            (folder / path).write_bytes(content)


def _unknown(root: Path, why: str) -> GitError:
    message = f"What git writes into {root} could not be found out, since attributes change there: {why}."
    return GitError(message, ("cat-file",), None, why.encode())
