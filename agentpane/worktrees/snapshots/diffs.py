"""The difference between two commits: its files, its size, and git's own patch as a stream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace

from agentpane.domain.diff import DiffStat, FileChange, decode_path, parse_numstat, parse_raw_numstat, total
from agentpane.domain.filemodes import LINK, LINK_LIMIT
from agentpane.worktrees.git.runner import GitRunner
from agentpane.worktrees.places import differences_of
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
    """The files that differ, with renames found, lines counted and links read, in git's order."""
    shape = ("--raw", "--numstat", "-z", "--no-abbrev")
    output = await git.run(differences_of(repo), "diff", *_PLAIN, *shape, base, snapshot, "--", config=_CONFIG)
    changes = parse_raw_numstat(output.stdout)
    links = {change.new_sha for change in changes if change.new_mode == LINK}
    targets = await _read_links(git, repo, sorted(links)) if links else {}
    return tuple(replace(change, target=targets.get(change.new_sha)) for change in changes)


async def _read_links(git: GitRunner, repo: Repository, blobs: Sequence[str]) -> Mapping[str, str]:
    """The targets of these symbolic links, without those that are longer than any link can be."""
    place = differences_of(repo)
    sizes = await git.run(place, "cat-file", "--batch-check=%(objectname) %(objectsize)", stdin=_lines(blobs))
    named = (line.split(" ") for line in sizes.stdout.decode("ascii", "replace").splitlines())
    short = [name for name, size in named if size.isdigit() and int(size) <= LINK_LIMIT]
    found = (await git.run(place, "cat-file", "--batch=%(objectsize)", stdin=_lines(short))).stdout
    targets: dict[str, str] = {}
    at = 0
    for name in short:  # each one is `SIZE\nTARGET\n`
        start = found.index(b"\n", at) + 1
        end = start + int(found[at:start])
        targets[name] = decode_path(found[start:end])
        at = end + 1
    return targets


def _lines(names: Sequence[str]) -> bytes:
    return "".join(f"{name}\n" for name in names).encode("ascii")


async def diff_stat(git: GitRunner, repo: Repository, base: str, snapshot: str) -> DiffStat:
    """How many files differ, and by how many lines."""
    output = await git.run(
        differences_of(repo), "diff", *_PLAIN, "--numstat", "-z", base, snapshot, "--", config=_CONFIG
    )
    return total(parse_numstat(output.stdout))


def diff_patch(
    git: GitRunner, repo: Repository, base: str, snapshot: str, paths: tuple[str, ...] = (), context: int = 3
) -> AsyncIterator[bytes]:
    """Git's patch, byte for byte, in pieces as it comes; of all files unless `paths` names some.

    To show one renamed file give both of its paths.
    """
    shape = ("--patch", f"--unified={context}")
    return git.stream(differences_of(repo), "diff", *_PLAIN, *shape, base, snapshot, "--", *paths, config=_CONFIG)
