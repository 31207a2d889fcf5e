from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentpane.domain.board import Column
from agentpane.domain.health import IDLE, StaleReason, Use, finding_id, stale_reasons
from agentpane.domain.worktrees import WorktreeStatus

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
MOMENT = timedelta(seconds=1)


def use(
    column: Column | None = Column.IN_PROGRESS,
    *,
    ago: timedelta = MOMENT,
    off_board: bool = False,
    branch_there: bool = True,
    in_use: bool = False,
) -> Use:
    return Use(column, off_board, branch_there, in_use, NOW - ago)


@pytest.mark.parametrize(
    ("found", "reasons"),
    [
        (use(), ()),
        (use(ago=IDLE - MOMENT), ()),
        (use(ago=IDLE), (StaleReason.IDLE,)),
        (use(branch_there=False), (StaleReason.BRANCH_GONE,)),
        (use(Column.VERIFIED), (StaleReason.VERIFIED,)),
        (use(Column.BACKLOG), ()),  # one that was restored for its card lies there
        (use(None), ()),
        (use(None, ago=IDLE), (StaleReason.IDLE, StaleReason.ORPHANED)),
        (use(off_board=True), (StaleReason.OFF_BOARD,)),
    ],
)
def test_a_worktree_may_go_for_a_reason(found: Use, reasons: tuple[StaleReason, ...]) -> None:
    assert stale_reasons(WorktreeStatus.ACTIVE, found, NOW) == reasons


@given(
    st.sampled_from(WorktreeStatus),
    st.builds(
        Use,
        st.none() | st.sampled_from(Column),
        st.booleans(),
        st.booleans(),
        st.booleans(),
        st.timedeltas(timedelta(), timedelta(days=400)).map(lambda ago: NOW - ago),
    ),
)
def test_what_is_in_use_kept_ready_or_gone_is_never_stale(status: WorktreeStatus, found: Use) -> None:
    if found.in_use or status in {WorktreeStatus.AWAY, WorktreeStatus.REMOVED}:
        assert stale_reasons(status, found, NOW) == ()
    elif status is WorktreeStatus.POOLED:
        assert stale_reasons(status, found, NOW) == ((StaleReason.OFF_BOARD,) if found.off_board else ())


def test_a_finding_keeps_its_name_and_shares_it_with_no_other() -> None:
    assert finding_id("LOCK_LEFT", "/a", "b") == finding_id("LOCK_LEFT", "/a", "b")
    names = {finding_id(*words) for words in [("X", "a", "b"), ("X", "ab"), ("X", "a", "c"), ("Y", "a", "b")]}
    assert len(names) == 4
    assert finding_id("LOCK_LEFT", "/a").startswith("lock-left-")
