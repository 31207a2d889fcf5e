"""A session's events as people read them in a terminal."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import PurePath

import pytest

from agentpane.cli import asking
from agentpane.cli.pane import pairs, table
from agentpane.cli.words import event
from agentpane.domain.json import JsonObject
from agentpane.domain.keeping import NOT_KNOWN, Going
from agentpane.domain.sessions import EventKind, SessionEvent


@pytest.mark.parametrize(
    ("kind", "data", "shown"),
    [
        (EventKind.QUESTION, {"question": "Tabs or\n\x1b[31mspaces?", "options": []}, "? Tabs or\n␛[31mspaces?"),
        (
            EventKind.QUESTION,
            {"question": "Which?", "options": ["this", "that\none"]},
            "? Which?\n  - this\n  - that one",
        ),
        (
            EventKind.STATE,
            {"state": "host_refused", "host": "evil.example:80"},
            "= the network refused evil.example:80",
        ),
        (
            EventKind.STATE,
            {"state": "command_ended", "message": "It was ended: 513 processes of it ran at once, and 512 may."},
            "= a command took too much. It was ended: 513 processes of it ran at once, and 512 may.",
        ),
        (
            EventKind.WORKTREE,
            {"state": "created", "branch": "agentpane/a\nb", "path": "/two  spaces\n/it"},
            "= worktree made on agentpane/a b: /two  spaces\\n/it",
        ),
        (EventKind.STATE, {"state": "budget_near", "scope": "run", "message": "90% is used."}, "= 90% is used."),
        (
            EventKind.STATE,
            {"state": "sub_run", "description": "Find\nuses", "agent": "Scout"},
            "= a sub-agent, Scout, begins: Find uses",
        ),
        (
            EventKind.STATE,
            {"state": "background_ended", "shells": ["bash_1", "bash_2"], "text": "long"},
            "= background commands ended with the run: bash_1; bash_2",
        ),
        (
            EventKind.STATE,
            {"state": "checks_started", "checks": ["tests", "lint"], "tree": "a" * 40},
            "= checks are run on what the merge would make: tests; lint",
        ),
        (EventKind.STATE, {"state": "queued", "agent": "sh"}, "= queued for sh"),
        (
            EventKind.STATE,
            {"state": "undone", "target": "main", "commit": "a" * 40, "exact": False},
            "= the merge into main was undone by a commit that reverts it, aaaaaaaaaa",
        ),
        (
            EventKind.STATE,
            {"state": "undone", "target": "main", "commit": "a" * 40, "exact": None},
            "= main did not hold the merge any more and was left at aaaaaaaaaa; the change can be approved again",
        ),
        (EventKind.STATE, {"state": "checks_finished", "message": "checks passed"}, "= checks passed"),
        (EventKind.SNAPSHOT, {"sha": "a" * 40, "base": "b" * 40, "files": 1}, "= snapshot aaaaaaaaaa"),
        (
            EventKind.SNAPSHOT,
            {"turn": 2, "sha": "a" * 40, "files": 3, "added": 4, "removed": 1, "left_out": ["big", "nested"]},
            "= turn 2 left aaaaaaaaaa: 3 file(s), +4 −1, without big; nested",
        ),
        (
            EventKind.WORKTREE,
            {"state": "set_back", "turn": 1, "sha": "a" * 40, "recovery": "refs/x", "text": "long"},
            "= worktree set back to aaaaaaaaaa; what it held is in the recovery bin: refs/x",
        ),
        (EventKind.STATE, {"state": "paused", "reason": "approval"}, "= paused: it asks whether it may make a call"),
        (EventKind.STATE, {"state": "not_heard_of"}, "= not heard of"),
        (EventKind.APPROVAL_REQUESTED, {"tool": "ExitPlanMode", "summary": ""}, "? it proposes a plan"),
        (EventKind.APPROVAL_REQUESTED, {"tool": "Write", "summary": "a.txt"}, "? may it use Write: a.txt"),
        (EventKind.STATE, {"state": "tool_started", "call_id": "a"}, None),
    ],
)
def test_an_event_is_told_in_words(kind: EventKind, data: JsonObject, shown: str | None) -> None:
    assert event(SessionEvent(1, datetime(2026, 1, 1, tzinfo=UTC), kind, 1, None, data)) == shown


@pytest.mark.parametrize(
    ("going", "before", "afterwards"),
    [
        (
            Going("agentpane/one", 4, ("a\x1b.log", "out/", "tmp/")),
            "its commits stay on branch agentpane/one, and 4 file(s) or folder(s) that git ignores go",
            [
                "Its commits stay on branch agentpane/one; the next run begins another.",
                "What git ignores went with the worktree: a\\x1b.log, out/, tmp/ and 1 more.",
            ],
        ),
        (Going(), "no branch holds it any more", []),
        (
            NOT_KNOWN,
            "AgentPane cannot look whether a branch holds its commits, and what git ignores in its worktree may go",
            ["What git ignored there, if anything, went with the worktree: AgentPane could not look."],
        ),
        (Going(branch_known=False), "AgentPane cannot look whether a branch holds its commits", []),
    ],
)
def test_what_becomes_of_a_stopped_card_is_said_only_as_far_as_it_is_known(
    going: Going, before: str, afterwards: list[str]
) -> None:
    assert asking.question("1 file(s), +1 −0", going) == f"The diff (1 file(s), +1 −0) is put aside; {before}. Cancel?"
    assert asking.told(going) == afterwards


def test_a_path_in_a_table_is_whole_and_a_name_is_on_one_line() -> None:
    assert table([("shop  one", PurePath("/two  spaces/x\ny"))]) == "shop one  /two  spaces/x\\ny"
    assert pairs({"path": PurePath("/a  b"), "name": "a  b"}) == "path:  /a  b\nname:  a b"
