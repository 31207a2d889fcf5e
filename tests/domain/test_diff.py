from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from unidiff.patch import PatchSet

from agentpane.domain.diff import (
    FileStat,
    LineKind,
    MalformedGitOutputError,
    PatchIndex,
    display_path,
    index_patch,
    parse_name_status,
    parse_numstat,
    parse_raw,
    parse_raw_numstat,
    visible_text,
)
from agentpane.domain.gitpaths import shown_paths

NAMES = st.binary(min_size=1, max_size=12).filter(
    lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b"..") and name.lower()[:4] != b".git"
)
LINES = st.sampled_from(
    [b"same", b"", b"@@ -1 +1 @@", b"diff --git a/x b/x", b"--- a", b"+++ b", b"\\ No", b"\xff\x1b[0m", b"x\r"]
)
CONTENTS = st.builds(
    lambda lines, end: b"\n".join(lines) + end, st.lists(LINES, max_size=30), st.sampled_from([b"", b"\n"])
)
TREES = st.dictionaries(NAMES, CONTENTS, max_size=5)


def tree_of(where: Path, files: dict[bytes, bytes]) -> str:
    """Store a tree without touching the disk's idea of names."""
    records = []
    for name, content in files.items():
        sha = git(where, "hash-object", "-w", "--stdin", stdin=content).strip()
        records.append(b"100644 blob " + sha + b"\t" + name + b"\0")
    return git(where, "mktree", "-z", stdin=b"".join(records)).strip().decode()


def git(where: Path, *arguments: str, stdin: bytes = b"") -> bytes:
    return subprocess.run(["git", *arguments], cwd=where, input=stdin, capture_output=True, check=True).stdout


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("repo")
    git(where, "init", "-q")
    return where


real_git = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@real_git
@given(TREES, TREES)
def test_lists_and_patch_of_any_two_trees_agree(repo: Path, old: dict[bytes, bytes], new: dict[bytes, bytes]) -> None:
    a, b = tree_of(repo, old), tree_of(repo, new)
    both = parse_raw_numstat(git(repo, "diff", "--raw", "--numstat", "-z", "--no-abbrev", "-M", a, b))
    raw = parse_raw(git(repo, "diff", "--raw", "-z", "--no-abbrev", "-M", a, b))
    stats = parse_numstat(git(repo, "diff", "--numstat", "-z", "-M", a, b))
    status = parse_name_status(git(repo, "diff", "--name-status", "-z", "-M", a, b))
    assert [(one.path, one.old_path, one.status) for one in both] == [(p, o, s) for s, p, o in status]
    assert [(one.path, one.status) for one in raw] == [(one.path, one.status) for one in both]
    assert [FileStat(one.path, one.old_path, one.added, one.removed) for one in both] == list(stats)
    patch = git(repo, "diff", "-M", a, b)
    index = index_patch(patch)
    check_every_line(index, patch)
    files = list(index.files())
    assert [file.path for file in files] == [one.path for one in both]
    for file, change in zip(files, both, strict=True):
        lines = index.lines(file.first_line, file.line_count)
        kinds = [line.kind for line in lines]
        assert file.binary == change.binary
        assert file.old_path == {"A": None, "R": change.old_path}.get(change.status, change.path)
        assert kinds.count(LineKind.ADDED) == (change.added or 0)
        assert kinds.count(LineKind.REMOVED) == (change.removed or 0)


def check_every_line(index: PatchIndex, patch: bytes) -> None:
    """Each line, asked for alone or in any stretch, is the line that splitting the text finds."""
    plain = patch.split(b"\n")
    if not plain[-1]:
        plain.pop()
    assert index.line_count == len(plain)
    lines = index.lines(0, len(plain) + 10)
    assert len(lines) == len(plain)
    for number, (line, text) in enumerate(zip(lines, plain, strict=True)):
        marked = line.kind in (LineKind.ADDED, LineKind.REMOVED, LineKind.CONTEXT, LineKind.NO_NEWLINE)
        assert index.text(line) == (text[1:] if marked else text)
        assert index.lines(number, 1) == [line]


@real_git
@given(st.lists(LINES, max_size=60), st.lists(LINES, max_size=60), st.integers(0, 3))
def test_hunks_and_line_numbers_are_those_that_unidiff_finds(
    repo: Path, old: list[bytes], new: list[bytes], context: int
) -> None:
    # unidiff reads text: of the lines only those that it can split as git does.
    one, two = ([line for line in lines if line.isascii() and b"\r" not in line] for lines in (old, new))
    a, b = (tree_of(repo, {b"f": b"\n".join([*lines, b""])}) for lines in (one, two))
    patch = git(repo, "diff", f"-U{context}", a, b)
    index, theirs = index_patch(patch), PatchSet(patch.decode())
    hunks = [index.hunk(number) for number in range(index.hunk_count)]
    expected = [hunk for file in theirs for hunk in file]
    assert [(h.old_start, h.old_count, h.new_start, h.new_count) for h in hunks] == [
        (h.source_start, h.source_length, h.target_start, h.target_length) for h in expected
    ]
    for ours, hunk in zip(hunks, expected, strict=True):
        lines = index.lines(ours.first_line + 1, ours.line_count - 1)
        assert [(line.old_number, line.new_number, index.text(line).decode() + "\n") for line in lines] == [
            (line.source_line_no, line.target_line_no, line.value) for line in hunk
        ]


PATCH = b"""\
diff --git a/old name b/new name
similarity index 66%
rename from old name
rename to new name
index 1..2 100644
--- a/old name\t
+++ b/new name\t
@@ -1,2 +1,2 @@ def section():
 kept
-gone
+came
\\ No newline at end of file
@@ -10 +10,0 @@
-last
diff --git "a/caf\\303\\251\\n" "b/caf\\303\\251\\n"
old mode 100644
new mode 100755
diff --git a/x b/y b/x b/y
new file mode 100644
index 0000000..e69de29
diff --git a/p.png b/p.png
index 1..2 100644
Binary files a/p.png and b/p.png differ
diff --git a/away b/away
deleted file mode 100644
--- a/away
+++ /dev/null
@@ -1 +0,0 @@
-bye
"""


def test_headers_of_all_kinds_give_their_paths() -> None:
    files = [(file.path, file.old_path, file.binary, file.hunk_count) for file in index_patch(PATCH).files()]
    assert files == [
        ("new name", "old name", False, 2),
        ("café\n", "café\n", False, 0),
        ("x b/y", None, False, 0),
        ("p.png", "p.png", True, 0),
        ("away", "away", False, 1),
    ]


def test_lines_have_numbers_on_their_sides() -> None:
    index = index_patch(PATCH)
    hunk = index.hunk(0)
    assert (hunk.section, hunk.first_line, hunk.line_count) == (b"def section():", 7, 5)
    assert [(line.kind.value, line.old_number, line.new_number) for line in index.lines(7, 7)] == [
        ("hunk", None, None), ("context", 1, 1), ("removed", 2, None), ("added", None, 2), ("no_newline", None, None),
        ("hunk", None, None), ("removed", 10, None),
    ]  # fmt: skip
    check_every_line(index, PATCH)
    assert [index.file_of_line(line) for line in (0, 13, 14, 16, 17, 21, 26)] == [0, 0, 1, 1, 2, 3, 4]
    assert index.hunk_of_line(15) is None and index.hunk_of_line(13) == 1


def test_a_patch_without_anything_has_nothing() -> None:
    index = index_patch(b"")
    assert (index.file_count, index.hunk_count, index.line_count, index.lines(0, 5)) == (0, 0, 0, [])


def test_a_line_of_a_large_hunk_is_found_from_any_place() -> None:
    body = b"".join(b"+line %d\n" % number for number in range(20_000))
    index = index_patch(b"diff --git a/f b/f\n--- /dev/null\n+++ b/f\n@@ -0,0 +1,20000 @@\n" + body)
    (line,) = index.lines(4 + 12_345, 1)
    assert (line.new_number, index.text(line)) == (12_346, b"line 12345")


@pytest.mark.parametrize("cut", [b"1\t2\tpath", b"1\t2\0", b"1\t\0", b"1\t2\t\0old\0", b"x\ty\tz\0"])
def test_counts_that_are_cut_short_are_an_error(cut: bytes) -> None:
    with pytest.raises(MalformedGitOutputError):
        parse_numstat(cut)


@pytest.mark.parametrize("cut", [b"R100\0old\0", b"M\0", b"M"])
def test_a_list_of_names_that_is_cut_short_is_an_error(cut: bytes) -> None:
    with pytest.raises(MalformedGitOutputError):
        parse_name_status(cut)


@pytest.mark.parametrize("cut", [b":100644 100644 1 2 M\0", b":100644 M\0x\0", b":1 2 3 4 R10\0old\0"])
def test_raw_records_that_are_cut_short_are_an_error(cut: bytes) -> None:
    with pytest.raises(MalformedGitOutputError):
        parse_raw(cut)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (b"plain \t text\n", "plain \t text\n"),
        (b"\x1b[31mred", "␛[31mred"),
        (b"crlf\r", "crlf␍"),
        (b"\x00\x7f\xff", "␀␡\\xff"),
        ("a\u202eb\u2066c\u200bd\ufeff", "a⟨U+202E⟩b⟨U+2066⟩c⟨U+200B⟩d⟨U+FEFF⟩"),
        ("\x9b31m\u2028\U000e0041", "⟨U+009B⟩31m⟨U+2028⟩⟨U+E0041⟩"),
        ("größe 修复 🎉\u00a0x", "größe 修复 🎉\u00a0x"),
    ],
)
def test_nothing_hides_in_text_that_is_shown(text: bytes | str, shown: str) -> None:
    assert visible_text(text) == shown


@given(st.one_of(st.text(), st.binary()))
def test_shown_text_has_no_control_and_no_bidirectional_character(text: str | bytes) -> None:
    shown = visible_text(text)
    assert all(char.isprintable() or char in "\t\n\u00a0" or char.isspace() for char in shown)
    assert not any(0x202A <= ord(char) <= 0x202E or 0x2066 <= ord(char) <= 0x2069 or ord(char) < 9 for char in shown)


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("src/a b.py", "src/a b.py"),
        ("a\nb", "a\\nb"),
        (b"caf\xe9", "caf\\xe9"),
        ("a\\b\u202e", "a\\\\b\\u202e"),
        ("\x1b", "\\x1b"),
    ],
)
def test_a_path_is_shown_on_one_line_with_escapes(path: str | bytes, shown: str) -> None:
    assert display_path(path) == shown


def test_the_first_of_some_paths_are_shown_and_the_others_counted() -> None:
    assert shown_paths(("a\nb", "c"), most=2) == "a\\nb, c"
    assert shown_paths(("a", "b", "c", "d"), most=2) == "a, b and 2 more"
