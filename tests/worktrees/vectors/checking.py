"""Whether nothing that is planted does anything to the engine's calls."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from agentpane.errors import AgentPaneError
from agentpane.worktrees import Worktrees

from .calls import CALLS, Answer, At, Call, Refused
from .scene import Scene, Stage
from .vector import Vector

LONGEST = 20.0  # seconds that one call may take, on a busy machine


@contextmanager
def surroundings(scene: Scene, vectors: Iterable[Vector] = ()) -> Iterator[None]:
    """The environment of an engine that the person of the scene has started."""
    before = dict(os.environ)
    kept = {name: value for name, value in before.items() if not name.startswith("GIT_")}
    more = {name: value for vector in vectors for name, value in vector.environment.items()}
    os.environ.clear()
    os.environ.update({**kept, "HOME": str(scene.home), "XDG_CONFIG_HOME": str(scene.home / ".config"), **more})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


async def answers(scene: Scene, vectors: Sequence[Vector] = (), calls: Sequence[Call] = CALLS) -> dict[str, Answer]:
    """What each call answers, one after the other in one scene; an error for the person in its place."""
    found: dict[str, Answer] = {}
    with surroundings(scene, vectors):
        git = Worktrees()
        try:
            for call in calls:
                begun = time.monotonic()
                try:
                    found[call.name] = await call.make(At(scene, git))
                except (AgentPaneError, Refused) as refusal:
                    found[call.name] = refusal
                assert time.monotonic() - begun < LONGEST, f"{call.name} took {time.monotonic() - begun:.0f} s"
        finally:
            await git.close()
    return found


async def wrong(
    stage: Stage, vectors: Sequence[Vector], expected: Mapping[str, Answer] | None, calls: Sequence[Call] = CALLS
) -> list[str]:
    """Plant these together, make the calls, and say what is not as it should be.

    expected: what is answered where nothing is planted; None: it depends on the innocent part, and is asked for.
    """
    if expected is None:
        with stage.scene() as clean:
            _prepare(clean, vectors, planted=False)
            expected = await answers(clean, vectors, calls)
    with stage.scene() as scene:
        _prepare(scene, vectors, planted=True)
        found = await answers(scene, vectors, calls)
        said = [f"{vector.name}: it has worked" for vector in vectors if vector.struck(scene)]
    refusing = any(vector.refused for vector in vectors)
    names = ", ".join(vector.name for vector in vectors[:3])
    for name, answer in found.items():
        if isinstance(answer, Exception) and refusing:
            if not str(answer):
                said.append(f"{names}: {name}: refused without a word")
        elif answer != expected[name]:
            said.append(f"{names}: {name}: {answer!r} and not {expected[name]!r}")
    return said


def _prepare(scene: Scene, vectors: Sequence[Vector], planted: bool) -> None:
    for vector in vectors:
        if vector.innocent is not None:
            vector.innocent(scene)
    for vector in vectors if planted else ():
        vector.plant(scene)
    scene.forget_marks()  # plain git planted them


def proves_nothing(stage: Stage, vectors: Sequence[Vector]) -> list[str]:
    """Those that do nothing under plain git either."""
    found = []
    for vector in vectors:
        with stage.scene() as scene:
            _prepare(scene, (vector,), planted=True)
            if vector.struck(scene) or not vector.works(scene):
                found.append(vector.name)
    return found
