"""Attempts by a command: bash as an agent's Bash tool runs it, and as a plain child process where nothing protects."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager as Context
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

from agentpane.domain.sandbox import NO_NETWORK, Network, NetworkMode, Tier
from agentpane.errors import AgentPaneError
from agentpane.sandbox import Sandbox, SandboxCommand, landlock, strays, tool_environment

from .scene import Entry, Scene

TIMEOUT_S = 20.0
OUTPUT_LIMIT = 1024 * 1024
REACHED = "printf %s rea''ched"  # says that the attempt came through; an echo of the script does not say it
PRELUDE = """
import ctypes, os, sys
C = ctypes.CDLL(None, use_errno=True)
def reached(): os.write(1, b"rea" + b"ched")
def call(number, *arguments):
    C.syscall.restype = ctypes.c_long
    long = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return C.syscall(ctypes.c_long(number), *long)
def error(): return ctypes.get_errno()
"""


@dataclass(frozen=True, slots=True)
class Ran:
    """output: all that came, in the tiers cut as they cut it."""

    output: bytes
    timed_out: bool = False


Oracle = Callable[[Scene, Ran, Mapping[str, Entry]], bool]


def leaked(scene: Scene, ran: Ran, before: Mapping[str, Entry]) -> bool:
    """The secret has come out."""
    return scene.secret.encode() in ran.output


def altered(scene: Scene, ran: Ran, before: Mapping[str, Entry]) -> bool:
    """Something outside the worktree is not as it was."""
    return scene.outside() != before


def rewritten(scene: Scene, ran: Ran, before: Mapping[str, Entry]) -> bool:
    """The size or content of something outside is not as it was, whatever its mode and times are."""
    content = {path: (entry[3], entry[6]) for path, entry in before.items()}
    return {path: (entry[3], entry[6]) for path, entry in scene.outside().items()} != content


def connected(scene: Scene, ran: Ran, before: Mapping[str, Entry]) -> bool:
    """A server outside was spoken to."""
    return scene.heard()


def reached(scene: Scene, ran: Ran, before: Mapping[str, Entry]) -> bool:
    """The command says that it was let, where nothing else can be seen of it."""
    return b"reached" in ran.output


def piped(scene: Scene, ran: Ran, before: Mapping[str, Entry]) -> bool:
    return scene.mark.encode() in scene.piped()


def typed(scene: Scene, ran: Ran, before: Mapping[str, Entry]) -> bool:
    return scene.mark.encode() in scene.typed()


def hurt(scene: Scene, ran: Ran, before: Mapping[str, Entry]) -> bool:
    """A process of the scene has ended or was stopped; signals that are on their way are waited for."""
    return any(_is_hurt(process.pid) for process in scene.processes)


def _is_hurt(pid: int) -> bool:
    while True:
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        if status["State"][0] in "ZXTt":
            return True
        if not int(status["SigPnd"], 16) and not int(status["ShdPnd"], 16) and status["State"][0] == "S":
            return False
        time.sleep(0.001)


@dataclass(frozen=True, slots=True)
class Command:
    """An attempt by one command.

    prepare: lays more bait before anything is noted. beside: runs in the background as long as the command.
    """

    name: str
    script: str
    seen: Oracle
    prepare: Callable[[Scene], object] | None = None
    beside: Callable[[Scene], Context[object]] | None = None
    network: Network | Callable[[Scene], Network] = NO_NETWORK
    timeout_s: float = TIMEOUT_S
    needs: tuple[str, ...] = ()
    gaps: Mapping[Tier, str] = field(default_factory=dict)
    held: frozenset[Tier] = frozenset()
    scoped: bool = False

    async def unprotected(self, scene: Scene) -> bool:
        return await self._tried(scene, None)

    async def confined(self, scene: Scene, sandbox: Sandbox) -> bool:
        return await self._tried(scene, sandbox)

    async def _tried(self, scene: Scene, sandbox: Sandbox | None) -> bool:
        if self.prepare is not None:
            self.prepare(scene)
        script = scene.filled(self.script)
        network = self.network if isinstance(self.network, Network) else self.network(scene)
        before = scene.outside() if self.seen in (altered, rewritten) else {}
        with self.beside(scene) if self.beside is not None else nullcontext():
            if sandbox is None:
                ran = await asyncio.to_thread(run_plain, scene, script, self.timeout_s)
            else:
                ran = await _run_confined(sandbox, in_worktree(scene, script, network, self.timeout_s))
        return self.seen(scene, ran, before)


def in_worktree(scene: Scene, script: str, network: Network = NO_NETWORK, timeout_s: float = 600.0) -> SandboxCommand:
    """The command as the engine hands it over."""
    return SandboxCommand(
        script,
        scene.worktree,
        (scene.common,),
        tool_environment(scene.worktree),
        timeout_s,
        network,
        output_limit=OUTPUT_LIMIT,
    )


async def _run_confined(sandbox: Sandbox, command: SandboxCommand) -> Ran:
    try:
        outcome = await sandbox.run(command)
    except AgentPaneError as error:
        if command.network.mode is NetworkMode.HOSTS and landlock.abi() < landlock.NETWORK_ABI:
            assert "listed hosts" in error.message  # so old a kernel is asked for what it cannot do, and refuses
            return Ran(b"")
        raise
    return Ran(outcome.output, outcome.timed_out)


def run_plain(scene: Scene, script: str, timeout_s: float, daemons: bool = False) -> Ran:
    """Until the shell itself has ended. daemons: what it leaves in other sessions has to be looked for."""
    mark, heard = strays.new_mark(), bytearray()
    with subprocess.Popen(
        ["/bin/bash", "-c", "--", script],
        cwd=scene.worktree,
        env={**os.environ, strays.MARK: mark},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        hearing = threading.Thread(target=_hear, args=(process, heard))
        hearing.start()
        timed_out = False
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            timed_out = True
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if daemons:
                strays.end_marked(mark)
            hearing.join()
        return Ran(bytes(heard), timed_out)


def _hear(process: subprocess.Popen[bytes], heard: bytearray) -> None:
    """All that comes up to eight times of what a tier keeps, and then its end."""
    assert process.stdout is not None
    while chunk := os.read(process.stdout.fileno(), 65536):
        heard += chunk
        if len(heard) > 8 * OUTPUT_LIMIT:
            del heard[4 * OUTPUT_LIMIT : -OUTPUT_LIMIT]


def python(code: str) -> str:
    """A script of Python that has `reached()`, `call()` for system calls and `error()`."""
    return f"exec python3 -I -S -c {shlex.quote(PRELUDE + code)}"


@contextmanager
def thread(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Do `work` in the background until the block is left; it watches the event."""
    over = threading.Event()
    worker = threading.Thread(target=work, args=(over,))
    worker.start()
    try:
        yield
    finally:
        over.set()
        worker.join()
