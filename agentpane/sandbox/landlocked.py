"""Tier B: Landlock and a filter of system calls, where bubblewrap cannot be had. No namespaces: all is shared that
these two do not deny.

Landlock only ever grants, and what it grants on a folder holds for all below it. A linked worktree's `.git` is a file
in a folder whose entries a command may make, rename and remove, so that it cannot be kept from the command: it is put
back when the command has ended, by the helper, even when the engine is gone. Nothing of AgentPane's reads it meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from agentpane.domain.sandbox import NetworkMode, Tier
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.sandbox import landlock, seccomp
from agentpane.sandbox.command import Outcome, Process, SandboxCommand
from agentpane.sandbox.conversation import Conversation, converse
from agentpane.sandbox.mounts import ETC, ETC_NETWORK, MERGED, PROGRAMS, make_writable, toolchains
from agentpane.sandbox.supervise import supervise
from agentpane.sandbox.swept import Confinement, Swept
from agentpane.sandbox.watchdog import Appetite, Watchdog
from agentpane.temporary import TemporaryFolder

MACHINE = ("/proc", "/sys/devices/system/cpu")
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty")
TRUNCATE_ABI = 3
PROBE = "import runpy, sys; runpy.run_path(sys.argv[1])['confine'](('/',), (), (), (), bytes.fromhex(sys.argv[2]))"
PROBE_TIMEOUT_S = 20.0


@dataclass(slots=True)
class _Guard:
    """A worktree's `.git` as it was when no command ran there, while some do."""

    content: bytes
    users: int = 0


class LandlockSandbox:
    """Runs commands confined by what the kernel offers without namespaces. One instance serves many runs at once."""

    tier = Tier.LANDLOCK

    def __init__(self, version: int, appetite: Appetite | None = None) -> None:
        self._version = version
        self._watchdog = Watchdog(appetite)
        self._guards: dict[Path, _Guard] = {}

    async def run(self, command: SandboxCommand, on_output: Callable[[bytes], None] | None = None) -> Outcome:
        """See Sandbox.run."""
        with self._guarding(command) as guarded, _private_folder() as private:
            confined, confinement = await self._prepared(command, guarded, private)
            child = Swept(self._watchdog.appetite.tasks, confinement, command.network.mode is NetworkMode.ALL)
            return child.told(await supervise(lambda: child.start(confined), confined, on_output, self._watchdog))

    async def open(self, command: SandboxCommand) -> Process:
        """See Sandbox.open."""
        with ExitStack() as stack:
            guarded = stack.enter_context(self._guarding(command))
            private = stack.enter_context(_private_folder())
            confined, confinement = await self._prepared(command, guarded, private)
            child = Swept(self._watchdog.appetite.tasks, confinement, command.network.mode is NetworkMode.ALL)
            conversation: Conversation = await converse(
                lambda: child.start(confined, spoken_with=True), confined, self._watchdog
            )
            held = stack.pop_all()
        conversation.on_end = held.close
        return conversation

    @contextmanager
    def _guarding(self, command: SandboxCommand) -> Iterator[tuple[Path, bytes] | None]:
        """The worktree's `.git` and what belongs into it. One that was changed by a command that still runs does not
        become what belongs there.
        """
        path = Path(os.path.realpath(command.worktree)) / ".git"
        guard = self._guards.get(path)
        if guard is None:
            content = _content(path)
            if content is None:
                yield None
                return
            guard = self._guards[path] = _Guard(content)
        guard.users += 1
        try:
            yield path, guard.content
        finally:
            guard.users -= 1
            if not guard.users:
                self._guards.pop(path, None)

    async def _prepared(
        self, command: SandboxCommand, guarded: tuple[Path, bytes] | None, private: Path
    ) -> tuple[SandboxCommand, Confinement]:
        if command.network.mode is NetworkMode.HOSTS and self._version < landlock.NETWORK_ABI:
            raise _unavailable("This kernel cannot limit a command to listed hosts (Linux 6.7 can).")
        return await asyncio.to_thread(self._prepare, command, guarded, private)

    def _prepare(
        self, command: SandboxCommand, guarded: tuple[Path, bytes] | None, private: Path
    ) -> tuple[SandboxCommand, Confinement]:
        worktree = Path(os.path.realpath(command.worktree))
        if not worktree.is_dir():
            raise _unavailable(f"The worktree {command.worktree} is not there.")
        make_writable(command)
        program = seccomp.program_without_namespaces(command.network.mode, self._version >= TRUNCATE_ABI)
        assert program is not None  # looked at when this tier was found
        etc = (*ETC, *(ETC_NETWORK if command.network.mode is NetworkMode.ALL else ()))
        readable = (*PROGRAMS, *MERGED, *(f"/etc/{name}" for name in etc), *MACHINE)
        readable += (*map(str, toolchains(command)), *map(str, command.readable))
        readable += (str(worktree),) if command.read_only else ()
        writable = tuple(map(str, (*(() if command.read_only else (worktree,)), *command.writable, private)))
        confinement = Confinement(readable, writable, DEVICES, program, guarded, private)
        return replace(command, environment={**command.environment, **_private(command, private)}), confinement


@contextmanager
def _private_folder() -> Iterator[Path]:
    """A command's own folder. Its helper empties and removes it; what a killed or never started one left goes here."""
    private = TemporaryFolder("command")
    try:
        yield private.path
    finally:
        if private.path.exists():
            asyncio.get_running_loop().run_in_executor(None, private.close)
        else:
            private.close()


def _private(command: SandboxCommand, private: Path) -> dict[str, str]:
    """The variables that lead into the private folder. The home stays where it is if something of it may be written."""
    folders = {"TMPDIR": private / "tmp"}
    home = Path(command.environment.get("HOME") or "/")
    if not any(path.is_relative_to(home) or home.is_relative_to(path) for path in command.writable):
        folders["HOME"] = private / "home"
    for folder in folders.values():
        folder.mkdir(mode=0o700)
    return {"GIT_CONFIG_NOSYSTEM": "1", **{name: str(folder) for name, folder in folders.items()}}


def _content(git: Path) -> bytes | None:
    """Of the file in a linked worktree; None where there is none."""
    try:
        kind = git.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISREG(kind):
        return git.read_bytes()
    raise _unavailable(f"{git} is not the file that git makes in a linked worktree, and cannot be kept safe in tier B.")


def _unavailable(why: str) -> AgentPaneError:
    return AgentPaneError(
        ErrorCode.SECURITY_SANDBOX_UNAVAILABLE,
        f"{why} The command was not run.",
        "`agentpane doctor` says what this machine offers.",
    )


def find_landlock() -> LandlockSandbox | str:
    """The sandbox, after having tried it for real; else the reason why there is none, for a person. Blocks."""
    version = landlock.abi()
    if not version:
        return "this kernel has no Landlock, or it is switched off"
    program = seccomp.program_without_namespaces(NetworkMode.NONE, version >= TRUNCATE_ABI)
    if program is None:
        return "on this machine's kind of processor there is no filter for Landlock's gaps"
    try:
        tried = subprocess.run(
            [sys.executable, "-I", "-S", "-c", PROBE, landlock.__file__, program.hex()],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PROBE_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"Landlock does not work here: {error}"
    if tried.returncode:
        return f"Landlock does not work here: {tried.stderr.decode('utf-8', 'replace').strip().rpartition(chr(10))[2]}"
    return LandlockSandbox(version)
