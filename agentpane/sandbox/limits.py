"""Limits on what one process of a command may take. They stop accidents; memory as such has no limit here.

RLIMIT_NPROC has no effect on root, and address space is counted, not memory: runtimes reserve far more than they use.
"""

from __future__ import annotations

import resource

LIMITS: tuple[tuple[int, int], ...] = (
    (resource.RLIMIT_CORE, 0),
    (resource.RLIMIT_FSIZE, 8 * 1024**3),
    (resource.RLIMIT_AS, 256 * 1024**3),
    (resource.RLIMIT_NPROC, 4096),
)


def capped(kind: int, limit: int, pid: int = 0) -> tuple[int, int]:
    """The limit as a pair, never above what the process may have."""
    hard = resource.getrlimit(kind)[1] if pid == 0 else resource.prlimit(pid, kind)[1]
    value = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    return value, value
