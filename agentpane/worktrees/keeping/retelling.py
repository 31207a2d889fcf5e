"""What a recovery snapshot keeps besides files, read from the snapshot where nothing else remembers it.

The commits beside its files say in their messages what they are; see `recovery` and `record_commits`.
"""

from __future__ import annotations

from agentpane.domain.diff import decode_path, split_z
from agentpane.domain.recoveries import Beside
from agentpane.worktrees.git.runner import GitError, GitRunner
from agentpane.worktrees.keeping.histories import BUNDLED, CLOSED, PARTLY, SUFFIX, Histories
from agentpane.worktrees.keeping.record_commits import ALONE
from agentpane.worktrees.keeping.recovery import STAGED, told_beside
from agentpane.worktrees.places import objects_of
from agentpane.worktrees.values import Repository


async def beside_of(git: GitRunner, repo: Repository, recovery: str, began: str | None) -> Beside:
    """What the snapshot keeps besides files; nothing where git cannot read it.

    began: the commit that the worktree was made at.
    """
    try:
        return await _beside(git, repo, recovery, began)
    except GitError:
        return Beside()


async def _beside(git: GitRunner, repo: Repository, recovery: str, began: str | None) -> Beside:
    parents, message = await _commit(git, repo, recovery)
    tips: list[str] = []
    staged = histories = 0
    for number, sha in enumerate(parents, 1):
        above, words = await _commit(git, repo, sha)
        if number > 1 and words == STAGED:
            staged = number
        elif number > 1 and words == BUNDLED:
            histories = number
        elif number > 1 and words.startswith(ALONE):
            tips += await _batches(git, repo, above)
        else:
            tips.append(sha)
    lines = message.decode("utf-8", "replace").split("\n")
    closed, partly = (
        tuple(line.removeprefix(start) for line in lines if line.startswith(start)) for start in (CLOSED, PARTLY)
    )
    names = await _bundles(git, repo, parents[histories - 1]) if histories else ()
    inside_it = Histories(None, closed, partly, names)
    return await told_beside(git, repo, parents[0] if parents else "", tips, began, (staged, histories), inside_it)


async def _commit(git: GitRunner, repo: Repository, sha: str) -> tuple[list[str], bytes]:
    """A commit's parents and its message."""
    head, _, message = (await git.run(objects_of(repo), "cat-file", "commit", sha)).stdout.partition(b"\n\n")
    return [line[7:].decode("ascii") for line in head.split(b"\n") if line.startswith(b"parent ")], message


async def _batches(git: GitRunner, repo: Repository, parents: list[str]) -> list[str]:
    """The commits that only a record named: the parents, the first of which may have more of them as its own."""
    found: list[str] = []
    while parents:
        above, words = await _commit(git, repo, parents[0])
        more = words.startswith(ALONE)
        found += parents[1:] if more else parents
        parents = above if more else []
    return found


async def _bundles(git: GitRunner, repo: Repository, sha: str) -> tuple[str, ...]:
    listed = await git.run(objects_of(repo), "ls-tree", "-r", "-z", "--name-only", sha)
    return tuple(sorted(decode_path(name).removesuffix(SUFFIX) for name in split_z(listed.stdout)))
