"""The engine's door: a Unix socket that only its user can open, with any number of clients at it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from agentpane.api.codec import dumps, encode
from agentpane.api.commands import GetStatus, StopEngine
from agentpane.api.connection import ClientsChanged, Connection, EventCache
from agentpane.api.events import Published
from agentpane.api.framing import READ_AHEAD, FrameError
from agentpane.api.peers import Peer, make_folder, peer_of
from agentpane.api.protocol import ClientKind, Greeting, Hello, error_to_json, unreachable, version_error
from agentpane.api.workbench import Workbench
from agentpane.errors import AgentPaneError
from agentpane.paths import DataFolder

log = logging.getLogger(__name__)

JOBS_S = 5.0  # what is under way when the door closes gets this long to end
BACKLOG = 64

RefusePeer = Callable[[int], str | None]


@dataclass(frozen=True, slots=True)
class ConnectedClient:
    """A client at the door: a window or a command, by the name that it gave itself."""

    kind: ClientKind
    name: str
    pid: int


class Server:
    """Opens the door to a workbench. Whoever starts it holds the data folder's lock, so a socket found there is stale.

    refuse_peer: given a peer's process id, says why that process may not come in, or None.
    """

    def __init__(
        self, workbench: Workbench, folder: DataFolder, version: str, *, refuse_peer: RefusePeer | None = None
    ) -> None:
        self.workbench = workbench
        self.epoch = secrets.token_hex(8)
        self.on_clients_changed: ClientsChanged | None = None
        self._folder = folder
        self._version = version
        self._refuse_peer = refuse_peer
        self._events = EventCache()
        self._clients: dict[Connection, ConnectedClient] = {}
        self._jobs: set[asyncio.Task[None]] = set()
        self._serving: dict[asyncio.Task[None], Connection] = {}
        self._server: asyncio.Server | None = None

    @property
    def connected(self) -> tuple[ConnectedClient, ...]:
        """Who is connected, oldest first."""
        return tuple(self._clients.values())

    @property
    def clients(self) -> int:
        """How many clients are connected, windows and commands."""
        return len(self._clients)

    @property
    def windows(self) -> int:
        """How many windows are connected."""
        return sum(1 for client in self._clients.values() if client.kind is ClientKind.WINDOW)

    async def start(self) -> None:
        """Open the door. Raises AgentPaneError with ENGINE_UNREACHABLE if its folder is unsafe or takes no socket."""
        path = self._folder.socket
        make_folder(path.parent)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            path.unlink(missing_ok=True)
            listening.bind(os.fspath(path))
            path.chmod(0o600)  # before anybody can connect, for nothing listens yet
            listening.setblocking(False)
            self._server = await asyncio.start_unix_server(
                self._meet, sock=listening, limit=READ_AHEAD, backlog=BACKLOG
            )
            self._write_down_where()
        except OSError as error:
            listening.close()
            raise unreachable(f"The engine's socket {path} cannot be made: {error.strerror}.") from error

    async def close(self) -> None:
        """Close the door: what is under way ends first, for a while, and every answer gets a moment to arrive."""
        if self._server is None:
            return
        self._server.close()
        for path in (self._folder.socket, self._folder.door):
            with contextlib.suppress(OSError):
                path.unlink()
        jobs = self._jobs - {asyncio.current_task()}
        if jobs:
            _, late = await asyncio.wait(jobs, timeout=JOBS_S)
            for job in late:
                job.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await asyncio.gather(*(connection.close() for connection in self._serving.values()))
        serving = self._serving.keys() - {asyncio.current_task()}  # they end by themselves once their connection has
        await asyncio.gather(*serving, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    def start_job(self, work: Coroutine[Any, Any, None]) -> None:
        job = asyncio.create_task(work)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    def event_json(self, published: Published) -> bytes:
        return self._events.json(published)

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connection = self._serving[task] = Connection(self, reader, writer)
        try:
            await self._serve(connection, writer)
        except (TimeoutError, FrameError, EOFError, OSError) as error:
            log.info("a client was dropped before it was greeted: %s", repr(error))
        except Exception:
            log.exception("a client was dropped in a way that nobody foresaw")
        finally:
            if self._clients.pop(connection, None):
                self._announce_clients()
            await connection.close()
            del self._serving[task]

    async def _serve(self, connection: Connection, writer: asyncio.StreamWriter) -> None:
        try:
            self._check_peer(peer_of(writer.get_extra_info("socket")))
            hello = await connection.greeting()
            if hello.kind is ClientKind.REPLACE:
                await self._make_room(hello)
                connection.send({"stopping": True})
                return
            if hello.version != self._version:
                raise version_error(self._version, hello.version, os.getpid())
        except AgentPaneError as error:
            connection.send({"error": error_to_json(error)})
            return
        self._clients[connection] = ConnectedClient(hello.kind, hello.name, hello.pid)
        self._announce_clients()
        connection.send({"welcome": encode(Greeting, Greeting(self._version, self.epoch, os.getpid()))})
        await connection.serve()

    def _check_peer(self, peer: Peer) -> None:
        if peer.uid != os.getuid():
            raise unreachable("The engine serves its own user only.", "Start AgentPane as the user whose data this is.")
        reason = None
        if self._refuse_peer is not None:
            reason = self._refuse_peer(peer.pid) if peer.pid > 0 else "its process cannot be seen from here"
        if reason:
            log.warning("process %d was refused: %s", peer.pid, reason)
            raise unreachable(
                f"The engine refuses this process: {reason}.", "An agent's commands have no access to AgentPane itself."
            )

    async def _make_room(self, hello: Hello) -> None:
        """End this engine for one of another version, if it is idle. Raises ENGINE_VERSION if it is not."""
        status = await self.workbench.do(GetStatus())
        if status.runs or self._clients:
            raise version_error(self._version, hello.version, os.getpid())
        await self.workbench.do(StopEngine())

    def _announce_clients(self) -> None:
        if self.on_clients_changed is not None:
            self.on_clients_changed()

    def _write_down_where(self) -> None:
        """Keep the socket's place in the data folder, for clients whose environment names another runtime folder."""
        door = self._folder.door
        door.write_bytes(dumps({"socket": os.fspath(self._folder.socket), "pid": os.getpid()}))
        door.chmod(0o600)
