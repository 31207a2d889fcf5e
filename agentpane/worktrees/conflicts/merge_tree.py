"""Reading what `git merge-tree` prints."""

from __future__ import annotations

from collections.abc import Mapping

from agentpane.domain.diff import MalformedGitOutputError, decode_path


def parse_merge_tree(output: bytes) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Read what `git merge-tree --write-tree -z --messages` prints: the tree, and (path, kind) of each conflict.

    output: `TREE\\0`, then for each stage of a conflicted file `MODE SHA STAGE\\tPATH\\0`, then an empty record, then
        messages: `COUNT\\0PATH\\0…TYPE\\0TEXT\\0`. The types of conflicts are "CONFLICT (contents)" and the like.
    Each conflicted path appears once; its kind is that of the first message about it, or "conflict".
    Source: git-merge-tree(1), "OUTPUT".
    """
    records = output.split(b"\0")
    tree = records[0].decode("ascii", "replace")
    conflicted: dict[bytes, str] = {}
    at = 1
    while at < len(records) and records[at]:
        conflicted.setdefault(records[at].partition(b"\t")[2], "")
        at += 1
    at += 1
    try:
        while at < len(records) - 1:
            count = int(records[at])
            paths = records[at + 1 : at + 1 + count]
            kind = records[at + 1 + count].decode("utf-8", "replace")
            if kind.startswith("CONFLICT"):
                short = kind.removeprefix("CONFLICT (").removesuffix(")")
                for path in paths:
                    if not conflicted.get(path, "-"):
                        conflicted[path] = short
            at += count + 3
    except (ValueError, IndexError) as error:
        raise MalformedGitOutputError("the messages of merge-tree are cut short") from error
    return tree, tuple((decode_path(path), kind or "conflict") for path, kind in sorted(conflicted.items()))


# For each stage (1 the common ancestor, 2 the target, 3 the card) the mode and the blob that a side has at a path.
Stages = Mapping[int, tuple[str, str]]


def parse_stages(output: bytes) -> dict[str, Stages]:
    """Read which blobs collide at each conflicted path, from the same output: `MODE SHA STAGE\\tPATH\\0` for each."""
    found: dict[str, dict[int, tuple[str, str]]] = {}
    for record in output.split(b"\0")[1:]:
        if not record:
            break
        about, _, path = record.partition(b"\t")
        try:
            mode, sha, stage = about.decode("ascii").split(" ")
            found.setdefault(decode_path(path), {})[int(stage)] = (mode, sha)
        except ValueError as error:
            raise MalformedGitOutputError(f"not a stage of merge-tree: {record[:80]!r}") from error
    return dict(found)
