"""The documents of `--json` have exactly the fields that scripts were promised."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from agentpane.cli import shapes, words
from agentpane.cli.standing import standing
from agentpane.domain.audit import AuditFault, AuditVerdict
from agentpane.domain.board import Column
from agentpane.domain.conflicts import Conflict, LineRange, Overlap, OverlapKind
from agentpane.domain.engine import EngineStatus
from agentpane.domain.health import DoctorReport, Finding
from agentpane.domain.ids import AgentId, ProjectId, RunId, TaskId
from agentpane.domain.projects import Project, ProjectConfig
from agentpane.domain.resolving import Resolver, Resolving, Stage
from agentpane.domain.review import ApproveOutcome, ApproveResult, DiffSummary, FileDiff
from agentpane.domain.runs import PauseReason, Run, RunError, RunStatus
from agentpane.domain.sessions import EventKind, SessionEvent
from agentpane.domain.tasks import RunBrief, Task, TaskCard
from agentpane.errors import AgentPaneError, ErrorCode
from tests.bare import AT, bare_card, bare_task

NOT_UTF8 = b"caf\xe9.txt"


def card(**changes: Any) -> TaskCard:
    agent: dict[str, Any] = {"agent_id": AgentId("agent1"), "agent": "Claude"}
    return replace(bare_card(labels=("bug",), column=Column.IN_PROGRESS, **agent), **changes)


def run(status: RunStatus, error: RunError | None = None, pause: PauseReason | None = None) -> Run:
    return Run(
        id=RunId("run1"),
        task_id=TaskId("task1"),
        agent_id=AgentId("agent1"),
        agent="Claude",
        backend="anthropic",
        model="m",
        status=status,
        turns=2,
        turn_limit=50,
        input_tokens=10,
        output_tokens=20,
        cost_usd=None,
        queued_at=AT,
        started_at=AT,
        ended_at=None,
        pause_reason=pause,
        sandbox_tier="A",
        error=error,
    )


def task(*runs: Run, **changes: Any) -> Task:
    return bare_task(
        card(**changes),
        description="Please.",
        branch="agentpane/fix-it-abc123",
        base_sha="a" * 40,
        worktree="/repo/.worktrees/fix-it",
        runs=runs,
    )


def test_a_task() -> None:
    error = RunError("BACKEND_UNAVAILABLE", "It is down.", "Wait.")
    assert shapes.task(task(run(RunStatus.ERROR, error))) == {
        "id": "task1",
        "project_id": "project1",
        "title": "Fix it",
        "description": "Please.",
        "labels": ["bug"],
        "column": "in_progress",
        "position": 0,
        "archived_at": None,
        "agent": "Claude",
        "branch": "agentpane/fix-it-abc123",
        "base_branch": "main",
        "base_sha": "a" * 40,
        "worktree": "/repo/.worktrees/fix-it",
        "snapshot": None,
        "files_changed": None,
        "lines_added": None,
        "lines_removed": None,
        "rejection_count": 0,
        "merge_commit": None,
        "code": "BACKEND_UNAVAILABLE",
        "conflicts": [],
        "overlaps": [],
        "resolving": None,
        "checks": [],
        "session_id": None,
        "runs": [
            {
                "id": "run1",
                "agent": "Claude",
                "backend": "anthropic",
                "status": "error",
                "turns": 2,
                "input_tokens": 10,
                "output_tokens": 20,
                "cost_usd": None,
                "started_at": "2026-11-01T12:00:00+00:00",
                "ended_at": None,
                "error": {"code": "BACKEND_UNAVAILABLE", "message": "It is down.", "hint": "Wait."},
            }
        ],
    }


def test_what_stands_in_the_way_of_a_card_in_json_and_in_words() -> None:
    conflicts = (
        Conflict("a.py", "contents", (LineRange(5, 1),), (LineRange(4, 3), LineRange(9, 0))),
        Conflict("odd\udcff\n", "modify/delete", (), (LineRange(0, 0), LineRange(2, 1))),
        Conflict("x.png", "binary"),
    )
    overlaps = (
        Overlap(TaskId("task2"), "Other\n\x1b", "a.py", (LineRange(4, 3),), clashes=True),
        Overlap(TaskId("task3"), "Third", "gone", (), OverlapKind.DELETED),
        *(Overlap(TaskId("task4"), "Many", f"f{number}", (LineRange(1, 1),)) for number in range(40)),
    )
    value = task(conflicts=conflicts, overlaps=overlaps)
    shape = shapes.task(value)
    assert shape["conflicts"][0] == {
        "path": "a.py",
        "kind": "contents",
        "target_lines": [{"start": 5, "count": 1}],
        "card_lines": [{"start": 4, "count": 3}, {"start": 9, "count": 0}],
    }
    assert (shape["conflicts"][1]["path"], shape["conflicts"][1]["path_b64"]) == ("odd\\xff\\n", "b2Rk/wo=")
    assert shape["overlaps"][0] == {
        "task_id": "task2",
        "title": "Other\n\x1b",
        "path": "a.py",
        "kind": "lines",
        "clashes": True,
        "lines": [{"start": 4, "count": 3}],
    }
    assert len(shape["overlaps"]) == 42
    assert standing(value) == [
        "Conflicts with main as it is:",
        "  a.py (contents): main has changed line 5, this card lines 4–6, behind 9",
        "  odd\\xff\\n (modify/delete): this card lines before 1, 2",
        "  x.png (binary)",
        "Other cards at the same places:",
        "  a.py, lines 4–6, is edited at the same place by “Other ␛” (task2); git cannot merge the two by itself",
        "  gone is deleted by one card and edited by the other: “Third” (task3)",
        *(f"  f{number}, line 1, is edited at the same place by “Many” (task4)" for number in range(38)),
        "  and 2 more; --json has them all",
    ]
    assert all(row in words.task(value) for row in standing(value))


def test_a_cards_own_code_goes_before_that_of_its_run() -> None:
    assert shapes.task(task(run(RunStatus.COMPLETED), code="TASK_NO_DIFF"))["code"] == "TASK_NO_DIFF"


def test_a_diff_shows_a_path_that_is_not_utf_8_with_escapes_and_exactly() -> None:
    path = NOT_UTF8.decode("utf-8", "surrogateescape")
    summary = DiffSummary(
        "a",
        "b",
        (FileDiff(path, None, "A", 1, 0, False, "000000", "120000", "/etc"), FileDiff("x", "y", "R", None, None, True)),
        "",
        (f"{'f' * 40} a wrong turn",),
        True,
    )
    shape = shapes.diff(summary)
    assert (shape["commits"], shape["more_commits"]) == ([{"sha": "f" * 40, "subject": "a wrong turn"}], True)
    assert shape["files"] == [
        {
            "path": "caf\\xe9.txt",
            "path_b64": base64.b64encode(NOT_UTF8).decode(),
            "old_path": None,
            "status": "A",
            "added": 1,
            "removed": 0,
            "binary": False,
            "old_mode": "000000",
            "new_mode": "120000",
            "target": "/etc",
            "notes": ["leads outside", "new symbolic link → /etc"],
        },
        {
            "path": "x",
            "old_path": "y",
            "status": "R",
            "added": None,
            "removed": None,
            "binary": True,
            "old_mode": "",
            "new_mode": "",
            "target": None,
            "notes": [],
        },
    ]
    assert (shape["base"], shape["snapshot"]) == ("a", "b")
    json.dumps(shape).encode("ascii")


def test_what_approving_did() -> None:
    outcome = ApproveOutcome("task1", ApproveResult.CONFLICTED, None, ("a.txt",), "MERGE_CONFLICT", "m", "h")
    assert shapes.approve(outcome) == {
        "task_id": "task1",
        "result": "conflicted",
        "merge_commit": None,
        "paths": ["a.txt"],
        "code": "MERGE_CONFLICT",
    }


def test_a_project_an_event_a_verdict_a_report_a_status_and_an_error() -> None:
    project = Project(ProjectId("p"), "shop", "/shop", "", "main", True, (), False, 3, ProjectConfig(), AT)
    assert shapes.project(project) == {
        "id": "p",
        "name": "shop",
        "path": "/shop",
        "base_branch": "main",
        "trusted": True,
    }
    assert shapes.event(SessionEvent(1, AT, EventKind.TEXT, 2, RunId("r"), {"text": "hi"})) == {
        "seq": 1,
        "at": "2026-11-01T12:00:00+00:00",
        "kind": "text",
        "turn": 2,
        "run_id": "r",
        "data": {"text": "hi"},
    }
    assert shapes.audit_verdict(AuditVerdict(False, 3, AuditFault("p", 2, "changed"))) == {
        "ok": False,
        "entries": 3,
        "first_bad": {"project_id": "p", "number": 2, "what": "changed"},
    }
    assert shapes.doctor(DoctorReport(False, (Finding("C", "w", "here", "f"),), "A", {"git": "2.39"})) == {
        "ok": False,
        "findings": [
            {
                "code": "C",
                "what": "w",
                "where": "here",
                "fix": "f",
                "id": "",
                "size_bytes": None,
                "repairable": False,
                "notice": False,
                "project_id": None,
            }
        ],
        "sandbox_tier": "A",
        "versions": {"git": "2.39"},
        "repairs": [],
        "recoveries": {"count": 0, "size_bytes": 0},
    }
    assert shapes.engine_status(EngineStatus(True, 7, "1", 2, 3, "why")) == {
        "running": True,
        "pid": 7,
        "version": "1",
        "clients": 2,
        "runs": 3,
    }
    assert shapes.error(AgentPaneError(ErrorCode.QUEUE_FULL, "m", "h", {"n": 1})) == {
        "error": {"code": "QUEUE_FULL", "message": "m", "hint": "h", "details": {"n": 1}}
    }


@pytest.mark.parametrize("reason", PauseReason)
def test_a_pause_tells_what_to_do_next(reason: PauseReason) -> None:
    paused = task(run(RunStatus.PAUSED, pause=reason))
    assert "task1" in words.outcome(paused) or reason is PauseReason.APPROVAL


def test_a_run_that_ends_without_a_change_tells_what_to_do_next() -> None:
    assert "has changed nothing" in words.outcome(task(run(RunStatus.COMPLETED), code="TASK_NO_DIFF"))
    conflict = Resolving("main", Resolver.AGENT, Stage.WRITTEN, ())
    told = words.outcome(task(run(RunStatus.COMPLETED), code="TASK_NO_DIFF", resolving=conflict))
    assert "nothing of the card is left" in told and "agentpane resolve task1 --abandon" in told


def test_a_list_says_how_a_card_stands_not_what_kept_it_from_being_merged_once() -> None:
    refused = card(column=Column.WAITING_APPROVAL, code="MERGE_CHECKOUT_DIRTY")
    assert words.run_state(refused) == "waits for you"
    assert words.run_state(replace(refused, column=Column.VERIFIED)) == "merged"
    ended = RunBrief(RunStatus.COMPLETED, 1, 50, None, AT, AT, None, None, None, None, None)
    assert words.run_state(card(run=ended, code="TASK_NO_DIFF")) == "changed nothing"


def test_control_characters_of_a_model_are_made_visible() -> None:
    event = SessionEvent(1, AT, EventKind.TEXT, 1, None, {"text": "safe\x1b]0;evil\x07\u202e"})
    told = words.event(event)
    assert told is not None
    assert "\x1b" not in told and "\x07" not in told and "\u202e" not in told


@pytest.mark.parametrize("kind", EventKind)
def test_an_event_of_any_kind_with_unexpected_data_is_told_without_a_failure(kind: EventKind) -> None:
    words.event(SessionEvent(1, AT, kind, 1, None, {"text": 5, "input": "no mapping", "name": None}))
    words.event(SessionEvent(1, AT, kind, 1, None, {}))
