"""The commits of repositories that lie inside a worktree, of which a recovery otherwise keeps the files alone.

Each is kept as a bundle of what no remote of its own has: `git fetch FILE` and `git clone FILE` read one.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from agentpane.domain.diff import encode_path
from agentpane.worktrees.git import LONG_TIMEOUT, GitError, GitRunner, Place
from agentpane.worktrees.gitfiles import read_line
from agentpane.worktrees.values import Worktree


async def bundled(
    git: GitRunner, place: Place, worktree: Worktree, scratch: Path, paths: Sequence[str]
) -> tuple[str | None, tuple[str, ...]]:
    """Bundle the repositories at these paths.

    Returns a tree that holds `PATH.bundle` for each that has commits of its own, None when none has; and the paths
    of those whose commits could not be read.
    """
    lines: list[bytes] = []
    failed: list[str] = []
    for number, path in enumerate(paths):
        found = await asyncio.to_thread(_git_dir, worktree, path)
        if found is None:
            failed.append(path)
            continue
        file = scratch / f"{number}.bundle"
        try:
            await _bundle(git, found, file)
        except GitError:
            failed.append(path)
            continue
        if file.exists():
            stored = await git.run(place, "hash-object", "-w", "--no-filters", str(file), timeout=LONG_TIMEOUT)
            lines.append(b"100644 %s\t%s.bundle\0" % (stored.line.encode(), encode_path(path)))
    if not lines:
        return None, tuple(failed)
    index = scratch / "bundles"
    await git.run(place, "update-index", "-z", "--index-info", stdin=b"".join(lines), index=index)
    return (await git.run(place, "write-tree", index=index)).line, tuple(failed)


async def _bundle(git: GitRunner, git_dir: Path, file: Path) -> None:
    """Write what no remote has, if that is anything. Raises GitError."""
    theirs = Place(git_dir, git_dir)
    missing = await git.run(theirs, "rev-list", "--count", "--all", "--not", "--remotes")
    if missing.line != "0":
        wanted = ("bundle", "create", "--quiet", str(file), "--all", "--not", "--remotes")
        await git.run(theirs, *wanted, timeout=LONG_TIMEOUT)


def _git_dir(worktree: Worktree, path: str) -> Path | None:
    """The git folder of a repository inside, if it lies in the worktree or in git's own folder of the worktree."""
    pointer = worktree.path / path / ".git"
    if pointer.is_symlink():
        return None
    named = read_line(pointer).removeprefix("gitdir: ")
    # A submodule's leads from where the worktree lay, which is not where it lies when it is on its way out.
    _, module, name = named.partition(f"/worktrees/{worktree.git_dir.name}/modules/")
    leads = worktree.git_dir / "modules" / name if module else pointer.parent / named if named else pointer
    folder = Path(os.path.realpath(leads))
    homes = (os.path.realpath(worktree.path), os.path.realpath(worktree.git_dir / "modules"))
    ours = any(folder.is_relative_to(home) for home in homes)
    # One that borrows the refs of another is a worktree of that one.
    whole = ours and (folder / "HEAD").is_file() and not os.path.lexists(folder / "commondir")
    return folder if whole else None
