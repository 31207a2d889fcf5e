"""Errors of projects, cards, agents, the queue and sessions."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from agentpane.api.commands import AddTask, CancelTask, EditTask, GetTask, ListProjects, ListTasks
from agentpane.domain.policy import Policy
from agentpane.domain.runs import QUEUE_CAP, RunStatus
from agentpane.errors import ErrorCode
from tests.backends.wire import Failure
from tests.cli.conftest import Outcome, git
from tests.outside.provoking import Act, Found, approval, provokes, refusal, run, running, tool_result
from tests.outside.stage import GREETING, Stage, until


@provokes(ErrorCode.PROJECT_NOT_FOUND, 3)
def _(stage: Stage) -> Act:
    return refusal(stage, "project", "show", "no such project")


@provokes(ErrorCode.PROJECT_PATH_EXISTS, 3)
def _(stage: Stage) -> Act:
    repo = stage.repository()
    stage.task(repo)
    return refusal(stage, "project", "add", str(repo))


@provokes(ErrorCode.PROJECT_PATH_INVALID, 3)
def _(stage: Stage) -> Act:
    return refusal(stage, "project", "add", str(stage.place / "nowhere"))


@provokes(ErrorCode.PROJECT_NOT_A_GIT_REPO, 3)
def _(stage: Stage) -> Act:
    plain = stage.place / "plain"
    plain.mkdir()
    (plain / "notes.txt").write_text("kept\n")
    return Act(
        lambda: stage.pane("project", "add", str(plain), "--json"),
        lambda: [path.name for path in plain.iterdir()],
    )


@provokes(ErrorCode.PROJECT_EMPTY_REPO, 3)
def _(stage: Stage) -> Act:
    empty = stage.place / "empty"
    empty.mkdir()
    git(empty, "init", "-q")
    return Act(
        lambda: stage.pane("project", "add", str(empty), "--json"),
        lambda: git(empty, "for-each-ref"),
    )


@provokes(ErrorCode.PROJECT_HAS_RUNNING_AGENTS, 3)
def _(stage: Stage) -> Act:
    repo = stage.repository()
    stage.working(stage.task(repo))
    return refusal(stage, "project", "remove", str(repo))


@provokes(ErrorCode.PROJECT_CONFIG_INVALID, 3)
def _(stage: Stage) -> Act:
    repo = stage.repository({".agentpane/config.toml": "env_file = 3\n"})
    return refusal(stage, "project", "add", str(repo))


@provokes(ErrorCode.PROJECT_NOT_TRUSTED, 6)
def _(stage: Stage) -> Act:
    """The doctor says what waits for trust; everything else works meanwhile."""
    repo = stage.repository({".agentpane/config.toml": 'init_script = "make"\n'})
    stage.task(repo)

    def finding(outcome: Outcome) -> Found:
        (found,) = [each for each in outcome.document["findings"] if each["where"] == str(repo)]
        return Found(found["code"], found["what"], found["fix"])

    return Act(lambda: stage.pane("doctor", "--json"), stage.everything, finding)


@provokes(ErrorCode.TASK_NOT_FOUND, 3)
def _(stage: Stage) -> Act:
    return refusal(stage, "task", "show", "nothing")


@provokes(ErrorCode.TASK_NOT_IN_COLUMN, 3)
def _(stage: Stage) -> Act:
    task = stage.task()
    stage.played(task)
    return Act(lambda: stage.asked(EditTask(task, title="Another title")), stage.everything)


@provokes(ErrorCode.TASK_NO_DIFF, 4)
def _(stage: Stage) -> Act:
    return refusal(stage, "diff", stage.task())


@provokes(ErrorCode.TASK_ALREADY_APPROVED, 3)
def _(stage: Stage) -> Act:
    task = stage.task()
    stage.played(task)
    assert stage.pane("approve", task).status == 0
    return approval(stage, task)


@provokes(ErrorCode.TASK_NOT_WAITING_APPROVAL, 3)
def _(stage: Stage) -> Act:
    return refusal(stage, "reject", stage.task(), "--reason", "Not like this.")


@provokes(ErrorCode.TASK_INVALID_TRANSITION, 3)
def _(stage: Stage) -> Act:
    return refusal(stage, "task", "move", stage.task(), "verified")


@provokes(ErrorCode.AGENT_NOT_FOUND, 3)
def _(stage: Stage) -> Act:
    return refusal(stage, "run", stage.task(), "--agent", "nobody")


@provokes(ErrorCode.AGENT_ALREADY_RUNNING, 3)
def _(stage: Stage) -> Act:
    task = stage.task()
    stage.working(task)
    return refusal(stage, "run", task)


@provokes(ErrorCode.AGENT_NOT_RUNNING, 3)
def _(stage: Stage) -> Act:
    return refusal(stage, "resume", stage.task())


@provokes(ErrorCode.AGENT_TURN_LIMIT, 4)
def _(stage: Stage) -> Act:
    """A run that may take one turn more, and would need two."""
    task = stage.task()
    server = stage.model(GREETING)
    stage.start(task, stage.model([Failure(401, "authentication_error", "no such key")]))
    assert stage.settled(task).runs[-1].status is RunStatus.PAUSED
    return Act(lambda: stage.pane("resume", task, "--turns", "1", "--json", env=server.environment), stage.own, running)


@provokes(ErrorCode.BUDGET_REACHED, 4)
def _(stage: Stage) -> Act:
    """A run that may use 10 tokens, and uses more with its first request."""
    task = stage.task()
    card = stage.do(GetTask(task)).card
    assert stage.pane("budget", card.project_id, "--run-tokens", "10").status == 0
    return run(stage, task, stage.model(GREETING))


@provokes(ErrorCode.AGENT_TOOL_NOT_ALLOWED, 4)
def _(stage: Stage) -> Act:
    task = stage.task()
    server = stage.model(GREETING)
    return Act(
        lambda: stage.pane("run", task, "--policy", "deny", "--json", env=server.environment),
        stage.own,
        tool_result(stage, task),
    )


@provokes(ErrorCode.AGENT_BACKEND_MISSING, 4, alone=True)
def _(stage: Stage) -> Act:
    """An engine whose anthropic package cannot be imported."""
    broken = stage.place / "broken"
    (broken / "anthropic").mkdir(parents=True)
    (broken / "anthropic" / "__init__.py").write_text("raise ImportError('this package is broken')\n")
    stage.pane.environment["PYTHONPATH"] = str(broken)
    assert stage.pane("project", "list").status == 0  # the engine is started with that path
    task = stage.task()
    server = stage.model(GREETING)
    return Act(lambda: stage.pane("run", task, "--json", env=server.environment), stage.own, running)


@provokes(ErrorCode.AGENT_EXECUTION_ERROR, 4, alone=True)
def _(stage: Stage) -> Act:
    """The demo's card is cancelled under it."""

    def demo() -> Outcome:
        command = stage.pane.start("demo", "--headless", "--json")

        def working() -> str | None:
            for project in stage.do(ListProjects()):
                for card in stage.do(ListTasks(project.id)):
                    if card.run is not None and card.run.status is RunStatus.RUNNING:
                        return card.id
            return None

        stage.do(CancelTask(until(working)))
        out, err = command.communicate(timeout=60)
        return Outcome(command.returncode, out, err.decode())

    return Act(demo, stage.everything)


@provokes(ErrorCode.QUEUE_FULL, 3, alone=True)
def _(stage: Stage) -> Act:
    stage.pane.environment["AGENTPANE_IDLE_S"] = "60"
    task = stage.task()
    project = stage.do(GetTask(task)).card.project_id
    server = stage.working(task)
    for number in range(QUEUE_CAP + 2):
        stage.do(AddTask(project, f"Card {number}", start=True, environment=server.environment))
    last = stage.do(AddTask(project, "One too many")).card.id
    until(lambda: [card.run.status for card in stage.do(ListTasks(project)) if card.run].count(RunStatus.RUNNING) == 3)
    return Act(lambda: stage.pane("run", last, "--json", env=server.environment), stage.everything)


@provokes(ErrorCode.SESSION_NOT_FOUND, 3)
def _(stage: Stage) -> Act:
    return refusal(stage, "session", "show", stage.task())


@provokes(ErrorCode.SESSION_CLOSED, 3, alone=True)
def _(stage: Stage) -> Act:
    """A session that was closed while its card still waits for an answer."""
    task = stage.task()
    stage.played(task, GREETING, Policy.CAREFUL)
    assert stage.pane("engine", "stop").status == 0
    with closing(sqlite3.connect(stage.pane.folder.database)) as database, database:
        database.execute("UPDATE sessions SET is_active = 0, closed_at = updated_at")
    return refusal(stage, "answer", task, "Go on.")


@provokes(ErrorCode.VALIDATION_ERROR, 2)
def _(stage: Stage) -> Act:
    repo = stage.repository()
    stage.task(repo)
    return refusal(stage, "task", "add", str(repo), "x" * 201)
