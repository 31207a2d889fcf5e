"""Errors of worktrees, merges, models and tools: what may go wrong while a card is worked on."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from agentpane.api.commands import GetTask
from agentpane.domain.policy import Policy
from agentpane.errors import ErrorCode
from tests.backends.wire import Answer, Failure, Reply, say, use
from tests.cli.conftest import git
from tests.outside.provoking import Act, approval, provokes, refusal, run, tool_result
from tests.outside.stage import GREETING, Stage

EDIT = ((use("Read", file_path="a.txt"),), (use("Write", file_path="a.txt", content="theirs\n"),), (say("Done."),))


def worktree(stage: Stage, task: str) -> Path:
    path = stage.do(GetTask(task)).worktree
    assert path is not None
    return Path(path)


@provokes(ErrorCode.WORKTREE_CREATION_FAILED, 4)
def _(stage: Stage) -> Act:
    """A file lies where the folder of worktrees belongs."""
    repo = stage.repository()
    (repo / ".worktrees").write_text("mine\n")
    return run(stage, stage.task(repo), stage.model(GREETING))


@provokes(ErrorCode.WORKTREE_NOT_FOUND, 3)
def _(stage: Stage) -> Act:
    task = stage.task()
    stage.played(task, GREETING, Policy.CAREFUL)
    shutil.rmtree(worktree(stage, task))
    return refusal(stage, "resume", task, "--finish")


@provokes(ErrorCode.WORKTREE_REMOVAL_FAILED, 6)
def _(stage: Stage) -> Act:
    """The folder of worktrees was moved, and a link left in its place: deleting would go by the link."""
    repo = stage.repository()
    task = stage.task(repo)
    stage.played(task)
    (repo / ".worktrees").rename(stage.place / "moved")
    (repo / ".worktrees").symlink_to(stage.place / "moved")
    files = sorted((stage.place / "moved").rglob("*"))
    return Act(
        lambda: stage.pane("cancel", task, "--yes", "--json"),
        lambda: [stage.own(), stage.board(), [path for path in files if path.exists()]],
    )


@provokes(ErrorCode.WORKTREE_ENV_COPY_FAILED, 4)
def _(stage: Stage) -> Act:
    """The env file to copy is a link out of the repository."""
    repo = stage.repository({".agentpane/config.toml": 'env_file = ".env"\n', ".gitignore": ".env\n"})
    (stage.place / "private").write_text("TOKEN=1\n")
    (repo / ".env").symlink_to(stage.place / "private")
    return run(stage, stage.task(repo, trust=True), stage.model(GREETING))


@provokes(ErrorCode.WORKTREE_INIT_SCRIPT_FAILED, 4)
def _(stage: Stage) -> Act:
    repo = stage.repository({".agentpane/config.toml": 'init_script = "echo no such luck; exit 3"\n'})
    return run(stage, stage.task(repo, trust=True), stage.model(GREETING))


@provokes(ErrorCode.WORKTREE_NESTED_REPO, 4)
def _(stage: Stage) -> Act:
    made = use("Bash", command="mkdir inner && cd inner && git init -q . && echo work > kept.txt")
    return run(stage, stage.task(), stage.model([[made], [say("Done.")]]), "--policy", "free")


@provokes(ErrorCode.MERGE_CONFLICT, 5)
def _(stage: Stage) -> Act:
    repo = stage.repository()
    task = stage.task(repo)
    stage.played(task, EDIT)
    (repo / "a.txt").write_text("ours\n")
    git(repo, "commit", "-q", "-a", "-m", "ours")
    return approval(stage, task)


@provokes(ErrorCode.MERGE_BASE_MOVED, 3)
def _(stage: Stage) -> Act:
    """The branch was rewound to before the work began."""
    repo = stage.repository()
    (repo / "b.txt").write_text("second\n")
    git(repo, "add", "b.txt")
    git(repo, "commit", "-q", "-m", "second")
    task = stage.task(repo)
    stage.played(task)
    git(repo, "reset", "-q", "--hard", "HEAD~1")
    return approval(stage, task)


@provokes(ErrorCode.MERGE_CHECKOUT_DIRTY, 3)
def _(stage: Stage) -> Act:
    repo = stage.repository()
    task = stage.task(repo)
    stage.played(task, EDIT)
    (repo / "a.txt").write_text("not committed\n")
    return approval(stage, task)


@provokes(ErrorCode.MERGE_UNDO_IMPOSSIBLE, 3)
def _(stage: Stage) -> Act:
    """The branch has gone on from the merge in the same lines."""
    repo = stage.repository()
    task = stage.task(repo)
    stage.played(task, EDIT)
    assert stage.pane("approve", task).status == 0
    (repo / "a.txt").write_text("gone on\n")
    git(repo, "commit", "-q", "-a", "-m", "gone on")
    return refusal(stage, "undo", task)


@provokes(ErrorCode.MERGE_REVIEW_STALE, 3)
def _(stage: Stage) -> Act:
    task = stage.task()
    stage.played(task)
    return approval(stage, task, "--sha", "0123456789")


@provokes(ErrorCode.MERGE_CHECKS_FAILED, 3)
def _(stage: Stage) -> Act:
    """What the repository wants of every merge does not hold for this one."""
    red = '[[checks]]\nname = "tests"\nrun = "echo they are red; exit 2"\n'
    task = stage.task(stage.repository({"a.txt": "one\n", ".agentpane/config.toml": red}), trust=True)
    stage.played(task)
    return approval(stage, task)


@provokes(ErrorCode.RESOURCE_LOCKED, 3)
def _(stage: Stage) -> Act:
    """Another git command is at work in the person's checkout."""
    repo = stage.repository()
    task = stage.task(repo)
    stage.played(task)
    (repo / ".git" / "index.lock").touch()
    return approval(stage, task)


@provokes(ErrorCode.BACKEND_AUTH, 4)
def _(stage: Stage) -> Act:
    """Nobody has given a key."""
    return refusal(stage, "run", stage.task())


@provokes(ErrorCode.BACKEND_RATE_LIMITED, 4)
def _(stage: Stage) -> Act:
    """For ever; the server asks to be tried again at once."""
    limited = Failure(429, "rate_limit_error", "slow down", {"retry-after": "0"})
    return run(stage, stage.task(), stage.model(script=lambda number, body: limited))


@provokes(ErrorCode.BACKEND_UNAVAILABLE, 4)
def _(stage: Stage) -> Act:
    """Nobody listens at the address."""
    server = stage.model()
    server.__exit__(None, None, None)
    stage.things.pop_all()
    return run(stage, stage.task(), server)


@provokes(ErrorCode.BACKEND_PROTOCOL, 4)
def _(stage: Stage) -> Act:
    """An answer that ends for a reason nobody knows."""
    strange = Answer([say("Well.")], stop_reason="bored")
    return run(stage, stage.task(), stage.model([strange]))


@provokes(ErrorCode.BACKEND_REFUSED, 4)
def _(stage: Stage) -> Act:
    return run(stage, stage.task(), stage.model([Answer([say("No.")], stop_reason="refusal")]))


@provokes(ErrorCode.BACKEND_CONTEXT_FULL, 4)
def _(stage: Stage) -> Act:
    full = Failure(400, "invalid_request_error", "prompt is too long: 300000 tokens > 200000 maximum")
    return run(stage, stage.task(), stage.model([full]))


@provokes(ErrorCode.SECURITY_PATH_OUTSIDE_WORKTREE, 4)
def _(stage: Stage) -> Act:
    """A file tool is asked to write outside of the worktree: refused to the agent, nothing written."""
    task = stage.task()
    outside = stage.place / "outside.txt"
    server = stage.model([[use("Write", file_path=str(outside), content="x")], [say("Done.")]])
    return Act(
        lambda: stage.pane("run", task, "--json", env=server.environment),
        lambda: [stage.own(), outside.exists()],
        tool_result(stage, task),
    )


@provokes(ErrorCode.SECURITY_SANDBOX_UNAVAILABLE, 4)
def _(stage: Stage) -> Act:
    """The worktree goes away under its agent, so that there is nothing to confine a command to."""
    repo = stage.repository()
    task = stage.task(repo)

    def script(number: int, body: Mapping[str, object]) -> Reply:
        if number == 0:
            shutil.rmtree(repo / ".worktrees")
            return Answer([use("Bash", command="echo x > x.txt")])
        return Answer([say("Done.")])

    server = stage.model(script=script)
    return Act(lambda: stage.pane("run", task, "--json", env=server.environment), stage.own, tool_result(stage, task))
