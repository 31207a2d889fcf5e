"""The main job on repositories of every kind: the merge's tree is what git makes of snapshot and base."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.backends.wire import ScriptedServer, say, use
from tests.cli.conftest import Commands, git

TURNS = [
    [
        use("Write", file_path="made by an agent.txt", content="hello\n"),
        use("Bash", command="printf 'x\\r\\n' > crlf.txt"),
    ],
    [say("Done.")],
]


def _fresh(folder: Path, *words: str) -> Path:
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main", *words)
    (folder / "a.txt").write_text("one\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "first")
    return folder


def _bare(place: Path) -> Path:
    source = _fresh(place / "source")
    git(place, "clone", "-q", "--bare", str(source), str(place / "bare.git"))
    return place / "bare.git"


def _submodule(place: Path) -> Path:
    inner, outer = _fresh(place / "inner"), _fresh(place / "outer")
    git(outer, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner), "inner")
    git(outer, "commit", "-q", "-m", "with a submodule")
    return outer


def _crlf(place: Path) -> Path:
    folder = _fresh(place / "crlf")
    git(folder, "config", "core.autocrlf", "true")
    (folder / "windows.txt").write_bytes(b"one\r\ntwo\r\n")
    (folder / ".gitattributes").write_text("*.txt text\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "lines end twice")
    return folder


def _odd_names(place: Path) -> Path:
    folder = _fresh(place / "odd")
    for name in (b"-dash", b"new\nline", b"caf\xe9", "naïve ☃".encode()):
        Path(folder, name.decode("utf-8", "surrogateescape")).write_text("x\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "odd names")
    return folder


KINDS: dict[str, Callable[[Path], Path]] = {
    "one file": lambda place: _fresh(place / "plain"),
    "spaces and unicode": lambda place: _fresh(place / "my repo ☃"),
    "sha256": lambda place: _fresh(place / "sha256", "--object-format=sha256"),
    "bare": _bare,
    "submodule": _submodule,
    "crlf": _crlf,
    "odd names": _odd_names,
}


# What these have of their own is told without an engine in tests/worktrees/odd.
LONG = {"one file", "spaces and unicode", "submodule", "crlf", "odd names"}


@pytest.mark.parametrize("kind", [pytest.param(each, marks=pytest.mark.long if each in LONG else ()) for each in KINDS])
def test_a_card_is_merged_and_nothing_else_is_changed(kind: str, board: Commands, tmp_path: Path) -> None:
    folder = KINDS[kind](tmp_path)
    bare = kind == "bare"
    before = b"" if bare else git(folder, "status", "--porcelain", "-z")
    old = git(folder, "rev-parse", "main").decode().strip()
    with ScriptedServer(TURNS) as server:
        board.json("project", "add", str(folder), "--name", "any")
        task = board.json("task", "add", "any", "Make files")["id"]
        done = board.json("run", task, env=server.environment)
        assert done["column"] == "waiting_approval", done
        paths = [file["path"] for file in board.json("diff", task)["files"]]
        assert paths == ["crlf.txt", "made by an agent.txt"]
        merged = board.json("approve", task)
    assert git(folder, "rev-parse", "main").decode().strip() == merged["merge_commit"]
    expected = git(folder, "merge-tree", "--write-tree", old, done["snapshot"]).split()[0]
    assert git(folder, "rev-parse", "main^{tree}").split()[0] == expected
    if not bare:
        assert git(folder, "status", "--porcelain", "-z") == before
