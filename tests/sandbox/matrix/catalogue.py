"""All guarantees, in the order of the documentation."""

from __future__ import annotations

from .attempt import Guarantee
from .rows import endings, git, machine, network, processes, reading, resources, tools, writing

GUARANTEES: tuple[Guarantee, ...] = (
    *reading.GUARANTEES,
    *writing.GUARANTEES,
    *git.GUARANTEES,
    *processes.GUARANTEES,
    *machine.GUARANTEES,
    *network.GUARANTEES,
    *endings.GUARANTEES,
    *resources.GUARANTEES,
    *tools.GUARANTEES,
)
