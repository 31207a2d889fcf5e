"""Tier A: bubblewrap, with namespaces of the command's own and an allow-list of mounts.

bubblewrap's first process holds the environment it was started with, readable by the command, so that it is
started with the command's environment and nothing else. It dies with the thread that started it: runs are
started from the main thread.

The first process of the command's pid namespace is held through a pidfd. When it has died the kernel has
killed and reaped everything in the namespace, whatever it called itself or ignored.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from agentpane.domain.sandbox import NO_NETWORK, NetworkMode, Tier
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.sandbox import ceiling, seccomp, strays
from agentpane.sandbox.command import Outcome, Process, SandboxCommand
from agentpane.sandbox.conversation import LINE_LIMIT, converse
from agentpane.sandbox.environment import DEFAULT_PATH, shell
from agentpane.sandbox.gateway import Gateway, gateway
from agentpane.sandbox.limits import LIMITS, capped
from agentpane.sandbox.mounts import mount_arguments
from agentpane.sandbox.startup import set_inside
from agentpane.sandbox.supervise import close_pipes, supervise
from agentpane.sandbox.watchdog import Appetite, Watchdog

ISOLATION = (
    "--unshare-user",
    "--unshare-ipc",
    "--unshare-pid",
    "--unshare-uts",
    "--unshare-cgroup-try",
    "--cap-drop",
    "ALL",
    "--die-with-parent",
    "--new-session",
    "--hostname",
    "sandbox",
)
START_TIMEOUT_S = 20.0
EXPLANATION_LIMIT = 2000


class BubblewrapSandbox:
    """Runs commands confined. One instance serves many runs at once."""

    tier = Tier.BUBBLEWRAP

    def __init__(self, program: str, appetite: Appetite | None = None) -> None:
        self._program = program
        self._watchdog = Watchdog(appetite)

    async def run(self, command: SandboxCommand, on_output: Callable[[bytes], None] | None = None) -> Outcome:
        """See Sandbox.run."""
        mounts = await asyncio.to_thread(mount_arguments, command)
        child = _Confined(self._watchdog.appetite.tasks)
        outcome = await supervise(
            lambda: child.start(self._program, mounts, command), command, on_output, self._watchdog
        )
        if outcome.killed_for is None and not outcome.timed_out and not child.ran:
            raise _unavailable(outcome.output)
        return outcome

    async def open(self, command: SandboxCommand) -> Process:
        """See Sandbox.open."""
        mounts = await asyncio.to_thread(mount_arguments, command)
        child = _Confined(self._watchdog.appetite.tasks)
        conversation = await converse(
            lambda: child.start(self._program, mounts, command, spoken_with=True), command, self._watchdog
        )
        if child.root is None:
            await conversation.wait()
            explanation = await conversation.stderr.read(EXPLANATION_LIMIT)
            await conversation.end()
            raise _unavailable(explanation)
        return conversation


class _Confined:
    """One bubblewrap, and the namespace that it made."""

    process: asyncio.subprocess.Process

    def __init__(self, tasks: int) -> None:
        self._tasks = tasks
        self._group: Path | None = None
        self.ran = False  # the command itself was executed, whatever came of it
        # pidfds, since asyncio's own kill() races with asyncio's own waiting for the exit code
        self._outer: int | None = None
        self._first: int | None = None
        self._root: int | None = None
        self._gateway: Gateway | None = None
        self._status = bytearray()
        self._status_closed = asyncio.Event()
        self._news = asyncio.Event()  # more status than before

    @property
    def root(self) -> int | None:
        """The first process of the namespace; None when bubblewrap has failed."""
        return self._root

    @property
    def refused(self) -> tuple[str, ...]:
        return () if self._gateway is None else self._gateway.refused

    async def start(
        self, program: str, mounts: list[str], command: SandboxCommand, spoken_with: bool = False
    ) -> _Confined:
        """Start it held back, take hold of its first process, set the limits, then let it go."""
        command = set_inside(command)
        self._gateway = gateway(command.network)
        # A bubblewrap that has not bound itself to its parent yet outlives it.
        environment = {**command.environment, strays.MARK: strays.new_mark()}
        environment.update({} if self._gateway is None else self._gateway.environment)
        status_out, status_in = os.pipe()
        go_out, go_in = os.pipe()
        handed_over = [status_in, go_out]
        held = ("--json-status-fd", str(status_in), "--block-fd", str(go_out))
        try:
            self.process = await asyncio.create_subprocess_exec(
                program,
                *held,
                *_isolation(command.network.mode is NetworkMode.ALL, handed_over),
                *mounts,
                *("--", shell(), "-c", "--", command.script),
                stdin=asyncio.subprocess.PIPE if command.stdin or spoken_with else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE if spoken_with else asyncio.subprocess.STDOUT,
                limit=LINE_LIMIT,
                env=environment,
                cwd="/",
                pass_fds=handed_over,
            )
        except (OSError, ValueError) as error:
            os.close(status_out)
            os.close(go_in)
            raise _unavailable(str(error).encode()) from error
        finally:
            for descriptor in handed_over:
                os.close(descriptor)
        with contextlib.suppress(ProcessLookupError):
            self._outer = os.pidfd_open(self.process.pid)
        asyncio.get_running_loop().add_reader(status_out, self._read_status, status_out)
        try:
            await self._take_hold()
            if self._root is not None:
                self._group = await asyncio.to_thread(ceiling.make, self._tasks)
                ceiling.join(self._group, self._root)
            if self._gateway is not None and self._root is not None:
                await self._gateway.open_inside(self._root)
        except BaseException:
            await self.end()
            close_pipes(self.process)
            raise
        finally:
            with contextlib.suppress(OSError):  # it has ended already
                os.write(go_in, b"go")
            os.close(go_in)
        return self

    async def finished(self) -> int:
        code = await self.process.wait()
        return code if code >= 0 else 128 - code

    async def end(self) -> None:
        first, self._first = self._first, None
        outer, self._outer = self._outer, None
        for pidfd in (first, outer):
            if pidfd is not None:
                _kill(pidfd)
                await _exited(pidfd)
                os.close(pidfd)
        await self.process.wait()
        await self._status_closed.wait()
        self.ran = "exit-code" in self._reports()
        ceiling.remove(self._group)
        if self._gateway is not None:
            await self._gateway.close()

    async def _take_hold(self) -> None:
        """Find the namespace's first process, which waits to be let go.

        Without one bubblewrap has failed, and says why on its output.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_TIMEOUT_S):
                while "child-pid" not in self._reports() and not self._status_closed.is_set():
                    self._news.clear()
                    await self._news.wait()
        pid = self._reports().get("child-pid")
        if pid is None:
            if self._outer is not None:
                _kill(self._outer)
            return
        with contextlib.suppress(ProcessLookupError):
            first = os.pidfd_open(pid)
            if _parent(pid) == self.process.pid:  # it may have failed, and its number gone to another
                self._first, self._root = first, pid
                for kind, limit in LIMITS:
                    resource.prlimit(pid, kind, capped(kind, limit, pid))
            else:
                os.close(first)

    def _read_status(self, reading: int) -> None:
        chunk = os.read(reading, 4096)
        self._status += chunk
        if not chunk:
            asyncio.get_running_loop().remove_reader(reading)
            os.close(reading)
            self._status_closed.set()
        self._news.set()

    def _reports(self) -> Mapping[str, int]:
        """What bubblewrap has told so far: JSON documents, a line each."""
        told: dict[str, int] = {}
        for line in self._status.split(b"\n")[:-1]:
            with contextlib.suppress(ValueError):
                told.update(json.loads(line))
        return told


def _isolation(network: bool, handed_over: list[int]) -> list[str]:
    """The namespaces and the filter; the filter's descriptor is added to those that bubblewrap is handed."""
    arguments = [*ISOLATION, *([] if network else ["--unshare-net"])]
    descriptor = seccomp.as_file(network)
    if descriptor is not None:
        handed_over.append(descriptor)
        arguments += ["--seccomp", str(descriptor)]
    return arguments


def _kill(pidfd: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)


async def _exited(pidfd: int) -> None:
    """Wait until the process behind a pidfd has died."""
    loop = asyncio.get_running_loop()
    died = asyncio.Event()
    loop.add_reader(pidfd, died.set)
    try:
        await died.wait()
    finally:
        loop.remove_reader(pidfd)


def _parent(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    return int(stat.rpartition(b")")[2].split()[1])


def _unavailable(explanation: bytes) -> AgentPaneError:
    said = explanation[-EXPLANATION_LIMIT:].decode("utf-8", "replace").strip()
    return AgentPaneError(
        ErrorCode.SECURITY_SANDBOX_UNAVAILABLE,
        f"The sandbox could not be started, and the command was not run: {said}",
        "`agentpane doctor` says what this machine offers.",
        {"output": said},
    )


def find_bubblewrap() -> BubblewrapSandbox | str:
    """The sandbox, after having tried it for real; else the reason why there is none, for a person. Blocks."""
    program = shutil.which("bwrap")
    if program is None:
        return "bubblewrap (bwrap) is not installed"
    with tempfile.TemporaryDirectory() as folder:
        command = SandboxCommand("exit 7", Path(folder), (), {"PATH": DEFAULT_PATH}, START_TIMEOUT_S, NO_NETWORK)
        handed_over: list[int] = []
        isolation = _isolation(False, handed_over)
        try:
            tried = subprocess.run(
                [program, *isolation, *mount_arguments(command), "--", shell(), "-c", command.script],
                pass_fds=handed_over,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=START_TIMEOUT_S,
                env=dict(command.environment),
                check=False,
            )
        except (OSError, subprocess.SubprocessError) as error:
            return f"bubblewrap does not work here: {error}"
        finally:
            for descriptor in handed_over:
                os.close(descriptor)
    if tried.returncode != 7:
        return f"bubblewrap does not work here: {tried.stderr.decode('utf-8', 'replace').strip()}"
    return BubblewrapSandbox(program)
