"""Sandboxes that really run, and a way to see what they leave behind."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from agentpane.domain.sandbox import NO_NETWORK
from agentpane.sandbox import (
    BareSandbox,
    BubblewrapSandbox,
    LandlockSandbox,
    Sandbox,
    SandboxCommand,
    find_bubblewrap,
    find_landlock,
    tool_environment,
)

Order = Callable[..., SandboxCommand]


@pytest.fixture
def worktree(tmp_path: Path) -> Path:
    folder = tmp_path / "worktree"
    folder.mkdir()
    (folder / ".git").write_text("gitdir: /nowhere\n")
    return folder


@pytest.fixture(scope="session")
def bubblewrap() -> BubblewrapSandbox:
    found = find_bubblewrap()
    if isinstance(found, str):
        pytest.fail(f"tier A cannot be tested on this machine: {found}")
    return found


@pytest.fixture(scope="session")
def landlock() -> LandlockSandbox:
    found = find_landlock()
    if isinstance(found, str):
        pytest.fail(f"tier B cannot be tested on this machine: {found}")
    return found


@pytest.fixture(params=["A", "B", "C"])
def sandbox(request: pytest.FixtureRequest, bubblewrap: BubblewrapSandbox, landlock: LandlockSandbox) -> Sandbox:
    tiers: dict[str, Sandbox] = {"A": bubblewrap, "B": landlock, "C": BareSandbox()}
    return tiers[request.param]


@pytest.fixture
def order(worktree: Path) -> Order:
    """A command in the worktree, with the usual environment."""

    def make(script: str, **changes: object) -> SandboxCommand:
        usual: dict[str, object] = {
            "worktree": worktree,
            "readable": (),
            "environment": tool_environment(worktree),
            "timeout_s": 30.0,
            "network": NO_NETWORK,
        }
        return SandboxCommand(script, **{**usual, **changes})  # type: ignore[arg-type]

    return make


class Runaways:
    """Processes that try everything not to be ended, and can be recognised by what they wait for."""

    def __init__(self, folder: Path) -> None:
        self.ready = folder / f"ready-{uuid.uuid4().hex}"
        self._seconds = str(10**6 + uuid.uuid4().int % 10**9)

    @property
    def script(self) -> str:
        """Starts four: plain, with nohup, in an own session, and forked away twice; two ignore SIGTERM."""
        stubborn = f"trap '' TERM HUP INT; sleep {self._seconds}; sleep {self._seconds}"
        return f"""
            sleep {self._seconds} &
            nohup sleep {self._seconds} >/dev/null 2>&1 </dev/null &
            setsid bash -c "{stubborn}" >/dev/null 2>&1 </dev/null &
            (setsid bash -c "({stubborn}) & exit" >/dev/null 2>&1 </dev/null &)
            until [ "$(grep -slz 'sleep' /proc/[0-9]*/cmdline | wc -l)" -ge 4 ]; do :; done
            touch {self.ready}
        """

    def alive(self) -> list[str]:
        found = []
        for process in psutil.process_iter():
            try:
                line = process.cmdline()
                if any(self._seconds in word for word in line) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(" ".join(line))
            except psutil.Error:
                continue
        return found


@pytest.fixture
def runaways(worktree: Path) -> Runaways:
    return Runaways(worktree)


async def ready(runaways: Runaways) -> None:
    """Wait until all of them run, while the loop goes on."""
    await asyncio.to_thread(until, runaways.ready.exists, "the command's processes")


def until(condition: Callable[[], bool], what: str, within_s: float = 20.0) -> None:
    """Block until something outside this process is so."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {within_s} s in vain for: {what}")
        time.sleep(0.005)
