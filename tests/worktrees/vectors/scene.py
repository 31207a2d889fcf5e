"""A repository of a person's with a worktree of ours in it, and plain git as the person would run it there."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from agentpane.worktrees import Repository, Worktree
from agentpane.worktrees.trees.identity import leave_mark

PATIENCE = 1.2  # seconds after which plain git is taken to wait without end
LINES = b"".join(b"line %d\n" % number for number in range(40))
BRANCH = "agentpane/one-abc123"
WAITING = ("main", "release", "squash", "forward")  # a reviewed commit waits to be merged into each of these
_CONFIG = "[user]\n\tname = Ada\n\temail = ada@example.org\n[init]\n\tdefaultBranch = main\n"


@dataclass(frozen=True, slots=True)
class Scene:
    """root: everything. The others are commits: the one that all others come from, the agent's work, its merge and one
    after that; the tip of main, which a person has gone on to, its merge with the agent's work, and work that clashes
    with it.
    """

    root: Path
    first: str
    reviewed: str
    merged: str
    later: str
    person: str
    ready: str
    clashing: str

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def repo(self) -> Path:
        return self.root / "repo"

    @property
    def common(self) -> Path:
        return self.repo / ".git"

    @property
    def tree(self) -> Path:
        """The worktree, where the agent works."""
        return self.repo / ".worktrees" / "one"

    @property
    def git_dir(self) -> Path:
        return self.common / "worktrees" / "one"

    @property
    def outside(self) -> Path:
        """A folder of the person's that has nothing to do with the repository."""
        return self.root / "outside"

    @property
    def repository(self) -> Repository:
        return Repository(self.repo, self.common, self.common, bare=False, object_format="sha1")

    @property
    def worktree(self) -> Worktree:
        return Worktree(self.tree, self.git_dir, BRANCH, "mark-of-one")

    def trap(self, name: str, silent: bool = False) -> Path:
        """A program that leaves a mark of this name, and passes on what it reads unless it is `silent`."""
        script = self.root / "traps" / name
        script.parent.mkdir(exist_ok=True)
        script.write_text(
            f"#!/bin/sh\n: > '{self.root}/marks/{name}'\n{'exit 1' if silent else 'exec cat 2>/dev/null'}\n"
        )
        script.chmod(0o755)
        return script

    def marks(self) -> set[str]:
        return set(os.listdir(self.root / "marks"))

    def forget_marks(self) -> None:
        for name in self.marks():
            (self.root / "marks" / name).unlink()

    def config(self, key: str, value: str, file: Path | None = None) -> None:
        """Set something in the repository's configuration, which an agent without a sandbox can write."""
        command = ["git", "config", "--file", str(file or self.common / "config"), key, value]
        subprocess.run(command, check=True, env=self.environment())

    def both(self, name: str, content: str) -> None:
        """A file in the worktree and in the person's checkout, as after a merge."""
        for root in (self.tree, self.repo):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(content)

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        named = {f"GIT_{who}_{what}": "x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        home = {"HOME": str(self.home), "XDG_CONFIG_HOME": str(self.home / ".config"), "GIT_TERMINAL_PROMPT": "0"}
        return {**kept, **named, **home, "LC_ALL": "C", "TERM": "xterm"}

    def git(
        self,
        *arguments: str,
        where: Path | None = None,
        stdin: bytes = b"",
        terminal: bool = False,
        extra: Mapping[str, str] | None = None,
        check: bool = False,
    ) -> str | None:
        """What plain git prints, run in the worktree unless `where` says; None when it waits without end."""
        command, cwd, environment = ["git", *arguments], where or self.tree, {**self.environment(), **(extra or {})}
        shown = pty.openpty() if terminal else None
        process = subprocess.Popen(
            command, cwd=cwd, env=environment, start_new_session=True, stdin=subprocess.PIPE,
            stdout=shown[1] if shown else subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            output, errors = process.communicate(stdin, PATIENCE if not terminal else 5 * PATIENCE)
        except subprocess.TimeoutExpired:
            return None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            for descriptor in shown or ():
                os.close(descriptor)
        if check and process.returncode != 0:
            raise AssertionError(f"git {arguments}: {errors.decode()}")
        return (output or b"").decode("utf-8", "surrogateescape").rstrip("\n")

    def waits_for(self, pipe: Path, *arguments: str) -> bool:
        """Whether plain git, run in the worktree, opens the pipe, or has not ended after a while."""
        process = subprocess.Popen(
            ["git", *arguments], cwd=self.tree, env=self.environment(), start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        end = time.monotonic() + PATIENCE
        try:
            while process.poll() is None and time.monotonic() < end:
                with suppress(OSError):  # nobody reads
                    os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
                    return True
                with suppress(subprocess.TimeoutExpired):
                    process.wait(0.01)
            return process.poll() is None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def commit_object(self, tree: str, parent: str, *headers: str) -> str:
        """A commit made by hand, with headers of its own."""
        lines = [f"tree {tree}", f"parent {parent}", "author A <a> 1 +0000", "committer A <a> 1 +0000", *headers]
        content = "\n".join([*lines, "", "by hand", ""]).encode()
        made = self.git("hash-object", "-t", "commit", "-w", "--stdin", stdin=content, check=True)
        assert made is not None
        return made


class Stage:
    """Makes scenes: one is built, the others are copies of it."""

    def __init__(self) -> None:
        self._folder = Path(os.path.realpath(tempfile.mkdtemp(prefix="vectors-")))
        self._first = _build(self._folder / "template")
        self._count = 0

    def close(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    @contextmanager
    def scene(self) -> Iterator[Scene]:
        self._count += 1
        root = self._folder / f"s{self._count}"
        shutil.copytree(self._first.root, root, symlinks=True)
        made = replace(self._first, root=root)
        (made.git_dir / "gitdir").write_text(f"{made.tree}/.git\n")
        (made.tree / ".git").write_text(f"gitdir: {made.git_dir}\n")
        made.git("status", check=True)  # the copies are taken for unchanged files from here on
        made.git("status", where=made.repo, check=True)
        try:
            yield made
        finally:
            shutil.rmtree(root, ignore_errors=True)


def _build(root: Path) -> Scene:
    scene = Scene(root, *[""] * 7)
    for folder in (scene.home, scene.outside, root / "marks"):
        folder.mkdir(parents=True)
    (scene.home / ".gitconfig").write_text(_CONFIG)
    (scene.outside / "kept").write_text("the person's\n")
    scene.git("init", "-q", "--template=", str(scene.repo), where=root, check=True)

    def git(*arguments: str) -> str:
        return scene.git(*arguments, where=scene.repo, check=True) or ""

    def commit(message: str, **files: bytes) -> str:
        for name, content in files.items():
            path = scene.repo / name.replace("__", "/").replace("_", ".")
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        git("add", "--all")
        git("commit", "-q", "-m", message)
        return git("rev-parse", "HEAD")

    commit("Before", readme_md=b"# Sample\n")
    first = commit("First", src__app_py=LINES, notes_txt=b"notes\n", _gitignore=b".env\n/.worktrees/\n")
    git("checkout", "-q", "-b", "reviewed")
    (scene.repo / "module").mkdir()
    git("update-index", "--add", "--cacheinfo", f"160000,{first},module")
    reviewed = commit("Work", src__app_py=LINES + b"agent\n", new_txt=b"new\n")
    merged = git("commit-tree", f"{reviewed}^{{tree}}", "-p", first, "-p", reviewed, "-m", "Merged")
    later = git("commit-tree", f"{reviewed}^{{tree}}", "-p", merged, "-m", "Later")
    branches = {**dict.fromkeys(WAITING[1:], first), "done": merged, "gone-on": later, "parked": first, BRANCH: first}
    for name, at in branches.items():
        git("branch", name, at)
    for run in (*WAITING, "done", "gone-on"):
        git("update-ref", f"refs/agentpane/run/{run}/reviewed", reviewed)
    git("checkout", "-q", "-b", "clashing", "main")
    clashing = commit("Clash", src__app_py=b"clashing\n" + LINES)
    git("checkout", "-q", "main")
    person = commit("Person", src__app_py=b"person\n" + LINES)
    ready = git("commit-tree", git("merge-tree", "--write-tree", "main", reviewed), "-p", person, "-p", reviewed, "-mx")
    git("update-ref", "refs/agentpane/ready", ready)
    git("worktree", "add", "-q", str(scene.tree), BRANCH)
    leave_mark(scene.git_dir, scene.worktree.mark)
    (scene.repo / "notes.txt").write_text("notes, edited and not committed\n")
    (scene.repo / ".env").write_text("KEY=1\n")
    (scene.tree / "src" / "app.py").write_bytes(LINES + b"agent\n")
    (scene.tree / "new.txt").write_text("new\n")
    os.utime(scene.tree / "notes.txt", (1_000_000_000, 1_000_000_000))  # older than any index
    return Scene(root, first, reviewed, merged, later, person, ready, clashing)
