"""Ranges of lines carried from one version to the next, and cards that edit the same places."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import replace
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from agentpane.domain.collisions import collisions
from agentpane.domain.conflicts import LineRange, Overlap, OverlapKind, joined
from agentpane.domain.hunks import MOST_HUNKS, Hunk, bounded, carried, parse_hunk, parse_patches
from agentpane.domain.ids import TaskId
from agentpane.domain.overlaps import MOST_OVERLAPS, FileEdit, Work, overlaps, shortened

Text = list[int]


def hunks_between(old: Text, new: Text) -> tuple[Hunk, ...]:
    found = difflib.SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes()
    return tuple(
        Hunk(
            LineRange.between(a, b),
            LineRange.between(c, d),
            tuple(b"%d\n" % line for line in old[a:b]),
            tuple(b"%d\n" % line for line in new[c:d]),
        )
        for kind, a, b, c, d in found
        if kind != "equal"
    )


@st.composite
def versions(draw: st.DrawFn, several: int = 1) -> list[Text]:
    """A text in which every line is one of its kind, and versions of it with places replaced."""
    numbers = count(100)
    first = list(range(draw(st.integers(0, 20))))
    made = [first]
    for _ in range(several):
        text = list(first)
        for _ in range(draw(st.integers(0, 3))):
            at = draw(st.integers(0, len(text)))
            gone = draw(st.integers(0, 4))
            text[at : at + gone] = [next(numbers) for _ in range(draw(st.integers(0, 4)))]
        made.append(text)
    return made


@given(versions(), st.integers(0, 20), st.integers(0, 20))
def test_what_is_left_of_a_place_lies_where_the_place_is_carried_to(texts: list[Text], one: int, other: int) -> None:
    old, new = texts
    low, high = sorted((min(one, len(old)), min(other, len(old))))
    place = carried(LineRange.between(low, high), hunks_between(old, new))
    assert 0 <= place.low <= place.high <= len(new)
    left = [line for line in old[low:high] if line in new]
    within = new[place.low : place.high]
    assert [line for line in within if line in left] == left
    # Nothing that was outside has come in.
    assert not set(within) & (set(old[:low]) | set(old[high:]))


@given(versions(several=2))
def test_two_sides_collide_exactly_where_one_of_them_alone_cannot_be_taken(texts: list[Text]) -> None:
    base, one, other = texts
    ours, theirs = hunks_between(base, one), hunks_between(base, other)
    apart = not any(mine.old.touches(yours.old) for mine in ours for yours in theirs)
    of_ours, of_theirs = collisions(ours, theirs)
    assert len(of_ours) == len(of_theirs)
    if apart:
        assert of_ours == ()
    for place, text in [(place, one) for place in of_ours] + [(place, other) for place in of_theirs]:
        assert 0 <= place.low <= place.high <= len(text)
    assert collisions(ours, ours) == ((), ())


def test_a_hunk_is_read_as_git_prints_it() -> None:
    assert parse_hunk(b"@@ -3 +4,2 @@ def f():") == Hunk(LineRange(3, 1), LineRange(4, 2))
    patch = (
        b"diff --git a/0 b/0\nindex 1..2 100644\n--- a/0\n+++ b/0\n"
        b"@@ -2,2 +1,0 @@ x\n-diff --git a/1 b/1\n-@@ -1 +1 @@\r\n"
        b"@@ -9 +7 @@\n-old\n\\ No newline at end of file\n+new\n"
    )
    assert parse_patches(patch) == {
        b"a/0 b/0": (
            Hunk(LineRange(2, 2), LineRange(1, 0), (b"diff --git a/1 b/1\n", b"@@ -1 +1 @@\r\n"), ()),
            Hunk(LineRange(9, 1), LineRange(7, 1), (b"old",), (b"new\n",)),
        )
    }


def test_a_file_with_very_many_hunks_counts_as_one_change() -> None:
    many = [Hunk(LineRange(3 * n + 2, 1), LineRange(3 * n + 2, 1)) for n in range(MOST_HUNKS + 1)]
    assert bounded(many[:-1]) == tuple(many[:-1])
    span = LineRange(2, 3 * MOST_HUNKS + 1)
    assert bounded(many) == (Hunk(span, span),)


def test_of_very_many_ranges_the_last_are_said_as_one() -> None:
    ranges = tuple(LineRange(2 * n, 1) for n in range(1, 10))
    assert joined(ranges, 8) == ranges
    assert joined(ranges, 3) == (*ranges[:3], LineRange(8, 11))


# Cards


def hunk(old: int, count: int, new: int, made: int) -> Hunk:
    return Hunk(LineRange(old, count), LineRange(new, made))


def work(name: str, *edits: FileEdit, upstream: Mapping[str, FileEdit] | None = None) -> Work:
    return Work(TaskId(name), name.upper(), edits, upstream or {})


def edit(path: str, *hunks: Hunk, old_path: str | None = "") -> FileEdit:
    return FileEdit(path, path if old_path == "" else old_path, hunks=hunks)


def test_two_cards_that_edit_the_same_or_neighbouring_lines_are_told_of_each_other() -> None:
    found = overlaps(
        [
            work("a", edit("f", hunk(1, 0, 2, 3), hunk(10, 2, 13, 1)), edit("g", hunk(5, 1, 5, 1))),
            work("b", edit("f", hunk(12, 3, 12, 4)), edit("g", hunk(7, 1, 7, 1))),
            work("c", edit("g", hunk(1, 9, 1, 1))),
        ]
    )
    assert found == {
        "a": (
            Overlap(TaskId("b"), "B", "f", (LineRange(13, 1),)),
            Overlap(TaskId("c"), "C", "g", (LineRange(5, 1),)),
        ),
        "b": (
            Overlap(TaskId("a"), "A", "f", (LineRange(12, 4),)),
            Overlap(TaskId("c"), "C", "g", (LineRange(7, 1),)),
        ),
        "c": (
            Overlap(TaskId("a"), "A", "g", (LineRange(1, 1),)),
            Overlap(TaskId("b"), "B", "g", (LineRange(1, 1),)),
        ),
    }


def test_cards_that_began_at_different_commits_are_compared_on_the_branch_as_it_is() -> None:
    """Ten lines were put in at the top, and the file was renamed, after the first card had begun."""
    between = {"f": FileEdit("moved/f", "f", hunks=(hunk(0, 0, 1, 10),))}
    old = work("old", edit("f", hunk(5, 1, 5, 1)), upstream=between)
    name = TaskId("old")
    assert overlaps([old, work("same", edit("moved/f", hunk(15, 1, 15, 1)))])[name] == (
        Overlap(TaskId("same"), "SAME", "f", (LineRange(5, 1),)),
    )
    assert overlaps([old, work("apart", edit("moved/f", hunk(5, 1, 5, 1)))])[name] == ()


def test_a_file_that_one_deletes_and_another_edits_or_that_both_make_overlaps_as_a_whole() -> None:
    gone = FileEdit("f", "f", deleted=True)
    cases: list[tuple[FileEdit, FileEdit, OverlapKind | None]] = [
        (gone, edit("f", hunk(1, 1, 1, 1)), OverlapKind.DELETED),
        (gone, edit("elsewhere", old_path="f"), OverlapKind.DELETED),
        (gone, FileEdit("f", "f", whole=True), OverlapKind.DELETED),
        (gone, gone, None),
        (gone, edit("f"), None),  # only its mode was changed
        (edit("n", old_path=None), edit("n", old_path=None), OverlapKind.FILE),
        (edit("n", old_path=None), edit("n", old_path="f"), OverlapKind.FILE),
        (edit("n", old_path=None), edit("n", hunk(3, 1, 3, 1)), OverlapKind.FILE),
        (edit("n", old_path="f"), edit("m", old_path="f"), OverlapKind.FILE),
        (edit("n", old_path="f"), edit("n", old_path="f"), None),
        (edit("n", hunk(1, 1, 1, 1), old_path="f"), edit("f", hunk(2, 1, 2, 1)), OverlapKind.LINES),
        (edit("n", hunk(1, 1, 1, 1), old_path="f"), edit("f", hunk(3, 1, 3, 1)), None),
        (FileEdit("f", "f", whole=True), FileEdit("f", "f", whole=True), OverlapKind.FILE),
        (FileEdit("f", "f", whole=True), edit("f", hunk(1, 1, 1, 1)), OverlapKind.FILE),
        (FileEdit("f", "f", whole=True), edit("f"), None),
    ]
    for one, other, kind in cases:
        found = overlaps([work("one", one), work("other", other)])
        assert [each.kind for each in found[TaskId("one")]] == ([] if kind is None else [kind]), (one, other)
        assert [each.kind for each in found[TaskId("other")]] == ([] if kind is None else [kind]), (one, other)
        assert all(bool(each.lines) == (kind is OverlapKind.LINES) for of in found.values() for each in of)


@given(st.lists(versions(several=1), min_size=1, max_size=1), st.data())
def test_overlaps_are_mutual(texts: list[list[Text]], data: st.DataObject) -> None:
    base = texts[0][0]
    made = []
    for name in "abc":
        changed = list(base)
        for _ in range(data.draw(st.integers(0, 2))):
            at = data.draw(st.integers(0, len(changed)))
            changed[at : at + data.draw(st.integers(0, 2))] = [data.draw(st.integers(100, 200))]
        made.append(work(name, edit("f", *hunks_between(base, changed))))
    found = overlaps(made)
    pairs = {(one, each.task_id) for one, of in found.items() for each in of}
    assert pairs == {(other, one) for one, other in pairs}


def test_of_very_many_overlaps_those_that_clash_are_kept() -> None:
    many = [Overlap(TaskId(str(n)), "", "f", ()) for n in range(MOST_OVERLAPS + 5)]
    kept = shortened([*many, replace(many[0], clashes=True)])
    assert (len(kept), kept[0].clashes) == (MOST_OVERLAPS, True)
