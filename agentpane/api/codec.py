"""Frozen values to JSON and back, by their type hints. It knows how values look, and nothing of what they mean.

A dataclass is an object of its fields; one of a union carries its class name under `$`. Enums travel by
value, times as ISO 8601, bytes as base64, tuples as arrays. Fields that a newer peer added are ignored. Text may hold
lone surrogates, for a path need not be UTF-8: JSON is written as UTF-8 with `surrogatepass`, which keeps each one.
"""

from __future__ import annotations

import base64
import binascii
import json
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from enum import Enum
from functools import cache
from typing import Any, Union, get_args, get_origin

from agentpane.errors import AgentPaneError, ErrorCode

TAG = "$"

Coder = Callable[[Any], Any]


class _PlainJson:
    """Stands for JSON values that pass through as they are."""


_HINT_NAMES = {"JsonValue": _PlainJson, "JsonObject": _PlainJson}
# The types whose values pass through.
PLAIN = frozenset({_PlainJson, Any, object})


class _MalformedError(Exception):
    """A value that does not fit its type; `where` grows outwards."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what
        self.where: list[str] = []

    def within(self, name: str) -> _MalformedError:
        self.where.insert(0, name)
        return self


def dumps(value: Any) -> bytes:
    """A JSON value as bytes, lone surrogates kept."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def loads(data: bytes) -> Any:
    """The JSON value that `dumps` wrote. Raises ValueError for anything else."""
    try:
        return json.loads(data.decode("utf-8", "surrogatepass"))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def encode(kind: Any, value: Any) -> Any:
    """`value`, of the type `kind`, as a JSON value."""
    return _encoder(kind)(value)


def decode(kind: Any, raw: Any, failure: ErrorCode = ErrorCode.VALIDATION_ERROR) -> Any:
    """The value of type `kind` that `raw` describes.

    Raises AgentPaneError with the code `failure`, naming the field, if it does not describe one.
    """
    try:
        return _decoder(kind)(raw)
    except _MalformedError as error:
        field = ".".join(error.where)
        raise AgentPaneError(
            failure,
            f"{field or getattr(kind, '__name__', 'value')}: {error.what}.",
            "Engine and client may be of different versions; nothing has been changed.",
            {"field": field},
        ) from error


@cache
def hints(kind: type) -> Mapping[str, Any]:
    """The type hints of a dataclass, with JSON values standing for themselves."""
    return typing.get_type_hints(kind, localns=dict(_HINT_NAMES))


@cache
def _encoder(kind: Any) -> Coder:
    kind = _supertype(kind)
    if kind in PLAIN or kind in (str, int, float, bool, types.NoneType):
        return _same
    if _is_union(kind):
        return _union_encoder(kind)
    origin = get_origin(kind)
    if origin is tuple:
        return _tuple_encoder(get_args(kind))
    if origin in (dict, Mapping):
        item = _encoder(get_args(kind)[1])
        return lambda value: {key: item(inner) for key, inner in value.items()}
    if kind is bytes:
        return lambda value: base64.b64encode(value).decode("ascii")
    if kind is datetime:
        return datetime.isoformat
    if isinstance(kind, type) and issubclass(kind, Enum):
        return lambda value: value.value
    if is_dataclass(kind):
        return _dataclass_encoder(kind)
    raise TypeError(f"{kind!r} cannot travel through the door")


def _dataclass_encoder(kind: Any) -> Coder:
    types_of = hints(kind)
    coders = tuple((field.name, _encoder(types_of[field.name])) for field in fields(kind))

    def encode_fields(value: Any) -> dict[str, Any]:
        return {name: coder(getattr(value, name)) for name, coder in coders}

    return encode_fields


def _union_encoder(kind: Any) -> Coder:
    members = [_supertype(member) for member in get_args(kind) if member is not types.NoneType]
    if len(members) == 1:
        inner = _encoder(members[0])
        return lambda value: None if value is None else inner(value)
    _check_tagged(kind, members)
    coders = {member: _encoder(member) for member in members}

    def encode_tagged(value: Any) -> Any:
        return None if value is None else {TAG: type(value).__name__, **coders[type(value)](value)}

    return encode_tagged


def _tuple_encoder(items: Sequence[Any]) -> Coder:
    if len(items) == 2 and items[1] is Ellipsis:
        item = _encoder(items[0])
        return list if item is _same else lambda value: [item(inner) for inner in value]
    coders = [_encoder(item) for item in items]
    return lambda value: [coder(inner) for coder, inner in zip(coders, value, strict=True)]


@cache
def _decoder(kind: Any) -> Coder:
    kind = _supertype(kind)
    if kind in PLAIN:
        return _same
    if kind in _SCALARS:
        return _SCALARS[kind]
    if _is_union(kind):
        return _union_decoder(kind)
    origin = get_origin(kind)
    if origin is tuple:
        return _tuple_decoder(get_args(kind))
    if origin in (dict, Mapping):
        return _mapping_decoder(_decoder(get_args(kind)[1]))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _enum_decoder(kind)
    if is_dataclass(kind):
        return _dataclass_decoder(kind)
    raise TypeError(f"{kind!r} cannot travel through the door")


def _dataclass_decoder(kind: Any) -> Coder:
    types_of = hints(kind)
    coders = tuple(
        (field.name, _decoder(types_of[field.name]), field.default is MISSING and field.default_factory is MISSING)
        for field in fields(kind)
    )

    def decode_fields(raw: Any) -> Any:
        found = _expect(dict, raw)
        values = {}
        for name, coder, required in coders:
            if name in found:
                try:
                    values[name] = coder(found[name])
                except _MalformedError as error:
                    raise error.within(name) from None
            elif required:
                raise _MalformedError("is missing").within(name)
        return kind(**values)

    return decode_fields


def _union_decoder(kind: Any) -> Coder:
    members = [_supertype(member) for member in get_args(kind) if member is not types.NoneType]
    optional = len(members) < len(get_args(kind))
    if len(members) == 1:
        inner = _decoder(members[0])
        return lambda raw: None if raw is None else inner(raw)
    _check_tagged(kind, members)
    coders = {member.__name__: _decoder(member) for member in members}

    def decode_tagged(raw: Any) -> Any:
        if raw is None and optional:
            return None
        name = _expect(dict, raw).get(TAG)
        if not isinstance(name, str) or name not in coders:
            raise _MalformedError(f"{name!r} is not known here")
        return coders[name](raw)

    return decode_tagged


def _tuple_decoder(items: Sequence[Any]) -> Coder:
    if len(items) == 2 and items[1] is Ellipsis:
        item = _decoder(items[0])
        return lambda raw: tuple(map(item, _expect(list, raw)))
    coders = [_decoder(item) for item in items]

    def decode_items(raw: Any) -> tuple[Any, ...]:
        if len(_expect(list, raw)) != len(coders):
            raise _MalformedError(f"{len(coders)} items are wanted, {len(raw)} came")
        return tuple(coder(inner) for coder, inner in zip(coders, raw, strict=True))

    return decode_items


def _mapping_decoder(item: Coder) -> Coder:
    return lambda raw: {key: item(inner) for key, inner in _expect(dict, raw).items()}


def _enum_decoder(kind: type[Enum]) -> Coder:
    members = {member.value: member for member in kind}

    def decode_member(raw: Any) -> Enum:
        if not isinstance(raw, str | int) or raw not in members:
            raise _MalformedError(f"{raw!r} is not a {kind.__name__}")
        return members[raw]

    return decode_member


def _check_tagged(kind: Any, members: Sequence[Any]) -> None:
    if not all(is_dataclass(member) for member in members):
        raise TypeError(f"{kind!r}: a union may hold dataclasses only")


def _supertype(kind: Any) -> Any:
    while hasattr(kind, "__supertype__"):  # a NewType
        kind = kind.__supertype__
    return kind


def _is_union(kind: Any) -> bool:
    return get_origin(kind) in (Union, types.UnionType)


def _same(value: Any) -> Any:
    return value


def _expect(kind: type, raw: Any) -> Any:
    if type(raw) is not kind:
        raise _MalformedError(f"{kind.__name__} is wanted, {type(raw).__name__} came")
    return raw


def _decode_float(raw: Any) -> float:
    return float(raw) if type(raw) is int else float(_expect(float, raw))


def _decode_bytes(raw: Any) -> bytes:
    try:
        return base64.b64decode(_expect(str, raw), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _MalformedError("is not base64") from error


def _decode_time(raw: Any) -> datetime:
    try:
        return datetime.fromisoformat(_expect(str, raw))
    except ValueError as error:
        raise _MalformedError("is not a time") from error


_SCALARS: Mapping[Any, Coder] = {
    str: lambda raw: _expect(str, raw),
    int: lambda raw: _expect(int, raw),
    bool: lambda raw: _expect(bool, raw),
    types.NoneType: lambda raw: _expect(types.NoneType, raw),
    float: _decode_float,
    bytes: _decode_bytes,
    datetime: _decode_time,
}
