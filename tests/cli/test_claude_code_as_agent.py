"""Claude Code as an agent, by the commands alone; a stand-in is in its place on the PATH."""

from __future__ import annotations

import json
import time
from pathlib import Path

from tests.backends.claude_stand_in import OWN_BASH, claude_stand_in
from tests.backends.wire import say, use
from tests.cli.conftest import Commands

KEY = {"ANTHROPIC_API_KEY": "key-of-this-test", "ANTHROPIC_BASE_URL": "http://127.0.0.1:9"}


def add(pane: Commands, repo: Path) -> str:
    pane.json("project", "add", str(repo))
    pane.json("agent", "add", "shop", "Own", "--backend", "claude-code", "--default")
    return str(pane.json("task", "add", "shop", "Write a greeting")["id"])


def test_it_makes_a_snapshot_and_goes_on_when_it_is_sent_back(pane: Commands, repo: Path, tmp_path: Path) -> None:
    turns = [
        [say("On it."), use("Write", file_path="hello.txt", content="hello\n"), use(OWN_BASH, command="ls hello.txt")],
        [say("Done.")],
        [use("Edit", file_path="hello.txt", old_string="hello", new_string="hi")],
        [say("Shorter now.")],
    ]
    with claude_stand_in(tmp_path / "bin", {"turns": turns}):
        task = add(pane, repo)
        done = pane.json("run", task, env=KEY)
        assert done["column"] == "waiting_approval"
        assert done["runs"][0]["backend"] == "claude-code"
        assert (done["runs"][0]["turns"], done["runs"][0]["input_tokens"]) == (2, 200)
        assert [file["path"] for file in pane.json("diff", task)["files"]] == ["hello.txt"]

        again = pane.json("reject", task, "--reason", "Shorter, please.", "--wait", env=KEY)
        assert again["column"] == "waiting_approval"
        assert b"+hi" in pane("diff", task, "--patch").stdout
    (heard,) = pane.folder.agents.glob("*/*/heard.jsonl")
    told = [json.loads(line) for line in heard.read_text().splitlines()]
    assert any(word.startswith("--resume=") for word in told[-1]["argv"])
    said = [one["said"]["message"]["content"][0]["text"] for one in told if one["said"]["type"] == "user"]
    assert len(said) == 2
    assert "Shorter, please." in said[1]
    assert "Write a greeting" not in said[1]
    audit = {entry["tool"] for entry in pane.json("audit", "list", "shop")}
    assert {"Write", "Bash", "Edit"} <= audit


def test_what_the_policy_denies_does_not_happen(pane: Commands, repo: Path, tmp_path: Path) -> None:
    turns = [[use(OWN_BASH, command="curl example.com"), use("Write", file_path="b.txt", content="x")], [say("Not.")]]
    with claude_stand_in(tmp_path / "bin", {"turns": turns}):
        task = add(pane, repo)
        pane.json("run", task, "--policy", "deny", env=KEY, status=4)
    entries = pane.json("audit", "list", "shop")
    denied = [entry["tool"] for entry in entries if "denied" in str(entry.get("error"))]
    assert "Write" in denied or "Bash" in denied


def test_without_a_key_the_persons_own_sign_in_is_enough(
    pane: Commands, repo: Path, home: Path, tmp_path: Path
) -> None:
    turns = [[use("Write", file_path="b.txt", content="x")], [say("Done.")]]
    with claude_stand_in(tmp_path / "bin", {"turns": turns}):
        task = add(pane, repo)
        refused = pane("run", task, "--json")
        assert refused.code == "BACKEND_AUTH"
        account = {"accessToken": "for-some-hours", "expiresAt": round((time.time() + 3_600) * 1000)}
        (home / ".claude").mkdir()
        (home / ".claude" / ".credentials.json").write_text(json.dumps({"claudeAiOauth": account}))
        assert pane.json("run", task)["column"] == "waiting_approval"
