"""The query library: headers, parameters, and values for them."""

import pytest

from meshscope.history.library import Parameter, library, parse


def test_every_query_says_what_it_answers_and_returns() -> None:
    assert library()
    for query in library().values():
        assert query.question.endswith("?")
        assert all(query.columns)
        for parameter in query.parameters:
            assert f"{{{parameter.name}:{parameter.type}}}" in query.sql


def test_header_is_read_over_several_lines() -> None:
    query = parse(
        "q",
        "-- question: What is\n--   this?\n"
        "-- parameters: at DateTime64(3, 'UTC'), limit UInt32 = 5,\n"
        "--   name String = 'x'\n-- columns: a,\n--   b\nSELECT 1 AS a, 2 AS b\n",
    )
    assert query.question == "What is this?"
    assert query.columns == ("a", "b")
    assert query.parameters == (
        Parameter("at", "DateTime64(3, 'UTC')", None),
        Parameter("limit", "UInt32", "5"),
        Parameter("name", "String", "x"),
    )


def test_values_are_completed_with_defaults() -> None:
    assert library()["first_bad_change"].bound({"proxy": "cart-1.shop"}) == {
        "proxy": "cart-1.shop",
        "minutes": "10",
    }


def test_a_missing_value_is_named() -> None:
    with pytest.raises(ValueError, match="needs the parameter proxy"):
        library()["first_bad_change"].bound({})


def test_an_unknown_value_is_named() -> None:
    with pytest.raises(ValueError, match="has no parameter prxy; it has proxy"):
        library()["open_drift"].bound({"prxy": "cart-1.shop"})


def test_a_file_without_a_question_is_refused() -> None:
    with pytest.raises(ValueError, match="has no line `-- question"):
        parse("q", "SELECT 1")
