"""Messages are read once, and say what nobody asked for."""

from typing import Any

import pytest

from meshscope.inference.ignored import IGNORED
from meshscope.inference.reader import Message, Reading, Unexpected, duration_ms, leaves
from meshscope.policy.extension import leaf_paths


def opened(value: dict[str, Any], kind: str = "") -> tuple[Reading, Message]:
    reading = Reading()
    return reading, reading.open(value, kind, "top", "place")


def left(reading: Reading) -> dict[str, dict[str, Any]]:
    return {found.message.path(): found.fields for found in reading.left() if found.fields}


def test_what_is_read_is_gone_and_the_rest_is_left() -> None:
    reading, message = opened({"a": "x", "b": {"c": 1, "d": 2}, "e": [{"f": True}, {}]})

    assert message.string("a") == "x"
    inner = message.need("b")
    assert inner.integer("c") == 1
    assert [item.boolean("f") for item in message.messages("e")] == [True, False]

    assert left(reading) == {"top.b": {"d": 2}}


def test_a_dump_is_not_changed_by_reading_it() -> None:
    value = {"a": {"b": [{"c": 1}]}}
    _, message = opened(value)

    message.need("a").messages("b")[0].integer("c")

    assert value == {"a": {"b": [{"c": 1}]}}


@pytest.mark.parametrize(
    ("value", "read", "default"),
    [
        (1, Message.string, ""),
        ("1", Message.boolean, False),
        (True, Message.integer, 0),
        (1.5, Message.integer, 0),
        ("x", Message.number, 0.0),
        ("1.0001s", Message.milliseconds, None),
        (["a", 1], Message.strings, ()),
        (["a"], Message.integers, ()),
        ("x", Message.message, None),
        ([1], Message.messages, []),
        ({"a": 1}, Message.entries, {}),
        ({"value": 1.5}, Message.percent, None),
    ],
)
def test_a_value_of_another_type_is_left_where_it_is(value: Any, read: Any, default: Any) -> None:
    reading, message = opened({"f": value})

    assert read(message, "f") == default
    assert left(reading)


def test_a_constant_is_read_only_if_it_is_as_expected() -> None:
    reading, message = opened({"a": {"ads": {}}, "b": {"ads": {"x": 1}}})

    assert message.constant("a", {"ads": {}})
    assert not message.constant("b", {"ads": {}})
    message.require("c", 1)

    assert left(reading) == {"top": {"b": {"ads": {"x": 1}}}}
    assert reading.remarks == [("place", "top.c", "missing")]


def test_a_constant_may_write_its_durations_otherwise() -> None:
    reading, message = opened({"a": {"timeout": "0.000s", "others": ["1.500s", "v1.0s"]}})

    assert message.constant("a", {"timeout": "0s", "others": ["1.5s", "v1.0s"]})
    assert left(reading) == {}


def test_an_extension_without_configuration_is_remarked() -> None:
    reading, message = opened({"a": {"name": "x"}, "b": {"typed_config": {"@type": "t"}}})

    assert [message.need(name).configured() is None for name in "ab"] == [True, False]
    assert reading.remarks == [("place", "top.a.typed_config", "missing")]


def test_an_any_tells_its_type_and_a_typed_struct_is_looked_through() -> None:
    _, message = opened(
        {
            "a": {"@type": "type.googleapis.com/x.Y", "f": "1"},
            "b": {
                "@type": "type.googleapis.com/udpa.type.v1.TypedStruct",
                "type_url": "type.googleapis.com/z.W",
                "value": {"g": "2"},
            },
        }
    )

    plain = message.any("a")
    struct = message.any("b")

    assert plain is not None
    assert (plain[0], plain[1].string("f")) == ("x.Y", "1")
    assert struct is not None
    assert (struct[0], struct[1].string("g")) == ("z.W", "2")


def test_unread_takes_everything_back_but_not_what_stands_beside() -> None:
    reading, message = opened({"a": [{"b": {"c": 1}}, {"d": 2}]})
    first, second = message.messages("a")
    first.need("b").integer("c")
    second.integer("d")

    first.unread()

    assert left(reading) == {"top.a": {"b": {"c": 1}}}


def test_place_and_label_come_from_the_nearest_message_that_has_them() -> None:
    _, message = opened({"a": {"b": {}}})
    inner = message.need("a")
    inner.label = "filter"
    assert inner.need("b").where() == ("place", "filter")
    inner.place = "inner"
    assert inner.where() == ("inner", "filter")


def test_ignored_fields_are_told_apart_from_what_is_left() -> None:
    reading, _ = opened({"alt_stat_name": "x", "other": 1}, "Cluster")

    (found,) = reading.left()

    assert found.ignored == {"alt_stat_name": "x"}
    assert found.fields == {"other": 1}


def test_every_ignored_field_has_a_reason() -> None:
    assert all(reason.endswith(".") and len(reason.split()) > 3 for reason in IGNORED.values())


def test_what_cannot_be_opened_says_so() -> None:
    with pytest.raises(Unexpected, match="top is a list, not a JSON object"):
        Reading().open([], "", "top")
    with pytest.raises(Unexpected, match="top has no a"):
        opened({})[1].need("a")


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("0s", 0),
        ("0.300s", 300),
        ("1.5s", 1500),
        ("9223372035s", 9_223_372_035_000),
        ("-1s", -1000),
        ("0.0001s", None),
        ("1", None),
        ("1.s", None),
        ("xs", None),
        ("0.1234567890s", None),
    ],
)
def test_durations(text: str, milliseconds: int | None) -> None:
    assert duration_ms(text) == milliseconds


def test_leaves_are_scalars_and_empty_containers() -> None:
    value = {"a": 1, "b": [], "c": [{"d": None}, {}, "x"], "e": {"f": {}}}

    assert leaves(value) == 6
    assert sorted(leaf_paths(value, "")) == ["a", "b", "c", "c", "c.d", "e.f"]
    assert leaves({}) == 1
    assert leaves("x") == 1
