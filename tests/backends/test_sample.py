"""The sample project's cards, played by the recorded backend with the real tools in the real sandbox."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentpane import paths
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.backends.base import (
    BackendEvent,
    Brief,
    Ended,
    Endpoint,
    RunPaused,
    ToolFinished,
)
from agentpane.orchestrator.backends.messages_api.calls import UNKNOWN_OUTCOME
from agentpane.orchestrator.backends.recorded import RecordedBackend
from agentpane.orchestrator.backends.recorded.backend import PACE_S
from agentpane.orchestrator.backends.recorded.recording import load, normal
from agentpane.orchestrator.backends.recorded.sample import (
    SampleCard,
    recordings,
    sample_cards,
    sample_files,
    sample_name,
)
from agentpane.orchestrator.backends.recorded.server import AT_ITS_END, PIECE
from agentpane.orchestrator.backends.recorded.wire import cut
from agentpane.orchestrator.tools import TOOL_NAMES
from agentpane.sandbox import BareSandbox, Sandbox, detect
from tests.backends.conformance import continued
from tests.backends.record import lay_out, make_context
from tests.backends.rig import Hurry, TestHost, make_brief, of_kind, play, play_into

CARDS = {card.key: card for card in sample_cards()}


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    return detect()


@pytest.fixture
async def backend() -> AsyncIterator[RecordedBackend]:
    made = RecordedBackend(0, patience=Hurry().patience())
    yield made
    await made.close()


@pytest.fixture
def worktree(tmp_path: Path) -> Path:
    return lay_out(tmp_path / "worktree")


def brief_for(card: SampleCard, worktree: Path, sandbox: Sandbox) -> Brief:
    return make_brief(
        worktree,
        Endpoint(None),
        f"{card.title}\n\n{card.description}",
        tools=TOOL_NAMES,
        context=make_context(worktree, sandbox),
    )


def run(worktree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=worktree, capture_output=True, text=True, timeout=60, check=False
    )


async def play_card(
    backend: RecordedBackend, key: str, worktree: Path, sandbox: Sandbox
) -> tuple[Brief, list[BackendEvent]]:
    brief = brief_for(CARDS[key], worktree, sandbox)
    return brief, await play(backend, brief)


def test_the_sample_is_a_small_real_project(worktree: Path) -> None:
    assert sample_name() == "fairshare"
    assert ".gitignore" in sample_files()
    assert len(CARDS) == 4
    assert [card.key for card in CARDS.values() if card.plays] == ["odd-cents"]
    tests = run(worktree, "-m", "unittest")
    assert tests.returncode == 1
    assert "FAILED (failures=1)" in tests.stderr
    assert run(worktree, "-m", "fairshare", "trips/lisbon.txt").returncode == 0


def test_no_title_begins_another_and_every_card_fits_the_board() -> None:
    titles = [card.title for card in CARDS.values()]
    assert len(set(titles)) == len(titles)
    assert all(len(card.title) <= 200 and len(card.description) <= 5_000 for card in CARDS.values())
    assert {recording.title for recording in recordings()} == set(titles)


@pytest.mark.parametrize("confined", [True, False])
async def test_the_demos_card_mends_the_failing_test(
    backend: RecordedBackend, worktree: Path, sandbox: Sandbox, confined: bool
) -> None:
    _, events = await play_card(backend, "odd-cents", worktree, sandbox if confined else BareSandbox())
    assert isinstance(events[-1], Ended)
    assert run(worktree, "-m", "unittest").returncode == 0


def test_the_demos_card_streams_for_less_than_two_seconds() -> None:
    (demo,) = (recording for recording in recordings() if recording.key == "odd-cents")
    texts = [turn.text for turn in demo.turns]
    texts += [json.dumps(call.input) for turn in demo.turns for call in turn.calls]
    pieces = sum(len(cut(text, PIECE)) for text in texts)
    assert 0.3 < pieces * PACE_S < 1.5


async def test_the_feature_prints_a_table(backend: RecordedBackend, worktree: Path, sandbox: Sandbox) -> None:
    await play_card(backend, "markdown", worktree, sandbox)
    printed = run(worktree, "-m", "fairshare", "--markdown", "trips/lisbon.txt").stdout
    assert printed.startswith("| Who | Paid | Share | Balance |\n")
    assert run(worktree, "-m", "unittest", "tests.test_markdown").returncode == 0


async def test_the_documentation_is_true(backend: RecordedBackend, worktree: Path, sandbox: Sandbox) -> None:
    _, events = await play_card(backend, "ledger-docs", worktree, sandbox)
    last = of_kind(events, ToolFinished)[-1].result.content
    assert "Ben gives Ana 18.00" in last
    assert "Chloe gives Ana 30.00" in last
    assert "Ben gives\nAna 18.00 and Chloe gives her 30.00" in (worktree / "README.md").read_text()


async def test_the_first_diff_deserves_its_rejection_and_the_second_is_right(
    backend: RecordedBackend, worktree: Path, sandbox: Sandbox, tmp_path: Path
) -> None:
    slip = tmp_path / "slip.txt"
    slip.write_text("people: Ana, Ben\nAna -12.00 Lunch\n")
    brief, events = await play_card(backend, "negative-bills", worktree, sandbox)
    assert run(worktree, "-m", "fairshare", str(slip)).returncode == 0  # dropped without a word
    again = await play(backend, continued(brief, events, "Do not drop a bill silently."))
    assert isinstance(again[-1], Ended)
    refused = run(worktree, "-m", "fairshare", str(slip))
    assert refused.returncode == 1
    assert "line 2: an amount cannot be negative" in refused.stderr
    assert run(worktree, "-m", "unittest", "tests.test_ledger").returncode == 0


async def test_a_run_that_was_paused_between_reading_and_editing_goes_on(
    backend: RecordedBackend, worktree: Path, sandbox: Sandbox
) -> None:
    brief = brief_for(CARDS["odd-cents"], worktree, sandbox)
    events: list[BackendEvent] = []
    with pytest.raises(RunPaused):
        await play_into(events, backend, brief, TestHost(pause_at=3))
    again = await play(backend, continued(brief, events, None))
    assert isinstance(again[-1], Ended)
    assert run(worktree, "-m", "unittest").returncode == 0


@pytest.mark.parametrize("order", [list(CARDS), list(reversed(CARDS))])
async def test_cards_may_be_played_in_any_order_on_one_line_of_work(
    backend: RecordedBackend, worktree: Path, sandbox: Sandbox, order: list[str]
) -> None:
    for key in order:
        brief, events = await play_card(backend, key, worktree, sandbox)
        if key == "negative-bills":
            await play(backend, continued(brief, events, "Say which line it is."))
    assert run(worktree, "-m", "unittest").returncode == 0


async def test_a_second_rejection_gets_a_plain_answer(
    backend: RecordedBackend, worktree: Path, sandbox: Sandbox
) -> None:
    brief, events = await play_card(backend, "odd-cents", worktree, sandbox)
    again = await play(backend, continued(brief, events, "I would rather round up."))
    assert again[-1] == Ended(AT_ITS_END)


async def test_a_result_that_differs_is_refused_with_the_call_named(
    backend: RecordedBackend, worktree: Path, sandbox: Sandbox
) -> None:
    source = worktree / "fairshare" / "split.py"
    source.write_text(source.read_text() + "# somebody was here\n")
    with pytest.raises(AgentPaneError) as caught:
        await play_card(backend, "odd-cents", worktree, sandbox)
    assert caught.value.code is ErrorCode.BACKEND_PROTOCOL
    assert "fairshare/split.py" in caught.value.message
    assert "somebody was here" in caught.value.message


async def test_a_card_without_a_recording_says_so(backend: RecordedBackend, worktree: Path, sandbox: Sandbox) -> None:
    own = SampleCard("own", "Write a poem", "About cents.", (), False)
    with pytest.raises(AgentPaneError) as caught:
        await play(backend, brief_for(own, worktree, sandbox))
    assert caught.value.code is ErrorCode.BACKEND_PROTOCOL
    assert "Write a poem" in caught.value.message
    assert "key" in caught.value.message


async def test_a_damaged_recording_says_so_and_stops_no_other(worktree: Path, sandbox: Sandbox, tmp_path: Path) -> None:
    whole = (paths.shipped("resources") / "demo" / "recordings" / "odd-cents.json").read_bytes()
    cut = tmp_path / "odd-cents.json"
    cut.write_bytes(whole[: len(whole) // 2])
    sound = [recording for recording in recordings() if recording.key != "odd-cents"]
    backend = RecordedBackend(0, lambda: [load(cut, "odd-cents", CARDS["odd-cents"].title), *sound])
    try:
        with pytest.raises(AgentPaneError, match=r"damaged \(odd-cents\.json, turn 1") as caught:
            await play_card(backend, "odd-cents", worktree, sandbox)
        assert caught.value.code is ErrorCode.BACKEND_PROTOCOL
        await play_card(backend, "ledger-docs", worktree, sandbox)
    finally:
        await backend.close()


async def test_each_call_is_put_to_the_host(backend: RecordedBackend, worktree: Path, sandbox: Sandbox) -> None:
    host = TestHost()
    await play(backend, brief_for(CARDS["odd-cents"], worktree, sandbox), host)
    assert len(host.asked) == 7


def test_what_differs_between_machines_is_left_out_of_the_comparison() -> None:
    one = 'File "/home/a/w/tests/test_x.py", line 3\n    f(1)\n    ~~^^^\nRan 3 tests in 0.001s\nFAIL: t (tests.x.T.t)'
    two = 'File "/srv/b/tests/test_x.py", line 3\n    f(1)\nRan 3 tests in 12.345s\nFAIL: t (tests.x.T)\n'
    assert normal(one, ["/home/a/w"]) == normal(two, ["/srv/b"])
    assert normal("Ran 3 tests") != normal("Ran 4 tests")
    assert normal(UNKNOWN_OUTCOME) == UNKNOWN_OUTCOME
