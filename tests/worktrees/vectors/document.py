"""docs/git-vectors.md, as the catalogue has it."""

from __future__ import annotations

from pathlib import Path

from .calls import CALLS
from .catalogue import KINDS, VECTORS
from .vector import Place, Vector

DOCUMENT = Path(__file__).parents[3] / "docs" / "git-vectors.md"
PAGE = Path(__file__).with_name("page.md")  # its prose, with places for what is listed
WIDTH = 118
_LETTERS = {Place.TREE: "worktree", Place.REPOSITORY: "git folder", Place.BOTH: "both"}


def render() -> str:
    tables = "\n\n".join(f"### {title}\n\n{_table(vectors)}" for title, vectors in KINDS)
    calls = "\n".join(f"- {call.name}" for call in CALLS)
    text = PAGE.read_text().replace("@number@", str(len(VECTORS))).replace("@tables@", tables)
    return text.replace("@calls@", calls).replace("@alone@", str(sum(one.place is Place.TREE for one in VECTORS)))


def _table(vectors: tuple[Vector, ...]) -> str:
    rows = [f"| {_plain(one.name)} | {_LETTERS[one.place]} | {one.effect} | {_ours(one)} |" for one in vectors]
    return "\n".join(["| planted | in | under plain git | under ours |", "|---|---|---|---|", *rows])


def _ours(vector: Vector) -> str:
    return "no effect, or refused" if vector.refused else "no effect"


def _plain(name: str) -> str:
    return name.replace("<", "&lt;").replace("*", "\\*").replace("\u200c", "").replace("|", "\\|")
