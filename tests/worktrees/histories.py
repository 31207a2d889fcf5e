"""Random histories, and random work that a person has not committed; the same number makes the same again.

Trees are built in memory and handed to git in one stream. Text is stored with line feeds, as git does once it converts.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PLAIN, PROGRAM, LINK = "100644", "100755", "120000"
STEMS = (
    b"a.txt", b"b.txt", b"c.txt", b"notes.txt", b"lib/one.txt", b"lib/two.txt", b"lib/deep/three.txt", b"win.crlf",
    b"lib/four.crlf", b"raw.dat", b"lib/raw.dat", b"tool.sh", b"with space.txt", b"-dash.txt", b'quote".txt',
    b"new\nline.txt", b"caf\xe9.dat", "grüße.txt".encode(), b"other/x.txt", b"other/y.txt", b"plain",
)  # fmt: skip
NEW = (b"new.txt", b"new/one.txt", b"new/two.dat", b"lib/new.txt", b"made.log", b"other/made.log", b"zz.crlf", b"link")
OWN = (b"mine.txt", b"lib/mine.txt", b"new/mine.txt", b".env", b"mine.log", b"other/mine.log", b"build/out", b"n\xffte")
IGNORED = b"*.log\n.env\nbuild/\n"
ATTRIBUTES = (
    b"",
    b"* text=auto\n",
    b"*.crlf text eol=crlf\n*.dat binary\n",
    b"*.txt text\n*.crlf text eol=crlf\n*.dat -text\n",
)
AUTOCRLF = ("false", "false", "input", "true")


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or a link: git's mode, and what the repository stores of it."""

    mode: str
    data: bytes


Tree = dict[bytes, Entry]


@dataclass(frozen=True, slots=True)
class Edit:
    """Something that a person does to one path and does not commit."""

    kind: str  # write, link, remove, program, touch; of a folder: away (moved, with a link in its place), repository
    path: bytes
    data: bytes = b""
    add: bool = False


@dataclass(slots=True)
class Case:
    """base: where both sides begin. person: what the target holds; agent: what is merged into it."""

    seed: int
    base: Tree = field(default_factory=dict)
    person: Tree = field(default_factory=dict)
    agent: Tree = field(default_factory=dict)
    edits: tuple[Edit, ...] = ()
    autocrlf: str = "false"
    checked_out: bool = True
    strategy: str = "merge"


def case(seed: int) -> Case:
    rng = random.Random(seed)
    base: Tree = {path: _content(rng, path) for path in rng.sample(STEMS, rng.randint(4, 12))}
    base[b".gitignore"] = Entry(PLAIN, IGNORED)
    attributes = rng.choice(ATTRIBUTES)
    if attributes:
        base[b".gitattributes"] = Entry(PLAIN, attributes)
    base = _sound(base)
    agent = _changed(rng, base, rng.randint(1, 6))
    person = base if rng.random() < 0.35 else _changed(rng, base, rng.randint(1, 4))
    strategies = ["merge", "squash", *(["ff"] * 2 if person == base else [])]
    made = Case(seed, base, person, agent, (), rng.choice(AUTOCRLF), rng.random() < 0.8, rng.choice(strategies))
    made.edits = tuple(_edits(rng, made))
    return made


def _text(rng: random.Random, lines: int) -> bytes:
    return b"".join(b"%d %d\n" % (number, rng.randrange(4)) for number in range(lines))


def _content(rng: random.Random, path: bytes) -> Entry:
    if path == b"link" or rng.random() < 0.06:
        return Entry(LINK, rng.choice([b"a.txt", b"nowhere", b"lib", b"../out"]))
    mode = PROGRAM if rng.random() < 0.15 else PLAIN
    if path.endswith(b".dat"):
        return Entry(mode, bytes(rng.randrange(256) for _ in range(rng.randint(0, 60))) + b"\0\r\n")
    return Entry(mode, _text(rng, rng.randint(0, 30)))


def _edited(rng: random.Random, path: bytes, entry: Entry) -> Entry:
    if entry.mode == LINK or path.endswith(b".dat") or not entry.data:
        return _content(rng, path)
    lines = entry.data.splitlines(keepends=True)
    for _ in range(rng.randint(1, 3)):
        lines.insert(rng.randrange(len(lines) + 1), b"edited %d\n" % rng.randrange(10**6))
        if rng.random() < 0.5:
            del lines[rng.randrange(len(lines))]
    return Entry(entry.mode, b"".join(lines))


def _changed(rng: random.Random, tree: Tree, changes: int) -> Tree:
    """The tree after some changes; at least one of them is one."""
    after = dict(tree)
    for _ in range(changes):
        paths = [path for path in sorted(after) if not path.startswith(b".git")]
        if not paths or rng.random() < 0.2:
            path = rng.choice(NEW)
            after[path] = _content(rng, path)
            continue
        path = rng.choice(paths)
        match rng.choices(("edit", "delete", "rename", "mode", "swap", "folder"), (50, 14, 16, 10, 5, 5))[0]:
            case "edit":
                after[path] = _edited(rng, path, after[path])
            case "delete":
                del after[path]
            case "rename":
                after[rng.choice([b"moved/" + path, b"moved-" + path.replace(b"/", b"-")])] = after.pop(path)
            case "mode" if after[path].mode != LINK:
                mode = PLAIN if after[path].mode == PROGRAM else PROGRAM
                after[path] = Entry(mode, after[path].data)
            case "swap":
                after[path] = Entry(LINK, b"nowhere else")
            case "folder":
                after[path + b"/inside" + os.path.splitext(path)[1]] = after.pop(path)
        after = _sound(after)
    return after if after != tree else {**tree, b"at-least.txt": _content(rng, b"at-least.txt")}


def _sound(tree: Tree) -> Tree:
    """Without the files that stand where another file's folder is."""
    folders = {parent for path in tree for parent in parents(path)}
    return {path: entry for path, entry in tree.items() if path not in folders}


def parents(path: bytes) -> Iterator[bytes]:
    while b"/" in path:
        path = path.rpartition(b"/")[0]
        yield path


def _edits(rng: random.Random, of: Case) -> Iterator[Edit]:
    tracked = [path for path in sorted(of.person) if not path.startswith(b".git")]
    for number in range(rng.randint(0, 5)):
        if tracked and rng.random() < 0.55:
            path = rng.choice(tracked)
            data = b"mine %d\n" % number + _text(rng, 5)
            match rng.randrange(6):
                case 0 | 1:
                    yield Edit("write", path, data, add=rng.random() < 0.4)
                case 2:
                    yield Edit("remove", path, add=rng.random() < 0.4)
                case 3:
                    yield Edit("program", path)
                case 4:
                    yield Edit("touch", path)
                case 5:
                    yield Edit("link", path, b"my link", add=rng.random() < 0.3)
        else:
            in_the_way = (*NEW, *(path for path in sorted(of.agent) if path not in of.person), b"new", b"moved")
            path = rng.choice(OWN if rng.random() < 0.6 else in_the_way)
            if path not in of.person:
                yield Edit("write", path, b"untracked %d\r\n\0" % number, add=rng.random() < 0.15)
    folders = sorted({folder for path in (*tracked, *of.agent) for folder in parents(path)})
    if folders and rng.random() < 0.2:
        yield Edit("repository", rng.choice(folders))
    if folders and rng.random() < 0.2:
        yield Edit("away", rng.choice(folders), b"elsewhere")


def apply(edit: Edit, root: bytes) -> bool:
    """Do it in a checkout; whether there was room for it: nothing is written through a link or over a folder."""
    file = os.path.join(root, edit.path)
    above = [os.path.join(root, parent) for parent in parents(edit.path)]
    if any(os.path.islink(folder) or (os.path.lexists(folder) and not os.path.isdir(folder)) for folder in above):
        return False
    is_folder = os.path.isdir(file) and not os.path.islink(file)
    if edit.kind == "repository":
        return (is_folder or not os.path.lexists(file)) and _make_repository(file)
    if edit.kind == "away":
        return is_folder and _move_away(file, edit.data)
    if is_folder or (edit.kind in {"remove", "program", "touch"} and not os.path.lexists(file)):
        return False
    match edit.kind:
        case "touch":
            os.utime(file, (1_000_000_000, 1_000_000_000), follow_symlinks=False)
        case "program":
            if os.path.islink(file):
                return False
            os.chmod(file, os.stat(file).st_mode ^ 0o111)
        case "remove":
            os.unlink(file)
        case _:
            os.makedirs(os.path.dirname(file), exist_ok=True)
            if os.path.lexists(file):
                os.unlink(file)
            if edit.kind == "link":
                os.symlink(edit.data, file)
            else:
                with open(file, "wb") as out:
                    out.write(edit.data)
    return True


def _make_repository(folder: bytes) -> bool:
    """One that git takes for a repository, as if it had been made there."""
    for name in (b"refs/heads", b"objects/pack"):
        os.makedirs(os.path.join(folder, b".git", name))
    for name, content in ((b"HEAD", b"ref: refs/heads/main\n"), (b"history", b"years of work\n")):
        with open(os.path.join(folder, b".git", name), "wb") as out:
            out.write(content)
    return True


def _move_away(folder: bytes, name: bytes) -> bool:
    os.rename(folder, os.path.join(os.path.dirname(folder), name))
    os.symlink(name, folder)
    return True


def stream(of: Case, refs: Sequence[str]) -> bytes:
    """For `git fast-import`: the base, and the person's and the agent's side on top of it, each under its ref."""
    base, *sides = refs
    parts = [_commit(base, of.base, None)]
    for ref, tree in zip(sides, (of.person, of.agent), strict=True):
        parts.append(_commit(ref, tree, base, of.base == tree))
    return b"".join(parts)


def stream_of(commits: Sequence[tuple[str, Tree, str | None]]) -> bytes:
    """For `git fast-import`: commits of these trees, each under its ref, with its parent's ref."""
    return b"".join(_commit(ref, tree, parent) for ref, tree, parent in commits)


def _commit(ref: str, tree: Mapping[bytes, Entry], parent: str | None, same: bool = False) -> bytes:
    if same:
        return f"reset {ref}\nfrom {parent}\n\n".encode()
    who = "Ada <ada@example.org> 1700000000 +0000"
    lines = [f"commit {ref}\ncommitter {who}\ndata 2\nx\n\n".encode()]
    if parent is not None:
        lines.append(f"from {parent}\n".encode())
    lines.append(b"deleteall\n")
    for path, entry in sorted(tree.items()):
        lines.append(
            b"M %s inline %s\ndata %d\n%s\n" % (entry.mode.encode(), quoted(path), len(entry.data), entry.data)
        )
    return b"".join([*lines, b"\n"])


def quoted(path: bytes) -> bytes:
    plain = b"".join(b"\\%03o" % byte if byte < 32 or byte in b'"\\' or byte > 126 else bytes([byte]) for byte in path)
    return b'"' + plain + b'"'


def on_disk(root: Path) -> dict[bytes, tuple[str, bytes]]:
    """Every file of a checkout: what kind it is, and its content or target."""
    found: dict[bytes, tuple[str, bytes]] = {}
    top = os.fsencode(root)
    for folder, folders, files in os.walk(top):
        if folder == top:
            folders.remove(b".git") if b".git" in folders else files.remove(b".git")
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in (*files, *links):
            file = os.path.join(folder, name)
            path = os.path.relpath(file, top)
            if os.path.islink(file):
                found[path] = (LINK, os.readlink(file))
            else:
                with open(file, "rb") as content:
                    found[path] = (PROGRAM if os.stat(file).st_mode & 0o100 else PLAIN, content.read())
    return found
