"""What a vector is: something that an agent plants, and the plain commands under which it works."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from .scene import Scene

Plain = Callable[[Scene], bool]


class Place(StrEnum):
    """What an agent has to be able to write for it."""

    TREE = "the worktree"
    REPOSITORY = "the repository's git folder"
    BOTH = "the worktree, and the git folder unless it is set so already"


@dataclass(frozen=True, slots=True)
class Vector:
    """effect: what it does under plain git. works: makes it work under plain git, and says whether it did.

    struck: whether it has worked, looked at after calls of the engine; by default whether its trap has left its mark.
    alone: it would keep other vectors from working, or is no secret to them, so that it is planted by itself.
    refused: the engine may refuse a call because of it, with an error for the person; otherwise every call has to
        answer what it answers where nothing is planted.
    innocent: done as well in the scene that answers are compared with. environment: of whoever runs git.
    """

    name: str
    place: Place
    effect: str
    plant: Callable[[Scene], object]
    works: Plain
    struck: Plain
    alone: bool = False
    refused: bool = False
    innocent: Callable[[Scene], object] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


_NOTHING: Mapping[str, str] = {}
RUNS = "a program of the agent's runs"
COMMIT = ("add -A", "commit -q -m x")


def plain(scene: Scene, *lines: str) -> None:
    """Run command lines of git in the worktree, whatever comes of it; `@` before one: in the person's checkout."""
    for line in lines:
        scene.git(*line.removeprefix("@").split(), where=scene.repo if line.startswith("@") else None)


def sprung(name: str) -> Plain:
    return lambda scene: name in scene.marks()


def runs(
    name: str,
    plant: Callable[[Scene, str], object],
    *lines: str,
    place: Place = Place.REPOSITORY,
    terminal: bool = False,
    stdin: bytes = b"",
    silent: bool = False,
    alone: bool = False,
    refused: bool = False,
    environment: Mapping[str, str] = _NOTHING,
) -> Vector:
    """A vector whose effect is that a trap runs under these plain commands.

    plant: gets the trap's path. silent: the trap ends at once and passes nothing on.
    """
    mark = re.sub(r"[^a-zA-Z0-9.]+", "-", name).strip("-")

    def works(scene: Scene) -> bool:
        for line in lines:
            where = scene.repo if line.startswith("@") else None
            scene.git(*line.removeprefix("@").split(), where=where, terminal=terminal, stdin=stdin, extra=environment)
        return mark in scene.marks()

    def planted(scene: Scene) -> object:
        return plant(scene, str(scene.trap(mark, silent)))

    return Vector(name, place, RUNS, planted, works, sprung(mark), alone, refused, None, environment)


def never(scene: Scene) -> bool:
    """For a vector whose only effect is on what is answered, which every call is compared for."""
    return False
