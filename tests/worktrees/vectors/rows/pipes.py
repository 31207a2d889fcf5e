"""Pipes in the place of files: plain git opens what it finds, and waits without end."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ..scene import Scene
from ..vector import Place, Plain, Vector, never

_WAITS = "git waits without end"


def _waits(pipe: Callable[[Scene], Path], *lines: str) -> Plain:
    """Whether one of the commands waits for the pipe: it has it open, or does not come to an end."""

    def works(scene: Scene) -> bool:
        return any(scene.waits_for(pipe(scene), *line.split()) for line in lines)

    return works


def _pipe(path: Callable[[Scene], Path], *settings: tuple[str, str]) -> Callable[[Scene], None]:
    def plant(scene: Scene) -> None:
        place = path(scene)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        os.mkfifo(place)
        for key, value in settings:
            scene.config(key, value.replace("@", str(place)))

    return plant


def _in_common(name: str, *lines: str) -> Vector:
    return _vector(f".git/{name}", Place.REPOSITORY, lambda scene: scene.common / name, lines)


def _in_record(name: str, *lines: str) -> Vector:
    return _vector(f".git/worktrees/<name>/{name}", Place.REPOSITORY, lambda scene: scene.git_dir / name, lines)


def _in_tree(name: str, *lines: str) -> Vector:
    return _vector(name, Place.TREE, lambda scene: scene.tree / name, lines)


def _by_setting(key: str, *lines: str) -> Vector:
    return _vector(f"what {key} names", Place.REPOSITORY, lambda scene: scene.tree / "pipe", lines, (key, "@"))


def _vector(
    name: str, place: Place, pipe: Callable[[Scene], Path], lines: tuple[str, ...], *settings: tuple[str, str]
) -> Vector:
    works = _waits(pipe, *lines)
    return Vector(f"a pipe as {name}", place, _WAITS, _pipe(pipe, *settings), works, never, alone=True, refused=True)


VECTORS: tuple[Vector, ...] = (
    _in_tree(".gitattributes", "status", "diff"),
    _in_tree("src/.gitattributes", "add -A", "diff"),
    _in_tree(".gitignore", "status"),
    _in_tree("src/.gitignore", "status"),
    _in_common("config", "status"),
    _in_common("info/attributes", "diff"),
    _in_common("info/exclude", "status"),
    _in_common("packed-refs", "branch --list"),
    _in_common("refs/heads/odd", "branch --list"),
    _in_common("objects/info/alternates", "cat-file -e 1111111111111111111111111111111111111111"),
    _in_common("shallow", "log -1"),
    _in_common("logs/refs/heads/release", "branch -f release HEAD~1"),
    _in_record("HEAD", "log -1"),
    _in_record("index", "status"),
    _in_record("logs/HEAD", "commit -q --allow-empty -m x"),
    _by_setting("core.excludesFile", "status"),
    _by_setting("core.attributesFile", "diff"),
    _by_setting("include.path", "status"),
)
