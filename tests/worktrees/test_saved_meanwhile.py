"""What somebody saves into their checkout while a merge is settled there, or taken back, is never written over."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentpane.worktrees import MergeIntent, RecoveryOutcome
from agentpane.worktrees.git.runner import GitOutput, GitRunner
from agentpane.worktrees.merging.checkout import GaveUp
from agentpane.worktrees.merging.obstacles import changes_between, seen
from agentpane.worktrees.merging.taking_back import take_back
from agentpane.worktrees.places import Checkout
from tests.worktrees.conftest import Bench, git

MINE = "what the person saves\n"
Arrange = Callable[[Callable[[], object]], None]


@pytest.fixture
async def merged(bench: Bench) -> tuple[Bench, MergeIntent]:
    """A fast-forward of the checkout by changes, an addition and a removal, of which git has written some."""
    (bench.path / "readme.md").write_text("# New\n")
    (bench.path / "src/app.py").write_text("all new\n" * 10)
    (bench.path / "new").write_text("added\n")
    (bench.path / "run.sh").unlink()
    new = (await bench.snap()).sha
    return bench, MergeIntent("run1", "main", bench.base, new, new, bench.repo.path, bench.repo.git_dir)


@pytest.fixture
def at_the_last_look(monkeypatch: pytest.MonkeyPatch) -> Arrange:
    """Lets something happen once, when all is ready to be written over a file that was looked at."""

    def arrange(happens: Callable[[], object]) -> None:
        once = iter([happens])

        def watched(module: Any, name: str, counts: Callable[..., bool]) -> None:
            whole = getattr(module, name)

            def called(*given: Any, **options: Any) -> Any:
                if counts(*given):
                    for act in once:
                        act()
                return whole(*given, **options)

            monkeypatch.setattr(module, name, called)

        def lays(_git: GitRunner, _place: Any, *arguments: str, **_: Any) -> bool:
            return arguments[0] == "checkout-index" and not any(each.startswith("--prefix") for each in arguments)

        watched(GitRunner, "run", lays)
        watched(os, "open", lambda name, *_: str(name).startswith(".agentpane-"))

    return arrange


def begin(root: Path) -> None:
    (root / ".git/index.lock").touch()
    (root / "new").write_text("added\n")
    (root / "run.sh").unlink()


@pytest.mark.parametrize(
    ("wanted", "path"), [(True, "readme.md"), (True, "src/app.py"), (False, "run.sh"), (False, "src/app.py")]
)
async def test_while_a_cut_merge_is_settled(
    merged: tuple[Bench, MergeIntent], at_the_last_look: Arrange, wanted: bool, path: str
) -> None:
    (bench, intent), root = merged, merged[0].repo.path
    begin(root)
    (root / "src/app.py").write_text("all new\nall")  # torn
    at_the_last_look(lambda: (root / path).write_text(MINE))
    recovery = await bench.worktrees.recover_merge(bench.repo, intent, wanted=wanted)
    assert (root / path).read_text() == MINE
    assert (recovery.outcome, recovery.paths) == (RecoveryOutcome.ROLLED_BACK, (path,))
    assert git(root, "status", "--porcelain") == f" M {path}" and git(root, "rev-parse", "main") == bench.base
    assert not list(root.glob(".agentpane*"))


@pytest.mark.parametrize("path", ["src/app.py", "run.sh"])
async def test_while_a_merge_that_git_gave_up_is_taken_back(
    merged: tuple[Bench, MergeIntent], at_the_last_look: Arrange, path: str
) -> None:
    (bench, intent), root = merged, merged[0].repo.path
    runner = bench.worktrees._git
    changes = await changes_between(runner, bench.repo, intent.old, intent.new)
    before = seen(root, changes)
    begin(root)
    (root / ".git/index.lock").unlink()
    (root / "src/app.py").write_text("all new\nall")
    at_the_last_look(lambda: (root / path).write_text(MINE))
    gave_up = GaveUp(GitOutput(128, b"", b"fatal: No space left on device"), before, False)
    refused = await take_back(runner, bench.repo, Checkout(root, bench.repo.git_dir, False), intent, gave_up)
    assert (root / path).read_text() == MINE
    assert refused.paths == (path,) and "Nothing has been changed" not in refused.message
    assert git(root, "status", "--porcelain") == f" M {path}"
