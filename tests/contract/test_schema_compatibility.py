"""Schemas stay readable: every released schema can be read with today's."""

import json
from importlib.resources import files
from typing import Any

import pytest

from meshscope.events.codec import FACTS, schema_text

RELEASED = files("meshscope.events").joinpath("avro", "released")


def released() -> list[tuple[str, str, Any]]:
    if not RELEASED.is_dir():
        return []
    return [
        (release.name, file.name.removesuffix(".avsc"), json.loads(file.read_text("utf-8")))
        for release in RELEASED.iterdir()
        for file in release.iterdir()
    ]


def breaks(writer: Any, reader: Any, path: str = "") -> list[str]:
    """Why data written with `writer` cannot be read with `reader`; empty: they can.

    Only the constructs that the facts use; stricter than Avro's resolution where decoders differ
    (aliases, promotions).
    """
    writer, reader = _unwrap(writer), _unwrap(reader)
    if isinstance(writer, list) or isinstance(reader, list):
        readable = reader if isinstance(reader, list) else [reader]
        written = writer if isinstance(writer, list) else [writer]
        return [
            f"{path}: nothing in {readable} reads {branch}"
            for branch in written
            if all(breaks(branch, candidate, path) for candidate in readable)
        ]
    if isinstance(writer, str) or isinstance(reader, str):
        return [] if writer == reader else [f"{path}: {writer} became {reader}"]
    if writer["type"] != reader["type"]:
        return [f"{path}: {writer['type']} became {reader['type']}"]
    if writer["type"] == "array":
        return breaks(writer["items"], reader["items"], f"{path}[]")
    if writer["type"] == "map":
        return breaks(writer["values"], reader["values"], f"{path}{{}}")
    if writer["name"] != reader["name"]:
        return [f"{path}: {writer['name']} became {reader['name']}"]
    before = {field["name"]: field for field in writer["fields"]}
    found = []
    for field in reader["fields"]:
        where = f"{path}.{field['name']}"
        if field["name"] in before:
            found += breaks(before[field["name"]]["type"], field["type"], where)
        elif "default" not in field:
            found.append(f"{where}: new without a default")
    return found


def _unwrap(schema: Any) -> Any:
    if isinstance(schema, dict) and isinstance(schema["type"], dict | list):
        return schema["type"]
    return schema


@pytest.mark.parametrize(
    ("release", "name", "schema"), released(), ids=lambda value: value if type(value) is str else ""
)
def test_released_schemas_are_readable(release: str, name: str, schema: Any) -> None:
    today = {fact.__name__: fact for fact in FACTS}
    assert name in today, f"{name} of {release} is gone; keep it, or add a topic of a new name"
    assert breaks(schema, json.loads(schema_text(today[name]))) == []


def record(*fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "record", "name": "R", "fields": list(fields)}


A = {"name": "a", "type": "string"}


@pytest.mark.parametrize(
    ("writer", "reader"),
    [
        (record(A), record(A, {"name": "b", "type": "long"})),
        (record(A), record({"name": "a", "type": "long"})),
        (record(A), {**record(A), "name": "S"}),
        (record({"name": "a", "type": ["null", "string"]}), record(A)),
        (
            record({"name": "a", "type": {"type": "array", "items": "string"}}),
            record({"name": "a", "type": {"type": "array", "items": "long"}}),
        ),
    ],
)
def test_the_check_finds_planted_breaks(writer: Any, reader: Any) -> None:
    assert breaks(writer, reader)


@pytest.mark.parametrize(
    ("writer", "reader"),
    [
        (record(A), record(A, {"name": "b", "type": "long", "default": 0})),
        (record(A, {"name": "b", "type": "long"}), record(A)),
        (record(A), record({"name": "a", "type": ["null", "string"]})),
    ],
)
def test_the_check_allows_what_avro_reads(writer: Any, reader: Any) -> None:
    assert breaks(writer, reader) == []
