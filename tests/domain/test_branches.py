from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentpane.domain.branches import branch_name, free_branch

ID = "tz4a98xxat96iws9zmbrgj3a"
OURS = re.compile(r"agentpane[/-][a-z0-9]+(?:-[a-z0-9]+)*")


@pytest.mark.parametrize(
    ("title", "branch"),
    [
        ("Fix the flaky test", "agentpane/fix-the-flaky-test-tz4a98"),
        ("Crème brûlée, größer!", "agentpane/creme-brulee-groer-tz4a98"),
        ("修复", "agentpane/task-tz4a98"),
        ("  --force; rm -rf / ", "agentpane/force-rm-rf-tz4a98"),
        ("../../etc/passwd.lock", "agentpane/etc-passwd-lock-tz4a98"),
        ("\u202eevil", "agentpane/evil-tz4a98"),
        ("x" * 200, f"agentpane/{'x' * 40}-tz4a98"),
    ],
)
def test_a_branch_is_named_for_what_it_is_about(title: str, branch: str) -> None:
    assert branch_name(title, ID) == branch


@given(st.text(), st.text())
def test_every_branch_keeps_to_our_own_characters(title: str, task_id: str) -> None:
    assert OURS.fullmatch(branch_name(title, task_id))


@pytest.mark.parametrize(
    ("taken", "free"),
    [
        ([], "agentpane/a-1"),
        (["main", "agentpane/b-1"], "agentpane/a-1"),
        (["agentpane/a-1"], "agentpane/a-1-2"),
        (["agentpane/a-1", "agentpane/a-1-2"], "agentpane/a-1-3"),
        (["AgentPane/A-1"], "agentpane/a-1-2"),
        (["agentpane/a-1/deeper"], "agentpane/a-1-2"),
        (["agentpane"], "agentpane-a-1"),
        (["agentpane", "agentpane-a-1"], "agentpane-a-1-2"),
    ],
)
def test_a_free_name_is_found_beside_those_that_are_taken(taken: list[str], free: str) -> None:
    assert free_branch("agentpane/a-1", taken) == free


names = st.builds("/".join, st.lists(st.sampled_from(["agentpane", "a-1", "a-1-2", "b"]), min_size=1, max_size=3))


@given(st.sets(names))
def test_a_free_name_never_stands_in_the_way_of_another(taken: set[str]) -> None:
    free = free_branch("agentpane/a-1", taken)
    assert OURS.fullmatch(free) and free not in taken
    assert not any(name.startswith(f"{free}/") or free.startswith(f"{name}/") for name in taken)
