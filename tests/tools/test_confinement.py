"""No path, link or race leads a file tool out of the worktree or into `.git`."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agentpane.errors import ErrorCode
from agentpane.orchestrator.tools import ToolContext, ToolResult
from agentpane.orchestrator.tools.base import Refusal
from agentpane.orchestrator.tree.files import components

from .conftest import Call, caller

OUTSIDE = ErrorCode.SECURITY_PATH_OUTSIDE_WORKTREE


async def every_tool(call: Call, path: str) -> list[ToolResult]:
    return [
        await call("Read", file_path=path),
        await call("Write", file_path=path, content="theirs"),
        await call("Edit", file_path=path, old_string="a", new_string="b"),
        await call("Glob", pattern="*", path=path),
        await call("Grep", pattern="root", path=path, output_mode="content"),
    ]


@pytest.mark.parametrize("path", ["/etc/passwd", "../beside", "a/../../beside", "/", "..", "/etc/../etc/passwd"])
async def test_a_path_outside_is_refused_by_its_code(call: Call, tmp_path: Path, path: str) -> None:
    (tmp_path / "beside").write_text("mine: root\n")
    for result in await every_tool(call, path):
        assert result.is_error and result.error_code is OUTSIDE and "root:" not in result.content
    assert (tmp_path / "beside").read_text() == "mine: root\n"


async def test_a_neighbour_whose_name_begins_alike_is_outside(call: Call, worktree: Path) -> None:
    neighbour = worktree.with_name(worktree.name + "-2")
    neighbour.mkdir()
    (neighbour / "a").write_text("root")
    assert all(result.error_code is OUTSIDE for result in await every_tool(call, str(neighbour / "a")))


@pytest.mark.parametrize("path", ["a\0b", "\0", "/etc/passwd\0.txt"])
async def test_a_path_with_a_nul_is_refused(call: Call, path: str) -> None:
    assert all(result.error_code is ErrorCode.VALIDATION_ERROR for result in await every_tool(call, path))


async def test_a_glob_pattern_cannot_climb_out(call: Call) -> None:
    for pattern in ("../*", "/etc/*", "a/../../*"):
        result = await call("Glob", pattern=pattern)
        assert result.is_error and result.error_code is OUTSIDE


def test_absolute_paths_are_known_by_both_names_of_a_worktree(worktree: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(worktree)
    for path in (link / "a/b", worktree / "a/b"):
        assert components(link, str(path)) == ("a", "b")
    assert components(link, str(link)) == ()
    with pytest.raises(Refusal):
        components(worktree, str(link / "a"))


@pytest.mark.parametrize("target", ["/etc/passwd", "../beside", "/proc/self/root/etc/passwd"])
async def test_a_link_to_the_outside_is_not_followed(
    call: Call, worktree: Path, tmp_path: Path, opening: str, target: str
) -> None:
    (tmp_path / "beside").write_text("root: mine\n")
    (worktree / "link").symlink_to(target)
    for result in await every_tool(call, "link"):
        assert result.is_error and result.error_code is OUTSIDE and "root:" not in result.content
    assert (worktree / "link").is_symlink() and (tmp_path / "beside").read_text() == "root: mine\n"


async def test_a_folder_that_is_a_link_to_the_outside_is_not_entered(
    call: Call, worktree: Path, tmp_path: Path, opening: str
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a").write_text("root")
    (worktree / "link").symlink_to(tmp_path / "outside")
    for path in ("link/a", "link/new", "link/deeper/new"):
        assert all(result.is_error for result in await every_tool(call, path))
    assert sorted(path.name for path in (tmp_path / "outside").iterdir()) == ["a"]
    assert (await call("Grep", pattern="root")).content == "Nothing matches."


async def test_a_link_inside_is_read_but_not_written_through(call: Call, worktree: Path) -> None:
    (worktree / "real").write_text("text\n")
    (worktree / "link").symlink_to("real")
    assert (await call("Read", file_path="link")).content == "     1\ttext"
    result = await call("Write", file_path="link", content="theirs")
    assert result.is_error and "symbolic link" in result.content
    assert (worktree / "link").is_symlink() and (worktree / "real").read_text() == "text\n"


async def test_a_hard_link_to_the_outside_is_not_written_through(call: Call, worktree: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    os.link(tmp_path / "mine", worktree / "theirs")
    await call("Read", file_path="theirs")
    assert not (await call("Edit", file_path="theirs", old_string="mine", new_string="changed")).is_error
    assert (worktree / "theirs").read_text() == "changed" and (tmp_path / "mine").read_text() == "mine"


@pytest.mark.parametrize("path", [".git", ".git/config", ".GIT/hooks/pre-commit", "sub/.git/config", "a/../.git"])
async def test_git_is_not_written(call: Call, worktree: Path, path: str) -> None:
    await call("Read", file_path=path)
    for result in (
        await call("Write", file_path=path, content="theirs"),
        await call("Edit", file_path=path, old_string="gitdir", new_string="x"),
    ):
        assert result.is_error and result.error_code is OUTSIDE
    assert (worktree / ".git").read_text() == "gitdir: /nowhere\n"
    assert sorted(path.name for path in worktree.iterdir()) == [".git"]


async def test_git_is_not_written_through_a_link_either(call: Call, worktree: Path) -> None:
    (worktree / "link").symlink_to(".git")
    (worktree / ".git").unlink()
    (worktree / ".git").mkdir()
    for path in ("link", "link/config", "link/hooks/pre-commit"):
        assert (await call("Write", file_path=path, content="theirs")).is_error
    assert list((worktree / ".git").iterdir()) == []


@contextmanager
def flipping(link: Path, *targets: Path) -> Iterator[None]:
    """Make `link` lead to one target and then the other, as fast as it goes, until the block is left."""
    over = threading.Event()

    def flip() -> None:
        spare = link.with_name("spare")
        while not over.is_set():
            for target in targets:
                spare.symlink_to(target)
                spare.rename(link)

    thread = threading.Thread(target=flip)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


async def test_a_link_flipped_during_the_call_does_not_lead_outside(
    call: Call, worktree: Path, tmp_path: Path, opening: str
) -> None:
    inside, outside = worktree / "inside", tmp_path / "outside"
    for folder in (inside, outside):
        folder.mkdir()
    (inside / "file").write_text("harmless")
    (outside / "file").write_text("root: secret")
    with flipping(worktree / "link", inside, outside):
        for number in range(300):
            seen = [await call("Read", file_path="link/file")]
            if number % 30 == 0:
                seen.append(await call("Glob", pattern="**", path="link"))
                seen.append(await call("Grep", pattern="secret", path="link", output_mode="content"))
            await call("Write", file_path=f"link/new-{number}", content="theirs")
            assert not any("secret" in result.content and not result.is_error for result in seen)
    assert sorted(path.name for path in outside.iterdir()) == ["file"]
    assert (outside / "file").read_text() == "root: secret"


async def test_a_flipped_link_does_not_lead_ripgrep_outside_in_the_sandbox(
    confined: ToolContext, worktree: Path, tmp_path: Path
) -> None:
    inside, outside = worktree / "inside", tmp_path / "outside"
    for folder in (inside, outside):
        folder.mkdir()
    (outside / "file").write_text("secret")
    call = caller(confined)
    with flipping(worktree / "link", inside, outside):
        for _ in range(20):
            result = await call("Grep", pattern="secret")
            assert result.content == "Nothing matches."
