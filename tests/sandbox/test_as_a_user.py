"""The tiers work for an ordinary user too, whom root becomes for this."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .ordinary import User

PROGRAM = """
import asyncio, sys
from pathlib import Path
from agentpane.domain.sandbox import NO_NETWORK, Network, NetworkMode, Tier
from agentpane.sandbox import Appetite, SandboxCommand, detect, tool_environment

worktree = Path(sys.argv[1])
sandbox = detect(Tier(sys.argv[2]))

def order(script, network=NO_NETWORK):
    return SandboxCommand(script, worktree, (), tool_environment(worktree), 30, network)

async def main():
    told = await sandbox.run(order("id -u; echo kept > kept; echo no > ../beside"))
    print(told.output.split()[0].decode())
    fetch = "python3 -c \\"import urllib.request as u; u.urlopen('http://evil.example/')\\""
    print(*(await sandbox.run(order(fetch, Network(NetworkMode.HOSTS, ("good.example",))))).refused_hosts)
    process = await sandbox.open(order("setsid sleep 987654 >/dev/null 2>&1 & echo up; exec cat"))
    print((await process.stdout.readline()).decode().strip())
    await process.end()
    sandbox._watchdog.appetite = Appetite(processes=32)
    bomb = await sandbox.run(order("for n in $(seq 60); do sleep 5 & done; wait"))
    print(bomb.killed_for is not None)

asyncio.run(main())
"""


@pytest.fixture
def place(ordinary_user: User) -> Iterator[Path]:
    """A folder of the user's with a worktree in it."""
    folder = ordinary_user.folder / "place"
    worktree = folder / "worktree"
    worktree.mkdir(parents=True)
    (worktree / ".git").write_text("gitdir: /nowhere\n")
    for path in (folder, worktree, worktree / ".git"):
        os.chown(path, ordinary_user.uid, -1)
    yield folder
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()


@pytest.mark.parametrize("tier", ["A", "B", "C"])
def test_an_ordinary_user_has_every_tier(ordinary_user: User, place: Path, tier: str) -> None:
    done = ordinary_user.run("-c", PROGRAM, str(place / "worktree"), tier, timeout_s=60)
    assert (done.stdout.split(), done.stderr) == ([str(ordinary_user.uid), "evil.example:80", "up", "True"], "")
    assert (place / "worktree" / "kept").read_text() == "kept\n"
    assert (place / "beside").exists() == (tier == "C")
