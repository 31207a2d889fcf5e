"""Inputs against their schemas: what is wrong is named, so that a model can mend it."""

from __future__ import annotations

import pytest

from agentpane.orchestrator.backends.messages_api.schema import problem_of

SCHEMA = {
    "type": "object",
    "required": ["path", "edits"],
    "properties": {
        "path": {"type": "string", "minLength": 1},
        "limit": {"type": "integer", "minimum": 1, "maximum": 10},
        "mode": {"enum": ["content", "count"]},
        "edits": {"type": "array", "minItems": 1, "items": {"type": "object", "required": ["old"]}},
    },
}


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"path": "a", "edits": [{"old": "x"}]}, None),
        ({"path": "a", "edits": [{"old": "x"}], "extra": 1, "limit": 3.0}, None),
        ({}, "missing: `path`, `edits`"),
        ({"path": 1, "edits": [{"old": "x"}]}, "`path` must be of type string"),
        ({"path": "", "edits": [{"old": "x"}]}, "`path` must not be empty"),
        ({"path": "a", "edits": []}, "`edits` must have at least 1 items"),
        ({"path": "a", "edits": [{}]}, "missing: `edits[0].old`"),
        ({"path": "a", "edits": [{"old": "x"}], "limit": 0}, "`limit` must be at least 1"),
        ({"path": "a", "edits": [{"old": "x"}], "limit": 11}, "`limit` must be at most 10"),
        ({"path": "a", "edits": [{"old": "x"}], "limit": True}, "`limit` must be of type integer"),
        ({"path": "a", "edits": [{"old": "x"}], "mode": "all"}, "`mode` must be one of 'content', 'count'"),
        ([], "the input must be of type object"),
    ],
)
def test_the_first_problem_is_named(value: object, problem: str | None) -> None:
    assert problem_of(value, SCHEMA) == problem
