"""What somebody saves into their checkout while a merge is settled there, or taken back, is never written over."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentpane.worktrees import MergeIntent, MergeRefused, RecoveryOutcome, Worktrees
from agentpane.worktrees.git.runner import GitError, GitOutput, GitRunner
from agentpane.worktrees.merging.checkout import CutShort, GaveUp
from agentpane.worktrees.merging.laying import beside, holding, look, put
from agentpane.worktrees.merging.obstacles import changes_between, seen
from agentpane.worktrees.merging.taking_back import take_back
from agentpane.worktrees.places import Checkout
from tests.worktrees.conftest import Bench, bench_of, git

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


@pytest.mark.parametrize("wanted", [True, False])
async def test_what_an_engine_left_beside_a_file_that_was_killed_while_it_settled_a_merge_goes(
    merged: tuple[Bench, MergeIntent], wanted: bool
) -> None:
    (bench, intent), root = merged, merged[0].repo.path
    begin(root)
    for path in ("readme.md", "src/app.py", "new"):
        (root / path).with_name(beside(Path(path).name)).write_text("all n")
    settled = await bench.worktrees.recover_merge(bench.repo, intent, wanted=wanted)
    assert settled.outcome is (RecoveryOutcome.COMPLETED if wanted else RecoveryOutcome.ROLLED_BACK)
    assert git(root, "status", "--porcelain") == ""


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


async def test_whatever_kinds_of_files_git_had_written_are_taken_back(worktrees: Worktrees, tmp_path: Path) -> None:
    lines = b"".join(b"line %d\n" % number for number in range(50))
    files = {".gitattributes": b"*.txt text eol=crlf\n", "a.txt": lines, "line\nbreak.txt": lines, "plain": lines}
    files |= {"program": b"#!/bin/sh\n", "folder/inner": lines, "file": lines, "empty": b"", "gone": lines}
    repo = await worktrees.make_repository(tmp_path / "repo", files, "First\n")
    bench, root = await bench_of(worktrees, repo), repo.path
    for text in root.glob("*.txt"):
        text.unlink()
    git(root, "checkout", "-q", "--", ".")  # with the line ends that git gives them
    for path in ("a.txt", "line\nbreak.txt", "plain", "empty"):
        (bench.path / path).write_bytes(lines * 2)
    (bench.path / "program").chmod(0o755)
    shutil.rmtree(bench.path / "folder")
    (bench.path / "folder").symlink_to("plain")
    (bench.path / "file").unlink()
    (bench.path / "file").mkdir()
    (bench.path / "file/inner").write_bytes(b"in a folder\n")
    (bench.path / "gone").unlink()
    new = (await bench.snap()).sha
    intent = MergeIntent("run1", "main", bench.base, new, new, root, repo.git_dir)
    changes = await changes_between(worktrees._git, repo, bench.base, new)
    before = seen(root, changes)
    contents = {path: (root / path).read_bytes() for path in files}
    git(root, "read-tree", "-m", "-u", bench.base, new)
    assert (root / "folder").is_symlink() and (root / "a.txt").read_bytes().count(b"\r\n") == 100
    git(root, "read-tree", bench.base)
    gave_up = GaveUp(GitOutput(128, b"", b"fatal: No space left on device"), before, False)
    refused = await take_back(worktrees._git, repo, Checkout(root, repo.git_dir, False), intent, gave_up)
    assert isinstance(refused, MergeRefused) and refused.paths == () and "Nothing has been changed" in refused.message
    assert {path: (root / path).read_bytes() for path in files} == contents
    assert git(root, "status", "--porcelain") == "" and not os.access(root / "program", os.X_OK)
    # Everything is as recovery would have it, too.
    git(root, "read-tree", "-m", "-u", bench.base, new)
    recovery = await worktrees.recover_merge(repo, intent, wanted=False)
    assert recovery.outcome is RecoveryOutcome.ROLLED_BACK and not recovery.paths
    assert {path: (root / path).read_bytes() for path in files} == contents and git(root, "status", "--porcelain") == ""


STEERED = dict.fromkeys(("a.txt", "c.up", "kept/d.txt", "kept/deep/e.txt", "sub/f.txt"), b"one\n")
STEERING = (
    {".gitattributes": b"*.txt text eol=crlf\n*.up filter=up\n", "kept/deep/.gitattributes": b"*.txt -text\n"},
    {"sub/.gitattributes": b"*.txt text eol=crlf\n"},
)


def laid_out(root: Path) -> dict[str, bytes]:
    paths = {*STEERED, *STEERING[0], *STEERING[1]}
    return {path: (root / path).read_bytes() for path in sorted(paths) if (root / path).exists()}


@pytest.mark.parametrize("turned", [False, True])
async def test_a_merge_that_changes_attributes_is_finished_or_taken_back_with_the_bytes_that_git_writes(
    worktrees: Worktrees, tmp_path: Path, masked_host: Path, monkeypatch: pytest.MonkeyPatch, turned: bool
) -> None:
    before, after = STEERING[::-1] if turned else STEERING
    files = STEERED | before | {"tools/up": b"#!/bin/sh\ntr a-z A-Z\n"}
    program = frozenset({"tools/up"})
    repo = await worktrees.make_repository(tmp_path / "repo", files, "First\n", executable=program)
    bench, root = await bench_of(worktrees, repo), repo.path
    (root / "kept/.gitattributes").write_bytes(b"*.txt text eol=crlf\n")  # nobody has committed it
    (root / ".git/info/exclude").write_text("/.worktrees/\n/kept/.gitattributes\n")
    for path in before:
        (bench.path / path).unlink()
    for path, content in (after | {path: content * 2 for path, content in STEERED.items()}).items():
        (bench.path / path).write_bytes(content)
    new = (await bench.snap()).sha
    with (masked_host / ".gitconfig").open("a") as config:
        config.write('[filter "up"]\n\tsmudge = ./tools/up\n\tclean = tr A-Z a-z\n')
    intent = MergeIntent("run1", "main", bench.base, new, new, root, repo.git_dir)
    runner, place = worktrees._git, Checkout(root, repo.git_dir, False)
    for path in STEERED:
        (root / path).unlink()
    git(root, "checkout", "-q", "--", ".")
    old_side = laid_out(root)
    git(root, "read-tree", "-m", "-u", bench.base, new)
    new_side = laid_out(root)
    git(root, "read-tree", "-m", "-u", new, bench.base)
    assert laid_out(root) == old_side and {new_side["c.up"], old_side["c.up"] * 2} == {b"one\none\n", b"ONE\nONE\n"}
    changes = await changes_between(runner, repo, bench.base, new)
    assert len(changes) == 8

    def cut_off_after(number: int) -> None:
        for change in changes[:number]:
            (root / change.path).unlink(missing_ok=True)
            if change.path in new_side:
                (root / change.path).parent.mkdir(exist_ok=True)
                (root / change.path).write_bytes(new_side[change.path])

    def is_as_it_was() -> bool:
        return laid_out(root) == old_side and git(root, "status", "--porcelain") == ""

    assert is_as_it_was()
    for number in (1, 4):
        lay = seen(root, changes)
        cut_off_after(number)
        gave_up = GaveUp(GitOutput(128, b"", b"fatal: No space left on device"), lay, False)
        refused = await take_back(runner, repo, place, intent, gave_up)
        assert isinstance(refused, MergeRefused) and not refused.paths and is_as_it_was()
        cut_off_after(number)
        (root / ".git/index.lock").touch()
        settled = await worktrees.recover_merge(repo, intent, wanted=False)
        assert (settled.outcome, settled.paths) == (RecoveryOutcome.ROLLED_BACK, ()) and is_as_it_was()
        cut_off_after(number)
        (root / ".git/index.lock").touch()
        assert (await worktrees.recover_merge(repo, intent)).outcome is RecoveryOutcome.COMPLETED
        assert laid_out(root) == new_side and git(root, "status", "--porcelain") == ""
        git(root, "reset", "-q", "--hard", bench.base)
        assert is_as_it_was()
    lay = seen(root, changes)
    cut_off_after(4)
    half = laid_out(root)

    def full(*_given: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("agentpane.worktrees.merging.attributes._stand_in", full)
    gave_up = GaveUp(GitOutput(128, b"", b"fatal: No space left on device"), lay, False)
    assert isinstance(await take_back(runner, repo, place, intent, gave_up), CutShort)
    with pytest.raises(GitError, match="No space left on device"):
        await worktrees.recover_merge(repo, intent)
    assert laid_out(root) == half and git(root, "rev-parse", "main") == bench.base


async def test_a_file_that_had_not_the_line_ends_that_git_gives_it_comes_back_with_them_and_is_no_edit(
    worktrees: Worktrees, tmp_path: Path
) -> None:
    files = {".gitattributes": b"*.txt text eol=crlf\n", "a.txt": b"one\ntwo\n"}
    repo = await worktrees.make_repository(tmp_path / "repo", files, "First\n")
    bench, root = await bench_of(worktrees, repo), repo.path
    (bench.path / "a.txt").write_bytes(b"one\ntwo\nthree\n")
    new = (await bench.snap()).sha
    intent = MergeIntent("run1", "main", bench.base, new, new, root, repo.git_dir)
    assert (root / "a.txt").read_bytes() == b"one\ntwo\n" and git(root, "status", "--porcelain") == ""
    index = (root / ".git/index").read_bytes()
    before = seen(root, await changes_between(worktrees._git, repo, bench.base, new))
    (root / "a.txt").write_bytes(b"one\r\ntwo\r\nthr")
    gave_up = GaveUp(GitOutput(128, b"", b"fatal: No space left on device"), before, False)
    refused = await take_back(worktrees._git, repo, Checkout(root, repo.git_dir, False), intent, gave_up)
    assert isinstance(refused, MergeRefused) and not refused.paths
    assert (root / "a.txt").read_bytes() == b"one\r\ntwo\r\n" and git(root, "status", "--porcelain") == ""
    (root / ".git/index").write_bytes(index)
    (root / ".git/index.lock").touch()
    (root / "a.txt").write_bytes(b"one\r\ntwo\r\nthr")
    settled = await worktrees.recover_merge(repo, intent, wanted=False)
    assert settled.outcome is RecoveryOutcome.ROLLED_BACK and not settled.paths
    assert (root / "a.txt").read_bytes() == b"one\r\ntwo\r\n" and git(root, "status", "--porcelain") == ""


def test_on_a_full_disk_a_file_gives_way_to_what_was_there_before_unless_it_was_saved_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file := tmp_path / "file").write_text("what git has written")
    opens, made = os.open, holding(b"before", link=False, executable=False)

    def full(name: Any, *given: Any, **options: Any) -> int:
        if str(name).startswith(".agentpane-") and file.exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        return opens(name, *given, **options)

    looked = look(tmp_path, "file")
    monkeypatch.setattr(os, "open", full)
    assert put(tmp_path, "file", looked, made) and file.read_text() == "before"
    file.write_text(MINE)
    assert not put(tmp_path, "file", looked, made) and file.read_text() == MINE
    with pytest.raises(OSError, match="No space"):
        put(tmp_path, "other", look(tmp_path, "other"), made)
    assert os.listdir(tmp_path) == ["file"]
