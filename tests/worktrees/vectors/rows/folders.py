"""Git's own folders and files put elsewhere or made to lead elsewhere, and repositories inside the worktree."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from ..scene import Scene
from ..vector import Place, Plain, Vector, never, plain, runs

_ELSEWHERE = "git writes to another place"


def _own_repository(scene: Scene, folder: Path, trap: str) -> None:
    scene.git("clone", "-q", "--no-local", "--template=", str(scene.repo), str(folder), check=True)
    scene.config("core.fsmonitor", trap, folder / ".git" / "config")


def _replaced_file(scene: Scene, trap: str) -> None:
    _own_repository(scene, scene.outside / "own", trap)
    (scene.tree / ".git").write_text(f"gitdir: {scene.outside}/own/.git\n")


def _folder_instead(scene: Scene, trap: str) -> None:
    _own_repository(scene, scene.outside / "own", trap)
    (scene.tree / ".git").unlink()
    shutil.move(scene.outside / "own" / ".git", scene.tree / ".git")


def _link_instead(scene: Scene, trap: str) -> None:
    _own_repository(scene, scene.outside / "own", trap)
    (scene.tree / ".git").unlink()
    (scene.tree / ".git").symlink_to(scene.outside / "own" / ".git")


def _commondir(scene: Scene, trap: str) -> None:
    _own_repository(scene, scene.outside / "own", trap)
    (scene.git_dir / "commondir").write_text(f"{scene.outside}/own/.git\n")


def _tracked_submodule(scene: Scene, trap: str) -> None:
    _own_repository(scene, scene.tree / "sub", trap)
    scene.git("add", "sub", check=True)
    (scene.tree / "sub" / "readme.md").write_text("edited\n")


def _bare_inside(scene: Scene, trap: str) -> None:
    """A folder of plain files that git takes for a repository once somebody is in it."""
    bare = scene.tree / "docs"
    scene.git("init", "-q", "--bare", "--template=", str(bare), check=True)
    (bare / "refs" / "kept").touch()
    (bare / "objects" / "kept").touch()
    text = f"[core]\n\trepositoryFormatVersion = 0\n\tbare = false\n\tworktree = ..\n\tfsmonitor = {trap}\n"
    (bare / "config").write_text(text)


def _promised(scene: Scene, *pairs: tuple[str, str]) -> None:
    """A file that is missing, and a remote that is said to have it."""
    blob = scene.git("rev-parse", "HEAD:readme.md", check=True) or ""
    (scene.common / "objects" / blob[:2] / blob[2:]).unlink()
    settings = (("core.repositoryFormatVersion", "1"), ("extensions.partialClone", "o"), ("remote.o.promisor", "true"))
    for key, value in (*settings, *pairs):
        scene.config(key, value)


def _promised_ext(scene: Scene, trap: str) -> None:
    _promised(scene, ("remote.o.url", f"ext::{trap}"), ("protocol.ext.allow", "always"))


def _promised_pack(scene: Scene, trap: str) -> None:
    _promised(scene, ("remote.o.url", str(scene.repo)), ("remote.o.uploadpack", trap))


def _promised_ssh(scene: Scene, trap: str) -> None:
    _promised(scene, ("remote.o.url", "ssh://nowhere.invalid/x"), ("core.sshCommand", trap))


def _head(scene: Scene) -> None:
    (scene.git_dir / "HEAD").write_text("ref: refs/heads/main\n")


def _head_link(scene: Scene) -> None:
    (scene.git_dir / "HEAD").unlink()
    (scene.git_dir / "HEAD").symlink_to("refs/heads/main")
    (scene.git_dir / "refs" / "heads").mkdir(parents=True)


def _main_moved(scene: Scene) -> bool:
    return scene.git("rev-parse", "main", where=scene.repo) != scene.person


def _commits_on_main(scene: Scene) -> bool:
    plain(scene, "add -A", "commit -q -m x")
    return _main_moved(scene)


def _linked_index(scene: Scene) -> None:
    shutil.move(scene.git_dir / "index", scene.outside / "index")
    (scene.git_dir / "index").symlink_to(scene.outside / "index")
    os.utime(scene.outside / "index", ns=(1, 1))


def _index_written(scene: Scene) -> bool:
    return os.stat(scene.outside / "index").st_mtime_ns != 1


def _after(works: Plain, *lines: str) -> Plain:
    def after(scene: Scene) -> bool:
        plain(scene, *lines)
        return works(scene)

    return after


def _other_work_tree(scene: Scene) -> None:
    scene.config("core.worktree", str(scene.outside))


def _outside_written(scene: Scene) -> bool:
    return (scene.outside / "readme.md").exists()


def _claims(branch: str | None) -> Callable[[Scene], None]:
    """Git's record of the worktree says that it is a folder of the person's."""

    def plant(scene: Scene) -> None:
        (scene.git_dir / "gitdir").write_text(f"{scene.outside}/.git\n")
        if branch is not None:
            (scene.git_dir / "HEAD").write_text(f"ref: refs/heads/{branch}\n")

    return plant


def _claimed(scene: Scene) -> bool:
    return str(scene.outside) in (scene.git("worktree", "list", where=scene.repo) or "")


def _changed_outside(scene: Scene) -> bool:
    return sorted(os.listdir(scene.outside)) != ["kept"]


def _lock(file: str, setting: str) -> Callable[[Scene], None]:
    def plant(scene: Scene) -> None:
        (scene.common / file).touch()
        scene.config(setting, "-1")

    return plant


def _waits(*arguments: str) -> Plain:
    return lambda scene: scene.git(*arguments) is None


def _pipe_for_file(scene: Scene) -> None:
    (scene.tree / "notes.txt").unlink()
    os.mkfifo(scene.tree / "notes.txt")


def _not_added(scene: Scene) -> bool:
    plain(scene, "add -A")
    return "new.txt" not in (scene.git("ls-files") or "new.txt")


def _own_git(scene: Scene, trap: str) -> None:
    (scene.tree / "git").write_text(f"#!/bin/sh\nexec '{trap}'\n")
    (scene.tree / "git").chmod(0o755)


def _pattern(file: str, rest: str = "") -> Callable[[Scene], None]:
    """A pattern that takes longer than anybody has, on a name that nearly fits."""

    def plant(scene: Scene) -> None:
        (scene.tree / file).write_text(f"/{'**/a/' * 10}b{rest}\n")
        (scene.tree / ("a/" * 100)).mkdir(parents=True)
        (scene.tree / ("a/" * 100) / "x").touch()

    return plant


_REPOSITORY = Place.REPOSITORY
VECTORS: tuple[Vector, ...] = (
    runs(
        "a .git file that leads to another repository",
        _replaced_file,
        "status",
        place=Place.TREE,
        alone=True,
        refused=True,
    ),
    runs("a .git folder in place of the file", _folder_instead, "status", place=Place.TREE, alone=True, refused=True),
    runs("a link in place of the .git file", _link_instead, "status", place=Place.TREE, alone=True, refused=True),
    runs("a commondir that leads to another repository", _commondir, "status", alone=True),
    runs(
        "a submodule with a configuration of its own",
        _tracked_submodule,
        "status",
        place=Place.BOTH,
        alone=True,
        refused=True,
    ),
    runs("a bare repository inside", _bare_inside, "-C docs status", place=Place.TREE, alone=True),
    runs(
        "a missing object, promised by ext::",
        _promised_ext,
        "cat-file -p HEAD:readme.md",
        silent=True,
        alone=True,
        refused=True,
    ),
    runs(
        "a missing object, promised by a program",
        _promised_pack,
        "cat-file -p HEAD:readme.md",
        silent=True,
        alone=True,
        refused=True,
    ),
    runs(
        "a missing object, promised by ssh",
        _promised_ssh,
        "cat-file -p HEAD:readme.md",
        silent=True,
        alone=True,
        refused=True,
    ),
    runs(
        "a program called git, where PATH has a relative folder",
        _own_git,
        "status",
        place=Place.TREE,
        alone=True,
        environment={"PATH": f".:{os.environ['PATH']}"},
    ),
    Vector("HEAD that names the person's branch", _REPOSITORY, _ELSEWHERE, _head, _commits_on_main, never, alone=True),
    Vector(
        "HEAD as a link to the person's branch",
        _REPOSITORY,
        _ELSEWHERE,
        _head_link,
        _commits_on_main,
        never,
        alone=True,
        refused=True,
    ),
    Vector(
        "a linked index",
        _REPOSITORY,
        _ELSEWHERE,
        _linked_index,
        _after(_index_written, "add -A"),
        _index_written,
        alone=True,
    ),
    Vector(
        "core.worktree",
        _REPOSITORY,
        _ELSEWHERE,
        _other_work_tree,
        _after(_outside_written, "@reset -q --hard"),
        _outside_written,
        alone=True,
        refused=True,
    ),
    Vector(
        "a record that claims a folder of the person's",
        _REPOSITORY,
        "a folder of the person's counts as the worktree",
        _claims(None),
        _claimed,
        _changed_outside,
        alone=True,
        refused=True,
    ),
    Vector(
        "a record that claims it for a branch to merge into",
        _REPOSITORY,
        "a folder of the person's counts as the worktree",
        _claims("release"),
        _claimed,
        _changed_outside,
        alone=True,
        refused=True,
    ),
    Vector(
        "a ref's lock, and no end to waiting",
        _REPOSITORY,
        "git waits without end",
        _lock("refs/heads/release.lock", "core.filesRefLockTimeout"),
        _waits("branch", "-f", "release", "HEAD"),
        never,
        alone=True,
        refused=True,
    ),
    Vector(
        "the packed refs' lock, and no end to waiting",
        _REPOSITORY,
        "git waits without end",
        _lock("packed-refs.lock", "core.packedRefsTimeout"),
        _waits("branch", "-D", "parked"),
        never,
        alone=True,
        refused=True,
    ),
    Vector(
        "a pipe in place of a tracked file",
        Place.TREE,
        "nothing can be committed",
        _pipe_for_file,
        _not_added,
        never,
        alone=True,
        refused=True,
    ),
    Vector(
        "a pattern without end in .gitignore",
        Place.TREE,
        "git does not come to an end",
        _pattern(".gitignore"),
        _waits("status"),
        never,
        alone=True,
        refused=True,
    ),
    Vector(
        "a pattern without end in .gitattributes",
        Place.TREE,
        "git does not come to an end",
        _pattern(".gitattributes", " text"),
        _waits("add", "-A"),
        never,
        alone=True,
        refused=True,
    ),
)
