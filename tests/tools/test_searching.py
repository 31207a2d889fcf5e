"""Glob and Grep: with ripgrep and without it they find the same."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentpane.domain.rules import parse_all
from agentpane.domain.sandbox import NO_NETWORK
from agentpane.orchestrator.tools import ToolContext, ToolResult
from agentpane.orchestrator.tree.globs import path_pattern
from agentpane.sandbox import BareSandbox, tool_environment

from .conftest import Call, caller

FILES: dict[bytes, bytes] = {
    b".gitignore": b"# comment\n*.log\n!keep.log\n/only-here\nbuild/\nsub/*.tmp\n"
    b"**/deep/**/x\ntrailing \\ \n\\#odd\n[ab]?.c\n",
    b".github/workflow.yml": b"needle: 1\n",
    b".hidden": b"needle\n",
    b"a.log": b"needle\n",
    b"keep.log": b"needle\n",
    b"only-here": b"needle\n",
    b"sub/only-here": b"needle\n",
    b"sub/a.tmp": b"needle\n",
    b"sub/more/a.tmp": b"needle\n",
    b"build/out": b"needle\n",
    b"sub/build/out": b"needle\n",
    b"deep/x": b"needle\n",
    b"a/deep/b/c/x": b"needle\n",
    b"a/deep/b/c/y": b"needle\n",
    b"sub/.gitignore": b"!a.log\nnested\n*\\*star\n",
    b"sub/a.log": b"needle\n",
    b"sub/nested/file": b"needle\n",
    b"sub/a*star": b"needle\n",
    b"ab.c": b"needle\n",
    b"cc.c": b"needle\n",
    b"#odd": b"needle\n",
    b"with space/and 'quote'": b"one\nNeedle\nthree\n",
    b"with\nnewline": b"needle\n",
    b"with\ttab[1]{2}*?": b"needle\n",
    b"-dash": b"needle\n",
    "ünïcode/日本.txt".encode(): "größer needle\n".encode(),
    b"not-utf8-\xff\xfe": b"needle \xff\n",
    b"crlf.txt": b"first\r\nneedle\r\n",
    b"binary": b"needle\n\x00\x01",
    b"late-binary": b"needle\n" + b"x" * 200_000 + b"\x00",
    b"utf16": "\ufeffneedle".encode("utf-16-le"),
    b"no-newline": b"a\nneedle",
    b"empty": b"",
    b"many.txt": b"".join(b"line %d %s\n" % (n, b"needle" if n % 10 == 0 else b"hay") for n in range(1, 60)),
}


@pytest.fixture
def tree(worktree: Path) -> Path:
    for name, content in FILES.items():
        path = os.path.join(os.fsencode(worktree), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)
    (worktree / "link").symlink_to("keep.log")
    (worktree / "folder-link").symlink_to("sub")
    (worktree / "loop").symlink_to(".")
    os.mkfifo(worktree / "fifo")
    return worktree


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch, context: ToolContext) -> Call:
    """Calls on a machine that has no ripgrep."""
    environment = {**context.environment, "PATH": "/var/empty"}
    return caller(ToolContext(context.worktree, context.sandbox, (), environment, network=NO_NETWORK))


CALLS: list[tuple[str, dict[str, object]]] = [
    ("Glob", {"pattern": "**"}),
    ("Glob", {"pattern": "*"}),
    ("Glob", {"pattern": "*.{log,txt}"}),
    ("Glob", {"pattern": "sub/**"}),
    ("Glob", {"pattern": "**/x"}),
    ("Glob", {"pattern": "*", "path": "sub"}),
    ("Glob", {"pattern": "**/*", "path": "build"}),
    ("Glob", {"pattern": "*", "path": "with space"}),
    ("Glob", {"pattern": "*", "path": "a/deep/b"}),
    ("Grep", {"pattern": "needle"}),
    ("Grep", {"pattern": "needle", "-i": True, "output_mode": "count"}),
    ("Grep", {"pattern": "needle", "output_mode": "content", "-C": 1}),
    ("Grep", {"pattern": "needle", "output_mode": "content", "-A": 2, "-n": False, "path": "many.txt"}),
    ("Grep", {"pattern": "^line [0-9]+ needle$", "output_mode": "content", "-B": 3}),
    ("Grep", {"pattern": "needle", "glob": "*.txt"}),
    ("Grep", {"pattern": "needle", "glob": "!*.txt"}),
    ("Grep", {"pattern": "needle", "glob": "sub/**"}),
    ("Grep", {"pattern": "needle", "path": "sub"}),
    ("Grep", {"pattern": "needle", "path": "sub", "glob": "*.tmp"}),
    ("Grep", {"pattern": "needle", "path": "sub/nested"}),
    ("Grep", {"pattern": "needle", "path": "build/out"}),
    ("Grep", {"pattern": "needle", "path": "with\ttab[1]{2}*?", "output_mode": "content"}),
    ("Grep", {"pattern": "gr\u00f6\u00dfer", "output_mode": "content"}),
    ("Grep", {"pattern": "-dash|Needle"}),
    ("Grep", {"pattern": "needle", "head_limit": 3}),
    ("Grep", {"pattern": "nothing of that kind"}),
    ("Grep", {"pattern": "needle", "path": "binary"}),
    ("Grep", {"pattern": "needle", "path": "missing"}),
    ("Grep", {"pattern": "needle", "path": "link"}),
    ("Glob", {"pattern": "*", "path": "folder-link"}),
]


@pytest.mark.parametrize(("tool", "inputs"), CALLS, ids=lambda value: str(value))
async def test_with_and_without_ripgrep_the_same_is_found(
    call: Call, without: Call, confined: ToolContext, tree: Path, tool: str, inputs: dict[str, object]
) -> None:
    quick, plain, inside = await asyncio.gather(*(one(tool, **inputs) for one in (call, without, caller(confined))))
    assert quick.content.splitlines() == plain.content.splitlines() == inside.content.splitlines()
    assert quick == plain == inside


# No line breaks: behind a folder with one in its name ripgrep 13 does not see what is ignored.
NAMES = st.sampled_from(
    ["a", "b", "ab", "a.log", "b.txt", ".h", "A", "x y", "[a]", "a*", "ü", "日本", "-d", "q\tr", "no\udcff"]
)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
PIECES = st.sampled_from(
    ["*", "**", "?", "a", "b", "ab", "*.log", "a*", "[ab]", "[!a]", ".h", ".*", "x y", "\\*", "\\[a]", "ü", "日*"]
)
RULES = st.builds(
    lambda negated, anchored, pieces, folder: negated + anchored + "/".join(pieces) + folder,
    st.sampled_from(["", "", "!"]),
    st.sampled_from(["", "/"]),
    st.lists(PIECES, min_size=1, max_size=3),
    st.sampled_from(["", "", "/", " ", "\r"]),
)
IGNORES = st.dictionaries(st.one_of(st.just(""), PATHS), st.lists(RULES, min_size=1, max_size=4), max_size=3)
CONTENTS = st.sampled_from(
    [
        *(
            b"needle\nhay\n",
            b"one\r\nneedle\r\nthree\r\n",
            "größer needle\n".encode(),
            b"needle \xff\n",
            b"hay\nneedle",
        ),
        *(b"needle\n\0", b"", b"hay\n", "\ufeffneedle\n".encode(), "needle\n".encode("utf-16")),
    ]
)
TARGETS = st.sampled_from(["a", "..", "b.txt", "/etc", "nowhere", "."])


@dataclass(frozen=True)
class Tree:
    files: dict[str, bytes]
    links: dict[str, str]
    ignores: dict[str, list[str]]

    def lay(self, folder: Path) -> None:
        """As much of it as can be: a name that is a folder already is no file, and the other way round."""
        folder.mkdir()
        rules = {
            f"{at}/.gitignore".lstrip("/"): "".join(f"{line}\n" for line in lines).encode()
            for at, lines in self.ignores.items()
        }
        for path, content in [*self.files.items(), *rules.items()]:
            with contextlib.suppress(FileExistsError, NotADirectoryError, IsADirectoryError):
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(content)
        for path, target in self.links.items():
            with contextlib.suppress(FileExistsError, NotADirectoryError):
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).symlink_to(target)


TREES = st.builds(
    Tree,
    st.dictionaries(PATHS, CONTENTS, min_size=1, max_size=12),
    st.dictionaries(PATHS, TARGETS, max_size=2),
    IGNORES,
)
WOODS = st.lists(TREES, min_size=8, max_size=12), st.sampled_from(["**", "*.log", "a*", "!*.txt", "**/b/**"])
FEW = settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))


@FEW
@given(*WOODS)
async def test_in_any_trees_with_and_without_ripgrep_what_git_does_not_ignore_is_found(
    tmp_path_factory: pytest.TempPathFactory, trees: list[Tree], pattern: str
) -> None:
    await compare(tmp_path_factory.mktemp("wood"), trees, pattern)


@pytest.mark.long
@pytest.mark.timeout(600)
@settings(FEW, max_examples=40)
@given(*WOODS)
async def test_in_very_many_trees_with_and_without_ripgrep_what_git_does_not_ignore_is_found(
    tmp_path_factory: pytest.TempPathFactory, trees: list[Tree], pattern: str
) -> None:
    await compare(tmp_path_factory.mktemp("wood"), trees, pattern)


async def compare(folder: Path, trees: list[Tree], pattern: str) -> None:
    """Several trees side by side, each with rules of its own, so that one search goes through all of them."""
    worktree = folder / "worktree"
    worktree.mkdir()
    (worktree / ".git").write_text("gitdir: /nowhere\n")
    for number, tree in enumerate(trees):
        tree.lay(worktree / f"t{number}")
    environment = tool_environment(worktree)
    quick, plain = [
        caller(ToolContext(worktree, BareSandbox(), (), {**environment, **more}, network=NO_NETWORK))
        for more in ({}, {"PATH": "/var/empty"})
    ]
    expected = await not_ignored(worktree, folder / "git")
    wanted = {"pattern": "needle$", "output_mode": "content", "-A": 1, "glob": pattern, "head_limit": 0}
    for inputs in ({"pattern": "**"}, {"pattern": pattern.lstrip("!")}, {"pattern": "**", "path": "t0"}):
        listed = await plain("Glob", **inputs)
        by_ripgrep = await quick("Glob", **inputs)
        assert set(by_ripgrep.content.split("\n")) ^ set(listed.content.split("\n")) == set()
        assert by_ripgrep == listed
        if inputs == {"pattern": "**"}:
            assert listed.content.split("\n") == "\n".join(map(shown, expected)).split("\n")
    content, files = await asyncio.gather(plain("Grep", **wanted), plain("Grep", pattern="needle", head_limit=0))
    assert await quick("Grep", **wanted) == content
    readable = [path for path in expected if has_needle(os.path.join(os.fsencode(worktree), path))]
    assert files.content == ("\n".join(map(shown, readable)) or "Nothing matches.")


def has_needle(path: bytes) -> bool:
    content = Path(os.fsdecode(path)).read_bytes()
    return b"needle" in content and b"\0" not in content


def shown(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")


async def not_ignored(worktree: Path, repository: Path) -> list[bytes]:
    """The files that git itself would take, links aside."""
    await _git(["git", "init", "-q", "--bare", str(repository)], worktree)
    listing = ["ls-files", "--others", "--exclude-standard", "-z"]
    listed = await _git(["git", f"--git-dir={repository}", f"--work-tree={worktree}", *listing], worktree)
    paths = (path for path in listed.split(b"\0") if path)
    found = (path for path in paths if not os.path.islink(os.path.join(os.fsencode(worktree), path)))
    return sorted(found, key=lambda path: path.split(b"/"))


async def test_what_is_listed_is_what_git_does_not_ignore(call: Call, tree: Path, tmp_path: Path) -> None:
    expected = await not_ignored(tree, tmp_path / "git")
    assert (await call("Glob", pattern="**")).content == "\n".join(map(shown, expected))


async def _git(command: list[str], folder: Path) -> bytes:
    done = await asyncio.to_thread(subprocess.run, command, cwd=folder, check=True, capture_output=True, timeout=30)
    return done.stdout


def found(result: ToolResult) -> set[str]:
    assert not result.is_error, result.content
    return set(result.content.splitlines())


async def test_ignored_files_links_and_binaries_are_left_out(call: Call, tree: Path) -> None:
    hits = found(await call("Grep", pattern="needle"))
    assert {"keep.log", "sub/only-here", "sub/a.log", ".hidden", ".github/workflow.yml", "cc.c"} <= hits
    assert not hits & {"a.log", "only-here", "build/out", "ab.c", "link", "binary", "late-binary", "sub/nested/file"}


async def test_an_ignored_path_that_is_named_is_searched(call: Call, tree: Path) -> None:
    assert found(await call("Grep", pattern="needle", path="build")) == {"build/out"}
    assert found(await call("Grep", pattern="needle", path="a.log")) == {"a.log"}


async def test_content_is_shown_like_grep_shows_it(call: Call, tree: Path) -> None:
    result = await call("Grep", pattern="needle", path="many.txt", output_mode="content", **{"-C": 1, "head_limit": 5})
    assert result.content.splitlines() == [
        "many.txt-9-line 9 hay",
        "many.txt:10:line 10 needle",
        "many.txt-11-line 11 hay",
        "--",
        "many.txt-19-line 19 hay",
        "[14 more lines; narrow the search with path or glob]",
    ]


@pytest.mark.parametrize("pattern", ["(", "[", "a{2,1}"])
async def test_a_broken_pattern_is_an_error_result(call: Call, without: Call, tree: Path, pattern: str) -> None:
    for one in (call, without):
        result = await one("Grep", pattern=pattern)
        assert result.is_error and "regex" in result.content


@pytest.mark.parametrize("pattern", ["[", "{a", "a\\"])
async def test_a_broken_glob_is_an_error_result(call: Call, tree: Path, pattern: str) -> None:
    assert (await call("Glob", pattern=pattern)).is_error
    assert (await call("Grep", pattern="x", glob=pattern)).is_error


async def test_a_pattern_without_an_end_is_killed(without: Call, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentpane.orchestrator.tools.grep.TIMEOUT_S", 1.0)
    (tree / "bait").write_text("a" * 64)
    result = await without("Grep", pattern="(a+)+b", path="bait")
    assert result.is_error and "was ended" in result.content


async def test_very_many_files_are_listed_up_to_a_limit(call: Call, worktree: Path) -> None:
    for number in range(1200):
        (worktree / f"f{number:04}").touch()
    lines = (await call("Glob", pattern="f*")).content.splitlines()
    assert len(lines) == 1001 and lines[-1] == "[200 more; use a narrower pattern]"


async def test_a_configuration_of_ripgrep_has_no_say(call: Call, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree / "rc").write_text("--invert-match\n")
    monkeypatch.setenv("RIPGREP_CONFIG_PATH", str(tree / "rc"))
    (tree / ".ignore").write_text("*\n")
    assert "keep.log" in found(await call("Grep", pattern="needle"))


@pytest.mark.parametrize(
    ("pattern", "matches", "others"),
    [
        ("*.py", ["a.py", "x/a.py"], ["a.pyc", "a.py/b"]),
        ("src/*.py", ["src/a.py"], ["src/x/a.py", "x/src/a.py"]),
        ("src/**/*.py", ["src/a.py", "src/x/y/a.py"], ["a.py"]),
        ("**/test_*", ["test_a", "x/test_b"], ["x/test_b/c"]),
        ("*.{ts,tsx}", ["a.ts", "x/b.tsx"], ["a.js"]),
        ("{a,b{c,d}}/x", ["a/x", "bc/x", "bd/x"], ["b/x"]),
        ("[!a]?.c", ["bb.c"], ["ab.c", "/b.c"]),
        ("./a", ["a"], ["b"]),
        ("src/**", ["src/a", "src/a/b"], ["src", "source/a"]),
    ],
)
def test_patterns_mean_what_models_think(pattern: str, matches: list[str], others: list[str]) -> None:
    expression = path_pattern(pattern)
    assert [path for path in matches if not expression.fullmatch(path)] == []
    assert [path for path in others if expression.fullmatch(path)] == []


@pytest.mark.parametrize("mode", ["content", "files_with_matches", "count"])
async def test_what_a_rule_keeps_from_being_read_is_in_no_result(worktree: Path, mode: str) -> None:
    (worktree / "keys" / "old").mkdir(parents=True)
    for path in (".env", "keys/old/id", "plans.txt", "code.py"):
        (worktree / path).write_text("needle\n")
    rules = parse_all(["deny Read(**/.env)", "deny Grep(keys)", "ask Read(plans.txt)", "allow Read(**)"])
    for environment in (tool_environment(worktree), {**tool_environment(worktree), "PATH": "/var/empty"}):
        call = caller(ToolContext(worktree, BareSandbox(), (), environment, NO_NETWORK, rules=rules))
        everything = await call("Grep", pattern="needle", output_mode=mode)
        assert (everything.data["files"], everything.content.split(":")[0]) == (1, "code.py")
        for kept in (".env", "keys", "keys/old/id"):
            assert (await call("Grep", pattern="needle", path=kept, output_mode=mode)).content == "Nothing matches."
        asked = await call("Grep", pattern="needle", path="plans.txt", output_mode=mode)  # which a person has allowed
        assert asked.content.split(":")[0] == "plans.txt"
