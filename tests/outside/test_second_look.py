"""Promises that a script relies on: what is asked first, what is trusted, what is kept, what is said."""

from __future__ import annotations

import json
import signal
import sqlite3
from contextlib import closing
from dataclasses import replace

from agentpane.api.commands import ChangeSettings, GetSettings, ListTasks, MoveTask, TrustProject
from agentpane.domain.board import Column
from tests.backends.wire import say, use
from tests.cli.conftest import Commands, git
from tests.outside.stage import GREETING, Stage, until

CONFIG = ".agentpane/config.toml"


def test_moving_a_diff_that_waits_to_the_backlog_needs_a_yes(stage: Stage) -> None:
    task = stage.task()
    stage.played(task, GREETING)
    before = stage.everything()
    refused = stage.pane("task", "move", task, "backlog", "--json")
    assert (refused.status, refused.document["error"]["details"]) == (2, {"field": "confirmed"})
    assert "--yes" in refused.document["error"]["hint"]
    assert stage.asked(MoveTask(task, Column.BACKLOG)).code == "VALIDATION_ERROR"
    assert stage.everything() == before
    assert stage.pane.json("task", "move", task, "backlog", "--yes")["column"] == "backlog"


def test_trust_is_of_the_content_that_was_read(stage: Stage) -> None:
    repo = stage.repository({CONFIG: 'init_script = "make"\n'})
    project = stage.pane.json("project", "add", str(repo))["id"]
    (repo / CONFIG).write_text('init_script = "rm -rf build"\n')
    git(repo, "commit", "-aqm", "another")
    assert stage.asked(TrustProject(project, "0" * 64)).code == "PROJECT_NOT_TRUSTED"
    assert stage.pane.json("project", "show", project)["trusted"] is False
    trusted = stage.pane("project", "add", str(repo), "--trust", "--json")
    assert (trusted.status, trusted.document["trusted"], trusted.document["id"]) == (0, True, project)
    assert "rm -rf build" in trusted.stderr
    (repo / CONFIG).write_text('init_script = "make all"\n')
    git(repo, "commit", "-aqm", "a third")
    assert stage.pane.json("project", "show", project)["trusted"] is False


def test_a_run_says_what_it_left_out(stage: Stage) -> None:
    task = stage.task(stage.repository({CONFIG: 'init_script = "make"\n'}))
    stage.played(task, GREETING)
    told = [event.data for event in stage.events(task) if event.data.get("state") == "not_trusted"]
    assert [each["pending"] for each in told] == [["init_script: make"]]
    assert "left out until it is trusted: init_script: make" in stage.pane("session", "show", task).text


def test_a_card_that_has_no_key_to_start_with_is_not_made(stage: Stage) -> None:
    repo = stage.repository()
    project = stage.pane.json("project", "add", str(repo))["id"]
    none = {"ANTHROPIC_API_KEY": "", "ANTHROPIC_AUTH_TOKEN": "", "ANTHROPIC_BASE_URL": ""}
    refused = stage.pane("task", "add", project, "A card", "--start", "--json", env=none)
    assert (refused.status, refused.code) == (4, "BACKEND_AUTH")
    assert stage.do(ListTasks(project)) == ()


def test_an_address_with_a_password_in_it_is_not_stored(stage: Stage) -> None:
    before = stage.do(GetSettings())
    refused = stage.asked(ChangeSettings(replace(before, base_url="https://me:secret@example.org")))
    assert refused.document["error"]["details"] == {"field": "base_url"}
    assert stage.do(GetSettings()) == before


def test_an_export_holds_the_whole_of_a_long_output(stage: Stage) -> None:
    task = stage.task()
    text = "".join(f"line {number:06d}\n" for number in range(20_000))
    stage.played(task, ((use("Write", file_path="long.txt", content=text),), (say("Done."),)))
    calls = [
        event["data"]
        for event in map(json.loads, stage.pane("session", "export", task).stdout.splitlines())
        if event["kind"] == "tool_call"
    ]
    assert calls[0]["input"]["content"] == text
    assert "blobs" not in calls[0]


def test_a_merged_cards_session_is_closed(stage: Stage) -> None:
    task = stage.task()
    session = stage.played(task, GREETING).session_id
    assert stage.pane("approve", task).status == 0
    with closing(sqlite3.connect(f"file:{stage.pane.folder.database}?mode=ro", uri=True)) as database:
        found = database.execute("SELECT is_active FROM sessions WHERE id = ?", (session,)).fetchone()
    assert found == (0,)


def test_a_session_that_is_followed_goes_on_when_the_engine_has_ended(alone: Stage) -> None:
    task = alone.task()
    alone.played(task, GREETING)
    following = alone.pane.start("session", "show", task, "--follow", "--jsonl")
    assert following.stdout is not None
    first = json.loads(following.stdout.readline())
    assert first["seq"] == 1
    pid = alone.pane.json("engine", "status")["pid"]
    assert alone.pane("engine", "stop", "--now").status == 0
    until(lambda: alone.pane.json("engine", "status")["pid"] not in (None, pid))
    assert alone.pane("reject", task, "--reason", "Again.", env=alone.model(GREETING).environment).status == 0
    alone.settled(task)
    numbers = [first["seq"]]
    for line in following.stdout:
        numbers.append(json.loads(line)["seq"])
        if numbers[-1] == alone.events(task)[-1].seq:
            break
    following.send_signal(signal.SIGINT)
    assert following.wait(30) == 130
    following.communicate()
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_database_that_cannot_be_opened_is_backed_up_as_it_is(pane: Commands) -> None:
    pane.folder.make()
    pane.folder.database.write_bytes(b"no database at all")
    pane.folder.database.with_name(pane.folder.database.name + "-wal").write_bytes(b"journal")
    target = pane.place / "kept.db"
    assert pane.json("db", "backup", str(target)) == {"file": str(target)}
    assert target.read_bytes() == b"no database at all"
    assert target.with_name("kept.db-wal").read_bytes() == b"journal"
    assert pane("db", "backup", str(target), "--json").code == "VALIDATION_ERROR"


def test_an_idle_time_that_is_no_number_is_said_and_the_default_holds(pane: Commands) -> None:
    assert pane("project", "list", env={"AGENTPANE_IDLE_S": "abc"}).status == 0
    assert "AGENTPANE_IDLE_S='abc' is no number of seconds" in (pane.folder.logs / "engine.log").read_text()
