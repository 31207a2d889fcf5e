"""What a command in tier A cannot do, whatever it tries."""

from __future__ import annotations

import asyncio
import errno
import os
import platform
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentpane.domain.sandbox import EVERYWHERE, NO_NETWORK, Network
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.sandbox import BubblewrapSandbox, tool_environment

from .conftest import Order

CONNECT = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])"


@pytest.fixture
def listener(session_folder: Path) -> Iterator[socket.socket]:
    """A server of the host, on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


async def test_there_is_no_network(bubblewrap: BubblewrapSandbox, order: Order, listener: socket.socket) -> None:
    host, port = listener.getsockname()
    outcome = await bubblewrap.run(order(f"exec 3<>/dev/tcp/{host}/{port} && echo connected"))
    assert outcome.exit_code != 0 and b"connected\n" not in outcome.output


async def test_there_is_a_network_when_it_is_allowed(
    bubblewrap: BubblewrapSandbox, order: Order, listener: socket.socket
) -> None:
    host, port = listener.getsockname()
    outcome = await bubblewrap.run(order(f"exec 3<>/dev/tcp/{host}/{port} && echo connected", network=EVERYWHERE))
    assert outcome.output == b"connected\n"


async def test_no_secret_of_the_engine_can_be_read(
    bubblewrap: BubblewrapSandbox, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-very-secret")
    outcome = await bubblewrap.run(order("env; cat /proc/*/environ | tr '\\0' '\\n'; cat /proc/*/cmdline"))
    assert b"PATH=" in outcome.output and b"sk-very-secret" not in outcome.output


async def test_nothing_outside_the_worktree_can_be_written(
    bubblewrap: BubblewrapSandbox, order: Order, tmp_path: Path
) -> None:
    beside = tmp_path / "beside"
    beside.write_text("mine")
    script = f"""
        for place in / /usr /usr/bin /etc /opt {tmp_path} "$(dirname "$(command -v bash)")"; do
            touch "$place/planted" 2>/dev/null && [ "$place" != {tmp_path} ] && echo "planted in $place"
        done
        echo theirs > {beside}
    """
    outcome = await bubblewrap.run(order(script))
    assert outcome.output == b"" and beside.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["beside", "worktree"]


async def test_temporary_files_are_private_and_gone_afterwards(bubblewrap: BubblewrapSandbox, order: Order) -> None:
    written = await bubblewrap.run(order("echo x > /tmp/agentpane-kept && echo y > ~/agentpane-kept && echo ok"))
    assert written.output == b"ok\n"
    outcome = await bubblewrap.run(order("ls /tmp/agentpane-kept ~/agentpane-kept"))
    assert outcome.exit_code != 0 and not Path("/tmp/agentpane-kept").exists()


async def test_the_home_folder_is_empty(bubblewrap: BubblewrapSandbox, order: Order, home: Path) -> None:
    (home / ".ssh").mkdir()
    (home / ".ssh" / "id_ed25519").write_text("PRIVATE KEY")
    outcome = await bubblewrap.run(order(f"ls -A {home}; cat {home}/.ssh/id_ed25519; cat /root/.bashrc /home/*/.*"))
    assert b"PRIVATE KEY" not in outcome.output and b".ssh\n" not in outcome.output


async def test_programs_of_the_home_folder_run_but_their_neighbours_are_hidden(
    bubblewrap: BubblewrapSandbox, order: Order, home: Path, worktree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cargo, venv = home / ".cargo", home / "tools" / "venv"
    for folder in (cargo / "bin", home / ".local" / "bin", venv / "bin", venv / "lib"):
        folder.mkdir(parents=True)
    (cargo / "credentials.toml").write_text("token")
    (home / "tools" / "notes").write_text("private")
    for program in (cargo / "bin" / "frob", venv / "bin" / "linked"):
        program.write_text("#!/bin/sh\necho runs\n")
        program.chmod(0o755)
    (home / ".local" / "bin" / "linked").symlink_to(venv / "bin" / "linked")
    monkeypatch.setenv("PATH", f"{cargo}/bin:{home}/.local/bin:/usr/bin:/bin")
    script = f"frob; linked; cat {cargo}/credentials.toml; cat {home}/tools/notes; echo x > {cargo}/bin/frob"
    outcome = await bubblewrap.run(order(script, environment=tool_environment(worktree)))
    assert outcome.output.startswith(b"runs\nruns\n")
    assert b"token\n" not in outcome.output and b"private" not in outcome.output
    assert (cargo / "bin" / "frob").read_text().startswith("#!")


@pytest.mark.parametrize("place", ["tmp", "run"])
async def test_a_socket_of_the_host_cannot_be_reached(
    bubblewrap: BubblewrapSandbox, order: Order, session_folder: Path, place: str
) -> None:
    path = session_folder / place / "door.sock"
    path.parent.mkdir(exist_ok=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        outcome = await bubblewrap.run(order(f"python3 -c '{CONNECT}' {path} && echo connected"))
    path.unlink()
    assert outcome.exit_code != 0 and b"FileNotFoundError" in outcome.output


@pytest.mark.parametrize(
    ("network", "error"), [(NO_NETWORK, b"ConnectionRefusedError"), (EVERYWHERE, b"not supported")]
)
async def test_an_abstract_socket_of_the_host_cannot_be_reached(
    bubblewrap: BubblewrapSandbox, order: Order, network: Network, error: bytes
) -> None:
    name = f"agentpane-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"\0{name}")
        server.listen()
        script = CONNECT.replace("sys.argv[1]", 'chr(0) + "' + name + '"')
        outcome = await bubblewrap.run(order(f"python3 -c '{script}' && echo connected", network=network))
    assert outcome.exit_code != 0 and error in outcome.output


async def test_socket_pairs_and_sockets_of_its_own_are_left_to_a_command(
    bubblewrap: BubblewrapSandbox, order: Order
) -> None:
    pair = "import socket, asyncio; socket.socketpair(); asyncio.run(asyncio.sleep(0))"
    own = 'import socket; s = socket.socket(socket.AF_UNIX); s.bind("own.sock"); s.listen()'
    assert (await bubblewrap.run(order(f"python3 -c '{pair}'", network=EVERYWHERE))).exit_code == 0
    assert (await bubblewrap.run(order(f"python3 -c '{own}'"))).exit_code == 0


async def test_the_keyring_of_the_kernel_is_out_of_reach(bubblewrap: BubblewrapSandbox, order: Order) -> None:
    number = {"x86_64": 250, "aarch64": 219}[platform.machine()]  # keyctl
    call = f"ctypes.CDLL(None, use_errno=True).syscall({number}, 0, -3, 0)"
    script = f"import ctypes; print({call}, ctypes.get_errno())"
    outcome = await bubblewrap.run(order(f"python3 -c '{script}'"))
    assert outcome.output.split() == [b"-1", str(errno.EPERM).encode()]


def linked_worktree(repository: Path) -> Path:
    worktree = repository / ".worktrees" / "one"
    script = f"""
        git init -q {repository} && cd {repository} && echo a > file && git add file && git commit -qm first
        git worktree add -q {worktree} -b task
    """
    subprocess.run(["/bin/sh", "-ec", script], check=True, stdin=subprocess.DEVNULL, timeout=30)
    return worktree


async def test_git_can_look_but_not_change_anything(
    bubblewrap: BubblewrapSandbox, order: Order, tmp_path: Path
) -> None:
    repository = tmp_path / "repository"
    worktree, common = linked_worktree(repository), repository / ".git"

    async def inside(script: str) -> tuple[int | None, bytes]:
        outcome = await bubblewrap.run(
            order(script, worktree=worktree, readable=(common,), environment=tool_environment(worktree))
        )
        return outcome.exit_code, outcome.output

    assert await inside("echo b >> file && git status --short && git diff --stat | tail -1") == (
        0,
        b" M file\n 1 file changed, 1 insertion(+)\n",
    )
    before = (worktree / ".git").read_bytes()
    for attack in (
        "git add file",
        "git commit -qam planted",
        "git config core.fsmonitor 'touch /tmp/x'",
        f"echo x > {common}/hooks/pre-commit",
        "echo gitdir: /tmp > .git",
        "rm -f .git",
        "mv .git other",
        "ln -sf /tmp .git/x || ln -sfn /tmp .git",
    ):
        code, output = await inside(attack)
        assert code != 0, (attack, output)
    assert (worktree / ".git").read_bytes() == before
    assert not (common / "hooks" / "pre-commit").exists()
    assert (repository / "file").read_text() == "a\n"


async def test_other_processes_cannot_be_seen_or_hurt(bubblewrap: BubblewrapSandbox, order: Order) -> None:
    outcome = await bubblewrap.run(order(f"ls -d /proc/[0-9]* | wc -l; kill -9 {os.getpid()}; echo survived"))
    assert int(outcome.output.split()[0]) < 10 and b"survived" in outcome.output


async def test_root_of_the_sandbox_has_no_powers(bubblewrap: BubblewrapSandbox, order: Order) -> None:
    outcome = await bubblewrap.run(order("grep CapEff /proc/self/status; mount -t tmpfs none /mnt; mknod node c 1 3"))
    assert b"CapEff:\t0000000000000000\n" in outcome.output and outcome.exit_code != 0


async def test_a_worktree_that_is_reached_through_a_link_works_by_both_names(
    bubblewrap: BubblewrapSandbox, order: Order, worktree: Path, tmp_path: Path
) -> None:
    link = tmp_path / "link"
    link.symlink_to(worktree)
    outcome = await bubblewrap.run(
        order(f"echo a > {link}/by-link; cat {worktree}/by-link; rm {link}/.git", worktree=link)
    )
    assert outcome.output.startswith(b"a\n") and outcome.exit_code != 0
    assert (worktree / ".git").exists()


async def test_a_git_file_that_became_a_link_is_refused(
    bubblewrap: BubblewrapSandbox, order: Order, worktree: Path, tmp_path: Path
) -> None:
    (worktree / ".git").unlink()
    (worktree / ".git").symlink_to(tmp_path)
    with pytest.raises(AgentPaneError) as refused:
        await bubblewrap.run(order("touch ran"))
    assert refused.value.code is ErrorCode.SECURITY_SANDBOX_UNAVAILABLE and not (worktree / "ran").exists()


async def test_a_sandbox_that_fails_says_so_and_runs_nothing(
    bubblewrap: BubblewrapSandbox, order: Order, worktree: Path, tmp_path: Path
) -> None:
    with pytest.raises(AgentPaneError) as failed:
        await bubblewrap.run(order("touch ran", cwd=tmp_path / "not-there"))
    assert failed.value.code is ErrorCode.SECURITY_SANDBOX_UNAVAILABLE
    assert "not-there" in failed.value.message and not (worktree / "ran").exists()


async def test_a_start_costs_little(bubblewrap: BubblewrapSandbox, order: Order) -> None:
    await bubblewrap.run(order("true"))
    durations = [(await bubblewrap.run(order("true"))).duration_ms for _ in range(5)]
    await asyncio.sleep(0)
    assert min(durations) < 500
