"""What a person may have in their checkout where moving it would write or delete, each made on a real folder.

A thing is done to a checkout that holds the files `PLAIN`; a move is what the files become.
"""

from __future__ import annotations

import os
import shutil
import socket
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.worktrees.conftest import git
from tests.worktrees.histories import LINK, Entry, Tree
from tests.worktrees.histories import PLAIN as FILE

Disk = dict[str, tuple[str, bytes]]  # kind and mode, and content or target


def _file(text: str) -> Entry:
    return Entry(FILE, text.encode())


PLAIN: Tree = {
    b"a.txt": _file("a\n"),
    b"plain": _file("plain\n"),
    b"way": Entry(LINK, b"src"),
    b"src/app.py": _file("app\n"),
    b"src/deep/x.py": _file("x\n"),
}


def _with(*gone: bytes, **come: str) -> Tree:
    """PLAIN without what begins with `gone`, and with files whose names are written with __ for a slash."""
    kept = {path: entry for path, entry in PLAIN.items() if not path.startswith(gone or (b"\0",))}
    return kept | {name.replace("__", "/").encode(): _file(text) for name, text in come.items()}


MOVES: Mapping[str, Tree] = {
    "edits in a folder": PLAIN | {b"src/app.py": _file("edited\n")},
    "edits a file": PLAIN | {b"plain": _file("edited\n")},
    "adds to a folder": _with(src__new="new\n", src__deep__new="new\n"),
    "deletes in a folder": _with(b"src/app.py"),
    "deletes a folder": _with(b"src/"),
    "deletes a file": _with(b"plain"),
    "makes a folder a file": _with(b"src/", src="file\n"),
    "makes a folder a link": _with(b"src/") | {b"src": Entry(LINK, b"plain")},
    "makes a file a folder": _with(b"plain", plain__inside="file\n"),
    "makes a link a folder": _with(b"way", way__inside="file\n"),
    "adds a file": _with(new="new\n"),
    "adds a folder": _with(new__one="new\n"),
}
FOLDER = ("edits in a folder", "adds to a folder", "deletes a folder", "makes a folder a file")
REPLACED = ("makes a folder a file", "makes a folder a link", "adds to a folder")
ONE = ("edits a file", "deletes a file", "makes a file a folder")
NEW = ("adds a file", "adds a folder")


@dataclass(frozen=True, slots=True)
class Thing:
    """Something that a person does. on: the moves that it is in the way of, or might be."""

    do: Callable[[Path, Path], None]
    on: tuple[str, ...]


def repository(folder: Path, work: str = "thesis") -> None:
    """A repository with a commit in it, in a folder that may be there; git itself is not needed for it to be one."""
    (folder / ".git/refs/heads").mkdir(parents=True)
    (folder / ".git/objects/pack").mkdir(parents=True)
    (folder / ".git/HEAD").write_text("ref: refs/heads/main\n")
    (folder / ".git/history").write_text("years of work\n")
    if work:
        (folder / work).write_text("precious\n")


def _link_outside(root: Path, outside: Path) -> None:
    os.rename(root / "src", outside / "src")
    os.symlink(outside / "src", root / "src")


def _link_inside(root: Path, _: Path) -> None:
    os.rename(root / "src", root / "lib")
    os.symlink("lib", root / "src")


def _link_elsewhere(root: Path, outside: Path) -> None:
    _link_outside(root, outside)
    (outside / "src/app.py").write_text("another one\n")
    (outside / "src/deep/x.py").unlink()


def _link_that_git_does_not_look_at(root: Path, outside: Path) -> None:
    git(root, "update-index", "--assume-unchanged", "src/app.py", "src/deep/x.py")
    _link_outside(root, outside)


def _deleted_and_not_looked_at(root: Path, _: Path) -> None:
    git(root, "update-index", "--assume-unchanged", "src/app.py")
    (root / "src/app.py").unlink()


def _instead(name: str, make: Callable[[Path], object]) -> Callable[[Path, Path], None]:
    """Something else lies in the place of a file or folder."""

    def do(root: Path, _: Path) -> None:
        place = root / name
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        elif os.path.lexists(place):
            place.unlink()
        make(place)

    return do


def _beside(name: str, make: Callable[[Path], object]) -> Callable[[Path, Path], None]:
    def do(root: Path, _: Path) -> None:
        (root / name).parent.mkdir(exist_ok=True)
        make(root / name)

    return do


def _socket(place: Path) -> None:
    before = os.getcwd()
    with socket.socket(socket.AF_UNIX) as made:
        os.chdir(place.parent)  # a socket's path may not be long
        try:
            made.bind(place.name)
        finally:
            os.chdir(before)


def _text(place: Path) -> None:
    place.write_text("mine\n")


def _folder(place: Path) -> None:
    place.mkdir()
    _text(place / "mine")


def _staged_and_gone(name: str) -> Callable[[Path, Path], None]:
    def do(root: Path, _: Path) -> None:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("only staged\n")
        git(root, "add", "-f", name)
        (root / name).unlink()

    return do


def _hard_link(root: Path, outside: Path) -> None:
    os.link(root / "src/app.py", outside / "app.py")
    os.link(root / "plain", root / "mine")


def _turned_read_only(root: Path, _: Path) -> None:
    os.chmod(root / "src/app.py", 0o444)
    os.chmod(root / "plain", 0o444)


THINGS: Mapping[str, Thing] = {
    "a link in a folder's place": Thing(_link_inside, (*FOLDER, "deletes in a folder", "makes a folder a link")),
    "a link to a folder outside": Thing(_link_outside, FOLDER),
    "a link to other files": Thing(_link_elsewhere, FOLDER),
    "a link that git does not look at": Thing(_link_that_git_does_not_look_at, FOLDER),
    "a file that git does not look at is gone": Thing(_deleted_and_not_looked_at, FOLDER),
    "a repository in a folder": Thing(lambda root, _: repository(root / "src"), (*FOLDER, "makes a folder a link")),
    "a repository without other files": Thing(lambda root, _: repository(root / "src", ""), FOLDER),
    "a repository further down": Thing(lambda root, _: repository(root / "src/deep", ""), REPLACED),
    "a repository of its own": Thing(lambda root, _: repository(root / "src/theirs"), REPLACED),
    "a pointer to a repository": Thing(_beside("src/.git", _text), (*REPLACED, "deletes a folder")),
    "a repository in a new file's place": Thing(lambda root, _: repository(root / "new"), NEW),
    "a repository in a file's place": Thing(_instead("plain", repository), ONE),
    "a folder in a file's place": Thing(_instead("plain", _folder), ONE),
    "an empty folder in a file's place": Thing(_instead("plain", Path.mkdir), ONE),
    "a pipe in a file's place": Thing(_instead("plain", os.mkfifo), ONE),
    "a link in a file's place": Thing(_instead("plain", lambda place: place.symlink_to("a.txt")), ONE),
    "a file in a folder's place": Thing(_instead("src", _text), FOLDER),
    "a pipe in a folder's place": Thing(_instead("src", os.mkfifo), FOLDER),
    "a folder in a link's place": Thing(_instead("way", _folder), ("makes a link a folder", "edits in a folder")),
    "a pipe in a folder": Thing(_beside("src/pipe", os.mkfifo), (*REPLACED, "deletes a folder")),
    "a socket in a folder": Thing(_beside("src/socket", _socket), REPLACED),
    "an ignored file in a folder": Thing(_beside("src/made.log", _text), REPLACED),
    "a link to a folder in a folder": Thing(_beside("src/to", lambda place: place.symlink_to("deep")), REPLACED),
    "an empty folder in a folder": Thing(_beside("src/empty", Path.mkdir), (*REPLACED, "deletes a folder")),
    "an empty folder in a new one's place": Thing(_beside("new", Path.mkdir), NEW),
    "a pipe in a new file's place": Thing(_beside("new", os.mkfifo), NEW),
    "a link to nothing in a new one's place": Thing(_beside("new", lambda place: place.symlink_to("no")), NEW),
    "a link to a folder in a new one's place": Thing(_beside("new", lambda place: place.symlink_to("src")), NEW),
    "a file in a new one's place": Thing(_beside("new", _text), NEW),
    "staged below what becomes a file": Thing(_staged_and_gone("src/mine"), REPLACED),
    "staged in a new one's place": Thing(_staged_and_gone("new"), NEW),
    "staged below a new one's place": Thing(_staged_and_gone("new/mine"), NEW),
    "a hard link": Thing(_hard_link, ("edits in a folder", "edits a file", "makes a file a folder")),
    "a file that may not be written": Thing(_turned_read_only, ("adds to a folder", "adds a file")),
}


def disk(root: Path) -> Disk:
    """Everything in a folder: what kind it is, its mode, its content or target; of the root's own .git nothing."""
    return dict(_disk(root))


def _disk(root: Path) -> Iterator[tuple[str, tuple[str, bytes]]]:
    for folder, folders, files in os.walk(root):
        if Path(folder) == root and ".git" in folders:
            folders.remove(".git")
        for name in (*folders, *files):
            whole = os.path.join(folder, name)
            mode = os.lstat(whole).st_mode
            content = b""
            if stat.S_ISLNK(mode):
                content = os.readlink(os.fsencode(whole))
            elif stat.S_ISREG(mode):
                content = Path(whole).read_bytes()
            yield os.path.relpath(whole, root), (stat.filemode(mode), content)


def laid_out(tree: Tree) -> Disk:
    """What a checkout of these files is."""
    found: Disk = {}
    for path, entry in tree.items():
        name = os.fsdecode(path)
        found[name] = ("lrwxrwxrwx" if entry.mode == LINK else "-rw-r--r--", entry.data)
        found |= {str(parent): ("drwxr-xr-x", b"") for parent in Path(name).parents if parent != Path()}
    return found


def expected(before: Disk, old: Tree, new: Tree) -> Disk:
    """The new files, with all that the person had made of the old ones."""
    clean, after = laid_out(old), laid_out(new)
    for path in before.keys() | clean.keys():
        if before.get(path) != clean.get(path):
            after.pop(path, None)
            if path in before:
                after[path] = before[path]
    for path in before:  # a folder stays as long as something of theirs is in it
        for parent in Path(path).parents:
            if before.get(path) != clean.get(path) and str(parent) in before:
                after.setdefault(str(parent), before[str(parent)])
    return after
