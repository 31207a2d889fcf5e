"""Read, Write and Edit: what they do to files."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from agentpane.domain.sandbox import NO_NETWORK
from agentpane.errors import ErrorCode
from agentpane.orchestrator.tools import ToolContext
from agentpane.sandbox import BareSandbox

from .conftest import Call, caller


async def test_read_shows_lines_with_their_numbers(call: Call, worktree: Path) -> None:
    (worktree / "a").write_text("one\ntwo\n\nfour")
    result = await call("Read", file_path="a")
    assert result.content == "     1\tone\n     2\ttwo\n     3\t\n     4\tfour"
    assert (result.is_error, result.data["total_lines"]) == (False, 4)
    assert (await call("Read", file_path=str(worktree / "a"))).content == result.content


async def test_read_gives_a_part_and_says_what_is_left(call: Call, worktree: Path) -> None:
    (worktree / "a").write_text("".join(f"line {n}\n" for n in range(1, 5001)))
    part = await call("Read", file_path="a", offset=10, limit=2)
    assert part.content == "    10\tline 10\n    11\tline 11\n[4989 more lines; go on with offset 12]"
    whole = await call("Read", file_path="a")
    assert whole.data["lines"] == 2000 and "offset 2001]" in whole.content
    beyond = await call("Read", file_path="a", offset=6000)
    assert beyond.is_error and "5000 lines" in beyond.content


async def test_read_is_bounded_however_long_the_lines_are(call: Call, worktree: Path) -> None:
    (worktree / "wide").write_text(("x" * 100_000 + "\n") * 100)
    (worktree / "many").write_text(("y" * 1000 + "\n") * 2000)
    wide, many = await call("Read", file_path="wide"), await call("Read", file_path="many")
    assert "[... 98000 more characters]" in wide.content and len(wide.content) < 260 * 1024
    assert len(many.content) < 260 * 1024 and "go on with offset" in many.content


async def test_an_empty_file_is_said_to_be_empty(call: Call, worktree: Path) -> None:
    (worktree / "empty").touch()
    assert (await call("Read", file_path="empty")).content == "(the file is empty)"


async def test_a_huge_file_is_refused_at_once(call: Call, worktree: Path) -> None:
    with (worktree / "huge").open("wb") as file:
        file.truncate(3 * 1024**3)
    result = await call("Read", file_path="huge")
    assert result.is_error and "3,221,225,472 bytes" in result.content


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x89PNG\r\n\x1a\n\x00\x00", "a PNG image"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "a JPEG image"),
        (b"%PDF-1.7\n\xe2\xe3\xcf\xd3\x00", "pdftotext"),
        (b"BM\x00\x00\x00\x00", "a BMP image"),
        (b"\x7fELF\x02\x01\x01\x00", "a compiled program"),
        (b"text\x00more", "a binary file"),
    ],
)
async def test_binaries_and_broken_images_are_refused_with_the_reason(
    call: Call, worktree: Path, content: bytes, reason: str
) -> None:
    (worktree / "data").write_bytes(content)
    result = await call("Read", file_path="data")
    assert result.is_error and reason in result.content


async def test_what_is_no_file_is_refused_and_never_waited_for(call: Call, worktree: Path, opening: str) -> None:
    os.mkfifo(worktree / "fifo")
    (worktree / "folder").mkdir()
    fifo, folder, none = [await call("Read", file_path=name) for name in ("fifo", "folder", "none")]
    assert fifo.is_error and "a FIFO" in fifo.content
    assert folder.is_error and "a folder" in folder.content
    assert none.is_error and none.content == "There is no file none."
    written = await call("Write", file_path="fifo", content="x")
    assert written.is_error and stat.S_ISFIFO((worktree / "fifo").stat().st_mode)


async def test_write_makes_a_file_and_its_folders(call: Call, worktree: Path, opening: str) -> None:
    result = await call("Write", file_path="a/b/c.txt", content="one\ntwo\n")
    assert (worktree / "a/b/c.txt").read_text() == "one\ntwo\n"
    assert (result.data["created"], result.data["added"]) == (True, 2)
    assert sorted(path.name for path in (worktree / "a/b").iterdir()) == ["c.txt"]


async def test_a_file_that_exists_is_overwritten_only_after_a_read(call: Call, worktree: Path) -> None:
    (worktree / "a").write_text("old\nsame\n")
    refused = await call("Write", file_path="a", content="new\nsame\n")
    assert refused.is_error and "has not been read" in refused.content and (worktree / "a").read_text() == "old\nsame\n"
    await call("Read", file_path="a")
    written = await call("Write", file_path=str(worktree / "a"), content="new\nsame\n")
    assert (written.data["added"], written.data["removed"]) == (1, 1)
    again = await call("Write", file_path="a", content="third\n")
    assert not again.is_error and (worktree / "a").read_text() == "third\n"


async def test_what_was_read_in_another_run_does_not_count(call: Call, context: ToolContext) -> None:
    (context.worktree / "a").write_text("old")
    await call("Read", file_path="a")
    other = ToolContext(context.worktree, BareSandbox(), (), context.environment, network=NO_NETWORK)
    assert (await caller(other)("Write", file_path="a", content="new")).is_error


async def test_a_file_that_changed_after_it_was_read_is_not_written(call: Call, worktree: Path) -> None:
    (worktree / "a").write_text("old")
    await call("Read", file_path="a")
    (worktree / "a").write_text("changed by somebody else")
    for result in (
        await call("Write", file_path="a", content="new"),
        await call("Edit", file_path="a", old_string="changed", new_string="x"),
    ):
        assert result.is_error and "has changed since it was read" in result.content
    assert (worktree / "a").read_text() == "changed by somebody else"


async def test_writing_keeps_the_mode(call: Call, worktree: Path) -> None:
    (worktree / "run.sh").write_text("#!/bin/sh\n")
    (worktree / "run.sh").chmod(0o750)
    await call("Read", file_path="run.sh")
    await call("Edit", file_path="run.sh", old_string="sh", new_string="bash")
    assert stat.S_IMODE((worktree / "run.sh").stat().st_mode) == 0o750


async def test_edit_replaces_one_exact_place(call: Call, worktree: Path) -> None:
    (worktree / "a.py").write_text("def f():\n    return 1\n\ndef g():\n    return 2\n")
    await call("Read", file_path="a.py")
    result = await call("Edit", file_path="a.py", old_string="    return 1", new_string="    x = 1\n    return x")
    assert (worktree / "a.py").read_text() == "def f():\n    x = 1\n    return x\n\ndef g():\n    return 2\n"
    told = {name: value for name, value in result.data.items() if name != "seen"}
    assert told == {"path": "a.py", "replacements": 1, "added": 2, "removed": 1}
    assert "     3\t    return x" in result.content


async def test_edit_needs_a_read_a_match_and_only_one(call: Call, worktree: Path) -> None:
    (worktree / "a").write_text("same\nsame\n")
    unread = await call("Edit", file_path="a", old_string="same", new_string="x")
    assert unread.is_error and "has not been read" in unread.content
    await call("Read", file_path="a")
    twice = await call("Edit", file_path="a", old_string="same", new_string="x")
    assert twice.is_error and "occurs 2 times" in twice.content
    never = await call("Edit", file_path="a", old_string="other", new_string="x")
    assert never.is_error and "does not occur" in never.content
    for old, new in (("", "x"), ("same", "same")):
        assert (await call("Edit", file_path="a", old_string=old, new_string=new)).is_error
    assert (worktree / "a").read_text() == "same\nsame\n"
    everywhere = await call("Edit", file_path="a", old_string="same", new_string="x", replace_all=True)
    assert everywhere.data["replacements"] == 2 and (worktree / "a").read_text() == "x\nx\n"


async def test_edit_of_a_file_that_is_not_there_points_to_write(call: Call) -> None:
    result = await call("Edit", file_path="none", old_string="a", new_string="b")
    assert result.is_error and "Use Write" in result.content


@pytest.mark.parametrize(
    ("before", "old", "new", "after"),
    [
        (b"a\r\nb\r\nc\r\n", "a\nb", "x\ny\nz", b"x\r\ny\r\nz\r\nc\r\n"),
        (b"a\r\nb\nc\n", "b\nc", "x\ny", b"a\r\nx\ny\n"),
        (b"a\r\nb\r\nc\n", "a\nb", "x\ny", b"x\r\ny\r\nc\n"),
        (b"\xef\xbb\xbfa\nb\n", "a", "\u00e9", b"\xef\xbb\xbf\xc3\xa9\nb\n"),
        (b"caf\xe9 au lait\n", "lait", "th\u00e9", b"caf\xe9 au th\xe9\n"),
        ("\ufeffa\nb\n".encode("utf-16-le"), "b", "\u20ac", "\ufeffa\n\u20ac\n".encode("utf-16-le")),
    ],
    ids=["crlf", "mixed, as it is", "mixed, as read", "byte order mark", "latin-1", "utf-16"],
)
async def test_edit_keeps_line_ends_marks_and_encodings(
    call: Call, worktree: Path, before: bytes, old: str, new: str, after: bytes
) -> None:
    (worktree / "a").write_bytes(before)
    await call("Read", file_path="a")
    result = await call("Edit", file_path="a", old_string=old, new_string=new)
    assert not result.is_error, result.content
    assert (worktree / "a").read_bytes() == after


async def test_a_character_that_the_encoding_lacks_is_refused(call: Call, worktree: Path) -> None:
    (worktree / "a").write_bytes(b"caf\xe9\n")
    assert (await call("Read", file_path="a")).content == "     1\tcaf\u00e9"
    result = await call("Edit", file_path="a", old_string="caf", new_string="\u20ac")
    assert result.is_error and "latin-1" in result.content and (worktree / "a").read_bytes() == b"caf\xe9\n"


async def test_half_a_character_is_refused(call: Call, worktree: Path) -> None:
    for result in (
        await call("Write", file_path="a", content="\ud800"),
        await call("Write", file_path="\ud800", content="text"),
        await call("Bash", command="echo \ud800"),
    ):
        assert result.is_error
    assert sorted(path.name for path in worktree.iterdir()) == [".git"]


async def test_a_disk_that_refuses_leaves_the_file_whole(call: Call, worktree: Path) -> None:
    (worktree / "a").write_text("old")
    await call("Read", file_path="a")
    long_name = "x" * 300
    result = await call("Write", file_path=long_name, content="x")
    assert result.is_error and "File name too long" in result.content
    below_a_file = await call("Write", file_path="a/b", content="x")
    assert below_a_file.is_error and below_a_file.error_code is not ErrorCode.INTERNAL
    assert (worktree / "a").read_text() == "old"
    assert sorted(path.name for path in worktree.iterdir()) == [".git", "a"]
