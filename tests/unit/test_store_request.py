"""What a ClickHouse HTTP request asks for."""

import gzip
import zlib

import lz4.frame
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshscope.embedded.clickhouse_errors import QueryRefused, error_code, error_text, http_status
from meshscope.embedded.content_encoding import decompressed
from meshscope.embedded.store_request import parse_request, result_format, split_insert


@pytest.mark.parametrize(
    ("statement", "head", "format_", "data"),
    [
        (b"INSERT INTO t FORMAT CSV\n1,2\n", b"INSERT INTO t ", "CSV", b"1,2\n"),
        (b"insert into `a`.`t` (`b`) format Native\n\n\x01", None, "Native", b"\n\x01"),
        (b"INSERT INTO t FORMAT CSV 1", b"INSERT INTO t ", "CSV", b"1"),
        (b"INSERT INTO t FORMAT CSV\r\n1", b"INSERT INTO t ", "CSV", b"1"),
        (b"INSERT INTO t FORMAT CSV", b"INSERT INTO t ", "CSV", b""),
        (b"INSERT INTO TABLE format FORMAT CSV\n1", b"INSERT INTO TABLE format ", "CSV", b"1"),
        (b"/* FORMAT X */ INSERT INTO t -- FORMAT Y\n FORMAT CSV\n1", None, "CSV", b"1"),
        (b"INSERT INTO t (format, select) FORMAT CSV\n1", None, "CSV", b"1"),
        (b"INSERT INTO t SETTINGS a = ' FORMAT X' FORMAT CSV\n1", None, "CSV", b"1"),
    ],
)
def test_data_of_an_insert_is_split_off(
    statement: bytes, head: bytes | None, format_: str, data: bytes
) -> None:
    found = split_insert(statement)
    assert found[1:] == (format_, data)
    assert head is None or found[0] == head


@pytest.mark.parametrize(
    "statement",
    [
        b"INSERT INTO t VALUES (1, ' FORMAT CSV')",
        b"INSERT INTO t SELECT 1 AS format",
        b"INSERT INTO t FROM INFILE 'x' FORMAT CSV",
        b"INSERT INTO t",
        b"INSERT INTO t FORMAT",
        b"SELECT 'INSERT INTO t FORMAT CSV'",
        b"SELECT 1 FORMAT CSV",
        b"WITH 1 AS a SELECT a FORMAT CSV",
        b"",
    ],
)
def test_other_statements_stay_whole(statement: bytes) -> None:
    assert split_insert(statement) == (statement, None, None)


@given(st.binary())
def test_data_arrive_byte_for_byte(data: bytes) -> None:
    assert split_insert(b"INSERT INTO t (`a`) FORMAT Native\n" + data)[2] == data


@given(st.binary())
def test_url_and_body_are_split_like_one_text(data: bytes) -> None:
    insert = b"INSERT INTO t FORMAT Native"
    by_url = parse_request({"query": insert.decode()}, data, get=False)
    by_body = parse_request({}, insert + b"\n" + data, get=False)
    assert by_url == by_body
    assert by_url.data == data


def test_fields_are_parameters_settings_or_of_the_transport() -> None:
    fields = {
        **{"query": "SELECT {a:UInt8}", "param_a": "1", "max_threads": "2", "database": "d"},
        **{"session_id": "s", "default_format": "JSON", "enable_http_compression": "1"},
    }
    found = parse_request(fields, b"", get=False)
    assert found.parameters == {"a": "1"}
    assert found.settings == {"max_threads": "2"}
    assert (found.database, found.format, found.reads_only) == ("d", "JSON", True)


def test_get_is_read_only_whatever_it_asks_for() -> None:
    asked = parse_request({"query": "SELECT 1", "readonly": "0"}, b"", get=True)
    assert asked.settings == {"readonly": "2"}


@pytest.mark.parametrize(
    ("sql", "reads"),
    [
        ("SELECT 1", True),
        ("-- x\n(SELECT 1)", True),
        ("WITH 1 AS a SELECT a", True),
        ("WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x", False),
        ("SHOW TABLES", True),
        ("CREATE TABLE t (a Int8) ENGINE = Memory AS SELECT 1", False),
        ("ALTER TABLE t DELETE WHERE 1", False),
        ("SYSTEM FLUSH LOGS", False),
    ],
)
def test_what_only_reads(sql: str, reads: bool) -> None:
    assert parse_request({"query": sql}, b"", get=False).reads_only is reads


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("SELECT 1", None),
        ("SELECT 1 FORMAT JSON", "JSON"),
        ("SELECT 1 format CSV SETTINGS max_threads = 1;", "CSV"),
        ("SELECT 'FORMAT X' -- FORMAT Y", None),
    ],
)
def test_the_format_that_a_statement_names(sql: str, found: str | None) -> None:
    assert result_format(sql) == found


@pytest.mark.parametrize(
    ("fields", "body", "code"),
    [
        ({}, b" \n", 62),
        ({"query": "SELECT 1", "a.b": "1"}, b"", 115),
        ({"query": "SELECT 1", "decompress": "1"}, b"", 48),
        ({}, b"SELECT '\xff'", 62),
    ],
)
def test_what_cannot_be_asked(fields: dict[str, str], body: bytes, code: int) -> None:
    with pytest.raises(QueryRefused) as raised:
        parse_request(fields, body, get=False)
    assert error_code(str(raised.value)) == code


def test_errors_read_like_clickhouses() -> None:
    text = "prefix: Code: 60. DB::Exception: Table x does not exist. (UNKNOWN_TABLE)"
    assert error_text(text, "26.9") == text.removeprefix("prefix: ") + " (version 26.9)\n"
    assert (error_code(text), http_status(60)) == (60, 404)
    assert error_text("no code", "26.9").startswith("Code: 1002. DB::Exception: no code.")
    assert (error_code("no code"), http_status(1002)) == (1002, 500)


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("lz4", lz4.frame.compress)],
)
def test_decompression_is_exact_bounded_and_complete(encoding: str, compress: object) -> None:
    assert callable(compress)
    body = compress(b"x" * 1000)
    assert decompressed(body, encoding, 1000) == b"x" * 1000
    # A large body comes as several frames, one behind the other; so do the blocks of an insert.
    assert decompressed(body + compress(b"y"), encoding, 1001) == b"x" * 1000 + b"y"
    for broken, limit, code in (
        (body, 999, 307),
        (body[:-1], 1000, 117),
        (b"no such thing", 1000, 117),
    ):
        with pytest.raises(QueryRefused) as raised:
            decompressed(broken, encoding, limit)
        assert error_code(str(raised.value)) == code
