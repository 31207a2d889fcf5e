"""A session's events become the conversation that the model must be sent."""

from __future__ import annotations

from datetime import UTC, datetime

from agentpane.domain.json import JsonValue
from agentpane.domain.sessions import EventKind, SessionEvent
from agentpane.domain.transcript import UNKNOWN_OUTCOME, Conversation, rebuild


def conversation(*events: tuple[EventKind, int, dict[str, JsonValue]]) -> Conversation:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return rebuild(SessionEvent(seq, at, kind, turn, None, data) for seq, (kind, turn, data) in enumerate(events, 1))


PROMPT = (EventKind.USER_MESSAGE, 0, {"text": "Fix it"})
STARTED = (EventKind.TURN_STARTED, 1, {})
TEXT = (EventKind.TEXT, 1, {"text": "Looking."})
CALL = (EventKind.TOOL_CALL, 1, {"call_id": "a", "name": "Read", "input": {"file_path": "x"}})
FINISHED = (EventKind.TURN_FINISHED, 1, {"stop_reason": "tool_use", "model": "m"})
BEGUN = (EventKind.STATE, 1, {"state": "tool_started", "call_id": "a"})
RESULT = (EventKind.TOOL_RESULT, 1, {"call_id": "a", "content": "text of x", "is_error": False})
ANSWER = (EventKind.ANSWER, 0, {"text": "Mind the tests"})
SECOND = (EventKind.TURN_STARTED, 2, {})

USER = {"role": "user", "content": [{"type": "text", "text": "Fix it"}]}
ASSISTANT = {
    "role": "assistant",
    "content": [
        {"type": "text", "text": "Looking."},
        {"type": "tool_use", "id": "a", "name": "Read", "input": {"file_path": "x"}},
    ],
}
TOOL_RESULT = {"type": "tool_result", "tool_use_id": "a", "content": "text of x", "is_error": False}


def test_a_whole_turn_is_kept_and_its_result_waits_for_the_next_request() -> None:
    found = conversation(PROMPT, STARTED, TEXT, CALL, FINISHED, BEGUN, RESULT)
    assert found.history == (USER, ASSISTANT)
    assert found.results == (TOOL_RESULT,)
    assert found.pending == ()
    assert found.next_turn == 2


def test_a_turn_that_never_finished_does_not_count() -> None:
    found = conversation(PROMPT, STARTED, TEXT, CALL)
    assert found.history == (USER,)
    assert found.pending == ()


def test_a_call_without_a_result_is_pending_and_remembers_whether_it_was_started() -> None:
    fresh = conversation(PROMPT, STARTED, CALL, FINISHED)
    begun = conversation(PROMPT, STARTED, CALL, FINISHED, BEGUN)
    assert [call.started for call in fresh.pending] == [False]
    assert [call.started for call in begun.pending] == [True]


def test_a_message_that_comes_while_a_call_runs_follows_the_result() -> None:
    found = conversation(PROMPT, STARTED, TEXT, CALL, FINISHED, BEGUN, ANSWER, RESULT, SECOND)
    assert found.history == (
        USER,
        ASSISTANT,
        {"role": "user", "content": [TOOL_RESULT, {"type": "text", "text": "Mind the tests"}]},
    )


def test_a_message_while_calls_are_open_is_left_to_be_read_before_the_next_turn() -> None:
    found = conversation(PROMPT, STARTED, CALL, FINISHED, ANSWER)
    assert found.read_up_to == 4
    assert len(found.pending) == 1
    taken = conversation(PROMPT, STARTED, (EventKind.TEXT, 1, {"text": "Done"}), FINISHED, ANSWER)
    assert taken.read_up_to == 5
    assert taken.history[-1] == {"role": "user", "content": [{"type": "text", "text": "Mind the tests"}]}


def test_a_call_left_behind_by_a_later_turn_is_said_to_be_unknown() -> None:
    found = conversation(PROMPT, STARTED, CALL, FINISHED, BEGUN, SECOND)
    result = found.history[-1]["content"][0]  # type: ignore[index]
    assert result["content"] == UNKNOWN_OUTCOME
    assert result["is_error"] is True


def test_a_discarded_turn_and_everything_before_a_fresh_start_are_left_out() -> None:
    discarded = (EventKind.STATE, 1, {"state": "turn_discarded"})
    found = conversation(PROMPT, STARTED, TEXT, discarded, STARTED, (EventKind.TEXT, 1, {"text": "Again"}), FINISHED)
    assert found.history[1]["content"] == [{"type": "text", "text": "Again"}]
    afresh = (EventKind.STATE, 0, {"state": "afresh"})
    assert conversation(PROMPT, STARTED, TEXT, FINISHED, afresh, PROMPT).history == (USER,)


def test_a_thought_goes_back_with_its_signature() -> None:
    thought = (EventKind.THINKING, 1, {"text": "hm", "signature": "sig", "redacted": None})
    hidden = (EventKind.THINKING, 1, {"text": "", "signature": "", "redacted": "xyz"})
    found = conversation(PROMPT, STARTED, thought, hidden, TEXT, FINISHED)
    assert found.history[1]["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "redacted_thinking", "data": "xyz"},
        {"type": "text", "text": "Looking."},
    ]


def test_a_call_of_an_answer_that_was_cut_is_never_made() -> None:
    cut = (EventKind.TURN_FINISHED, 1, {"stop_reason": "max_tokens", "model": "m"})
    assert [call.started for call in conversation(PROMPT, STARTED, CALL, cut).pending] == [True]


def test_a_message_that_the_model_had_not_read_follows_the_answer() -> None:
    late = (EventKind.TURN_STARTED, 2, {"read_up_to": 4})
    text = (EventKind.TEXT, 2, {"text": "Done"})
    found = conversation(PROMPT, STARTED, (EventKind.TEXT, 1, {"text": "Hm"}), FINISHED, ANSWER, late, text, FINISHED)
    assert [message["role"] for message in found.history] == ["user", "assistant", "assistant", "user"]
    assert found.history[-1] == {"role": "user", "content": [{"type": "text", "text": "Mind the tests"}]}


def test_what_calls_have_gone_by_outlives_a_new_beginning_and_a_cut_answer_does_not_count() -> None:
    cut = (EventKind.TOOL_CALL, 2, {"call_id": "b", "name": "Read", "input": {}})
    discarded = (EventKind.STATE, 2, {"state": "turn_discarded"})
    afresh = (EventKind.STATE, 0, {"state": "afresh"})
    found = conversation(PROMPT, STARTED, CALL, FINISHED, RESULT, SECOND, cut, discarded, afresh)
    assert (found.history, found.call_ids) == ((), {"a"})
