"""The whole job by the commands alone: real processes, engine and git, and a server that speaks the Messages API."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from agentpane.api.commands import GetTask
from agentpane.domain.board import Column
from tests.backends.wire import Reply, ScriptedServer, Stream, say, use
from tests.cli.conftest import Commands, git

BOUND_S = 90.0


def write(path: str, content: str) -> list[Any]:
    """A turn that writes a file, and the turn that ends the run."""
    return [[say("On it."), use("Write", file_path=path, content=content)], [say("Done.")]]


def change(path: str, content: str) -> list[Any]:
    """The turns of an agent that reads a file and then writes it anew."""
    return [[use("Read", file_path=path)], *write(path, content)]


def add_task(pane: Commands, repo: Path, title: str = "Write a file", *more: str) -> str:
    pane.json("project", "add", str(repo))
    return str(pane.json("task", "add", "shop", title, *more)["id"])


def engine_pid(pane: Commands) -> int:
    return int(pane.json("engine", "status")["pid"])


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def until(condition: Callable[[], object]) -> None:
    """Wait for a condition that another process brings about."""
    waited = threading.Event()
    for _ in range(int(BOUND_S / 0.05)):
        if condition():
            return
        waited.wait(0.05)
    pytest.fail("it did not happen")


def test_from_a_card_to_a_merged_diff(board: Commands, repo: Path) -> None:
    before = git(repo, "rev-parse", "main").decode().strip()
    task = add_task(board, repo, "Write a greeting", "--label", "new")
    with ScriptedServer(write("hello.txt", "hello\n")) as server:
        done = board.json("run", task, env=server.environment)
    assert (done["column"], done["files_changed"], done["lines_added"], done["lines_removed"]) == (
        "waiting_approval", 1, 1, 0,
    )  # fmt: skip
    assert [run["status"] for run in done["runs"]] == ["completed"]
    assert done["runs"][0]["input_tokens"] > 0
    assert Path(done["worktree"]).is_dir()

    diff = board.json("diff", task)
    assert diff["snapshot"] == done["snapshot"]
    assert diff["files"] == [
        {
            "path": "hello.txt",
            "old_path": None,
            "status": "A",
            "added": 1,
            "removed": 0,
            "binary": False,
            "old_mode": "000000",
            "new_mode": "100644",
            "target": None,
            "notes": [],
        }
    ]
    patch = board("diff", task, "--patch").stdout
    assert b"+hello\n" in patch
    with_patch = board.json("diff", task, "--patch")
    assert base64.b64decode(with_patch["patch_b64"]) == patch
    assert subprocess.run(["git", "-C", str(repo), "apply", "--check"], input=patch, check=False).returncode == 0

    outcome = board.json("approve", task, "--sha", diff["snapshot"])
    assert outcome == {
        "task_id": task, "result": "merged", "merge_commit": outcome["merge_commit"], "paths": [], "code": None,
    }  # fmt: skip
    assert git(repo, "rev-parse", "main").decode().strip() == outcome["merge_commit"]
    parents = git(repo, "show", "-s", "--format=%P", outcome["merge_commit"]).decode().split()
    assert parents == [before, diff["snapshot"]]
    assert (repo / "hello.txt").read_text() == "hello\n"
    assert board.json("task", "show", task[:8])["column"] == "verified"
    assert board.json("audit", "verify")["ok"] is True

    again = board.json("approve", task, status=3)
    assert (again["result"], again["code"]) == ("refused", "TASK_ALREADY_APPROVED")


def test_the_demo_merges_with_the_recorded_model_and_another_card_of_it_makes_a_snapshot(pane: Commands) -> None:
    done = pane.json("demo", "--headless")
    assert set(done) == {"project", "task", "merge_commit"}
    (spent,) = pane.json("costs", done["project"], "--by", "project")
    assert (spent["calls"] > 0, spent["cost_usd"], spent["unpriced"]) == (True, 0.0, 0)
    path = Path(pane.json("project", "show", done["project"])["path"])
    assert git(path, "rev-parse", "HEAD").decode().strip() == done["merge_commit"]
    cards = {card["id"]: card for card in pane.json("task", "list", done["project"])}
    assert cards[done["task"]]["merge_commit"] == done["merge_commit"]
    other = next(name for name, card in cards.items() if card["title"].startswith("Explain"))
    run = pane.json("run", other)
    assert (run["column"], run["runs"][0]["backend"]) == ("waiting_approval", "recorded")
    assert run["lines_added"] > 0


def test_a_rejection_brings_a_second_diff(board: Commands, repo: Path) -> None:
    task = add_task(board, repo)
    turns = [*change("a.txt", "first\n"), *change("a.txt", "second\n")]
    with ScriptedServer(turns) as server:
        first = board.json("run", task, env=server.environment)
        missing = board("reject", task, "--reason", "", "--json")
        assert (missing.status, missing.code) == (2, "VALIDATION_ERROR")
        second = board.json("reject", task, "--reason", "Not like this.", "--wait", env=server.environment)
        asked = json.dumps(server.requests[-2].body)
    assert "Not like this." in asked
    assert second["rejection_count"] == 1
    assert second["snapshot"] != first["snapshot"]
    assert second["worktree"] == first["worktree"]
    assert b"+second\n" in board("diff", task, "--patch").stdout


def test_an_agent_that_changes_nothing_can_be_answered(board: Commands, repo: Path) -> None:
    task = add_task(board, repo)
    turns = [[say("What do you mean?")], *write("b.txt", "b\n")]
    with ScriptedServer(turns) as server:
        idle = board.json("run", task, status=4, env=server.environment)
        assert (idle["column"], idle["code"]) == ("in_progress", "TASK_NO_DIFF")
        done = board.json("answer", task, "Write b.txt.", env=server.environment)
    assert (done["column"], done["code"]) == ("waiting_approval", None)


def test_the_events_of_a_run_are_streamed_without_a_gap(board: Commands, repo: Path) -> None:
    task = add_task(board, repo)
    with ScriptedServer(write("c.txt", "c\n")) as server:
        streamed = board("run", task, "--jsonl", env=server.environment)
    assert streamed.status == 0, streamed
    events = streamed.lines
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert all(set(event) == {"seq", "at", "kind", "turn", "run_id", "data"} for event in events)
    assert {"text", "tool_call", "tool_result", "usage", "snapshot"} <= {event["kind"] for event in events}
    stored = board("session", "show", task, "--jsonl").lines
    assert stored[: len(events)] == events
    assert board.json("session", "show", task, "--from", "3") == stored[2:]
    assert board("session", "export", task, "--format", "jsonl").lines == stored
    document = board("session", "export", task, "--format", "md").text
    assert document.startswith("# Write a file\n") and "On it." in document


def test_a_call_that_must_be_asked_for_pauses_and_goes_on_when_allowed(board: Commands, repo: Path) -> None:
    task = add_task(board, repo)
    with ScriptedServer(write("d.txt", "d\n")) as server:
        paused = board.json("run", task, "--policy", "ask", status=4, env=server.environment)
        assert paused["runs"][-1]["status"] == "paused"
        (waiting,) = board.json("approvals", task)
        assert (waiting["tool"], waiting["state"]) == ("Write", "pending")
        allowed = board.json("allow", waiting["id"], env=server.environment)
        assert allowed["state"] == "allowed"
        until(lambda: board.ask(GetTask(task)).card.column is Column.WAITING_APPROVAL)
    assert board.json("approvals") == []


def test_a_budget_pauses_a_run_and_more_of_it_lets_it_go_on(pane: Commands, repo: Path) -> None:
    turns = write("d.txt", "d\n")
    with ScriptedServer(turns) as server:
        task = add_task(pane, repo)
        project = pane.json("task", "show", task)["project_id"]
        assert pane.json("budget", project, "--run-tokens", "10", "--day", "5")["day"] == {"usd": 5.0, "tokens": None}
        error = pane.json("run", task, status=4, env=server.environment)["runs"][-1]["error"]
        assert error["code"] == "BUDGET_REACHED"
        assert "--tokens" in error["hint"]
        pane.json("resume", task, status=4, env=server.environment)
        resumed = pane.json("resume", task, "--tokens", "100000", env=server.environment)
        assert resumed["column"] == "waiting_approval"
        lines = pane.json("costs", project, "--by", "task")
        assert [(line["label"], line["calls"]) for line in lines] == [(resumed["title"], len(turns))]


def test_under_deny_what_would_be_asked_is_denied(board: Commands, repo: Path) -> None:
    task = add_task(board, repo)
    with ScriptedServer(write("e.txt", "e\n")) as server:
        done = board.json("run", task, "--policy", "deny", status=4, env=server.environment)
    assert done["code"] == "TASK_NO_DIFF"
    entries = board.json("audit", "list", "shop")
    assert board("audit", "export", "shop").lines == entries
    assert [entry["number"] for entry in entries] == list(range(1, len(entries) + 1))


class Held:
    """A model that answers its first request only when it is told to."""

    def __init__(self) -> None:
        self.asked = threading.Event()

    def __call__(self, number: int, body: Mapping[str, object]) -> Reply:
        self.asked.set()
        return Stream(b"", end="hang")


def test_ctrl_c_detaches_and_the_run_goes_on(board: Commands, repo: Path) -> None:
    task = add_task(board, repo)
    held = Held()
    with ScriptedServer(script=held) as server:
        running = board.start("run", task, "--json", env=server.environment)
        assert held.asked.wait(BOUND_S)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=BOUND_S)
        assert running.returncode == 130, err
        assert json.loads(out)["id"] == task
        assert b"Traceback" not in err
        assert board.json("task", "show", task)["runs"][-1]["status"] == "running"
        cancelled = board.json("cancel", task)
    assert cancelled["column"] == "backlog"
    assert cancelled["runs"][-1]["status"] == "cancelled"


def test_when_the_engine_is_killed_the_run_is_interrupted_and_can_be_resumed(pane: Commands, repo: Path) -> None:
    task = add_task(pane, repo)
    held = Held()
    with ScriptedServer(script=held) as server:
        running = pane.start("run", task, "--json", env=server.environment)
        assert held.asked.wait(BOUND_S)
        os.kill(engine_pid(pane), signal.SIGKILL)
        out, err = running.communicate(timeout=BOUND_S)
    assert running.returncode == 4, err
    assert json.loads(out)["runs"][-1]["status"] == "interrupted"
    assert b"The engine has ended" in err
    with ScriptedServer(write("f.txt", "f\n")) as server:
        assert pane.json("resume", task, env=server.environment)["column"] == "waiting_approval"


def test_a_conflict_keeps_both_sides_names_the_paths_and_is_resolved_by_hand(board: Commands, repo: Path) -> None:
    task = add_task(board, repo)
    with ScriptedServer(change("a.txt", "theirs\n")) as server:
        board.json("run", task, env=server.environment)
    (repo / "a.txt").write_text("ours\n")
    git(repo, "commit", "-q", "-a", "-m", "ours")
    tip = git(repo, "rev-parse", "main")
    outcome = board.json("approve", task, status=5)
    assert outcome == {
        "task_id": task, "result": "conflicted", "merge_commit": None, "paths": ["a.txt"], "code": "MERGE_CONFLICT",
    }  # fmt: skip
    assert git(repo, "rev-parse", "main") == tip
    assert (repo / "a.txt").read_text() == "ours\n"
    written = board("resolve", task, "--by-hand")
    assert written.status == 0 and "a.txt (contents): both sides are between markers" in written.text, written
    asked = board("approve", task)
    assert asked.status == 5 and "agentpane resolve --done" in asked.text + asked.stderr
    assert "conflict, by hand" in board("task", "list", str(repo)).text
    refused = board.json("resolve", task, "--done", status=5)["error"]
    assert (refused["code"], refused["details"]["paths"]) == ("MERGE_CONFLICT", ["a.txt"])
    shown = board.json("task", "show", task)
    assert (shown["resolving"]["by"], shown["column"]) == ("person", "waiting_approval")
    assert [each["path"] for each in shown["resolving"]["paths"]] == ["a.txt"]
    Path(shown["worktree"], "a.txt").write_text("both\n")
    assert board.json("resolve", task, "--done")["resolving"] is None
    assert board.json("approve", task)["result"] == "merged" and (repo / "a.txt").read_text() == "both\n"
    assert "was undone: it stands where it stood before, at " + tip.decode()[:10] in board("undo", task).text
    assert "waits for you" in board("task", "list", str(repo)).text
    undone = board.json("task", "show", task)
    Path(undone["worktree"], ".gitignore").write_text("/out/\n*.log\n")
    Path(undone["worktree"], "out").mkdir()
    for name in ("out/1", "out/2", "a.log"):
        Path(undone["worktree"], name).touch()
    assert board("task", "move", task, "backlog", "--json").code == "VALIDATION_ERROR"
    Path(undone["worktree"], "new.txt").touch()
    cancelled = board("task", "move", task, "backlog", "--yes").text
    (kept,) = board.json("recovery", "list", str(repo))
    assert f"is in the recovery bin: agentpane recovery restore {kept['id']}" in cancelled
    assert "What git ignores went with the worktree: a.log, out/." in cancelled
    assert f"Its commits stay on branch {undone['branch']}; the next run begins another." in cancelled
    told = board("session", "show", task).text
    assert f"its commits stay on branch {undone['branch']}" in told
    assert "what git ignores went with the worktree: a.log; out/" in told


def test_a_dirty_checkout_is_refused_and_kept(board: Commands, repo: Path) -> None:
    task = add_task(board, repo)
    with ScriptedServer(change("a.txt", "theirs\n")) as server:
        board.json("run", task, env=server.environment)
    (repo / "a.txt").write_text("not committed\n")
    outcome = board.json("approve", task, status=3)
    assert (outcome["result"], outcome["code"], outcome["paths"]) == ("refused", "MERGE_CHECKOUT_DIRTY", ["a.txt"])
    assert (repo / "a.txt").read_text() == "not committed\n"
    assert board.json("task", "show", task)["column"] == "waiting_approval"


def test_cancelling_a_diff_that_waits_needs_a_yes(board: Commands, repo: Path) -> None:
    task = add_task(board, repo)
    with ScriptedServer(write("g.txt", "g\n")) as server:
        before = board.json("run", task, env=server.environment)
    refused = board("cancel", task, "--json")
    assert (refused.status, refused.code) == (2, "VALIDATION_ERROR")
    assert board.json("task", "show", task) == before
    assert board.json("cancel", task, "--yes")["column"] == "backlog"
    assert not Path(before["worktree"]).exists()


def test_odd_paths_links_and_programs_come_through_exactly(board: Commands, repo: Path) -> None:
    task = add_task(board, repo)
    command = "printf 'x\\n' > \"$(printf 'caf\\351.txt')\"; ln -s /etc/passwd notes; touch go; chmod +x go"
    with ScriptedServer([[use("Bash", command=command)], [say("Done.")]]) as server:
        board.json("run", task, "--policy", "free", env=server.environment)
    file, program, link = board.json("diff", task)["files"]
    assert file["path"] == "caf\\xe9.txt"
    assert (program["old_mode"], program["new_mode"], program["notes"]) == ("000000", "100755", ["new, executable"])
    assert (link["new_mode"], link["target"]) == ("120000", "/etc/passwd")
    stat = board("diff", task, "--stat").text
    assert "new, executable" in stat and "! leads outside, new symbolic link → /etc/passwd" in stat
    assert base64.b64decode(file["path_b64"]) == b"caf\xe9.txt"
    assert "caf\\xe9.txt" in board("diff", task).text


def test_a_missing_key_is_named_before_anything_changes(board: Commands, repo: Path) -> None:
    task = add_task(board, repo)
    refused = board("run", task, "--json")
    assert (refused.status, refused.code) == (4, "BACKEND_AUTH")
    shown = board.json("task", "show", task)
    assert (shown["column"], shown["runs"]) == ("backlog", [])


def test_a_key_that_is_refused_pauses_the_run(board: Commands, repo: Path) -> None:
    task = add_task(board, repo)
    with ScriptedServer(write("h.txt", "h\n")) as server:
        wrong = {**server.environment, "ANTHROPIC_API_KEY": "wrong"}
        paused = board.json("run", task, status=4, env=wrong)
        assert (paused["runs"][-1]["status"], paused["code"]) == ("paused", "BACKEND_AUTH")
        assert board.json("resume", task, env=server.environment)["column"] == "waiting_approval"


def refusals(repo: Path, tmp: Path) -> list[tuple[tuple[str, ...], str, int]]:
    empty = tmp / "empty"
    empty.mkdir()
    git(empty, "init", "-q")
    plain = tmp / "plain"
    plain.mkdir()
    return [
        (("project", "add", str(tmp / "nowhere")), "PROJECT_PATH_INVALID", 3),
        (("project", "add", str(plain)), "PROJECT_NOT_A_GIT_REPO", 3),
        (("project", "add", str(empty)), "PROJECT_EMPTY_REPO", 3),
        (("project", "add", str(repo)), "PROJECT_PATH_EXISTS", 3),
        (("project", "show", "nothing"), "PROJECT_NOT_FOUND", 3),
        (("task", "show", "nothing"), "TASK_NOT_FOUND", 3),
        (("approve", "nothing"), "TASK_NOT_FOUND", 3),
        (("task", "add", "shop", "x" * 201), "VALIDATION_ERROR", 2),
        (("task", "add", "shop", ""), "VALIDATION_ERROR", 2),
        (("task", "move", "TASK", "verified"), "TASK_INVALID_TRANSITION", 3),
        (("reject", "TASK", "--reason", "no"), "TASK_NOT_WAITING_APPROVAL", 3),
        (("resume", "TASK"), "AGENT_NOT_RUNNING", 3),
        (("session", "show", "TASK"), "SESSION_NOT_FOUND", 3),
        (("cancel", "TASK"), "TASK_INVALID_TRANSITION", 3),
        (("run", "TASK", "--agent", "nobody"), "AGENT_NOT_FOUND", 3),
        (("diff", "TASK"), "TASK_NO_DIFF", 4),
    ]


def test_what_is_refused_says_why_and_changes_nothing(board: Commands, repo: Path, tmp_path: Path) -> None:
    task = add_task(board, repo)
    before = board.json("task", "list", "shop")
    for words, code, status in refusals(repo, tmp_path):
        done = board(*(task if word == "TASK" else word for word in words), "--json")
        assert (done.code, done.status) == (code, status), words
        assert done.document["error"]["message"]
    assert board.json("task", "list", "shop") == before
    assert [project["name"] for project in board.json("project", "list")] == ["shop"]


def test_a_description_comes_from_standard_input_and_a_project_by_its_relative_path(
    board: Commands, repo: Path
) -> None:
    board.json("project", "add", str(repo))
    added = board("task", "add", ".", "Read me", "-d", "-", "--json", input="Grüße\nzwei\n".encode(), cwd=repo)
    assert added.document["description"] == "Grüße\nzwei"
    assert [task["title"] for task in board.json("task", "list", str(repo))] == ["Read me"]


def test_a_started_task_returns_at_once(board: Commands, repo: Path) -> None:
    board.json("project", "add", str(repo))
    with ScriptedServer(write("i.txt", "i\n")) as server:
        started = board.json("task", "add", "shop", "Go", "--start", env=server.environment)
        assert started["column"] == "in_progress"
        until(lambda: board.ask(GetTask(started["id"])).card.column is Column.WAITING_APPROVAL)


def test_a_backup_restores_with_the_engine_running(pane: Commands, repo: Path, tmp_path: Path) -> None:
    task = add_task(pane, repo)
    assert pane.json("db", "check") == {"ok": True, "problems": []}
    assert pane("db", "backup", "copy.db", "--json").document == {"file": str(tmp_path / "copy.db")}
    pane.json("task", "add", "shop", "Later")
    restored = pane.json("db", "restore", "copy.db")
    assert Path(restored["kept"]).exists()
    assert [each["id"] for each in pane.json("task", "list", "shop")] == [task]


def test_a_damaged_database_leaves_the_doctor_and_restoring(pane: Commands, repo: Path) -> None:
    task = add_task(pane, repo)
    pane.json("db", "backup", "copy.db")
    pane.json("engine", "stop")
    for more in ("-wal", "-shm"):
        Path(f"{pane.folder.database}{more}").unlink(missing_ok=True)
    pane.folder.database.write_bytes(b"this is no database" * 1_000)
    refused = pane("task", "list", "shop", "--json")
    assert refused.status == 6
    assert refused.code == "STORE_CORRUPT"
    report = pane.json("doctor", status=6)
    assert report["ok"] is False
    assert report["findings"][0]["code"] == "STORE_CORRUPT"
    pane.json("db", "restore", "copy.db")
    until(lambda: pane("task", "list", "shop", "--json").status == 0)
    assert [each["id"] for each in pane.json("task", "list", "shop")] == [task]


def test_the_engine_ends_when_told_and_by_itself(pane: Commands) -> None:
    assert pane.json("project", "list") == []
    status = pane.json("engine", "status")
    assert (status["running"], status["clients"], status["runs"]) == (True, 0, 0)
    assert pane.json("engine", "stop")["running"] is False
    until(lambda: not alive(status["pid"]))
    pane.environment["AGENTPANE_IDLE_S"] = "3"
    assert pane.json("project", "list") == []
    idle = engine_pid(pane)
    until(lambda: not alive(idle))  # without asking it, for whoever asks keeps it


def test_many_commands_at_once_share_one_engine(pane: Commands) -> None:
    commands = [pane.start("engine", "status", "--json"), *(pane.start("project", "list", "--json") for _ in range(6))]
    for command in commands:
        out, err = command.communicate(timeout=BOUND_S)
        assert command.returncode == 0, err
        json.loads(out)
    engines = [
        process
        for process in psutil.process_iter(["cmdline"])
        if (process.info["cmdline"] or [])[-2:] == ["agentpane", "engine"]
        and process.environ().get("AGENTPANE_HOME") == str(pane.folder.root)
    ]
    assert len(engines) == 1


def test_the_engine_has_no_key_of_its_first_client(pane: Commands) -> None:
    secrets = {"ANTHROPIC_API_KEY": "k1", "GITHUB_TOKEN": "k2", "AWS_SECRET_ACCESS_KEY": "k3"}
    pane.json("project", "list", env=secrets)
    environment = psutil.Process(engine_pid(pane)).environ()
    assert not secrets.keys() & environment.keys()
    assert psutil.Process(engine_pid(pane)).cwd() == "/"


def test_a_reader_that_goes_away_is_no_failure(board: Commands, repo: Path) -> None:
    board.json("project", "add", str(repo))
    for number in range(3):
        board.json("task", "add", "shop", f"Task {number}")
    listing = board.start("task", "list", "shop")
    assert listing.stdout is not None
    listing.stdout.close()
    assert listing.wait(BOUND_S) == 141
    assert listing.stderr is not None
    assert b"Traceback" not in listing.stderr.read()
    listing.stderr.close()


def test_a_session_is_followed_while_it_happens(board: Commands, repo: Path) -> None:
    task = add_task(board, repo)
    with ScriptedServer(write("j.txt", "j\n")) as server:
        board.json("run", task, env=server.environment)
        following = board.start("session", "show", task, "--follow", "--jsonl")
        assert following.stdout is not None
        seen = [json.loads(following.stdout.readline())]
        board.json("approve", task)
        while seen[-1]["data"].get("state") != "merged":
            seen.append(json.loads(following.stdout.readline()))
        following.send_signal(signal.SIGINT)
        _, err = following.communicate(timeout=BOUND_S)
    assert following.returncode == 130
    assert b"Traceback" not in err
    assert [event["seq"] for event in seen] == list(range(1, len(seen) + 1))
