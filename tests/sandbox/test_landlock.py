"""What a command in tier B cannot do, and what it can: Landlock has gaps, and these are the known ones."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentpane.domain.sandbox import Network, NetworkMode
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.sandbox import LandlockSandbox
from agentpane.sandbox.landlock import SCOPES_ABI

from .conftest import Order, until


async def test_nothing_outside_the_worktree_can_be_written_or_read(
    landlock: LandlockSandbox, order: Order, tmp_path: Path, home: Path
) -> None:
    beside = tmp_path / "beside"
    beside.write_text("mine")
    (home / ".netrc").write_text("a password")
    script = f"""
        cat {beside} {home}/.netrc /etc/shadow; ls {tmp_path} {home} /root; echo x > {beside}; truncate -s 0 {beside}
        for place in / /usr /etc /tmp /dev /dev/shm /run {tmp_path} {home}; do touch $place/planted; done
        ln {beside} linked; mv {beside} moved; rm -f {beside}; cat linked moved; ln -s {beside} soft && cat soft
    """
    outcome = await landlock.run(order(script))
    assert b"mine" not in outcome.output and b"a password" not in outcome.output
    assert b"root:" not in outcome.output and beside.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["beside", "worktree"]
    assert not any((place / "planted").exists() for place in map(Path, ("/", "/usr", "/etc", "/tmp", "/dev/shm")))


async def test_the_folder_for_temporary_files_is_private_and_gone_afterwards(
    landlock: LandlockSandbox, order: Order
) -> None:
    outcome = await landlock.run(order("echo a > $TMPDIR/x; echo b > ~/y; cat $TMPDIR/x ~/y; echo $TMPDIR; echo $HOME"))
    assert outcome.exit_code == 0 and outcome.output.startswith(b"a\nb\n")
    folders = [Path(os.fsdecode(line)) for line in outcome.output.split()[2:]]
    assert len(folders) == 2 and not any(folder.exists() or folder.parent.exists() for folder in folders)


async def test_a_home_of_which_a_part_may_be_written_stays_where_it_is(
    landlock: LandlockSandbox, order: Order, home: Path
) -> None:
    (home / "secret").write_text("private")
    script = "echo kept > ~/.agent/state; cat ~/secret; touch ~/other; echo $HOME"
    outcome = await landlock.run(order(script, writable=(home / ".agent",)))
    assert outcome.output.endswith(f"{home}\n".encode()) and b"private" not in outcome.output
    assert (home / ".agent" / "state").read_text() == "kept\n" and not (home / "other").exists()


async def test_no_socket_of_the_host_can_be_reached(
    landlock: LandlockSandbox, order: Order, session_folder: Path
) -> None:
    path = session_folder / "door-b.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        code = f"import socket; socket.socket(socket.AF_UNIX).connect({str(path)!r})"
        outcome = await landlock.run(order(f'python3 -c "{code}"'))
    path.unlink()
    assert outcome.exit_code != 0 and b"PermissionError" in outcome.output


@pytest.fixture
def other() -> Iterator[subprocess.Popen[bytes]]:
    """A program of the person's that has nothing to do with the command."""
    with subprocess.Popen(["sleep", "600"], env={**os.environ, "SECRET": "sk-very-secret"}) as process:
        yield process
        process.kill()


async def test_no_secret_of_another_program_can_be_read(
    landlock: LandlockSandbox, order: Order, other: subprocess.Popen[bytes]
) -> None:
    script = f"cat /proc/{os.getpid()}/environ /proc/{other.pid}/environ /proc/{other.pid}/mem | tr '\\0' '\\n'"
    outcome = await landlock.run(order(script + f"; ls /proc/{os.getpid()}/fd/"))
    assert b"sk-very-secret" not in outcome.output and b"Permission denied" in outcome.output


async def test_other_processes_cannot_be_hurt(
    landlock: LandlockSandbox, order: Order, other: subprocess.Popen[bytes]
) -> None:
    outcome = await landlock.run(order(f"prlimit --pid {other.pid} --cpu=1; renice 19 {other.pid}; echo lives"))
    assert outcome.exit_code == 0 and outcome.output.endswith(b"lives\n")
    assert other.poll() is None and os.getpriority(os.PRIO_PROCESS, other.pid) == 0
    await landlock.run(order(f"kill -9 {other.pid}"))
    assert (other.poll() is None) == (landlock._version >= SCOPES_ABI)  # a gap of older kernels that the tier names


async def test_no_priority_of_all_of_the_persons_processes_is_set(landlock: LandlockSandbox, order: Order) -> None:
    """User 0 is whoever asks: the values are such that nothing comes of it where the filter fails."""
    code = f"""
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
for call in (lambda: libc.setpriority(os.PRIO_USER, 0, {os.nice(0)}), lambda: libc.setpriority(os.PRIO_PROCESS, 0, 5)):
    print(call() and ctypes.get_errno())
"""
    outcome = await landlock.run(order(f"exec python3 -c '{code}'"))
    assert outcome.output == f"{errno.EPERM}\n0\n".encode()


async def test_root_has_no_powers(landlock: LandlockSandbox, order: Order) -> None:
    outcome = await landlock.run(
        order("grep -E 'Cap(Eff|Prm|Bnd)|NoNewPrivs|Seccomp:' /proc/self/status; mknod n c 1 3")
    )
    assert b"CapEff:\t0000000000000000\n" in outcome.output and b"CapPrm:\t0000000000000000\n" in outcome.output
    assert b"NoNewPrivs:\t1\n" in outcome.output and b"Seccomp:\t2\n" in outcome.output
    assert outcome.exit_code != 0


@pytest.mark.parametrize(
    "attack",
    [
        "echo planted > .git",
        "rm .git",
        "mv .git elsewhere",
        "rm .git; mkdir -p .git/hooks; echo x > .git/config",
        "rm .git; ln -s /tmp .git",
        "rm .git; mkfifo .git",
        "ln .git same; echo planted > same",
        "chmod 0 .git",
    ],
)
async def test_the_git_file_is_put_back(landlock: LandlockSandbox, order: Order, worktree: Path, attack: str) -> None:
    before = (worktree / ".git").read_bytes()
    outcome = await landlock.run(order(attack))
    assert (worktree / ".git").read_bytes() == before and not (worktree / ".git").is_symlink()
    assert b"has been put back" in outcome.output and os.access(worktree / ".git", os.R_OK)


async def test_a_git_file_that_one_command_changed_is_not_taken_for_true_by_the_next(
    landlock: LandlockSandbox, order: Order, worktree: Path
) -> None:
    before = (worktree / ".git").read_bytes()
    first = await landlock.open(order("echo planted > .git; echo done; read line"))
    assert await first.stdout.readline() == b"done\n"
    await landlock.run(order("true"))
    await first.end()
    assert (worktree / ".git").read_bytes() == before


async def test_a_git_folder_cannot_be_kept_safe_and_is_refused(
    landlock: LandlockSandbox, order: Order, worktree: Path
) -> None:
    (worktree / ".git").unlink()
    (worktree / ".git").mkdir()
    for starting in (landlock.run, landlock.open):
        with pytest.raises(AgentPaneError) as refused:
            await starting(order("touch ran"))
        assert refused.value.code is ErrorCode.SECURITY_SANDBOX_UNAVAILABLE
    assert not (worktree / "ran").exists()


def test_the_git_file_is_put_back_even_when_the_engine_is_killed(worktree: Path) -> None:
    before = (worktree / ".git").read_bytes()
    code = """
import asyncio, sys
from pathlib import Path
from agentpane.domain.sandbox import NO_NETWORK, Tier
from agentpane.sandbox import SandboxCommand, detect, tool_environment
worktree = Path(sys.argv[1])
script = "echo planted > .git; touch changed; sleep 600"
command = SandboxCommand(script, worktree, (), tool_environment(worktree), 600.0, NO_NETWORK)
asyncio.run(detect(Tier.LANDLOCK).run(command))
"""
    with subprocess.Popen([sys.executable, "-c", code, str(worktree)], stdin=subprocess.DEVNULL) as engine:
        until((worktree / "changed").exists, "the command's change")
        engine.send_signal(signal.SIGKILL)
    until(lambda: (worktree / ".git").exists() and (worktree / ".git").read_bytes() == before, "the file's return")


async def test_a_confinement_that_fails_runs_nothing(
    landlock: LandlockSandbox, order: Order, worktree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentpane.sandbox.seccomp.program_without_namespaces", lambda *_: b"\0" * 8)
    with pytest.raises(AgentPaneError) as failed:
        await landlock.run(order("touch ran"))
    assert failed.value.code is ErrorCode.SECURITY_SANDBOX_UNAVAILABLE and not (worktree / "ran").exists()


async def test_an_old_kernel_cannot_limit_to_hosts_and_says_so(order: Order) -> None:
    with pytest.raises(AgentPaneError) as refused:
        await LandlockSandbox(3).run(order("true", network=Network(NetworkMode.HOSTS, ("example.com",))))
    assert "listed hosts" in refused.value.message


async def test_what_landlock_does_not_deny_is_known(landlock: LandlockSandbox, order: Order, tmp_path: Path) -> None:
    """The gaps that the tier's description names."""
    beside = tmp_path / "beside"
    beside.write_text("mine")
    beside.chmod(0o600)
    outcome = await landlock.run(order(f"chmod 640 {beside}; stat -c %s {beside}; ls -d /proc/{os.getpid()}"))
    assert beside.stat().st_mode & 0o777 == 0o640
    assert outcome.output == f"4\n/proc/{os.getpid()}\n".encode()
