"""The difference between two commits: its files, its size, and git's own patch as a stream."""

from __future__ import annotations

from collections.abc import AsyncIterator

from agentpane.domain.diff import DiffStat, FileChange, parse_numstat, parse_raw_numstat, total
from agentpane.worktrees.git import GitRunner
from agentpane.worktrees.places import checkout_of
from agentpane.worktrees.values import Repository

# What `git diff` does by itself, whatever the person has configured for their own eyes. A changed submodule pointer
# is part of a commit and is shown: `--ignore-submodules=all` would hide it from review and merge it all the same.
_PLAIN = (
    "--no-ext-diff",
    "--no-textconv",
    "--ignore-submodules=none",
    "--submodule=short",
    "--no-color",
    "--no-relative",
    "--find-renames",
    "--diff-algorithm=default",
    "--src-prefix=a/",
    "--dst-prefix=b/",
    "--inter-hunk-context=0",
    "--output-indicator-new=+",
    "--output-indicator-old=-",
    "--output-indicator-context= ",
    "-O/dev/null",
)
_CONFIG = {"diff.suppressBlankEmpty": "false", "core.quotePath": "true"}


async def diff_files(git: GitRunner, repo: Repository, base: str, snapshot: str) -> tuple[FileChange, ...]:
    """The files that differ, with renames found and lines counted, in git's order."""
    shape = ("--raw", "--numstat", "-z", "--no-abbrev")
    output = await git.run(checkout_of(repo), "diff", *_PLAIN, *shape, base, snapshot, "--", config=_CONFIG)
    return parse_raw_numstat(output.stdout)


async def diff_stat(git: GitRunner, repo: Repository, base: str, snapshot: str) -> DiffStat:
    """How many files differ, and by how many lines."""
    output = await git.run(checkout_of(repo), "diff", *_PLAIN, "--numstat", "-z", base, snapshot, "--", config=_CONFIG)
    return total(parse_numstat(output.stdout))


def diff_patch(
    git: GitRunner, repo: Repository, base: str, snapshot: str, paths: tuple[str, ...] = (), context: int = 3
) -> AsyncIterator[bytes]:
    """Git's patch, byte for byte, in pieces as it comes; of all files unless `paths` names some.

    To show one renamed file give both of its paths.
    """
    shape = ("--patch", f"--unified={context}")
    return git.stream(checkout_of(repo), "diff", *_PLAIN, *shape, base, snapshot, "--", *paths, config=_CONFIG)
