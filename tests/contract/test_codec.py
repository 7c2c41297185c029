"""Facts on the wire: golden bytes, two decoders that agree, and broken values."""

import io
import json
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import avro.io
import avro.schema
import fastavro
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshscope.events import facts
from meshscope.events.codec import (
    FACTS,
    HEADER_BYTES,
    MAGIC,
    MAX_VALUE_BYTES,
    OversizedValue,
    PoisonValue,
    decode,
    encode,
    schema_fingerprint,
    schema_text,
)
from meshscope.events.topics import EVIDENCE, TOPICS

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
NAMES = [fact.__name__ for fact in FACTS]


def facts_of(fact: type) -> st.SearchStrategy[Any]:
    return st.from_type(fact)


@pytest.mark.parametrize("fact", FACTS, ids=NAMES)
class TestEveryFact:
    def test_schema_has_the_fields_of_the_dataclass(self, fact: type) -> None:
        schema = json.loads(schema_text(fact))
        assert schema["namespace"] == "io.meshscope"
        _assert_same_fields(fact, schema)

    def test_golden_bytes_are_decoded_alike_by_both_decoders(self, fact: type) -> None:
        golden = json.loads((GOLDEN / f"{fact.__name__}.json").read_text())
        value = bytes.fromhex(golden["value"])
        body = value[HEADER_BYTES:]
        written_with = json.dumps(golden["schema"])

        by_fastavro = fastavro.schemaless_reader(
            io.BytesIO(body), fastavro.parse_schema(golden["schema"])
        )
        reference = avro.io.DatumReader(avro.schema.parse(written_with))
        by_reference = reference.read(avro.io.BinaryDecoder(io.BytesIO(body)))

        assert by_fastavro == by_reference
        assert decode(value) == msgspec.convert(by_fastavro, fact)

    def test_golden_bytes_are_what_is_written_today(self, fact: type) -> None:
        golden = json.loads((GOLDEN / f"{fact.__name__}.json").read_text())
        value = bytes.fromhex(golden["value"])
        if value[2:HEADER_BYTES] != schema_fingerprint(fact):
            pytest.skip("golden bytes of an earlier release; reading them is tested above")
        assert encode(decode(value)) == value

    def test_no_item_of_an_array_has_zero_width(self, fact: type) -> None:
        # A few bytes could otherwise announce millions of items.
        assert '"null"]' not in schema_text(fact)
        for record in _records(json.loads(schema_text(fact))):
            assert record["fields"], f"{record['name']} has no fields"


@given(st.sampled_from(FACTS).flatmap(facts_of))
def test_what_is_written_is_read_again(fact: Any) -> None:
    assert decode(encode(fact)) == fact


@given(st.binary(max_size=200))
def test_any_bytes_behind_a_known_header_are_a_fact_or_poison(body: bytes) -> None:
    value = MAGIC + schema_fingerprint(facts.Snapshot) + body
    try:
        decoded = decode(value)
    except PoisonValue:
        return
    assert isinstance(decoded, facts.Snapshot)


@given(st.sampled_from(FACTS).flatmap(facts_of), st.data())
def test_a_truncated_value_is_poison(fact: Any, data: st.DataObject) -> None:
    value = encode(fact)
    end = data.draw(st.integers(0, len(value) - 1))
    with pytest.raises(PoisonValue):
        decode(value[:end])


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (b"", "single-object"),
        (b"not avro at all", "single-object"),
        (b"\x00\x00\x00\x00\x07rest", "schema 7 of a registry"),
        (MAGIC + b"12345678" + b"x", "unknown schema fingerprint"),
        (b"x" * (MAX_VALUE_BYTES + 1), "more than 900000"),
    ],
)
def test_poison_says_what_is_wrong(value: bytes, says: str) -> None:
    with pytest.raises(PoisonValue, match=says):
        decode(value)


def test_trailing_bytes_are_poison() -> None:
    value = encode(facts.PolicyBody("d", "egress", 1, b"{}"))
    with pytest.raises(PoisonValue, match="1 bytes behind the PolicyBody"):
        decode(value + b"\x00")


def test_a_fact_of_another_topic_is_poison() -> None:
    value = encode(facts.PolicyBody("d", "egress", 1, b"{}"))
    with pytest.raises(PoisonValue, match="a PolicyBody where Snapshot is expected"):
        decode(value, facts.Snapshot)


def test_an_oversized_fact_is_refused_by_its_producer() -> None:
    with pytest.raises(OversizedValue, match="PolicyBody takes"):
        encode(facts.PolicyBody("d", "egress", 1, b"x" * MAX_VALUE_BYTES))


def test_every_fact_stands_on_exactly_one_topic() -> None:
    # The topic of evidence repeats drifts under another key.
    on_topics = [fact for topic in TOPICS if topic is not EVIDENCE for fact in topic.facts]
    assert sorted(fact.__name__ for fact in on_topics) == sorted(NAMES)


def _assert_same_fields(cls: type, schema: dict[str, Any]) -> None:
    hints = get_type_hints(cls)
    assert [field["name"] for field in schema["fields"]] == [field.name for field in fields(cls)]
    for described, field in zip(schema["fields"], fields(cls), strict=True):
        nested = described["type"]
        has_default = field.default is not MISSING or field.default_factory is not MISSING
        if has_default and not is_dataclass(field.default):
            assert "default" in described, f"{cls.__name__}.{field.name} needs a default"
        if isinstance(nested, dict) and nested["type"] == "record":
            _assert_same_fields(hints[field.name], nested)


def _records(schema: Any) -> list[dict[str, Any]]:
    if isinstance(schema, list):
        return [record for branch in schema for record in _records(branch)]
    if not isinstance(schema, dict):
        return []
    inner = [schema.get("items"), schema.get("values")]
    inner += [field["type"] for field in schema.get("fields", [])]
    own = [schema] if schema.get("type") == "record" else []
    return own + [record for part in inner for record in _records(part)]
