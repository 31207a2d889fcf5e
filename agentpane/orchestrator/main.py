"""The engine's process: one for each data folder, held by a lock, ended when nobody needs it any more."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import logging
import logging.handlers
import math
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import psutil

from agentpane import __version__
from agentpane.api.server import Server
from agentpane.clock import SystemClock
from agentpane.domain.sandbox import Tier
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.engine import Engine
from agentpane.orchestrator.maintenance import Maintenance
from agentpane.paths import DataFolder, data_folder
from agentpane.sandbox import detect, end_orphans
from agentpane.temporary import sweep

log = logging.getLogger(__name__)

IDLE_VARIABLE = "AGENTPANE_IDLE_S"
IDLE_SECONDS = 30.0
TIER_VARIABLE = "AGENTPANE_SANDBOX"
ALREADY_RUNNING = 75  # the exit status of an engine that finds its folder held by another


@dataclass(slots=True)
class Life:
    """How long the engine stays: while a client is connected or a run is alive, and a while longer."""

    idle_s: float
    keep: bool
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    at_once: bool = False
    _timer: asyncio.TimerHandle | None = None

    def end(self, now: bool) -> None:
        self.at_once = now
        # The answer to the command that asked for it still has to reach its client.
        asyncio.get_running_loop().call_later(0.05, self.ended.set)

    def look(self, needed: bool) -> None:
        """Somebody came or left, or the runs were looked at. Time without need counts from its beginning."""
        if needed or self.keep:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self.idle_s, self.ended.set)


def run_engine(serve: bool) -> int:
    """Run the engine in this process until it is not needed, or with `serve` until it is told to stop.

    Returns an exit status.
    """
    folder = data_folder()
    folder.make()
    start_log(folder)
    with held(folder) as ours:
        if not ours:
            print("An engine already runs for this data folder.", file=sys.stderr)
            return ALREADY_RUNNING
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            return runner.run(live(folder, serve))


async def live(folder: DataFolder, serve: bool) -> int:
    life = Life(idle_seconds(os.environ), serve)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, life.ended.set)
    for cleaning in (sweep, end_orphans):
        asyncio.get_running_loop().run_in_executor(None, cleaning)  # nobody waits for it
    try:
        engine = await Engine.open(folder, SystemClock(), await asyncio.to_thread(detect, wanted_tier(os.environ)))
    except AgentPaneError as problem:
        log.error("maintenance: %s %s", problem.code, problem.message)
        await maintain(folder, problem, life)
        return 0
    await work(folder, engine, life)
    return 0


async def work(folder: DataFolder, engine: Engine, life: Life) -> None:
    server = Server(engine, folder, __version__, refuse_peer=refuse_descendant)
    engine.count_with(lambda: server.clients, lambda: server.windows)

    def look() -> None:
        life.look(server.clients > 0 or engine.alive_runs > 0)

    engine.on_runs_changed = look
    engine.on_stop = life.end
    server.on_clients_changed = look
    runs = asyncio.create_task(engine.serve(), name="runs")
    runs.add_done_callback(lambda _: life.ended.set())
    try:
        await server.start()
        gc.freeze()  # what is loaded stays: the collector need not look at it again
        look()
        await life.ended.wait()
        if not life.at_once:
            await engine.pause_all()
    finally:
        runs.cancel()
        for failure in await asyncio.gather(runs, return_exceptions=True):
            if isinstance(failure, Exception):
                log.error("the engine ends because of a failure", exc_info=failure)
        await server.close()
        await engine.close()


async def maintain(folder: DataFolder, problem: AgentPaneError, life: Life) -> None:
    workbench = Maintenance(folder, problem)
    server = Server(workbench, folder, __version__, refuse_peer=refuse_descendant)
    workbench.on_stop = life.end
    workbench.clients = lambda: server.clients
    server.on_clients_changed = lambda: life.look(server.clients > 0)
    await server.start()
    life.look(False)
    await life.ended.wait()
    await server.close()


def idle_seconds(environment: Mapping[str, str]) -> float:
    """How long the engine stays when nobody needs it. What is no such number is said, and the default holds."""
    wanted = environment.get(IDLE_VARIABLE, "").strip()
    if not wanted:
        return IDLE_SECONDS
    with contextlib.suppress(ValueError):
        if 0 <= (seconds := float(wanted)) < math.inf:
            return seconds
    words = f"{IDLE_VARIABLE}={wanted!r} is no number of seconds; {IDLE_SECONDS:.0f} it is."
    log.warning(words)
    print(words, file=sys.stderr)
    return IDLE_SECONDS


def wanted_tier(environment: Mapping[str, str]) -> Tier | None:
    """The sandbox tier that is asked for, which may be a lower one than the best; None: the best there is.

    Raises AgentPaneError with SECURITY_SANDBOX_UNAVAILABLE for what is no tier.
    """
    wanted = environment.get(TIER_VARIABLE, "").strip().upper()
    try:
        return Tier(wanted) if wanted else None
    except ValueError as error:
        raise AgentPaneError(
            ErrorCode.SECURITY_SANDBOX_UNAVAILABLE,
            f"{TIER_VARIABLE}={wanted} is no sandbox tier. Nothing was started.",
            f"The tiers are {', '.join(Tier)}; without {TIER_VARIABLE} the best one of this machine is taken.",
        ) from error


def refuse_descendant(pid: int) -> str | None:
    """Why a peer may not speak to the engine: whatever descends from it was started by a run."""
    ours = os.getpid()
    try:
        process = psutil.Process(pid)
        if any(parent.pid == ours for parent in process.parents()):
            return "A program that an agent started may not speak to the engine."
    except psutil.Error:
        return "The peer could not be looked up."
    return None


@contextlib.contextmanager
def held(folder: DataFolder) -> Iterator[bool]:
    """Hold the folder's lock, if nobody does. The system frees it when this process dies."""
    descriptor = os.open(folder.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(descriptor)


def start_log(folder: DataFolder) -> None:
    handler = logging.handlers.RotatingFileHandler(
        folder.logs / "engine.log", maxBytes=5_000_000, backupCount=3, encoding="utf-8"
    )
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.getLogger("httpx2").setLevel(logging.WARNING)


def loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    """uvloop's event loop where it is installed, else asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.Loop
