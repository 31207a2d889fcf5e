"""The tier that an engine works with is the one that was asked for, or it does not work at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agentpane.domain.sandbox import Tier
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.main import wanted_tier
from agentpane.temporary import INNER, MARK

from .conftest import until

PANE = (sys.executable, "-m", "agentpane")


def pane(home: Path, *arguments: str, **environment: str) -> tuple[int, dict[str, object]]:
    env = {**os.environ, "AGENTPANE_HOME": str(home), "AGENTPANE_IDLE_S": "60", **environment}
    done = subprocess.run(
        [*PANE, *arguments, "--json"], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, json.loads(done.stdout)


def test_without_a_wish_it_is_the_best_tier() -> None:
    assert wanted_tier({}) is None and wanted_tier({"AGENTPANE_SANDBOX": " "}) is None


def test_a_tier_is_asked_for_by_its_letter() -> None:
    assert wanted_tier({"AGENTPANE_SANDBOX": "b"}) is Tier.LANDLOCK


def test_what_is_no_tier_is_an_error() -> None:
    with pytest.raises(AgentPaneError) as refused:
        wanted_tier({"AGENTPANE_SANDBOX": "none"})
    assert refused.value.code is ErrorCode.SECURITY_SANDBOX_UNAVAILABLE


@pytest.mark.parametrize("tier", ["B", "C"])
def test_an_engine_works_with_the_tier_that_was_chosen_and_sweeps_what_a_killed_one_has_left(
    session_folder: Path, tmp_path: Path, tier: str
) -> None:
    home, left = session_folder / f"tier-{tier}", tmp_path / "agentpane-command-was_left"
    (left / INNER).mkdir(parents=True)
    (left / MARK).write_text(left.name)
    for folder in (left, left / INNER):
        os.utime(folder, (0, 0))
    try:
        _, report = pane(home, "doctor", AGENTPANE_SANDBOX=tier, TMPDIR=str(tmp_path))
        assert report["sandbox_tier"] == tier
        assert ("SECURITY_SANDBOX_UNAVAILABLE" in str(report["findings"])) == (tier == "C")
        until(lambda: not left.exists(), "the sweep")
    finally:
        pane(home, "engine", "stop", "--now")


def test_an_engine_that_cannot_have_its_tier_does_no_work(session_folder: Path) -> None:
    home = session_folder / "tier-none"
    try:
        code, answer = pane(home, "project", "list", AGENTPANE_SANDBOX="Z")
        assert code == 6
        assert answer["error"]["code"] == "SECURITY_SANDBOX_UNAVAILABLE"  # type: ignore[index]
    finally:
        pane(home, "engine", "stop", "--now")
