"""What lies inside a session: sub-agents in the calls that began them, pictures of results, notes in words."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
from PySide6.QtCore import QBuffer, QIODevice, Qt
from PySide6.QtGui import QImage
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLabel, QPlainTextEdit, QWidget

from agentpane.api import events
from agentpane.domain.json import JsonObject
from agentpane.domain.runs import PauseReason
from agentpane.domain.sessions import EventKind, SessionEvent
from agentpane.ui.parts.markdown import MarkdownView
from agentpane.ui.session.pictures import LARGEST, PictureView, read_picture
from agentpane.ui.session.session_blocks import NoteLine
from agentpane.ui.session.session_notes import note_of
from agentpane.ui.session.transcript import BlockKind, Transcript, outcome
from tests.ui.conftest import Stage, calls

START = datetime(2026, 1, 2, tzinfo=UTC)


def delegate(stage: Stage, task: str, call: str, description: str) -> None:
    given: JsonObject = {"description": description, "prompt": "Do it"}
    stage.engine.say(task, EventKind.TOOL_CALL, {"call_id": call, "name": "Task", "input": given})
    stage.engine.say(task, EventKind.STATE, {"state": "tool_started", "call_id": call})


def test_a_sub_agent_works_inside_the_call_that_began_it(stage: Stage, running: str) -> None:
    delegate(stage, running, "t1", "Find the parser")
    for kind, data in (
        (EventKind.STATE, {"state": "sub_run", "description": "Find the parser", "agent": "scout"}),
        (EventKind.USER_MESSAGE, {"text": "Do it", "from": "agent"}),
        (EventKind.TOOL_CALL, {"call_id": "s1", "name": "Grep", "input": {"pattern": "def parse"}}),
        (EventKind.USAGE, {"known": True, "cost_usd": 0.25}),
        (EventKind.TURN_FINISHED, {"stop_reason": "tool_use"}),
    ):
        stage.engine.say(running, kind, data, run_id="sub1")  # type: ignore[arg-type]
    stage.until(lambda: any(call.block.part for call in calls(stage)))
    (call,) = calls(stage)
    stage.until(lambda: call.accessibleName().endswith("running"))
    assert call.accessibleName() == "Sub-agent Find the parser, scout  ·  1 turn  ·  1 call  ·  $0.25, running"
    QTest.mouseClick(call.findChild(QWidget, "call.open"), Qt.MouseButton.LeftButton)
    assert call.findChild(QWidget, "call.open").accessibleName() == "Hide the call"
    stage.until(lambda: len(calls(stage)) == 2)
    inner = calls(stage)[1]
    assert call.isAncestorOf(inner) and inner.accessibleName() == "Grep def parse, waiting"
    inner.toggle()
    stage.engine.publish(events.SessionDelta(running, 1, "output", "parser.py\n", "s1"))
    output = inner.findChild(QPlainTextEdit, "call.output")
    assert output is not None
    stage.until(lambda: output.toPlainText() == "parser.py\n")
    stage.engine.say(running, EventKind.TEXT, {"text": "It is in **parser.py**."}, run_id="sub1")
    stage.until(lambda: any("parser.py" in view.toPlainText() for view in call.findChildren(MarkdownView)))
    assert not any(view.isVisible() and not call.isAncestorOf(view) for view in stage.window.findChildren(MarkdownView))


def test_what_a_sub_agent_is_asked_leaves_the_agents_own_question_open(stage: Stage, running: str) -> None:
    log = Transcript()
    log.take([event(1, EventKind.QUESTION, {"question": "Which?", "options": []})])
    log.take([event(2, EventKind.STATE, {"state": "sub_run", "description": "d", "agent": "a"}, "sub")])
    log.take([event(3, EventKind.USER_MESSAGE, {"text": "Do it"}, "sub")])
    assert log.question is not None
    log.take([event(4, EventKind.USER_MESSAGE, {"text": "The first"})])
    assert log.question is None


def event(seq: int, kind: EventKind, data: JsonObject, run: str = "r", turn: int = 1) -> SessionEvent:
    return SessionEvent(seq, START + timedelta(seconds=seq), kind, turn, run, data)  # type: ignore[arg-type]


def begun(seq: int, run: str, description: str = "look") -> list[SessionEvent]:
    """A call that a sub-agent carries out, and what the sub-agent says."""
    return [
        event(seq, EventKind.STATE, {"state": "sub_run", "description": description, "agent": run}, run),
        event(seq + 1, EventKind.TEXT, {"text": f"said by {run}"}, run),
    ]


def called(seq: int, call: str) -> SessionEvent:
    return event(seq, EventKind.TOOL_CALL, {"call_id": call, "name": "Task", "input": {"description": "look"}})


def result(seq: int, call: str, run: str) -> SessionEvent:
    data: JsonObject = {"call_id": call, "content": "done", "data": {"run_id": run}}
    return event(seq, EventKind.TOOL_RESULT, data)


def test_two_sub_agents_of_one_description_end_up_in_their_own_calls() -> None:
    log = Transcript()
    log.take([called(1, "c1"), called(2, "c2"), *begun(3, "b"), *begun(5, "a")])
    log.take([result(7, "c1", "a"), result(8, "c2", "b")])
    first, second = log.blocks
    assert first.part is not None and second.part is not None
    assert (first.part.agent, second.part.agent) == ("a", "b")
    assert [block.text for block in first.part.transcript.blocks] == ["said by a"]


def test_the_cost_of_a_sub_agent_holds_that_of_its_own_and_is_unknown_when_one_is() -> None:
    log = Transcript()
    inner: JsonObject = {"call_id": "c2", "name": "Task", "input": {"description": "deeper"}}
    log.take([called(1, "c1"), *begun(2, "outer"), event(4, EventKind.TOOL_CALL, inner, "outer")])
    log.take([event(5, EventKind.USAGE, {"cost_usd": 0.5}, "outer"), *begun(6, "inner", "deeper")])
    log.take([event(8, EventKind.USAGE, {"cost_usd": 0.25}, "inner")])
    outer = log.blocks[0].part
    assert len(log.blocks) == 1 and outer is not None and outer.cost_usd == 0.75
    log.take([event(9, EventKind.USAGE, {"cost_usd": None}, "inner")])
    assert outer.cost_usd is None


def test_a_try_that_is_waited_for_counts_down_until_something_comes(stage: Stage, running: str) -> None:
    data: JsonObject = {"attempt": 2, "of": 10, "wait_s": 30.0, "code": "BACKEND_UNAVAILABLE", "reason": "Overloaded."}
    stage.engine.say(running, EventKind.RETRY, data, at=datetime.now(UTC))
    stage.until(lambda: stage.window.findChildren(NoteLine))
    (line,) = stage.window.findChildren(NoteLine)
    words = line.findChildren(QLabel)
    stage.until(lambda: any("Try 2 of 10" in label.text() and "Next try in" in label.text() for label in words))
    stage.until(lambda: not any("in 30 s" in label.text() for label in words))  # it moves
    stage.engine.say(running, EventKind.TURN_STARTED, {})
    stage.until(lambda: not any("Next try" in label.text() for label in words))


def picture(width: int, height: int) -> bytes:
    image = QImage(width, height, QImage.Format.Format_RGB32)
    image.fill(Qt.GlobalColor.darkGreen)
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    assert image.save(buffer, "PNG")
    return bytes(buffer.data().data())


def test_a_picture_of_a_result_is_shown_small_with_its_size_in_words(stage: Stage, running: str) -> None:
    data = base64.b64encode(picture(1200, 300)).decode()
    stage.engine.say(
        running, EventKind.TOOL_CALL, {"call_id": "c", "name": "Read", "input": {"file_path": "/w/plot.png"}}
    )
    image: JsonObject = {"media_type": "image/png", "data": data}
    stage.engine.say(running, EventKind.TOOL_RESULT, {"call_id": "c", "content": "", "images": [image]})
    stage.until(lambda: calls(stage) and calls(stage)[0].block.result is not None)
    calls(stage)[0].toggle()
    stage.settle()
    (view,) = stage.window.findChildren(PictureView)
    stage.until(lambda: view.accessibleName() == "Picture, 1,200 × 300")
    assert any(label.pixmap().width() == LARGEST.width() for label in view.findChildren(QLabel) if label.pixmap())
    assert not stage.shown("call.output")


def test_what_is_no_picture_is_said_and_never_taken_from_a_path(qapp: QWidget, tmp_path: object) -> None:
    assert read_picture(b"\x89PNG but not really", "image/png") is None
    assert read_picture(f"file://{tmp_path}/x.png".encode(), "image/svg+xml") is None
    assert read_picture(picture(8, 8), "image/gif") is None  # it says that it is what it is not
    assert read_picture(picture(8, 8), "image/png") is not None


STATES: tuple[tuple[EventKind, JsonObject, str], ...] = (
    (EventKind.STATE, {"state": "queued", "agent": "a", "model": "m"}, "Queued for a, m"),
    (EventKind.STATE, {"state": "queued", "agent": "sh"}, "Queued for sh"),
    (EventKind.STATE, {"state": "running", "sandbox_tier": "A"}, "Started, sandbox tier A"),
    (EventKind.STATE, {"state": "paused", "reason": "engine_stop"}, "Paused: the engine was stopped"),
    (EventKind.STATE, {"state": "paused", "reason": "budget", "message": "It is used up."}, "It is used up."),
    (EventKind.STATE, {"state": "completed", "code": "TASK_NO_DIFF"}, "Finished without changing anything"),
    (EventKind.STATE, {"state": "cancelled"}, "Stopped"),
    (EventKind.STATE, {"state": "interrupted"}, "Interrupted: the engine ended"),
    (EventKind.STATE, {"state": "afresh"}, "Started afresh"),
    (EventKind.STATE, {"state": "turn_discarded"}, "The answer was cut off and is asked for again"),
    (
        EventKind.STATE,
        {"state": "compacted", "summary": "{}", "before": 160_000},
        "The conversation was summarised to make room; it had 160.0 k tokens",
    ),
    (
        EventKind.STATE,
        {"state": "tool_server", "server": "notes", "tools": 3, "refused": ["x: no"]},
        "Tool server notes: 3 tools, 1 left out",
    ),
    (
        EventKind.STATE,
        {"state": "tool_server", "server": "notes", "problem": "it ended"},
        "The tool server notes cannot be used: it ended",
    ),
    (EventKind.STATE, {"state": "budget_near", "message": "80% of a budget is used."}, "80% of a budget is used."),
    (EventKind.STATE, {"state": "turn_limit_near", "turns": 40, "limit": 50}, "40 of 50 turns are used"),
    (EventKind.STATE, {"state": "not_trusted", "pending": ["a", "b"]}, "Left out until you trust it: a; b"),
    (
        EventKind.STATE,
        {"state": "background_ended", "shells": ["bash_1"], "text": "long"},
        "Background commands ended with the run: bash_1",
    ),
    (
        EventKind.STATE,
        {"state": "decision_used", "approval_id": "q"},
        "The same call again: your earlier decision holds for it",
    ),
    (
        EventKind.STATE,
        {"state": "merged", "commit": "0123456789abcdef", "target": "main"},
        "Merged into main as 0123456789",
    ),
    (
        EventKind.STATE,
        {"state": "undone", "commit": "0123456789abcdef", "target": "main", "exact": True},
        "The merge into main was undone: it stands where it stood before, at 0123456789",
    ),
    (
        EventKind.STATE,
        {"state": "undone", "commit": "0123456789abcdef", "target": "main", "exact": None},
        "main did not hold the merge any more and was left at 0123456789; the change waits again",
    ),
    (
        EventKind.STATE,
        {"state": "resolving", "target": "main", "commit": "0123", "by": "agent", "paths": ["a", "b"]},
        "The conflict with main is in the worktree, to be resolved: a; b",
    ),
    (
        EventKind.STATE,
        {"state": "resolved", "target": "main", "commit": "0123"},
        "The conflict with main is resolved, on top of both",
    ),
    (
        EventKind.STATE,
        {"state": "resolution_abandoned", "target": "main"},
        "The resolution of the conflict with main was abandoned",
    ),
    (
        EventKind.STATE,
        {"state": "worktree_kept", "recovery": "refs/agentpane/recovery/x"},
        "What the worktree held beyond its branch is in the recovery bin: x",
    ),
    (
        EventKind.STATE,
        {"state": "ignored_gone", "paths": ["a.log", "out/"], "more": 0},
        "What git ignores went with the worktree: a.log, out/",
    ),
    (
        EventKind.STATE,
        {"state": "ignored_gone", "paths": ["a.log", "out/", "tmp/"], "more": 2},
        "What git ignores went with the worktree: a.log, out/, tmp/ and 2 more",
    ),
    (
        EventKind.STATE,
        {"state": "ignored_not_known"},
        "What git ignored in the worktree, if anything, went with it",
    ),
    (
        EventKind.STATE,
        {"state": "branch_kept", "branch": "agentpane/one"},
        "Its commits stay on branch agentpane/one; the next run begins another",
    ),
    (
        EventKind.STATE,
        {"state": "host_refused", "host": "example.org:443"},
        "A command wanted to reach example.org:443, which this project does not allow",
    ),
    (
        EventKind.STATE,
        {"state": "command_ended", "message": "It was ended: 400 processes of it ran at once, and 300 may."},
        "A command took too much of this machine. It was ended: 400 processes of it ran at once, and 300 may.",
    ),
    (
        EventKind.STATE,
        {"state": "merge_refused", "code": "MERGE_CONFLICT", "paths": ["a"]},
        "Not merged: it conflicts with the target branch",
    ),
    (
        EventKind.STATE,
        {"state": "worktree_stays", "code": "X", "message": "It is in use."},
        "The worktree could not be removed: It is in use.",
    ),
    (
        EventKind.WORKTREE,
        {"state": "set_back", "sha": "0123456789abcdef", "turn": 2},
        "Worktree set back to 0123456789; what it held is in the recovery bin",
    ),
    (EventKind.WORKTREE, {"state": "restored", "branch": "b"}, "Work brought back from the recovery bin"),
    (EventKind.WORKTREE, {"state": "taken_up"}, "The agent goes on with what was brought back"),
    (
        EventKind.STATE,
        {"state": "turns_let_go", "count": 49, "most": 200},
        "49 older turns were let go of: of one card 200 are kept",
    ),
    (
        EventKind.STATE,
        {"state": "turn_not_kept", "message": "The disk is full."},
        "What the turn left could not be kept: The disk is full.",
    ),
    (EventKind.WORKTREE, {"state": "created", "branch": "b", "path": "/w"}, "Worktree made on b"),
    (
        EventKind.SNAPSHOT,
        {"sha": "0123456789abcdef", "added": 3, "removed": 1, "files": 2},
        "Snapshot 0123456789: +3 −1 in 2 files",
    ),
    (EventKind.APPROVAL_DECIDED, {"state": "denied", "message": "not here"}, "You denied the call: not here"),
)


@pytest.mark.parametrize(
    ("kind", "data", "words"), STATES, ids=[str(data.get("state", kind)) for kind, data, _ in STATES]
)
def test_what_happens_around_the_conversation_is_said_in_words(kind: EventKind, data: JsonObject, words: str) -> None:
    note = note_of(event(1, kind, data))
    assert note is not None and note.text == words


def test_a_question_that_a_call_asks_is_said_once() -> None:
    log = Transcript()
    asks: JsonObject = {"call_id": "c", "name": "AskUser", "input": {"question": "Which?"}}
    log.take(
        [event(1, EventKind.TOOL_CALL, asks), event(2, EventKind.STATE, {"state": "tool_started", "call_id": "c"})]
    )
    log.take([event(3, EventKind.QUESTION, {"call_id": "c", "question": "Which?"})])
    assert len(log.blocks) == 1 and outcome(log.blocks[0])[2] == "waits for you"
    log.take([event(4, EventKind.QUESTION, {"question": "And this?"})])  # of an agent whose calls nobody sees
    assert [block.text for block in log.blocks][1:] == ["And this?"] and log.question is not None


def test_what_was_said_in_a_persons_place_names_whose_words_they_are() -> None:
    log = Transcript()
    for seq, place in enumerate(("task", "engine", "agent", "person"), 1):
        log.take([event(seq, EventKind.USER_MESSAGE, {"text": "Go on.", "from": place})])
    who = ["The task", "From AgentPane", "From the agent that began it", ""]
    assert [block.who for block in log.blocks] == who


def test_every_reason_for_a_pause_has_its_words_and_none_is_shown_raw() -> None:
    for reason in PauseReason:
        note = note_of(event(1, EventKind.STATE, {"state": "paused", "reason": reason.value}))
        assert note is not None and note.text and "_" not in note.text and note.text != reason.value


def test_a_state_that_is_not_known_is_words_and_never_data() -> None:
    note = note_of(event(1, EventKind.STATE, {"state": "moved_house", "to": {"city": "x"}}))
    assert note is not None and note.text == "Moved house"
    log = Transcript()
    log.take([event(1, EventKind.STATE, {"state": "sub_run", "description": "d", "agent": "a"}, "sub")])
    assert [block.kind for block in log.blocks] == [BlockKind.CALL]  # it has a place even without its call
