"""Finding a row by what a person typed: a whole id, or the beginning of one."""

from __future__ import annotations

import re
from typing import Any, TypeAlias

from cuid2 import create_id
from sqlalchemy import Connection, Row, Select, select
from sqlalchemy.orm import InstrumentedAttribute

from agentpane.domain.limits import invalid
from agentpane.errors import AgentPaneError

AnyRow: TypeAlias = Row[*tuple[Any, ...]]
AnySelect: TypeAlias = Select[*tuple[Any, ...]]

_ID_START = re.compile(r"[a-z0-9]{1,32}")
_SHOWN = 10  # how many of several possible ids an error names


def new_id() -> str:
    return create_id()


def by_prefix(
    connection: Connection, field: str, column: InstrumentedAttribute[str], ref: str, *where: Any
) -> str | None:
    """The one id among the rows `where` that is `ref` or begins with it; None if there is none.

    Raises AgentPaneError with VALIDATION_ERROR if several begin with it.
    """
    if not _ID_START.fullmatch(ref):
        return None
    query = select(column).where(column.op("GLOB")(ref + "*"), *where).limit(_SHOWN)
    found = list(connection.execute(query).scalars())
    if ref in found:
        return ref
    if len(found) > 1:
        raise ambiguous(field, ref, found)
    return found[0] if found else None


def ambiguous(field: str, ref: str, ids: list[str]) -> AgentPaneError:
    return invalid(field, f"“{ref}” may mean several: {', '.join(ids)}.", "Give more of the id. Nothing has changed.")
