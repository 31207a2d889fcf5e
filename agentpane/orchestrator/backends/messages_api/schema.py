"""Does a value keep to a JSON schema? As much of JSON Schema as the tools' inputs use.

Source: JSON Schema 2020-12, "Validation": type, enum, required, properties, items, minimum, maximum, minLength,
minItems.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (Mapping,),
    "array": (list, tuple),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def problem_of(value: object, schema: Mapping[str, object], where: str = "") -> str | None:
    """The first thing that is wrong, in words that a model can act on; None if nothing is. Unknown fields pass."""
    named = f"`{where}`" if where else "the input"
    if "type" in schema and not _is_of(value, schema["type"]):
        return f"{named} must be of type {_type_words(schema['type'])}"
    allowed = schema.get("enum")
    if isinstance(allowed, Sequence) and value not in allowed:
        return f"{named} must be one of {', '.join(map(repr, allowed))}"
    if isinstance(value, Mapping):
        return _object_problem(value, schema, where)
    if isinstance(value, list | tuple):
        return _array_problem(value, schema, where)
    return _range_problem(value, schema, named)


def _object_problem(value: Mapping[object, object], schema: Mapping[str, object], where: str) -> str | None:
    required = schema.get("required", ())
    assert isinstance(required, Sequence)
    missing = [str(name) for name in required if name not in value]
    if missing:
        return "missing: " + ", ".join(f"`{_join(where, name)}`" for name in missing)
    properties = schema.get("properties", {})
    assert isinstance(properties, Mapping)
    for name, part in properties.items():
        if name in value:
            found = problem_of(value[name], part, _join(where, name))
            if found is not None:
                return found
    return None


def _array_problem(value: Sequence[object], schema: Mapping[str, object], where: str) -> str | None:
    least = schema.get("minItems", 0)
    assert isinstance(least, int)
    if len(value) < least:
        return f"`{where}` must have at least {least} items"
    items = schema.get("items")
    if isinstance(items, Mapping):
        for number, item in enumerate(value):
            found = problem_of(item, items, f"{where}[{number}]")
            if found is not None:
                return found
    return None


def _range_problem(value: object, schema: Mapping[str, object], named: str) -> str | None:
    least, most, shortest = schema.get("minimum"), schema.get("maximum"), schema.get("minLength")
    if isinstance(value, int | float):
        if isinstance(least, int | float) and value < least:
            return f"{named} must be at least {least}"
        if isinstance(most, int | float) and value > most:
            return f"{named} must be at most {most}"
    if isinstance(value, str) and isinstance(shortest, int) and len(value) < shortest:
        return f"{named} must not be empty" if shortest == 1 else f"{named} must have at least {shortest} characters"
    return None


def _is_of(value: object, kind: object) -> bool:
    names = [kind] if isinstance(kind, str) else kind
    assert isinstance(names, Sequence)
    if isinstance(value, bool):
        return "boolean" in names
    if isinstance(value, float) and value.is_integer() and "integer" in names:
        return True
    return any(isinstance(value, _TYPES[str(name)]) for name in names)


def _type_words(kind: object) -> str:
    return kind if isinstance(kind, str) else " or ".join(map(str, kind)) if isinstance(kind, Sequence) else str(kind)


def _join(where: str, name: object) -> str:
    return f"{where}.{name}" if where else str(name)
