"""The contents that git writes into a checkout for blobs at their paths, in memory: the disk may be full."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence

from agentpane.domain.diff import encode_path
from agentpane.domain.filemodes import LINK
from agentpane.worktrees.git.runner import LONG_TIMEOUT, GitRunner, Place

# A path, the mode that a commit has there, and the blob.
Wanted = tuple[str, str, str]


async def contents_of(
    git: GitRunner, place: Place, wanted: Sequence[Wanted], *, as_stored: bool = False
) -> Mapping[Wanted, bytes]:
    """What git would write for each of them, after filters and line endings. One that it cannot make is left out.

    as_stored: before those.
    """
    plain = [each for each in wanted if as_stored or each[1] == LINK]
    filtered = [each for each in wanted if not as_stored and each[1] != LINK and "\n" not in each[0]]
    found = await _many(git, place, plain, "--batch") | await _many(git, place, filtered, "--batch", "--filters")
    for each in wanted:
        if each not in found:
            shape = ("blob",) if as_stored or each[1] == LINK else ("--filters", f"--path={each[0]}")
            said = await git.run(place, "cat-file", *shape, each[2], ok=range(-64, 256), timeout=LONG_TIMEOUT)
            if said.exit_code == 0:
                found[each] = said.stdout
    return found


async def _many(git: GitRunner, place: Place, wanted: Sequence[Wanted], *how: str) -> dict[Wanted, bytes]:
    """All of them, or none where git fails over one.

    The size that git tells is the one before its filters, so a name that no object has is asked for after each.
    """
    if not wanted:
        return {}
    end = secrets.token_hex(len(wanted[0][2]) // 2).encode()
    asked = b"".join(b"%s %s\n%s -\n" % (sha.encode(), encode_path(path), end) for path, _mode, sha in wanted)
    # Without filters the rest of the line belongs to the name, unless the format asks for it.
    told = "=%(objectname) %(rest)" if "--filters" not in how else ""
    shape = (f"{how[0]}{told}", *how[1:])
    said = await git.run(place, "cat-file", *shape, stdin=asked, ok=range(-64, 256), timeout=LONG_TIMEOUT)
    parts = said.stdout.split(b"\n%s missing\n" % end)
    if said.exit_code != 0 or len(parts) != len(wanted) + 1:
        return {}
    return {each: part.partition(b"\n")[2] for each, part in zip(wanted, parts, strict=False)}
