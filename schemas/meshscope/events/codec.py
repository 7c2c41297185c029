"""Facts on the wire: Avro in single-object encoding.

A value is `C3 01`, the little-endian CRC-64-AVRO fingerprint of its schema, and the Avro binary
(Avro specification, "Single-object encoding"). A reader therefore needs no registry. Values that a
schema registry framed (`00` and a four-byte id) are recognised and refused with a message, since
their schemas are not known here.
"""

import io
import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Final

import fastavro
import msgspec
from fastavro.schema import fingerprint, to_parsing_canonical_form

from meshscope.events import facts

MAX_VALUE_BYTES: Final = 900_000
"""Larger values are refused on both sides: brokers refuse them a little later."""

MAGIC: Final = b"\xc3\x01"
HEADER_BYTES: Final = 10

FACTS: Final[tuple[type, ...]] = (
    facts.DeclaredResource,
    facts.ControlPlaneState,
    facts.Sync,
    facts.Snapshot,
    facts.PolicyShard,
    facts.PolicyBody,
    facts.PolicyRequest,
    facts.Drift,
    facts.Finding,
    facts.Verdict,
    facts.Anomaly,
)


class PoisonValue(ValueError):
    """A value that can never be decoded; `str()` says why. It belongs on the dead-letter topic."""


class OversizedValue(ValueError):
    """A fact that is too large for the wire; it must be split by its producer."""


def schema_text(fact: type) -> str:
    """The `.avsc` of a fact, as JSON text."""
    return files("meshscope.events").joinpath("avro", f"{fact.__name__}.avsc").read_text("utf-8")


@cache
def _current() -> Mapping[str, tuple[bytes, Any]]:
    """Fingerprint and parsed schema of each fact, by its name."""
    texts = {fact.__name__: json.loads(schema_text(fact)) for fact in FACTS}
    return {
        name: (_fingerprint(schema), fastavro.parse_schema(schema))
        for name, schema in texts.items()
    }


def schema_fingerprint(fact: type) -> bytes:
    """The eight bytes that stand for the schema of a fact on the wire."""
    return _current()[fact.__name__][0]


@cache
def _readers() -> Mapping[bytes, tuple[type, Any]]:
    """Per fingerprint the fact and the schema it was written with, released versions included."""
    by_name = {fact.__name__: fact for fact in FACTS}
    readers = {key: (by_name[name], schema) for name, (key, schema) in _current().items()}
    for release in _released():
        for file in release.iterdir():
            schema = json.loads(file.read_text("utf-8"))
            key = _fingerprint(schema)
            readers.setdefault(key, (by_name[schema["name"]], fastavro.parse_schema(schema)))
    return readers


def _released() -> list[Traversable]:
    folder = files("meshscope.events").joinpath("avro", "released")
    return sorted(folder.iterdir(), key=lambda entry: entry.name) if folder.is_dir() else []


def _fingerprint(schema: Any) -> bytes:
    return bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))


def encode(fact: object) -> bytes:
    """The value of a record.

    Raises:
        OversizedValue: The result is larger than `MAX_VALUE_BYTES`.
    """
    key, schema = _current()[type(fact).__name__]
    buffer = io.BytesIO()
    buffer.write(MAGIC + key)
    record = msgspec.to_builtins(fact, builtin_types=(bytes,), enc_hook=dict)
    fastavro.schemaless_writer(buffer, schema, record)
    value = buffer.getvalue()
    if len(value) > MAX_VALUE_BYTES:
        raise OversizedValue(
            f"a {type(fact).__name__} takes {len(value)} bytes, more than {MAX_VALUE_BYTES}"
        )
    return value


def decode(value: bytes, *expected: type) -> Any:
    """The fact that a value holds.

    Args:
        value: The record's value, as it came.
        expected: Facts that may stand on this topic; none: any.

    Raises:
        PoisonValue: It holds none of them.
    """
    if len(value) > MAX_VALUE_BYTES:
        raise PoisonValue(f"{len(value)} bytes, more than {MAX_VALUE_BYTES}")
    if value[:1] == b"\x00" and len(value) >= 5:
        schema_id = int.from_bytes(value[1:5], "big")
        raise PoisonValue(
            f"framed for schema {schema_id} of a registry, but no registry is configured"
        )
    if value[:2] != MAGIC or len(value) < HEADER_BYTES:
        raise PoisonValue("no Avro single-object encoding (it does not begin with C3 01)")
    known = _readers().get(value[2:HEADER_BYTES])
    if known is None:
        raise PoisonValue(f"unknown schema fingerprint {value[2:HEADER_BYTES].hex()}")
    fact, schema = known
    if expected and fact not in expected:
        names = " or ".join(cls.__name__ for cls in expected)
        raise PoisonValue(f"a {fact.__name__} where {names} is expected")
    buffer = io.BytesIO(value[HEADER_BYTES:])
    try:
        record = fastavro.schemaless_reader(buffer, schema, _current()[fact.__name__][1])
        decoded: Any = msgspec.convert(record, fact)
    except Exception as error:
        # Decoders fail on broken bytes with whatever they stumble over: EOFError, IndexError,
        # ValueError, UnicodeDecodeError, MemoryError; a wrong value is a ValidationError.
        raise PoisonValue(f"broken {fact.__name__}: {type(error).__name__}: {error}") from error
    rest = len(value) - HEADER_BYTES - buffer.tell()
    if rest:
        raise PoisonValue(f"{rest} bytes behind the {fact.__name__}")
    return decoded
