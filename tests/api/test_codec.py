"""Every command, answer and event survives the way through the door, whatever text it holds."""

from __future__ import annotations

import types
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, get_args, get_origin

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentpane.api import codec
from agentpane.api.codec import decode, dumps, encode, loads
from agentpane.api.command import result_type
from agentpane.api.commands import AddTask, Answer, MoveTask
from agentpane.api.events import SessionAppended, TaskChanged
from agentpane.api.protocol import COMMANDS, EVENT
from agentpane.domain.board import Column
from agentpane.domain.review import DiffSummary, FileDiff, PatchChunk
from agentpane.domain.sessions import EventKind, SessionEvent
from agentpane.domain.tasks import TaskCard
from agentpane.errors import AgentPaneError, ErrorCode
from tests.api.workbench import make_card

# Text of any code points at all, lone surrogates too: that is how a path that is not UTF-8 arrives.
ANY_TEXT = st.text(st.characters(min_codepoint=0, max_codepoint=0x10FFFF, exclude_categories=()), max_size=12)
PLAIN_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=6,
)
st.register_type_strategy(str, ANY_TEXT)
st.register_type_strategy(datetime, st.datetimes(timezones=st.just(UTC)))
st.register_type_strategy(float, st.floats(allow_nan=False))


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a type that may travel."""
    if hasattr(kind, "__dataclass_fields__"):
        hints = codec.hints(kind)
        return st.builds(kind, **{name: values_of(hints[name]) for name in hints})
    if kind in codec.PLAIN:
        return PLAIN_JSON
    arguments = get_args(kind)
    if isinstance(kind, types.UnionType):
        return st.one_of([values_of(member) for member in arguments])
    if get_origin(kind) is tuple and arguments[-1] is Ellipsis:
        return st.lists(values_of(arguments[0]), max_size=2).map(tuple)
    if get_origin(kind) is tuple:
        return st.tuples(*(values_of(argument) for argument in arguments))
    if get_origin(kind) in (dict, Mapping):
        return st.dictionaries(ANY_TEXT, values_of(arguments[1]), max_size=2)
    return values_of(kind.__supertype__) if hasattr(kind, "__supertype__") else st.from_type(kind)


def over_the_wire(kind: Any, value: Any) -> Any:
    return decode(kind, loads(dumps(encode(kind, value))))


TRAVELLERS = [*COMMANDS.values(), *get_args(EVENT)]


@pytest.mark.parametrize("kind", TRAVELLERS, ids=lambda kind: kind.__name__)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_command_and_event_survives_the_way(kind: Any, data: st.DataObject) -> None:
    value = data.draw(values_of(kind))
    assert over_the_wire(kind, value) == value
    if kind not in COMMANDS.values():
        assert over_the_wire(EVENT, value) == value


@pytest.mark.parametrize("kind", COMMANDS.values(), ids=lambda kind: kind.__name__)
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_answer_survives_the_way(kind: Any, data: st.DataObject) -> None:
    answer = result_type(kind)
    value = data.draw(values_of(answer))
    assert over_the_wire(answer, value) == value


@given(ANY_TEXT)
def test_text_of_any_code_points_survives_lone_and_paired_surrogates_too(text: str) -> None:
    assert loads(dumps(text)) == text


def test_a_path_that_is_not_utf_8_survives() -> None:
    path = b"caf\xe9/\xff\xfe.txt".decode("utf-8", "surrogateescape")
    diff = DiffSummary("a" * 40, "b" * 40, (FileDiff(path, None, "M", 1, 0, False),), "main")
    assert over_the_wire(DiffSummary, diff) == diff


def test_bytes_survive_exactly() -> None:
    chunk = PatchChunk(bytes(range(256)), None)
    assert over_the_wire(PatchChunk, chunk) == chunk


def test_fields_that_a_newer_peer_added_are_ignored() -> None:
    raw = encode(Answer, Answer("task1", "go on")) | {"mood": "cheerful"}
    assert decode(Answer, raw) == Answer("task1", "go on")


def test_fields_with_a_default_may_be_missing() -> None:
    assert decode(AddTask, {"project": "p", "title": "t"}) == AddTask("p", "t")


@pytest.mark.parametrize(
    ("kind", "raw", "field"),
    [
        (AddTask, {"project": "p"}, "title"),
        (AddTask, {"project": "p", "title": 3}, "title"),
        (AddTask, {"project": "p", "title": "t", "labels": "a"}, "labels"),
        (AddTask, {"project": "p", "title": "t", "start": 1}, "start"),
        (AddTask, [], ""),
        (MoveTask, {"task": "t", "column": "elsewhere"}, "column"),
        (MoveTask, {"task": "t", "column": ["backlog"]}, "column"),
        (PatchChunk, {"data": "%%%", "next_offset": None}, "data"),
        (EVENT, {"$": "Nothing"}, ""),
        (EVENT, {"$": ["TaskChanged"]}, ""),
        (TaskChanged, {"card": {"id": "x"}}, "card.project_id"),
        (SessionAppended, {"task_id": "t", "events": [{"seq": 1, "at": "yesterday"}]}, "events.at"),
    ],
)
def test_what_does_not_fit_is_refused_by_the_name_of_its_field(kind: Any, raw: object, field: str) -> None:
    with pytest.raises(AgentPaneError) as caught:
        decode(kind, raw)
    assert caught.value.code is ErrorCode.VALIDATION_ERROR
    assert caught.value.details["field"] == field


def test_a_card_keeps_its_types() -> None:
    card = make_card(1, column=Column.VERIFIED)
    back = over_the_wire(TaskCard, card)
    assert back == card
    assert back.column is Column.VERIFIED
    assert back.updated_at.tzinfo is not None


def test_an_events_data_is_left_as_it_is() -> None:
    event = SessionEvent(1, make_card(1).updated_at, EventKind.TEXT, 1, None, {"a": [1, {"b": None}], "$": "x"})
    assert over_the_wire(SessionEvent, event) == event


def test_json_nested_beyond_reason_is_no_message() -> None:
    with pytest.raises(ValueError, match="nested"):
        loads(b"[" * 200_000)
