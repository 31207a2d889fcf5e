"""The door over a real socket: requests side by side, errors as they are, events in order, and whoever misbehaves."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import stat
import struct
import sys

import pytest

from agentpane.api.client import Client, ask_to_make_room
from agentpane.api.commands import AddTask, BackupDatabase, GetPatch, GetStatus, GetTask, ListProjects
from agentpane.api.events import CatchUp, Published, RunActivity, TaskChanged
from agentpane.api.framing import MAX_FRAME, pack, read_message
from agentpane.api.protocol import ClientKind
from agentpane.api.server import Server
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.paths import DataFolder
from tests.api.conftest import VERSION, Connect
from tests.api.waiting import until
from tests.api.workbench import MemoryWorkbench, make_card

HELLO = {"hello": {"version": VERSION, "kind": "command", "name": "", "pid": 1}}


async def raw(folder: DataFolder) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_unix_connection(folder.socket)


async def test_a_command_comes_back_with_its_answer(connect: Connect) -> None:
    client = await connect()
    task = await client.do(AddTask("p", "Fix it", "Please \udc80."))
    assert (task.card.title, task.description) == ("Fix it", "Please \udc80.")
    assert await client.do(GetTask(task.card.id)) == task


async def test_an_error_comes_through_as_it_is(connect: Connect) -> None:
    client = await connect()
    with pytest.raises(AgentPaneError) as caught:
        await client.do(GetTask("nothing"))
    error = caught.value
    assert (error.code, error.message, error.hint) == (ErrorCode.TASK_NOT_FOUND, "No task nothing.", "Look.")
    assert error.details == {"task": "nothing", "n": 1}


async def test_a_bug_of_the_engine_is_reported_and_logged_and_the_connection_goes_on(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    client = await connect()
    with caplog.at_level(logging.ERROR), pytest.raises(AgentPaneError) as caught:
        await client.do(ListProjects())
    assert caught.value.code is ErrorCode.INTERNAL
    assert "nobody foresaw this" in caught.value.message
    assert any(record.exc_info for record in caplog.records)
    assert (await client.do(GetStatus())).running


async def test_requests_of_one_client_run_side_by_side(connect: Connect, workbench: MemoryWorkbench) -> None:
    client = await connect()
    workbench.gate = asyncio.Event()
    slow = [asyncio.create_task(client.do(AddTask("p", f"t{number}"))) for number in range(10)]
    await asyncio.wait_for(workbench.entered.wait(), 5)
    assert (await client.do(GetStatus())).running  # overtakes the ten that wait
    workbench.gate.set()
    assert sorted(task.card.title for task in await asyncio.gather(*slow)) == [f"t{number}" for number in range(10)]


async def test_more_requests_than_may_run_at_once_are_all_answered(connect: Connect) -> None:
    client = await connect()
    names = await asyncio.gather(*(client.do(BackupDatabase(f"/f{number}")) for number in range(500)))
    assert names == [f"/f{number}" for number in range(500)]


async def test_a_client_that_vanishes_does_not_undo_what_it_asked_for(
    connect: Connect, workbench: MemoryWorkbench, server: Server
) -> None:
    client = await connect()
    workbench.gate = asyncio.Event()
    asking = asyncio.create_task(client.do(AddTask("p", "Survives")))
    await asyncio.wait_for(workbench.entered.wait(), 5)
    asking.cancel()
    await client.close()
    await until(lambda: server.clients == 0)
    workbench.gate.set()
    await until(lambda: workbench.tasks)
    assert workbench.tasks["task1"].card.title == "Survives"


async def test_an_answer_longer_than_a_frame_arrives_whole(connect: Connect, workbench: MemoryWorkbench) -> None:
    client = await connect()
    workbench.patch = os.urandom(MAX_FRAME + 12_345)
    assert (await client.do(GetPatch("t", "s"))).data == workbench.patch


async def test_a_request_longer_than_a_frame_is_refused_before_it_is_sent(connect: Connect) -> None:
    client = await connect()
    with pytest.raises(AgentPaneError) as caught:
        await client.do(AddTask("p", "x" * (MAX_FRAME + 1)))
    assert caught.value.code is ErrorCode.VALIDATION_ERROR
    assert (await client.do(GetStatus())).running


async def test_a_watch_sees_everything_from_the_moment_at_which_it_was_made(
    connect: Connect, workbench: MemoryWorkbench
) -> None:
    first, second = await connect(), await connect(ClientKind.WINDOW)
    watches = [first.events(), second.events()]
    await first.do(GetStatus())
    await second.do(GetStatus())  # the engine reads in order, so both watches stand
    sent = [TaskChanged(make_card(number)) for number in range(200)]
    workbench.publish(*sent)
    for watch in watches:
        got = [await anext(watch) for _ in sent]
        assert got == [Published(number + 1, event) for number, event in enumerate(sent)]


async def test_a_client_goes_on_from_its_last_number(connect: Connect, workbench: MemoryWorkbench) -> None:
    workbench.publish(*(RunActivity("t", f"line {number}") for number in range(10)))
    client = await connect()
    watch = client.events(after=7, epoch=client.engine.epoch)
    assert [(await anext(watch)).seq for _ in range(3)] == [8, 9, 10]


async def test_a_number_of_another_engines_life_means_catching_up(connect: Connect, workbench: MemoryWorkbench) -> None:
    workbench.publish(*(RunActivity("t", f"line {number}") for number in range(10)))
    client = await connect()
    watch = client.events(after=7, epoch="another life")
    assert await anext(watch) == CatchUp(10)
    workbench.publish(RunActivity("t", "next"))
    assert await anext(watch) == Published(11, RunActivity("t", "next"))


async def test_a_client_that_reads_too_slowly_catches_up_and_holds_up_nobody(
    connect: Connect, workbench: MemoryWorkbench, folder: DataFolder, server: Server
) -> None:
    reader, writer = await raw(folder)
    writer.write(pack(HELLO) + pack({"watch": 1, "after": None}))
    await read_message(reader)
    quick = await connect()
    watch = quick.events()
    await quick.do(GetStatus())
    reader_is_full = 6_000
    for number in range(reader_is_full):
        workbench.publish(RunActivity("t", "x" * 2_000))
        if number % 100 == 0:
            await asyncio.wait_for(quick.do(GetStatus()), 5)
    seen = 0
    while seen < reader_is_full:
        item = await asyncio.wait_for(anext(watch), 5)
        assert isinstance(item, Published), "the quick client never has to catch up"
        seen = item.seq
    numbers: list[int] = []
    while not numbers or numbers[-1] < reader_is_full:
        message = await asyncio.wait_for(read_message(reader), 5)
        numbers.append(message.get("seq", message.get("catch_up")))
        if "catch_up" in message:
            break
    assert "catch_up" in message
    assert len(numbers) < reader_is_full
    writer.close()


async def test_unwatching_ends_the_stream(connect: Connect, workbench: MemoryWorkbench) -> None:
    client = await connect()
    watch = client.events()
    await watch.aclose()
    assert [item async for item in watch] == []
    await client.do(GetStatus())
    workbench.publish(RunActivity("t", "unseen"))
    assert (await client.do(GetStatus())).running


async def test_when_the_engine_ends_whoever_waits_is_told(
    connect: Connect, workbench: MemoryWorkbench, server: Server
) -> None:
    client = await connect()
    watch = client.events()
    await client.do(GetStatus())
    workbench.publish(RunActivity("t", "the last"))
    workbench.gate = asyncio.Event()
    asking = asyncio.create_task(client.do(AddTask("p", "t")))
    await asyncio.wait_for(workbench.entered.wait(), 5)
    closing = asyncio.create_task(server.close())
    workbench.gate.set()
    await closing
    assert (await asking).card.title == "t"  # what was under way is answered before the door closes
    assert await anext(watch) == Published(1, RunActivity("t", "the last"))
    for failing in (anext(watch), client.do(GetStatus())):
        with pytest.raises(AgentPaneError) as caught:
            await failing
        assert caught.value.code is ErrorCode.ENGINE_UNREACHABLE


async def test_closing_the_client_ends_its_watches_quietly(connect: Connect) -> None:
    client = await connect()
    watch = client.events()
    reading = asyncio.create_task(anext(watch, None))
    await client.do(GetStatus())
    await client.close()
    assert await reading is None


async def test_clients_are_counted_by_kind(connect: Connect, server: Server) -> None:
    counts: list[tuple[int, int]] = []
    server.on_clients_changed = lambda: counts.append((server.clients, server.windows))
    window = await connect(ClientKind.WINDOW, "first window")
    await connect(ClientKind.COMMAND)
    assert (server.clients, server.windows) == (2, 1)
    assert server.connected[0].name == "first window"
    assert server.connected[0].pid == os.getpid()
    await window.close()
    await until(lambda: server.windows == 0)
    assert counts == [(1, 1), (2, 1), (1, 0)]


async def test_the_greeting_says_which_engine_answers(connect: Connect, server: Server) -> None:
    engine = (await connect()).engine
    assert (engine.version, engine.epoch, engine.pid) == (VERSION, server.epoch, os.getpid())


async def test_another_version_is_refused_with_both_versions(server: Server, folder: DataFolder) -> None:
    with pytest.raises(AgentPaneError) as caught:
        await Client.connect(folder, version="9.9")
    assert caught.value.code is ErrorCode.ENGINE_VERSION
    assert caught.value.details == {"engine_version": VERSION, "client_version": "9.9", "pid": os.getpid()}
    assert server.clients == 0


async def test_the_socket_is_open_to_its_user_only(server: Server, folder: DataFolder) -> None:
    assert stat.S_IMODE(folder.socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.socket.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.door.stat().st_mode) == 0o600


async def test_a_folder_that_others_may_enter_is_refused(workbench: MemoryWorkbench, folder: DataFolder) -> None:
    parent = folder.socket.parent
    parent.mkdir(exist_ok=True)
    parent.chmod(0o755)
    try:
        with pytest.raises(AgentPaneError) as caught:
            await Server(workbench, folder, VERSION).start()
        assert caught.value.code is ErrorCode.ENGINE_UNREACHABLE
        assert "open to other users" in caught.value.message
    finally:
        parent.chmod(0o700)


async def test_a_socket_left_by_a_dead_engine_is_replaced(workbench: MemoryWorkbench, folder: DataFolder) -> None:
    folder.socket.parent.mkdir(mode=0o700, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(folder.socket))
    server = Server(workbench, folder, VERSION)
    await server.start()
    client = await Client.connect(folder, version=VERSION)
    await client.close()
    await server.close()
    assert not folder.socket.exists()


async def test_a_client_with_another_runtime_folder_finds_the_engine(
    server: Server, folder: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    client = await Client.connect(folder, version=VERSION)
    assert client.engine.epoch == server.epoch
    await client.close()


async def test_without_an_engine_a_client_is_told_so(folder: DataFolder) -> None:
    with pytest.raises(AgentPaneError) as caught:
        await Client.connect(folder)
    assert caught.value.code is ErrorCode.ENGINE_UNREACHABLE


async def test_a_peer_that_descends_from_a_run_is_refused(workbench: MemoryWorkbench, folder: DataFolder) -> None:
    asked: list[int] = []

    def refuse(pid: int) -> str | None:
        asked.append(pid)
        return "it was started by an agent"

    server = Server(workbench, folder, VERSION, refuse_peer=refuse)
    await server.start()
    with pytest.raises(AgentPaneError) as caught:
        await Client.connect(folder, version=VERSION)
    assert "started by an agent" in caught.value.message
    assert asked == [os.getpid()]
    assert server.clients == 0
    await server.close()


async def test_an_idle_engine_makes_room_for_another_version_and_a_busy_one_does_not(
    server: Server, folder: DataFolder, workbench: MemoryWorkbench
) -> None:
    workbench.runs = 1
    with pytest.raises(AgentPaneError) as caught:
        await ask_to_make_room(folder, "9.9")
    assert caught.value.code is ErrorCode.ENGINE_VERSION
    assert not workbench.stopped.is_set()
    workbench.runs = 0
    await ask_to_make_room(folder, "9.9")
    assert workbench.stopped.is_set()


async def test_an_engine_with_another_client_does_not_make_room(
    connect: Connect, folder: DataFolder, workbench: MemoryWorkbench
) -> None:
    await connect(ClientKind.WINDOW)
    with pytest.raises(AgentPaneError):
        await ask_to_make_room(folder, "9.9")
    assert not workbench.stopped.is_set()


RUDE = {
    "garbage": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "no JSON": struct.pack(">I", 3) + b"{{{",
    "an oversized frame": struct.pack(">I", MAX_FRAME + 1) + b"x",
    "a message that never ends": b"".join(struct.pack(">I", 0x80000000 | 65536) + bytes(65536) for _ in range(2)),
    "no object": pack([1, 2, 3]),
    "an empty greeting": pack({"hello": None}),
    "half a frame, then silence": struct.pack(">I", 100) + b"{",
    "nothing": b"",
}
RUDE_LATER = {
    "garbage": b"\xff" * 64,
    "no number": pack({"do": "GetStatus", "with": {}}),
    "a number that is none": pack({"id": True, "do": "GetStatus", "with": {}}),
    "a list": pack([]),
    "a watch twice": pack({"watch": 1, "after": None}) * 2,
    "a watch after nonsense": pack({"watch": 1, "after": "now"}),
    "an oversized frame": struct.pack(">I", MAX_FRAME + 1),
}


@pytest.mark.parametrize(
    ("greeted", "rude"),
    [
        *(pytest.param(False, rude, id=name) for name, rude in RUDE.items()),
        *(pytest.param(True, rude, id=f"greeted, then {name}") for name, rude in RUDE_LATER.items()),
    ],
)
async def test_a_rude_client_is_dropped_and_harms_nobody(
    greeted: bool, rude: bytes, connect: Connect, folder: DataFolder, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentpane.api.connection.GREETING_S", 0.1)
    polite = await connect()
    reader, writer = await raw(folder)
    if greeted:
        writer.write(pack(HELLO))
        assert "welcome" in await read_message(reader)
    writer.write(rude)
    async with asyncio.timeout(5):
        while await reader.read(65536):
            pass  # the engine may say why before it hangs up
    assert (await polite.do(GetStatus())).running
    await until(lambda: server.clients == 1)
    writer.close()


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"id": 1, "do": "FormatDisk", "with": {}}, "VALIDATION_ERROR"),
        ({"id": 1, "do": 5, "with": {}}, "VALIDATION_ERROR"),
        ({"id": 1, "do": "GetTask", "with": {}}, "VALIDATION_ERROR"),
        ({"id": 1, "do": "GetTask", "with": None}, "VALIDATION_ERROR"),
    ],
)
async def test_a_request_that_makes_no_sense_gets_an_error_and_the_connection_goes_on(
    request_: dict[str, object], code: str, server: Server, folder: DataFolder
) -> None:
    reader, writer = await raw(folder)
    writer.write(pack(HELLO) + pack(request_) + pack({"id": 2, "do": "GetStatus", "with": {}}))
    await read_message(reader)
    answers = {message["id"]: message for message in [await read_message(reader), await read_message(reader)]}
    assert answers[1]["error"]["code"] == code
    assert answers[2]["ok"]["running"] is True
    writer.close()


FROZEN_CLIENT = """
import asyncio, sys
from agentpane.api.client import Client, ask_to_make_room
from agentpane.paths import data_folder

async def main():
    client = await Client.connect(data_folder(), version=sys.argv[1])
    client.events()
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_client_process_that_is_killed_leaves_the_others_alone(
    connect: Connect, server: Server, workbench: MemoryWorkbench
) -> None:
    other = await connect()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", FROZEN_CLIENT, VERSION, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 20) == b"ready\n"
    assert server.clients == 2
    process.send_signal(signal.SIGSTOP)  # it reads no more
    workbench.publish(*(RunActivity("t", "x" * 5_000) for _ in range(900)))
    assert (await other.do(GetStatus())).running
    process.kill()
    await process.wait()
    await until(lambda: server.clients == 1)
    workbench.publish(RunActivity("t", "after"))
    assert (await other.do(GetStatus())).running


async def test_the_door_closes_in_time_though_a_client_reads_nothing(
    workbench: MemoryWorkbench, folder: DataFolder
) -> None:
    server = Server(workbench, folder, VERSION)
    await server.start()
    reader, writer = await raw(folder)
    writer.write(pack(HELLO) + pack({"watch": 1, "after": None}))
    await read_message(reader)
    workbench.publish(*(RunActivity("t", "x" * 10_000) for _ in range(900)))
    async with asyncio.timeout(9):
        await server.close()
    writer.close()
