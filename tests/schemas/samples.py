"""A sample of everything that `flaredb_schemas` can say, made from the types themselves.

A sample shows every field, and never at its default. Of a union all kinds stand in it where there
is room for several, else the last; numbers count up so that fields cannot be mistaken for others.
"""

import importlib
import pkgutil
from collections.abc import Iterator
from itertools import count
from typing import Any

import msgspec
from msgspec import NODEFAULT, Struct
from msgspec import inspect as shapes

import flaredb_schemas

NEVER_SENT = {
    "envelope.Malformed": "what decoding returns instead of a value",
    "keys.RangeFault": "what a look over ranges returns",
    "subjects.Subjects": "the names under a prefix",
    "subjects.RaftAddress": "a subject taken apart",
}


def wire_types() -> list[type[Struct]]:
    """Every struct that travels or is kept, in the order of their names."""
    found = {
        name_of(value): value
        for module in pkgutil.iter_modules(flaredb_schemas.__path__)
        for value in vars(importlib.import_module(f"flaredb_schemas.{module.name}")).values()
        if isinstance(value, type) and issubclass(value, Struct)
        if value.__module__ == f"flaredb_schemas.{module.name}"
    }
    assert NEVER_SENT.keys() <= found.keys()
    return [kind for name, kind in sorted(found.items()) if name not in NEVER_SENT]


def name_of(kind: type[Struct]) -> str:
    """`module.Type`."""
    return f"{kind.__module__.removeprefix('flaredb_schemas.')}.{kind.__name__}"


def is_json(kind: type[Struct]) -> bool:
    """Events, heartbeats and the journal are JSON with names; all else is arrays in MessagePack."""
    return not kind.__struct_config__.array_like


def sample(kind: type[Struct]) -> Struct:
    """The sample of one type."""
    shape = shapes.type_info(kind)
    assert isinstance(shape, shapes.StructType)
    made = _struct(shape, count(1))
    assert isinstance(made, Struct)
    return made


def encode(value: Struct) -> bytes:
    """As it travels, without the envelope."""
    return msgspec.json.encode(value) if is_json(type(value)) else msgspec.msgpack.encode(value)


def decode(data: bytes, kind: type[Struct]) -> Struct:
    """The reverse of `encode`."""
    if is_json(kind):
        return msgspec.json.decode(data, type=kind)
    return msgspec.msgpack.decode(data, type=kind)


def _struct(shape: shapes.StructType, numbers: Iterator[int]) -> Any:
    return shape.cls(**{field.name: _field(field, numbers) for field in shape.fields})


def _field(field: shapes.Field, numbers: Iterator[int]) -> Any:
    value = _value(field.type, field.name, numbers)
    if field.default is not NODEFAULT and value == field.default:
        if isinstance(field.type, shapes.LiteralType):
            return field.type.values[0]
        assert isinstance(value, bool), f"{field.name}: the sample is the default"
        return not value
    return value


def _value(shape: shapes.Type, name: str, numbers: Iterator[int]) -> Any:
    match shape:
        case shapes.StructType():
            return _struct(shape, numbers)
        case shapes.UnionType():
            return _value(_alternatives(shape)[-1], name, numbers)
        case shapes.IntType(le=highest, lt=bound):
            number = next(numbers)
            assert (highest is None or number <= highest) and (bound is None or number < bound)
            return number
        case shapes.StrType():
            return f"{name}-{next(numbers)}"
        case shapes.BytesType():
            return f"{name}-{next(numbers)}".encode()
        case shapes.FloatType():
            return next(numbers) + 0.5
        case shapes.BoolType():
            return True
        case shapes.EnumType(cls=kind):
            return list(kind)[-1]
        case shapes.LiteralType(values=values):
            return values[-1]
        case shapes.VarTupleType(item_type=item):
            return tuple(_value(each, name, numbers) for each in _alternatives(item))
        case shapes.ListType(item_type=item):
            return [_value(each, name, numbers) for each in _alternatives(item)]
        case shapes.TupleType(item_types=items):
            return tuple(_value(item, name, numbers) for item in items)
        case shapes.DictType(key_type=key, value_type=item):
            return {_value(key, name, numbers): _value(item, name, numbers)}
        case _:
            raise AssertionError(f"{name}: no sample of {shape}")


def _alternatives(shape: shapes.Type) -> list[shapes.Type]:
    """All kinds of a union except None; of anything else, itself."""
    types = shape.types if isinstance(shape, shapes.UnionType) else (shape,)
    return [each for each in types if not isinstance(each, shapes.NoneType)]
