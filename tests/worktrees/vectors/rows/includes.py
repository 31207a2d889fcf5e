"""Configuration from elsewhere: files that are included, those of one worktree, and what follows from them."""

from __future__ import annotations

from collections.abc import Callable

from ..scene import Scene
from ..vector import Place, Vector, runs


def _monitor(trap: str) -> str:
    return f"[core]\n\tfsmonitor = {trap}\n"


def _direct(scene: Scene, trap: str) -> None:
    scene.config("core.fsmonitor", trap)


def _by(key: str, *more: tuple[str, str]) -> Callable[[Scene, str], None]:
    """A tracked file that is included under a condition."""

    def plant(scene: Scene, trap: str) -> None:
        scene.both("shared.gitconfig", _monitor(trap))
        for name, value in more:
            scene.config(name, value)
        scene.config(key, str(scene.tree / "shared.gitconfig"))

    return plant


def _of_one_worktree(scene: Scene, trap: str) -> None:
    scene.config("extensions.worktreeConfig", "true")
    (scene.git_dir / "config.worktree").write_text(_monitor(trap))


def _linked(scene: Scene, trap: str) -> None:
    """The configuration itself is a link to a file in the worktree."""
    content = (scene.common / "config").read_text()
    (scene.tree / "config").write_text(content + _monitor(trap))
    (scene.common / "config").unlink()
    (scene.common / "config").symlink_to(scene.tree / "config")


def _by_the_person(content: str) -> Callable[[Scene, str], None]:
    """The person's own configuration includes a tracked file, in whose text `@` stands for the trap."""

    def plant(scene: Scene, trap: str) -> None:
        scene.both("shared.gitconfig", content.replace("@", trap))
        with open(scene.home / ".gitconfig", "a") as own:
            own.write(f"[include]\n\tpath = {scene.repo}/shared.gitconfig\n")

    return plant


def _filter_by_the_person(scene: Scene, trap: str) -> None:
    _by_the_person('[filter "shared"]\n\tsmudge = @\n')(scene, trap)
    scene.both(".gitattributes", "* filter=shared\n")


def _template_by_the_person(scene: Scene, trap: str) -> None:
    folder = scene.outside / "template"
    (folder / "hooks").mkdir(parents=True)
    (folder / "hooks" / "post-commit").write_text(f"#!/bin/sh\nexec '{trap}'\n")
    (folder / "hooks" / "post-commit").chmod(0o755)
    _by_the_person(f"[init]\n\ttemplateDir = {folder}\n")(scene, trap)


_CONDITIONS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    ("include.path", ()),
    ("includeIf.gitdir:**/worktrees/**.path", ()),
    ("includeIf.gitdir/i:**/WORKTREES/**.path", ()),
    ("includeIf.onbranch:agentpane/**.path", ()),
    ("includeIf.hasconfig:remote.*.url:https://**.path", (("remote.x.url", "https://example.org"),)),
)

VECTORS: tuple[Vector, ...] = (
    runs("core.fsmonitor", _direct, "status"),
    *(
        runs(f"{key.removesuffix('.path')} of a tracked file", _by(key, *more), "status", place=Place.BOTH, alone=True)
        for key, more in _CONDITIONS
    ),
    runs("config.worktree", _of_one_worktree, "status", alone=True),
    runs("the configuration as a link into the worktree", _linked, "status", alone=True),
    runs(
        "a tracked file that the person's configuration includes",
        _by_the_person("[core]\n\tfsmonitor = @\n"),
        *("status",),
        place=Place.TREE,
        alone=True,
    ),
    runs(
        "a filter of such a file",
        _filter_by_the_person,
        "checkout -q reviewed -- new.txt",
        place=Place.TREE,
        alone=True,
    ),
    runs(
        "a template folder of such a file",
        _template_by_the_person,
        *("init -q ../../../sample2", "-C ../../../sample2 commit -q --allow-empty -m x"),
        place=Place.TREE,
        alone=True,
    ),
)
