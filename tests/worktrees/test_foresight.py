from __future__ import annotations

import random
import re
from collections import Counter
from pathlib import Path

import pytest

from agentpane.domain.conflicts import Conflict, LineRange
from agentpane.domain.ids import TaskId
from agentpane.domain.overlaps import FileEdit, Work, overlaps
from agentpane.worktrees import Repository, Worktrees
from agentpane.worktrees.conflicts import foresight
from tests.worktrees.conftest import commit_all, git

TEN = b"".join(b"line %d\n" % number for number in range(1, 11))


def lines(*pairs: tuple[int, int]) -> tuple[LineRange, ...]:
    return tuple(LineRange(start, count) for start, count in pairs)


def write(where: Path, files: dict[bytes, bytes | None]) -> None:
    for name, content in files.items():
        path = where / name.decode("utf-8", "surrogateescape")
        if content is None:
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def fork(
    where: Path, first: dict[bytes, bytes], target: dict[bytes, bytes | None], card: dict[bytes, bytes | None]
) -> tuple[str, str]:
    """The commits of two sides that have gone on from `first`."""
    write(where, dict(first))
    commit_all(where, "First")
    git(where, "checkout", "-q", "-b", "card")
    write(where, card)
    made = commit_all(where, "Card")
    git(where, "checkout", "-q", "main")
    write(where, target)
    return commit_all(where, "Target"), made


async def conflicts_of(
    worktrees: Worktrees,
    repo: Repository,
    first: dict[bytes, bytes],
    target: dict[bytes, bytes | None],
    card: dict[bytes, bytes | None],
) -> dict[str, Conflict]:
    old, new = fork(repo.path, first, target, card)
    found = await worktrees.conflicts(repo, old, new)
    assert list(found) == sorted(found, key=lambda conflict: conflict.path.encode("utf-8", "surrogateescape"))
    return {conflict.path: conflict for conflict in found}


async def test_each_side_of_a_conflict_has_its_lines_as_that_side_numbers_them(
    worktrees: Worktrees, repo: Repository
) -> None:
    target = TEN.replace(b"line 5\n", b"five\n").replace(b"line 1\n", b"zero\nline 1\n")
    card = TEN.replace(b"line 5\nline 6\n", b"FIVE\nSIX\nAND\n").replace(b"line 9\n", b"nine\n")
    found = await conflicts_of(worktrees, repo, {b"a": TEN}, {b"a": target}, {b"a": card})
    assert found == {"a": Conflict("a", "contents", lines((6, 2)), lines((5, 3)))}


async def test_what_both_sides_changed_alike_or_apart_is_no_conflict(worktrees: Worktrees, repo: Repository) -> None:
    same = TEN.replace(b"line 5\n", b"five\n")
    old, new = fork(repo.path, {b"a": TEN}, {b"a": same}, {b"a": same.replace(b"line 9\n", b"nine\n")})
    assert await worktrees.conflicts(repo, old, new) == ()


async def test_every_kind_of_conflict_has_its_name_and_what_can_be_said_by_lines(
    worktrees: Worktrees, repo: Repository
) -> None:
    first = {b"gone": TEN, b"kept": TEN, b"moved": TEN * 3, b"picture": b"\0a", b"twice": TEN * 2, b"huge": b"a\n" * 9}
    target: dict[bytes, bytes | None] = {
        b"gone": None,
        b"kept": TEN.replace(b"line 2", b"two"),
        b"moved": TEN * 3 + b"target\n",
        b"picture": b"\0b",
        b"new": b"same\ntarget\n",
        b"twice": None,
        b"once": TEN * 2,
        b"mode": b"#!\n",
    }
    card: dict[bytes, bytes | None] = {
        b"gone": TEN.replace(b"line 3\n", b"three\nmore\n"),
        b"kept": None,
        b"moved": None,
        b"there": TEN * 3 + b"card\n",
        b"picture": b"\0c",
        b"new": b"same\ncard\ncard\n",
        b"twice": None,
        b"other": TEN * 2,
        b"mode": b"#!\n",
    }
    write(repo.path, dict(first))
    _, new = fork(repo.path, first, target, card)
    git(repo.path, "update-index", "--chmod=+x", "mode")
    git(repo.path, "commit", "-q", "--amend", "--no-edit")
    found = {each.path: each for each in await worktrees.conflicts(repo, git(repo.path, "rev-parse", "main"), new)}
    assert found["gone"] == Conflict("gone", "modify/delete", (), lines((3, 2)))
    assert found["kept"] == Conflict("kept", "modify/delete", lines((2, 1)), ())
    assert found["there"] == Conflict("there", "contents", lines((31, 1)), lines((31, 1)))
    assert found["picture"] == Conflict("picture", "binary")
    assert found["new"] == Conflict("new", "add/add", lines((2, 1)), lines((2, 2)))
    assert found["mode"] == Conflict("mode", "mode")
    assert {found[path].kind for path in ("twice", "once", "other")} == {"rename/rename"}
    assert "huge" not in found


@pytest.mark.parametrize("name", [b"caf\xff\xe9 bad", b"-dash", b'new\nline "q"', b"deep/er/a"])
async def test_odd_names_line_ends_of_windows_and_a_missing_last_newline_are_told_apart(
    worktrees: Worktrees, repo: Repository, name: bytes
) -> None:
    crlf = TEN.replace(b"\n", b"\r\n")
    target, card = crlf.replace(b"line 4\r", b"four\r"), crlf.replace(b"line 4\r\n", b"line 4\n")
    ends = TEN.removesuffix(b"\n")
    found = await conflicts_of(
        worktrees,
        repo,
        {name: crlf, name + b".end": TEN},
        {name: target, name + b".end": ends},
        {name: card, name + b".end": TEN + b"more\n"},
    )
    path = name.decode("utf-8", "surrogateescape")
    assert found[path] == Conflict(path, "contents", lines((4, 1)), lines((4, 1)))
    assert found[f"{path}.end"] == Conflict(f"{path}.end", "contents", lines((10, 1)), lines((10, 2)))


async def test_a_file_that_is_too_large_to_compare_or_one_of_too_many_conflicts_as_a_whole(
    worktrees: Worktrees, repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foresight, "LARGEST", 1_000)
    large = TEN * 20
    old, new = fork(
        repo.path,
        {b"large": large, b"small": TEN},
        {b"large": large.replace(b"5", b"five"), b"small": TEN.replace(b"5", b"V")},
        {b"large": large.replace(b"5", b"FIVE"), b"small": TEN.replace(b"5", b"v")},
    )
    assert await worktrees.conflicts(repo, old, new) == (
        Conflict("large", "contents"),
        Conflict("small", "contents", lines((5, 1)), lines((5, 1))),
    )
    monkeypatch.setattr(foresight, "MOST_BY_LINES", 1)
    told = await worktrees.conflicts(repo, old, new)
    assert told == (Conflict("large", "contents"), Conflict("small", "contents"))


async def test_a_driver_and_a_diff_program_of_the_repository_stay_out_of_it(
    worktrees: Worktrees, repo: Repository, tmp_path: Path
) -> None:
    touched = tmp_path / "ran"
    for key in ("diff.external", "diff.evil.command", "diff.evil.textconv", "merge.evil.driver"):
        git(repo.path, "config", key, f"touch {touched}; false")
    attributes = b"* diff=evil merge=evil\n"
    (repo.common_dir / "info").mkdir(exist_ok=True)
    (repo.common_dir / "info" / "attributes").write_bytes(attributes)
    old, new = fork(repo.path, {b"a": TEN}, {b"a": TEN + b"x\n"}, {b"a": TEN + b"y\n"})
    touched.unlink(missing_ok=True)  # plain git, as these lines use it, runs them
    assert [each.path for each in await worktrees.conflicts(repo, old, new)] == ["a"]
    assert await worktrees.clashes(repo, old, new) == {"a"}
    assert [each.path for each in await worktrees.edits(repo, old, new)] == ["a"]
    assert not touched.exists()


def scrambled(source: random.Random, base: list[bytes]) -> list[bytes]:
    """Some places of a text replaced, put in or taken out."""
    made = list(base)
    for _ in range(source.randint(0, 3)):
        at, count = source.randint(0, len(made)), source.randint(0, 3)
        made[at : at + count] = [b"%d\n" % source.randint(0, 9) for _ in range(source.randint(0, 3))]
    return made


async def test_a_file_conflicts_by_lines_exactly_where_git_leaves_marks(worktrees: Worktrees, repo: Repository) -> None:
    source = random.Random(4)
    texts = []
    for _ in range(200):
        base = [b"%d\n" % source.randint(0, 9) for _ in range(source.randint(0, 12))]
        texts.append((base, scrambled(source, base), scrambled(source, base)))
    sides = [{b"%03d" % n: b"".join(text[side]) for n, text in enumerate(texts)} for side in range(3)]
    old, new = fork(repo.path, sides[0], dict(sides[1]), dict(sides[2]))
    found = {conflict.path: conflict for conflict in await worktrees.conflicts(repo, old, new)}
    tree = git(repo.path, "merge-tree", "--write-tree", old, new, check=False).split("\n")[0]
    git(repo.path, "read-tree", "-u", "--reset", tree)
    tally: Counter[bool] = Counter()
    for number, (_, target, card) in enumerate(texts):
        name = f"{number:03}"
        marked = re.findall(rb"(?ms)^<{7} .*?\n(.*?)^={7}\n(.*?)^>{7} ", (repo.path / name).read_bytes())
        conflict = found.get(name, Conflict(name, "none"))
        assert bool(marked) == bool(conflict.target_lines) == (conflict.kind == "contents"), name
        for side, text, ranges in ((0, target, conflict.target_lines), (1, card, conflict.card_lines)):
            said = [b"".join(text[each.low : each.high]) for each in ranges]
            assert all(any(part[side] in whole for whole in said) for part in marked), name
        tally[bool(marked)] += 1
    assert min(tally[True], tally[False]) > 30


async def test_the_edits_between_two_commits_say_what_they_do_to_each_file(
    worktrees: Worktrees, repo: Repository
) -> None:
    first = {b"edited": TEN, b"gone": TEN, b"odd\xff\n": TEN * 2, b"picture": b"\0", b"mode": b"m\n"}
    write(repo.path, dict(first))
    base = commit_all(repo.path)
    write(repo.path, {b"edited": b"first\n" + TEN.replace(b"line 7\nline 8\n", b""), b"gone": None, b"new": b"n\n"})
    write(
        repo.path, {b"odd\xff\n": None, b"moved to": TEN * 2 + b"@@ -1 +1 @@\ndiff --git a/x b/x\n", b"picture": b"\0z"}
    )
    (repo.path / "mode").chmod(0o755)
    (repo.path / "link").symlink_to("edited")
    card = commit_all(repo.path)
    found = {edit.path: edit for edit in await worktrees.edits(repo, base, card)}
    assert found.keys() == {"edited", "gone", "moved to", "new", "picture", "mode", "link"}
    assert [(hunk.old, hunk.new) for hunk in found["edited"].hunks] == [
        (LineRange(0, 0), LineRange(1, 1)),
        (LineRange(7, 2), LineRange(7, 0)),
    ]
    assert found["gone"] == FileEdit("gone", "gone", deleted=True)
    assert (found["moved to"].old_path, found["moved to"].hunks[0].new) == ("odd\udcff\n", LineRange(21, 2))
    assert found["new"] == FileEdit("new", None, whole=True)
    assert found["picture"] == FileEdit("picture", "picture", whole=True)
    assert found["mode"] == FileEdit("mode", "mode")


async def test_cards_that_git_cannot_merge_with_each_other_overlap_though_they_began_at_different_commits(
    worktrees: Worktrees, repo: Repository
) -> None:
    """One card began before the base branch went on, the other after; a file stands for each of many cases."""
    source = random.Random(7)
    cases = []
    for _ in range(150):
        text = [b"%d\n" % source.randint(0, 9) for _ in range(source.randint(4, 16))]
        after = scrambled(source, text)
        cases.append((text, after, scrambled(source, text), scrambled(source, after)))
    first, moved, early, late = ({b"%03d" % n: b"".join(c[k]) for n, c in enumerate(cases)} for k in range(4))
    tip, one = fork(repo.path, first, dict(moved), dict(early))
    git(repo.path, "checkout", "-q", "-b", "late")
    write(repo.path, dict(late))
    other = commit_all(repo.path)
    start = git(repo.path, "merge-base", tip, one)
    upstream = {edit.path: edit for edit in await worktrees.edits(repo, start, tip)}
    works = [
        Work(TaskId("early"), "Early", await worktrees.edits(repo, start, one), upstream),
        Work(TaskId("late"), "Late", await worktrees.edits(repo, tip, other), {}),
    ]
    overlapping = {each.path for each in overlaps(works)[TaskId("early")]}
    with_base = {conflict.path for conflict in await worktrees.conflicts(repo, tip, one)}
    tree = git(repo.path, "merge-tree", "--write-tree", tip, one, check=False).split("\n")[0]
    merged = git(repo.path, "commit-tree", "-p", tip, "-m", "The first card, merged", tree)
    clashing = await worktrees.clashes(repo, merged, other) - with_base
    assert clashing <= overlapping and len(clashing) > 15
    # Both made the same of the lines that they share.
    assert len(overlapping - with_base - clashing) <= 3
