"""Jupyter notebooks as text: the cells with their numbers and sources, and the outputs, shortened."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from agentpane.orchestrator.tools.base import Refusal

MAX_OUTPUT = 2_000  # characters of one cell's outputs
_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def as_text(text: str, path: str) -> str:
    """Source: the notebook format 4, nbformat's schema. Raises Refusal for what is none."""
    try:
        notebook = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refusal(f"{path} is not a whole notebook: {error}. Look at it with Bash.") from error
    cells = notebook.get("cells") if isinstance(notebook, Mapping) else None
    if not isinstance(cells, list):
        raise Refusal(f"{path} is not a notebook of format 4: it has no cells. Look at it with Bash.")
    return "\n\n".join(_cell(number, cell) for number, cell in enumerate(cells, 1) if isinstance(cell, Mapping))


def _cell(number: int, cell: Mapping[str, object]) -> str:
    kind = cell.get("cell_type", "unknown")
    count = cell.get("execution_count")
    head = f"--- cell {number}: {kind}" + (f", run [{count}]" if isinstance(count, int) else "") + " ---"
    parts = [head, _joined(cell.get("source"))]
    outputs = cell.get("outputs")
    printed = "\n".join(_outputs(outputs)) if isinstance(outputs, list) else ""
    if printed:
        parts += ["--- output ---", _short(printed)]
    return "\n".join(part.rstrip("\n") for part in parts)


def _outputs(outputs: list[object]) -> Iterator[str]:
    for one in outputs:
        if not isinstance(one, Mapping):
            continue
        if one.get("output_type") == "stream":
            yield _joined(one.get("text"))
        elif one.get("output_type") == "error":
            yield f"{one.get('ename')}: {one.get('evalue')}"
            yield _ESCAPES.sub("", _joined(one.get("traceback"), "\n"))
        else:
            yield _data(one.get("data"))


def _data(data: object) -> str:
    """Of several forms of one output the plainest; of a picture only that there is one."""
    forms = data if isinstance(data, Mapping) else {}
    if "text/plain" in forms:
        text = _joined(forms["text/plain"])
    else:
        text = ""
    others = [str(form) for form in forms if form != "text/plain"]
    return "\n".join(part for part in (text, f"[{', '.join(others)}]" if others else "") if part)


def _joined(value: object, between: str = "") -> str:
    return between.join(str(one) for one in value) if isinstance(value, list) else str(value or "")


def _short(text: str) -> str:
    if len(text) <= MAX_OUTPUT:
        return text
    half = MAX_OUTPUT // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters of output left out ...]\n{text[-half:]}"
