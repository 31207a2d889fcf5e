"""The tiers work for an ordinary user too, whom root becomes for this."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

NOBODY = 65534
SOURCE = Path(__file__).parents[2]
SYSTEM_PYTHON = "/usr/bin/python3"  # one that another user may run
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
    fetch = "/usr/bin/python3 -c \\"import urllib.request as u; u.urlopen('http://evil.example/')\\""
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
def place() -> Iterator[Path]:
    """A folder of the other user's, with a copy of the source that it can read."""
    folder = Path(tempfile.mkdtemp(prefix="ap-user-"))
    shutil.copytree(SOURCE / "agentpane", folder / "source" / "agentpane", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "worktree").mkdir()
    (folder / "worktree" / ".git").write_text("gitdir: /nowhere\n")
    (folder / "home").mkdir()
    for path in (folder, *folder.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.skipif(os.getuid() != 0, reason="the suite is run by an ordinary user anyway")
@pytest.mark.parametrize("tier", ["A", "B", "C"])
def test_an_ordinary_user_has_every_tier(place: Path, tier: str) -> None:
    if subprocess.run(
        [SYSTEM_PYTHON, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"], check=False
    ).returncode:
        pytest.skip("the system's Python is missing or too old")
    done = subprocess.run(
        [SYSTEM_PYTHON, "-B", "-c", PROGRAM, str(place / "worktree"), tier],
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        env={"PATH": "/usr/bin:/bin", "HOME": str(place / "home"), "PYTHONPATH": str(place / "source")},
        cwd=place,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout.split(), done.stderr) == ([str(NOBODY), "evil.example:80", "up", "True"], "")
    assert (place / "worktree" / "kept").read_text() == "kept\n"
    assert (place / "beside").exists() == (tier == "C")
