from __future__ import annotations

import asyncio
from pathlib import Path

import psutil
import pytest

from agentpane.worktrees import GitError, Repository
from agentpane.worktrees.git import config
from agentpane.worktrees.git.config import ConfigCache, parse_config
from agentpane.worktrees.git.runner import GitRunner, Place
from tests.worktrees.conftest import git


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    """A git that never ends, and that has a child of its own."""
    made = tmp_path / "slow-git"
    made.write_text(f"#!/bin/sh\necho $$ >> {tmp_path}/pids\nsleep 1000 &\necho $! >> {tmp_path}/pids\nwait\n")
    made.chmod(0o755)
    return made


async def started(pids: Path, count: int = 2) -> list[int]:
    async with asyncio.timeout(20):
        while not pids.exists() or len(pids.read_text().split()) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return [int(pid) for pid in pids.read_text().split()]


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def ended(pids: list[int]) -> None:
    async with asyncio.timeout(20):
        while any(map(alive, pids)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_cancelled_call_ends_git_and_its_children(slow: Path) -> None:
    runner = GitRunner(str(slow))
    job = asyncio.ensure_future(runner.run(None, "status"))
    pids = await started(slow.parent / "pids")
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    await ended(pids)
    runner.close()


async def test_a_call_that_takes_too_long_is_ended_and_says_so(slow: Path) -> None:
    runner = GitRunner(str(slow))
    with pytest.raises(GitError, match="took longer"):
        await runner.run(None, "status", timeout=0.3)
    await ended(await started(slow.parent / "pids"))
    runner.close()


async def test_no_more_children_at_once_than_places(slow: Path) -> None:
    runner = GitRunner(str(slow), at_once=2)
    jobs = [asyncio.ensure_future(runner.run(None, "status")) for _ in range(5)]
    assert len(await started(slow.parent / "pids", 4)) == 4
    for job in jobs:
        job.cancel()
    await asyncio.gather(*jobs, return_exceptions=True)
    assert len((slow.parent / "pids").read_text().split()) == 4
    runner.close()


async def test_large_input_and_output_pass_whole(repo: Repository) -> None:
    runner = GitRunner()
    data = bytes(range(256)) * 40_000
    place = Place(repo.git_dir, repo.common_dir)
    sha = (await runner.run(place, "hash-object", "-w", "--stdin", stdin=data)).line
    assert (await runner.run(place, "cat-file", "blob", sha)).stdout == data
    runner.close()


async def test_a_changed_configuration_is_seen_by_the_next_call(repo: Repository) -> None:
    runner = GitRunner()
    place = Place(repo.git_dir, repo.common_dir, repo.path)
    for value in ("one", "two", "abc"):
        git(repo.path, "config", "filter.x.clean", value)
        assert (await runner.configuration(place))["filter.x.clean"] == value
    runner.close()


def test_configuration_is_kept_until_a_file_changes_unless_it_was_only_just_written(tmp_path: Path) -> None:
    cache, second = ConfigCache(), 1_000_000_000
    (tmp_path / "config").write_text("")
    cache.put(tmp_path, tmp_path, b"", cache.clock())
    assert cache.get(tmp_path) is None
    kept = cache.put(tmp_path, tmp_path, b"", cache.clock() + second)
    assert cache.get(tmp_path) is kept
    (tmp_path / "config.worktree").write_text("")
    assert cache.get(tmp_path) is None
    including = b"local\0file:x\0include.path\nother\0"
    cache.put(tmp_path, tmp_path, including, cache.clock() + 2 * second)
    assert cache.get(tmp_path) is None


@pytest.mark.parametrize(
    ("written", "later", "kept"),
    [(5_000_000_001, 90, False), (5_000_000_001, 110, True), (5_000_000_000, 110, False), (5_000_000_000, 2_100, True)],
)
def test_where_times_are_whole_seconds_a_file_counts_as_just_written_for_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int, later: int, kept: bool
) -> None:
    monkeypatch.setattr(config, "_fingerprint", lambda files: (("config", (written, written, 0, 1)),))
    cache = ConfigCache()
    cache.put(tmp_path, tmp_path, b"", written + later * 1_000_000)
    assert (cache.get(tmp_path) is not None) is kept


def test_configuration_is_read_with_its_scopes_and_odd_names() -> None:
    output = b"global\0file:/h\0user.name\nA\nB\0local\0file:/r\0filter.a.b=c.clean\ncat\0local\0file:/r\0core.bare\0"
    config = parse_config(output)
    assert [(setting.scope, setting.key, setting.value) for setting in config.settings] == [
        ("global", "user.name", "A\nB"), ("local", "filter.a.b=c.clean", "cat"), ("local", "core.bare", "true"),
    ]  # fmt: skip
    pins = config.pins(own_filters=False, allowed_filters=frozenset()).config
    assert pins["filter.a.b=c.clean"] == "" and pins["user.email"] == "agentpane@localhost"
    assert "user.name" not in pins
