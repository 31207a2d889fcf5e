"""What both tiers do alike: output, exit codes, input, limits."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import pytest

from agentpane.domain.sandbox import Tier
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.sandbox import (
    BubblewrapSandbox,
    LandlockSandbox,
    Sandbox,
    detect,
    tool_environment,
    why_not_confined,
)
from agentpane.sandbox.ring import Ring

from .conftest import Order


async def test_a_command_gives_its_output_and_exit_code(sandbox: Sandbox, order: Order) -> None:
    outcome = await sandbox.run(order("echo one; echo two >&2; echo three; exit 3"))
    assert (outcome.exit_code, outcome.output) == (3, b"one\ntwo\nthree\n")
    assert not outcome.truncated and not outcome.timed_out


async def test_a_command_killed_by_a_signal_ends_like_in_a_shell(sandbox: Sandbox, order: Order) -> None:
    assert (await sandbox.run(order("kill -9 $$"))).exit_code == 137


async def test_a_script_that_looks_like_an_option_is_a_script(sandbox: Sandbox, order: Order) -> None:
    assert (await sandbox.run(order("--version"))).exit_code == 127


async def test_a_command_starts_in_the_worktree_or_in_the_folder_that_was_given(
    sandbox: Sandbox, order: Order, worktree: Path
) -> None:
    inner = worktree / "inner"
    inner.mkdir()
    assert (await sandbox.run(order("pwd"))).output.decode() == f"{worktree}\n"
    assert (await sandbox.run(order("pwd", cwd=inner))).output.decode() == f"{inner}\n"


async def test_a_command_writes_to_the_worktree(sandbox: Sandbox, order: Order, worktree: Path) -> None:
    await sandbox.run(order("echo new > made; mkdir -p a/b; mv made a/b/moved"))
    assert (worktree / "a/b/moved").read_text() == "new\n"


async def test_a_command_reads_its_input_to_the_end(sandbox: Sandbox, order: Order) -> None:
    data = bytes(range(256)) * 4096
    outcome = await sandbox.run(order("cat", stdin=data))
    assert outcome.output == data


async def test_a_command_that_ignores_its_input_is_no_error(sandbox: Sandbox, order: Order) -> None:
    assert (await sandbox.run(order("true", stdin=b"x" * 1_000_000))).exit_code == 0


async def test_without_input_a_command_reads_an_end_of_file(sandbox: Sandbox, order: Order) -> None:
    assert (await sandbox.run(order("cat; echo done"))).output == b"done\n"


async def test_output_arrives_while_the_command_runs(sandbox: Sandbox, order: Order, worktree: Path) -> None:
    chunks: list[bytes] = []

    def let_it_go_on(chunk: bytes) -> None:
        chunks.append(chunk)
        (worktree / "seen").touch()

    outcome = await sandbox.run(order("echo first; until [ -e seen ]; do :; done; echo second"), let_it_go_on)
    assert b"".join(chunks) == outcome.output == b"first\nsecond\n"
    assert len(chunks) >= 2


async def test_output_that_is_no_text_comes_through_unchanged(sandbox: Sandbox, order: Order, worktree: Path) -> None:
    data = bytes(range(256)) * 1000
    (worktree / "data").write_bytes(data)
    assert (await sandbox.run(order("cat data"))).output == data


async def test_a_flood_of_output_is_cut_to_its_head_and_tail(sandbox: Sandbox, order: Order) -> None:
    script = "echo head; head -c 30000000 /dev/zero | tr '\\0' x; echo; echo tail"
    outcome = await sandbox.run(order(script, output_limit=10_000))
    assert outcome.truncated
    assert outcome.output.startswith(b"head\nxxx") and outcome.output.endswith(b"xxx\ntail\n")
    assert b"bytes left out" in outcome.output and len(outcome.output) < 10_100


async def test_an_endless_flood_ends_with_its_time_and_little_memory(sandbox: Sandbox, order: Order) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcome = await sandbox.run(order("yes", timeout_s=0.7, output_limit=100_000))
    assert outcome.timed_out and outcome.truncated and len(outcome.output) < 100_200
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


async def test_a_command_over_its_time_is_ended_and_its_output_kept(sandbox: Sandbox, order: Order) -> None:
    outcome = await sandbox.run(order("echo begun; sleep 600", timeout_s=0.5))
    assert (outcome.exit_code, outcome.timed_out, outcome.output) == (None, True, b"begun\n")
    assert 400 <= outcome.duration_ms < 5_000


async def test_a_script_that_cannot_be_handed_over_is_refused(sandbox: Sandbox, order: Order) -> None:
    with pytest.raises(AgentPaneError) as refused:
        await sandbox.run(order("echo \0"))
    assert refused.value.code is ErrorCode.SECURITY_SANDBOX_UNAVAILABLE


async def test_a_worktree_that_is_gone_is_an_error_of_its_own(sandbox: Sandbox, order: Order, tmp_path: Path) -> None:
    with pytest.raises(AgentPaneError) as refused:
        await sandbox.run(order("true", worktree=tmp_path / "gone"))
    assert refused.value.code is ErrorCode.SECURITY_SANDBOX_UNAVAILABLE


async def test_limits_are_in_force(sandbox: Sandbox, order: Order) -> None:
    outcome = await sandbox.run(order("ulimit -c; ulimit -f; ulimit -v"))
    assert outcome.output.split() == [b"0", b"8388608", b"268435456"]


def test_the_best_tier_of_this_machine_is_found(bubblewrap: BubblewrapSandbox) -> None:
    assert detect().tier is Tier.BUBBLEWRAP
    assert why_not_confined() is None


@pytest.mark.parametrize("tier", list(Tier))
def test_the_tier_that_is_asked_for_is_found(bubblewrap: BubblewrapSandbox, tier: Tier) -> None:
    assert detect(tier).tier is tier


def test_without_bubblewrap_it_is_landlock(
    landlock: LandlockSandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert detect().tier is Tier.LANDLOCK
    assert why_not_confined() is None


def test_a_tier_that_is_asked_for_is_never_lowered(
    landlock: LandlockSandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho no namespaces here >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert detect().tier is Tier.LANDLOCK
    with pytest.raises(AgentPaneError) as refused:
        detect(Tier.BUBBLEWRAP)
    assert refused.value.code is ErrorCode.SECURITY_SANDBOX_UNAVAILABLE
    assert "no namespaces here" in refused.value.message


def test_without_any_sandbox_the_reasons_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("agentpane.sandbox.landlock.abi", lambda: 0)
    assert detect().tier is Tier.NONE
    told = why_not_confined() or ""
    assert "bubblewrap (bwrap) is not installed" in told and "no Landlock" in told


def test_each_tier_says_what_it_means() -> None:
    assert all(len(tier.description) > 40 for tier in Tier)


def test_the_environment_holds_nothing_secret(monkeypatch: pytest.MonkeyPatch, worktree: Path) -> None:
    for name in ("ANTHROPIC_API_KEY", "GITHUB_TOKEN", "SSH_AUTH_SOCK", "DBUS_SESSION_BUS_ADDRESS", "JAVA_HOME"):
        monkeypatch.setenv(name, "a secret")
    monkeypatch.setenv("LC_TIME", "C.UTF-8")
    monkeypatch.setenv("PATH", f"/usr/bin:relative:/not/there:{Path(sys.prefix) / 'bin'}")
    environment = tool_environment(worktree)
    assert "a secret" not in environment.values()
    assert environment["LC_TIME"] == "C.UTF-8" and environment["TERM"] == "dumb"
    assert environment["PATH"] == f"/usr/bin:{Path(sys.prefix) / 'bin'}"


def filled(*chunks: bytes) -> Ring:
    ring = Ring(10)
    for chunk in chunks:
        ring.add(chunk)
    return ring


def test_a_ring_keeps_everything_up_to_its_limit() -> None:
    whole, cut = filled(b"01234", b"56789"), filled(b"01234", b"56789", b"a")
    assert whole.content() == b"0123456789" and not whole.truncated
    assert cut.truncated and cut.content() == b"01234\n[... 1 bytes left out ...]\n6789a"
