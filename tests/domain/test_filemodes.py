from __future__ import annotations

import pytest

from agentpane.domain.filemodes import FileNote, file_notes

GONE, FILE, PROGRAM, LINK, SUBMODULE = "000000", "100644", "100755", "120000", "160000"


@pytest.mark.parametrize(
    ("old", "new", "target", "words"),
    [
        (GONE, FILE, None, ""),
        (FILE, FILE, None, ""),
        (PROGRAM, PROGRAM, None, ""),
        (PROGRAM, GONE, None, ""),
        ("", "", None, ""),
        (GONE, PROGRAM, None, "new, executable"),
        (FILE, PROGRAM, None, "made executable"),
        (PROGRAM, FILE, None, "no longer executable"),
        (GONE, LINK, "b", "new symbolic link → b"),
        (FILE, LINK, "b", "now a symbolic link → b"),
        (LINK, LINK, "b", "symbolic link → b"),
        (LINK, FILE, None, "symbolic link → now a file"),
        (LINK, PROGRAM, None, "symbolic link → now a file, executable"),
        (LINK, GONE, None, "symbolic link removed"),
        (GONE, SUBMODULE, "abc1234def", "submodule at abc1234"),
        (SUBMODULE, SUBMODULE, "abc1234def", "submodule at abc1234"),
        (FILE, SUBMODULE, "abc1234def", "now a submodule at abc1234"),
        (SUBMODULE, GONE, None, "submodule removed"),
        (SUBMODULE, FILE, None, "submodule → now a file"),
    ],
)
def test_a_change_of_mode_is_said_in_words(old: str, new: str, target: str | None, words: str) -> None:
    assert file_notes("a", old, new, target) == ((FileNote(words),) if words else ())


@pytest.mark.parametrize(
    ("path", "target", "warning"),
    [
        ("a", "/etc/passwd", "leads outside"),
        ("a", "../x", "leads outside"),
        ("a", "b/../../x", "leads outside"),
        ("a/b", "../x", ""),
        ("a/b", "../../x", "leads outside"),
        ("a", "C:/x", "leads outside"),
        ("a", "..\\x", "leads outside"),
        ("a", None, "leads outside"),
        ("a/b", "../.GIT/hooks", "leads into git's own files"),
        ("a", "./b", ""),
        ("a", "..b", ""),
    ],
)
def test_a_link_that_leads_out_of_the_repository_is_marked(path: str, target: str | None, warning: str) -> None:
    marked = [note.text for note in file_notes(path, GONE, LINK, target) if note.attention]
    assert marked == ([warning] if warning else [])


def test_a_target_hides_nothing_and_a_long_one_keeps_both_ends() -> None:
    (_, note) = file_notes("a", GONE, LINK, "/a\n\u202eb")
    assert note.text == "new symbolic link → /a\\n\\u202eb"
    (_, note) = file_notes("a", GONE, LINK, "/" + "x" * 500 + "/shadow")
    assert len(note.text) < 90 and note.text.endswith("/shadow") and "…" in note.text


@pytest.mark.parametrize("path", [".gitattributes", "sub/.gitmodules", ".GitConfig", "x/.lfsconfig"])
def test_a_file_that_steers_git_is_marked(path: str) -> None:
    assert file_notes(path, FILE, FILE, None) == (FileNote("changes how git treats files", attention=True),)
    assert file_notes(path + ".md", FILE, FILE, None) == ()
