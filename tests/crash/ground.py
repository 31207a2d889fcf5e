"""The repository of a person who was at work in it: what they have not committed, and whether all of it is still there.

Every edit is one that a merge must leave alone: tracked files edited, staged, both, deleted, made executable or turned
into links, files that git does not know, and files that it ignores.
"""

from __future__ import annotations

import os
import random
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

FILES = 32  # of which an agent changes the first 24, and the person the others
LINES = 80
LEFT = "left by the person"
EMPTIED = 0.3  # of the worktrees that are given up
LOCKS = (".lock", "packed-refs.new")  # the endings of what another git stumbles over
CLASHING = "src/f0.txt"  # one that every agent changes
LINK, PROGRAM, PLAIN = "120000", "100755", "100644"
WORK = """\
set -e
sed -i "s/^line/changed/" src/f[0-9].txt src/f1[0-5].txt
rm -f src/f16.txt src/f17.txt
mv src/f18.txt moved.txt 2>/dev/null || test -f moved.txt
chmod +x src/f19.txt
ln -sfn src/f1.txt link
mkdir -p new/deep
for n in 1 2 3 4; do seq $n 400 > new/deep/g$n.txt; done
printf '%s\\n' TOKEN > work.txt
rm -f tool && ln -s work.txt tool
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or a link: git's mode, and its content or target."""

    mode: str
    data: bytes


Files = dict[str, Entry]


def git(folder: Path, *words: str | bytes, stdin: bytes = b"", environment: Mapping[str, str] | None = None) -> bytes:
    """Plain git, as a person would run it. Raises CalledProcessError."""
    try:
        return subprocess.run(
            ["git", *words], cwd=folder, input=stdin, env=environment, capture_output=True, check=True
        ).stdout
    except subprocess.CalledProcessError as error:
        error.add_note(error.stderr.decode(errors="replace"))
        raise


def line(folder: Path, *words: str) -> str:
    return git(folder, *words).decode("utf-8", "surrogateescape").strip()


@dataclass(slots=True)
class Checkout:
    """A checkout of the person's. edits: their files, None for one that they deleted; staged: the same in the index."""

    folder: Path
    branch: str
    edits: dict[str, Entry | None] = field(default_factory=dict)
    staged: dict[str, Entry | None] = field(default_factory=dict)

    def edit(self, rng: random.Random) -> None:
        """Work in it, and commit nothing."""
        mine = [f"src/f{number}.txt" for number in range(24, FILES)]
        rng.shuffle(mine)
        text = b"mine \0 and not committed %d\r\n" % rng.randrange(10**9)
        head = self._tracked()
        self._put(mine[0], head[mine[0]].data + text)
        self._put(mine[1], b"staged " + text, add=True)
        self._put(mine[2], b"first " + text, add=True)
        self._put(mine[2], b"then " + text)
        self._take(mine[3])
        self._take(mine[4], add=True)
        self._put(mine[5], head[mine[5]].data, PROGRAM)
        self._put(mine[6], b"../.gitignore", LINK)
        self._put("added.txt", b"new and staged " + text, add=True)
        self._put("notes/todo.txt", b"untracked " + text)
        self._put("new/mine.txt", b"in a folder that the agent makes too " + text)
        self._put("notes/link", b"nowhere/at/all", LINK)
        self._put(".env", b"KEY=of the person %d\n" % rng.randrange(10**9))
        self._put("build/out.log", b"ignored " + text, PROGRAM)
        git(self.folder, "status", "--porcelain")  # the person looks, and the index knows their files' times

    def _put(self, path: str, data: bytes, mode: str = PLAIN, add: bool = False) -> None:
        self.edits[path] = Entry(mode, data)
        write(self.folder, path, self.edits[path])  # type: ignore[arg-type]
        if add:
            self.staged[path] = self.edits[path]
            git(self.folder, "add", "--", path)

    def _take(self, path: str, add: bool = False) -> None:
        self.edits[path] = None
        (self.folder / path).unlink()
        if add:
            self.staged[path] = None
            git(self.folder, "rm", "-q", "--cached", "--", path)

    def _tracked(self) -> Files:
        return tree_of(self.folder, "HEAD")

    def commit(self, path: str, data: bytes) -> None:
        """Commit one more file, and nothing else of what was edited."""
        write(self.folder, path, Entry(PLAIN, data))
        git(self.folder, "add", "--", path)
        git(self.folder, "commit", "-q", "-m", f"Add {path}", "--", path)

    def faults(self) -> list[str]:
        """In what this checkout is not HEAD plus the person's own edits, byte for byte."""
        name = self.folder.name
        if line(self.folder, "symbolic-ref", "HEAD") != f"refs/heads/{self.branch}":
            return [f"{name}: HEAD names another branch"]
        head = self._tracked()
        found = differences(f"{name}: file", overlaid(head, self.edits), on_disk(self.folder))
        index = tree_of(self.folder, None)
        return found + differences(f"{name}: index", overlaid(head, self.staged), index)


def overlaid(head: Mapping[str, Entry], edits: Mapping[str, Entry | None]) -> Files:
    return {path: entry for path, entry in {**head, **edits}.items() if entry is not None}


def differences(what: str, expected: Files, actual: Files) -> list[str]:
    paths = sorted(path for path in expected.keys() | actual.keys() if expected.get(path) != actual.get(path))
    return [
        f"{what} {path!r}: {_shown(expected.get(path))} expected, {_shown(actual.get(path))} found" for path in paths
    ]


def _shown(entry: Entry | None) -> str:
    return "nothing" if entry is None else f"{entry.mode} {entry.data[:24]!r} ({len(entry.data)} bytes)"


def write(folder: Path, path: str, entry: Entry) -> None:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(file):
        file.unlink()
    if entry.mode == LINK:
        os.symlink(os.fsdecode(entry.data), file)
    else:
        file.write_bytes(entry.data)
        file.chmod(0o755 if entry.mode == PROGRAM else 0o644)


def on_disk(folder: Path) -> Files:
    """Every file of a checkout, git's own and our worktrees' aside."""
    return dict(_walk(folder, ""))


def _walk(root: Path, inside: str) -> Iterator[tuple[str, Entry]]:
    with os.scandir(root / inside) as found:
        for each in found:
            path = f"{inside}{each.name}"
            if path in {".git", ".worktrees"}:
                continue
            if each.is_symlink():
                yield path, Entry(LINK, os.fsencode(os.readlink(each.path)))
            elif each.is_dir():
                yield from _walk(root, f"{path}/")
            else:
                executable = each.stat(follow_symlinks=False).st_mode & stat.S_IXUSR
                yield path, Entry(PROGRAM if executable else PLAIN, Path(each.path).read_bytes())


def tree_of(folder: Path, commit: str | None) -> Files:
    """What a commit holds, or the index."""
    if commit is None:
        listed = git(folder, "ls-files", "--stage", "-z").split(b"\0")[:-1]
        records = [
            (about.split()[0], about.split()[1], path) for about, path in (one.split(b"\t", 1) for one in listed)
        ]
    else:
        listed = git(folder, "ls-tree", "-r", "-z", "--full-tree", commit).split(b"\0")[:-1]
        records = [
            (about.split()[0], about.split()[2], path) for about, path in (one.split(b"\t", 1) for one in listed)
        ]
    contents = blobs(folder, [sha for _, sha, _ in records])
    return {
        os.fsdecode(path): Entry(mode.decode(), data) for (mode, _, path), data in zip(records, contents, strict=True)
    }


def blobs(folder: Path, names: Sequence[bytes]) -> list[bytes]:
    output = git(folder, "cat-file", "--batch", stdin=b"\n".join([*names, b""]))
    found, at = [], 0
    for _ in names:
        end = output.index(b"\n", at)
        size = int(output[at:end].split()[2])
        found.append(output[end + 1 : end + 1 + size])
        at = end + 2 + size
    return found


HERE, NOWHERE, ELSEWHERE = "in the repository", "nowhere", "in another worktree of the person's"


@dataclass(slots=True)
class Ground:
    """A repository with a target branch `main`, checked out or not, and the person's edits in every checkout."""

    path: Path
    where: str
    rng: random.Random
    token: str
    checkouts: list[Checkout] = field(default_factory=list)
    commits: int = 0
    left: set[str] = field(default_factory=set)

    def make(self) -> None:
        self.path.mkdir()
        git(self.path, "init", "-q", "-b", "main")
        for number in range(FILES):
            text = b"".join(b"line %d of %d\n" % (at, number) for at in range(self.rng.randint(20, LINES)))
            write(self.path, f"src/f{number}.txt", Entry(PLAIN, text))
        write(self.path, "link", Entry(LINK, b"src/f0.txt"))
        write(self.path, "run.sh", Entry(PROGRAM, b"#!/bin/sh\n"))
        write(self.path, ".gitignore", Entry(PLAIN, b".env\nbuild/\n"))
        write(self.path, "work.sh", Entry(PLAIN, WORK.replace("TOKEN", self.token).encode()))
        git(self.path, "add", "-A")
        git(self.path, "commit", "-q", "-m", "first")
        self.checkouts.append(Checkout(self.path, "main"))
        if self.where != HERE:
            git(self.path, "checkout", "-q", "-b", "own")
            self.checkouts[0].branch = "own"
        if self.where == ELSEWHERE:
            beside = self.path.with_name(f"{self.path.name}-beside")
            git(self.path, "worktree", "add", "-q", str(beside), "main")
            self.checkouts.append(Checkout(beside, "main"))
        for checkout in self.checkouts:
            checkout.edit(self.rng)

    def tip(self) -> str:
        return line(self.path, "rev-parse", "--verify", "refs/heads/main")

    def advance(self) -> None:
        """The person commits something on the target."""
        self.commits += 1
        self.commit(f"later-{self.commits}.txt", b"later\n" * self.commits)

    def clash(self) -> None:
        """The person commits what an agent's change cannot be merged with."""
        self.commit(CLASHING, b"all of it by the person\n")

    def commit(self, path: str, data: bytes) -> None:
        """Commit one file on the target, and nothing of what was edited."""
        holder = next((checkout for checkout in self.checkouts if checkout.branch == "main"), None)
        if holder is not None:
            holder.commit(path, data)
            return
        index = {**os.environ, "GIT_INDEX_FILE": str(self.path / ".git" / "person.index")}
        blob = git(self.path, "hash-object", "-w", "--stdin", stdin=data).decode().strip()
        for words in (("read-tree", "main"), ("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}")):
            git(self.path, *words, environment=index)
        tree = git(self.path, "write-tree", environment=index).decode().strip()
        commit = line(self.path, "commit-tree", tree, "-p", "main", "-m", f"Change {path}")
        git(self.path, "update-ref", "refs/heads/main", commit)

    def faults(self) -> list[str]:
        """What of the person's is not as they left it, and what would stop their next git command."""
        found = [fault for checkout in self.checkouts for fault in checkout.faults()]
        walked = os.walk(self.path / ".git")  # what is being deleted meanwhile is passed over
        locks = [Path(folder) / name for folder, _, names in walked for name in names if name.endswith(LOCKS)]
        return found + [f"a lock was left: {path.relative_to(self.path)}" for path in locks]

    def own_refs(self) -> list[str]:
        """Ours, and the branches of our worktrees."""
        return self._refs("refs/heads/agentpane*", "refs/heads/agentpane/", "refs/agentpane/")

    def _refs(self, *patterns: str) -> list[str]:
        return line(self.path, "for-each-ref", "--format=%(refname)", *patterns).split()

    def worktrees(self) -> set[str]:
        """Every worktree of ours: those that git has a record of, and the folders that are there.

        A record that does not say where its worktree is stands for itself.
        """
        records = (self.path / ".git" / "worktrees").glob("*")
        said = [(record, record / "gitdir") for record in records]
        where = [(record, file.read_text().strip() if file.exists() else "") for record, file in said]
        listed = [os.path.dirname(pointer) or str(record) for record, pointer in where]
        theirs = {str(checkout.folder) for checkout in self.checkouts}
        folder = self.path / ".worktrees"
        there = [str(each) for each in folder.iterdir()] if folder.is_dir() else []
        return {*listed, *there} - theirs

    def holds_work(self) -> bool:
        """Whether what the agent made is anywhere: in a worktree, or in a commit that a ref names."""
        kept = f"{self.token}\n".encode()
        made = [Path(path) / "work.txt" for path in self.worktrees()]
        if any(file.is_file() and file.read_bytes() == kept for file in made):
            return True
        asked = "".join(f"{ref}:work.txt\n" for ref in self._refs()).encode()
        return b" blob %d\n%s\n" % (len(kept), kept) in git(self.path, "cat-file", "--batch", stdin=asked)

    def leave(self, worktree: Path, act: int, whole: bool) -> bool:
        """The person works in a worktree of ours: in what git knows, does not know or ignores, and in its index alone.

        whole: nobody works there afterwards. Then also in commits that no branch holds, and in a repository inside; or
        they empty the folder in the end.
        Returns whether the agent's files are there as before.
        """
        if whole and self.rng.random() < EMPTIED:
            self._leave_in_record(worktree, act)
            return False
        for path in ("src/f20.txt", f"left-{act}.txt", f"build/left-{act}.log", ".env"):
            file = worktree / path
            before = file.read_bytes() if file.is_file() else b""
            write(worktree, path, Entry(PLAIN, before + self._word(act)))
        git(worktree, "add", "-f", "--", f"build/left-{act}.log")
        self._leave_over(worktree, f"staged-{act}.txt", act)
        if whole:
            git(worktree, "checkout", "-q", "--detach")
            self._leave_over(worktree, f"committed-{act}.txt", act, commit=True)
            git(worktree, "init", "-q", f"inner-{act}")
            self._leave_over(worktree / f"inner-{act}", "inner.txt", act, commit=True)
        return True

    def _leave_in_record(self, worktree: Path, act: int) -> None:
        """Commit something on no branch, stage something, and delete every file: git's record alone has it."""
        lost = self.lost()
        git(worktree, "checkout", "-q", "--detach")
        self._leave_over(worktree, f"committed-{act}.txt", act, commit=True)
        self._leave_over(worktree, f"staged-{act}.txt", act)
        for each in worktree.iterdir():
            if each.name != ".git":
                shutil.rmtree(each) if each.is_dir() and not each.is_symlink() else each.unlink()
        self.left -= set(self.lost()) - set(lost)  # by the person

    def _word(self, act: int) -> bytes:
        word = f"{LEFT} {self.token} {act}-{len(self.left)}"
        self.left.add(word)
        return f"{word}\n".encode()

    def _leave_over(self, folder: Path, path: str, act: int, commit: bool = False) -> None:
        """Stage something, or commit it, and write something else in its place."""
        write(folder, path, Entry(PLAIN, self._word(act)))
        git(folder, "add", "--", path)
        if commit:
            git(folder, "commit", "-q", "-m", "by the person", "--", path)
        write(folder, path, Entry(PLAIN, self._word(act)))

    def lost(self) -> list[str]:
        """What the person has left in worktrees and is in none of them, nor in what our refs keep."""
        missing = set(self.left)
        for look in (self._in_files, self._in_objects, self._inside):
            for data in look() if missing else ():
                missing -= {word for word in missing if f"{word}\n".encode() in data}
        return sorted(missing)

    def _in_files(self) -> Iterator[bytes]:
        return (entry.data for path in self.worktrees() for entry in on_disk(Path(path)).values())

    def _in_objects(self) -> Iterator[bytes]:
        """All that our refs lead to, the repositories that are bundled there, and what is staged in worktrees."""
        listed = git(self.path, "rev-list", "--objects", *self.own_refs()).splitlines()
        names, bundles = [], []
        for each in listed:
            name, _, path = each.partition(b" ")
            (bundles if path.endswith(b".bundle") else names).append(name)
        for path in map(Path, self.worktrees()):
            if (path / ".git").is_file():
                names += [git(path, "rev-parse", "HEAD").strip()]
                names += git(path, "rev-list", "--objects", "--no-object-names", "HEAD", "--not", "--branches").split()
                names += [entry.split()[1] for entry in git(path, "ls-files", "--stage", "-z").split(b"\0")[:-1]]
        yield git(self.path, "cat-file", "--batch", stdin=b"\n".join([*names, b""]))
        for data in blobs(self.path, bundles):
            with tempfile.TemporaryDirectory() as folder:
                (file := Path(folder) / "inner.bundle").write_bytes(data)
                git(Path(folder), "init", "-q", "--bare", "inner")
                git(Path(folder) / "inner", "fetch", "-q", str(file), "*:refs/kept/*")
                yield git(Path(folder) / "inner", "cat-file", "--batch", "--batch-all-objects")

    def _inside(self) -> Iterator[bytes]:
        """The repositories inside of worktrees that are there."""
        for path in map(Path, self.worktrees()):
            for inner in path.glob("inner-*/.git"):
                yield git(inner.parent, "cat-file", "--batch", "--batch-all-objects")
