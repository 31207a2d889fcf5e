"""How an error's code is provoked: what prepares it, the act that meets it, and what must be as it was afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agentpane.api.commands import GetTask
from agentpane.domain.sessions import EventKind
from agentpane.errors import ErrorCode
from tests.backends.wire import ScriptedServer
from tests.cli.conftest import Outcome
from tests.outside.stage import Stage


@dataclass(frozen=True, slots=True)
class Found:
    """An error as whoever gave the command sees it."""

    code: str
    message: str
    hint: str


Read = Callable[[Outcome], Found]


def refused(outcome: Outcome) -> Found:
    """The command itself was refused."""
    assert set(outcome.document) == {"error"}
    error = outcome.document["error"]
    assert set(error) == {"code", "message", "hint", "details"}
    return Found(error["code"], error["message"], error["hint"])


def approving(outcome: Outcome) -> Found:
    """The merge was refused: the outcome in the document, the words on stderr."""
    document = outcome.document
    assert set(document) == {"task_id", "result", "merge_commit", "paths", "code"}
    assert document["result"] in {"refused", "conflicted"} and document["merge_commit"] is None
    told = outcome.stderr.removeprefix(f"{document['code']}: ").strip().splitlines()
    return Found(document["code"], told[0], told[-1] if len(told) > 1 else "")


def running(outcome: Outcome) -> Found:
    """The run came to a halt: the card and its newest run say so."""
    document = outcome.document
    error = document["runs"][-1]["error"]
    assert document["code"] == error["code"]
    return Found(error["code"], error["message"], error["hint"])


@dataclass(frozen=True, slots=True)
class Act:
    """The command to look at. `state` gives what it must leave as it is."""

    do: Callable[[], Outcome]
    state: Callable[[], object]
    read: Read = refused


@dataclass(frozen=True, slots=True)
class Scenario:
    prepare: Callable[[Stage], Act]
    status: int
    alone: bool


def refusal(stage: Stage, *words: str) -> Act:
    """A command that is refused, and nothing at all has changed."""
    return Act(lambda: stage.pane(*words, "--json"), stage.everything)


def run(stage: Stage, task: str, server: ScriptedServer, *words: str) -> Act:
    """A run that comes to a halt, and nothing of the person's has changed."""
    return Act(lambda: stage.pane("run", task, *words, "--json", env=server.environment), stage.own, running)


def approval(stage: Stage, task: str, *words: str) -> Act:
    """An approval that is refused: the card says why and stays where it is, and nothing else changes."""

    def state() -> object:
        found = stage.do(GetTask(task))
        return stage.own(), found.card.column, found.snapshot, found.worktree, found.merge_commit

    return Act(lambda: stage.pane("approve", task, *words, "--json"), state, approving)


def tool_result(stage: Stage, task: str) -> Read:
    """The run's first tool call that was refused: the session and the audit log say why."""

    def read(outcome: Outcome) -> Found:
        results = [event.data for event in stage.events(task) if event.kind is EventKind.TOOL_RESULT]
        told = next(data for data in results if "code" in data)
        project = outcome.document["project_id"]
        entries = stage.pane.json("audit", "list", project)
        logged = next(entry for entry in entries if (entry["output"] or {}).get("code") == told["code"])
        assert logged["tool"] == told["name"] and logged["status"] != "success"
        return Found(str(told["code"]), str(told["content"]), str(told["content"]))

    return read


SCENARIOS: dict[ErrorCode, Scenario] = {}


def provokes(
    code: ErrorCode, status: int, *, alone: bool = False
) -> Callable[[Callable[[Stage], Act]], Callable[[Stage], Act]]:
    """Enter a scenario in the table. `alone`: it needs an engine of its own."""

    def enter(prepare: Callable[[Stage], Act]) -> Callable[[Stage], Act]:
        assert code not in SCENARIOS, code
        SCENARIOS[code] = Scenario(prepare, status, alone)
        return prepare

    return enter
