"""Trusting a repository's own configuration, by the commands alone."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Commands, git


def configure(repo: Path, command: str) -> None:
    (repo / ".agentpane").mkdir(exist_ok=True)
    (repo / ".agentpane" / "config.toml").write_text(f'install = "{command}"\n')
    git(repo, "add", ".")
    git(repo, "commit", "-q", "-m", "a configuration")


def test_what_waits_is_shown_and_exactly_that_is_trusted(board: Commands, repo: Path) -> None:
    configure(repo, "true")
    board.json("project", "add", str(repo))
    waits = board.json("project", "trust", "shop")
    assert (waits["trusted"], len(waits["pending"])) == (False, 1)
    told = board("doctor").text
    assert f"agentpane project trust {waits['id']}" in told
    shown = board("project", "trust", "shop").text
    assert "true" in shown and f"--yes --digest {waits['digest'][:12]}" in shown
    configure(repo, "false")
    stale = board("project", "trust", "shop", "--yes", "--digest", waits["digest"][:12], "--json")
    assert (stale.status, stale.code) == (3, "PROJECT_NOT_TRUSTED")
    trusted = board.json("project", "trust", "shop", "--yes")
    assert (trusted["trusted"], trusted["digest"], "false" in trusted["pending"][0]) == (True, None, True)
    assert board("project", "trust", "shop").text == "Nothing waits for trust.\n"
