"""How many worktrees a project keeps ready is shown and set by a command."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Commands


def test_the_number_of_ready_worktrees_is_shown_with_what_it_costs_and_can_be_set(board: Commands, repo: Path) -> None:
    added = board.json("project", "add", str(repo))
    stands = board.json("project", "pool", "shop")
    assert {key: stands[key] for key in ("id", "wanted", "ready", "size_bytes")} == {
        "id": added["id"], "wanted": 1, "ready": 0, "size_bytes": 0,
    }  # fmt: skip
    assert "first card" in stands["off"] and board.json("project", "show", "shop")["pool"]["wanted"] == 1
    assert board.json("project", "pool", "shop", "--size", "0")["wanted"] == 0
    assert board("project", "show", "shop").text.splitlines()[-1].split(":")[1].strip() == "0 of 0"
    refused = board("project", "pool", "shop", "--size", "9", "--json")
    assert (refused.status, refused.code) == (2, "VALIDATION_ERROR")
    assert board.json("project", "pool", "shop")["wanted"] == 0 and board.json("project", "pool", "shop")["off"] is None
