"""All vectors, in the order of the documentation, and which of them can be planted together."""

from __future__ import annotations

from .rows import folders, hooks, includes, pipes, programs, settings
from .vector import Vector

KINDS: tuple[tuple[str, tuple[Vector, ...]], ...] = (
    ("Hooks", hooks.VECTORS),
    ("Programs that settings name", programs.VECTORS),
    ("Configuration from elsewhere", includes.VECTORS),
    ("What is shown, kept and merged", settings.VECTORS),
    ("Folders and files of git", folders.VECTORS),
    ("Pipes", pipes.VECTORS),
)
VECTORS: tuple[Vector, ...] = tuple(vector for _, vectors in KINDS for vector in vectors)
TOGETHER: tuple[Vector, ...] = tuple(vector for vector in VECTORS if not vector.alone)
ALONE: tuple[Vector, ...] = tuple(vector for vector in VECTORS if vector.alone)
