"""Searching files without ripgrep, in a process of its own: a pattern that never comes to an end can be killed.

Prints what `rg --json` prints, as far as `grep` reads it. Source: the grep-printer crate, "JSON". Started by
`grep`, with the request as JSON on standard input.
"""

from __future__ import annotations

import base64
import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from agentpane.orchestrator.tree import files
from agentpane.orchestrator.tree.patterns import PatternError, compiled
from agentpane.orchestrator.tree.refusal import Refusal
from agentpane.orchestrator.tree.walking import Parts, Scope, in_order, walk


@dataclass(frozen=True, slots=True)
class Request:
    worktree: str
    base: Parts
    within: Parts
    is_file: bool
    pattern: str
    ignore_case: bool
    before: int
    after: int

    def as_json(self) -> bytes:
        return json.dumps(asdict(self)).encode()


def main() -> None:
    raw = json.load(sys.stdin)
    request = Request(**{**raw, "base": tuple(raw["base"]), "within": tuple(raw["within"])})
    try:
        expression = compiled(request.pattern, request.ignore_case)
    except PatternError as error:
        print(f"regex parse error: {error}")
        sys.exit(2)
    with files.opened(Path(request.worktree)) as root:
        searched = Scope(request.base, request.within, request.is_file)
        for path in in_order(walk(root, searched)):
            for message in _search(root, path, expression, request):
                print(json.dumps(message))


def _search(root: int, path: Parts, expression: re.Pattern[str], request: Request) -> Iterator[dict[str, object]]:
    try:
        data = files.read(root, path, links=False).data
    except (OSError, Refusal):
        return
    if b"\0" in data:
        return
    lines = data.removesuffix(b"\n").split(b"\n") if data else []
    hits = {n for n, line in enumerate(lines) if expression.search(line.decode("utf-8", "surrogateescape"))}
    near = {n for hit in hits for n in range(hit - request.before, hit + request.after + 1) if 0 <= n < len(lines)}
    name = _as_data(b"/".join(os.fsencode(part) for part in path[len(request.base) :]))
    for number in sorted(near | hits):
        content = {"path": name, "lines": _as_data(lines[number] + b"\n"), "line_number": number + 1}
        yield {"type": "match" if number in hits else "context", "data": content}


def _as_data(value: bytes) -> dict[str, str]:
    try:
        return {"text": value.decode("utf-8")}
    except UnicodeDecodeError:
        return {"bytes": base64.b64encode(value).decode("ascii")}
