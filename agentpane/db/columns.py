"""The kinds of column that the tables are made of: moments, enums, free text, byte-exact paths and checked JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Dialect, Enum, Integer, LargeBinary, Text
from sqlalchemy.exc import DontWrapMixin
from sqlalchemy.sql.elements import ColumnClause, TextClause
from sqlalchemy.sql.expression import literal_column, text
from sqlalchemy.types import TypeDecorator
from typing_extensions import override

from agentpane.clock import from_micros, to_micros
from agentpane.errors import AgentPaneError, ErrorCode

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)

_ANYTHING = TypeAdapter(Any).serializer
_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True)


def storable(words: str) -> str:
    """`words` with what UTF-8 cannot hold (half surrogates, from names that are not UTF-8) as visible escapes."""
    return words.encode("utf-8", "backslashreplace").decode("utf-8")


def encode_json(value: object) -> str:
    """Compact JSON. What UTF-8 cannot hold is escaped, so that half surrogates survive the round trip."""
    try:
        return _ANYTHING.to_json(value).decode()
    except ValueError:
        return _ENCODER.encode(value)


class Moment(TypeDecorator[datetime]):
    """A time in UTC, stored as microseconds since 1970. A naive one is refused."""

    impl = Integer
    cache_ok = True

    @override
    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else to_micros(value)

    @override
    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        return None if value is None else from_micros(value)


class Words(TypeDecorator[str]):
    """Text from anywhere; what is not valid Unicode is stored as visible escapes."""

    impl = Text
    cache_ok = True

    @override
    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else storable(value)


class ExactPath(TypeDecorator[str]):
    """A path as git has it, byte for byte; half surrogates stand for bytes that are not UTF-8."""

    impl = LargeBinary
    cache_ok = True

    @override
    def process_bind_param(self, value: str | None, dialect: Dialect) -> bytes | None:
        return None if value is None else value.encode("utf-8", "surrogateescape")

    @override
    def process_result_value(self, value: bytes | None, dialect: Dialect) -> str | None:
        return None if value is None else value.decode("utf-8", "surrogateescape")


class DocumentError(AgentPaneError, DontWrapMixin):
    """A JSON document is not what its column holds. SQLAlchemy passes it on as it is."""


class Json(TypeDecorator[Any]):
    """A JSON document that a Pydantic adapter checks on its way in and out.

    Raises DocumentError with VALIDATION_ERROR for a document that may not be stored, and with
    STORE_CORRUPT for a stored one that is not what the column holds.
    """

    impl = Text
    cache_ok = True

    def __init__(self, name: str, adapter: TypeAdapter[Any]) -> None:
        super().__init__()
        self.name = name
        self._adapter = adapter

    @override
    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        if value is None:
            return None
        try:
            checked = self._adapter.validate_python(value)
        except ValidationError as error:
            raise DocumentError(
                ErrorCode.VALIDATION_ERROR,
                f"The {self.name} is not valid: {_first_fault(error)}",
                hint="Change it and try again. Nothing has been stored.",
                details={"field": self.name},
            ) from error
        return encode_json(self._adapter.dump_python(checked))

    @override
    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        try:
            return self._adapter.validate_python(json.loads(value))
        except ValueError as error:
            raise DocumentError(
                ErrorCode.STORE_CORRUPT,
                f"The database holds a {self.name} that is not valid.",
                hint="Run `agentpane db check`; a backup can be put back with `agentpane db restore`.",
            ) from error


def one_of(kind: type[E], name: str) -> Enum:
    """A text column that holds a value of `kind`, with a CHECK constraint saying so."""
    values: Callable[[type[E]], list[str]] = lambda members: [member.value for member in members]  # noqa: E731
    return Enum(kind, name=name, native_enum=False, create_constraint=True, values_callable=values, length=32)


def now_default() -> TextClause:
    """The present in microseconds, for a column whose writer gives no time."""
    return text("(CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER))")


def json_default(document: object) -> ColumnClause[str]:
    quoted = encode_json(document).replace("'", "''")
    return literal_column(f"'{quoted}'")  # not text(): it would take `:null` for a parameter


def _first_fault(error: ValidationError) -> str:
    fault = error.errors()[0]
    where = ".".join(str(part) for part in fault["loc"])
    return f"{where}: {fault['msg']}" if where else str(fault["msg"])
