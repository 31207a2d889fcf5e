"""A pattern means the same with ripgrep and without it: the same lines match, and the same is refused."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentpane.orchestrator.tree.patterns import PatternError, compiled

LINES: tuple[bytes, ...] = (
    *(b"", b" ", b"a", b"b", b"A", b"ab", b"aB1", b"a b", b"aab", b"abc_d", b"a.b", b"a-b", b"[a]", b"{a}", b"x(1)"),
    *(b"\t\x1c", b"a\r", b"\xff", b"a\xffb", b"\xffa", "é".encode(), "É b".encode(), "日本 a".encode(), "١".encode()),
)
RG = shutil.which("rg")


def plain(pattern: str, ignore_case: bool = False) -> list[int] | None:
    """The lines that match, counted from 0; None for a pattern that is refused."""
    try:
        expression = compiled(pattern, ignore_case)
    except PatternError:
        return None
    return [n for n, line in enumerate(LINES) if expression.search(line.decode("utf-8", "surrogateescape"))]


def by_ripgrep(folder: Path, pattern: str, ignore_case: bool = False) -> list[int] | None:
    assert RG is not None
    file = folder / "lines"
    if not file.exists():
        file.write_bytes(b"".join(line + b"\n" for line in LINES))
    options = ["--no-config", "--encoding=none", "--line-number", "--text", *(["-i"] if ignore_case else [])]
    done = subprocess.run([RG, *options, f"--regexp={pattern}", "--", str(file)], capture_output=True, timeout=20)
    if done.returncode == 2:
        return None
    return [int(line.partition(b":")[0]) - 1 for line in done.stdout.splitlines() if line.partition(b":")[1]]


def full(found: list[int] | None) -> list[int] | None:
    """Without the empty line, of which ripgrep itself says different things (`$^` is not in it, `^$` is)."""
    return None if found is None else [n for n in found if LINES[n]]


def lines(*wanted: bytes) -> list[int]:
    return [n for n, line in enumerate(LINES) if line in wanted]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (r"^a[.\-]b$", lines(b"a.b", b"a-b")),
        (r"^a.b$", lines(b"a b", b"a.b", b"a-b", b"aab")),  # and not a byte that is no character
        (r"^[^a]$", lines(b" ", b"b", b"A", "é".encode(), "١".encode())),
        (r"^[\s\S]$", lines(b" ", b"a", b"b", b"A", "é".encode(), "١".encode())),
        (r"^\p{Lu}", lines(b"A", "É b".encode())),
        (r"^\pN$", lines("١".encode())),
        (r"^[[:upper:]]", lines(b"A")),
        (r"^a(?i)b", lines(b"ab", b"aB1", b"abc_d")),
        (r"^(?i)a|B$", [n for n, line in enumerate(LINES) if line and (line[0] in b"aA" or line[-1] in b"bB")]),
        ("^$", [0]),
        (r"^a++b?\z", lines(b"a", b"ab", b"aab")),
        (r"^a\x62", lines(b"ab", b"abc_d")),
        (r"\{a\}", lines(b"{a}")),
        (r"^\s+$", lines(b" ")),
        (r"a$", [n for n, line in enumerate(LINES) if line.endswith(b"a")]),
        (r"x\(\d\)", lines(b"x(1)")),
        ("(?=a)", None),
        (r"(a)\1", None),
        ("main() {", None),
        ("a{2,1}", None),
        ("(", None),
        (")", None),
        ("[a", None),
        ("*a", None),
        (r"\y", None),
        (r"\n", None),
        ("(?P<name", None),
        ("[b-a]", None),
        ("\\", None),
    ],
)
def test_a_pattern_means_what_it_means_to_ripgrep(pattern: str, expected: list[int] | None, tmp_path: Path) -> None:
    assert plain(pattern) == expected
    if RG is not None:
        assert by_ripgrep(tmp_path, pattern) == expected


PIECES = st.sampled_from(
    [
        *("a", "b", "A", "1", " ", "é", "日", ".", "-", r"\.", r"\-", r"\x61", r"\t", "a", "b", "ab"),
        *(r"\d", r"\w", r"\s", r"\D", r"\W", r"\S", r"\pL", r"\p{Lu}", r"\P{L}", r"\b", r"\B", "^", "$", r"\z", r"\A"),
        *("[a-c]", "[^a]", "[[:alpha:]]", r"[\s\S]", r"[^\w]", r"[\d_.-]", "[]a]", "[^]a]", "[a[b]]", r"[\]\-]"),
        *("(a|b)", "(?:ab)", "(?i)", "(?i:a)", "(?-i:a)", "(?P<n>a)", "(?=a)", r"\1", r"\q"),
        *("*", "+", "?", "{2}", "{1,2}", "{1,}", "|", "(", ")", "[", "]", "{", "}"),
    ]
)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(PIECES, min_size=1, max_size=6).map("".join), st.booleans())
def test_any_pattern_finds_the_same_lines_or_is_refused_by_both(
    tmp_path_factory: pytest.TempPathFactory, pattern: str, ignore_case: bool
) -> None:
    found = plain(pattern, ignore_case)
    if RG is not None:
        wanted = by_ripgrep(tmp_path_factory.getbasetemp(), pattern, ignore_case)
        assert full(found) == full(wanted)
    elif found is not None:  # what can be asked for can be asked for in a group as well
        assert plain(f"(?:{pattern})", ignore_case) == found
