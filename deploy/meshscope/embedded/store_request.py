"""What a ClickHouse HTTP request asks for, as a value: statement, data, parameters, settings.

Follows ClickHouse's HTTP interface (clickhouse.com/docs/interfaces/http): the statement is the
`query` parameter followed by the body; `param_x` are the statement's parameters; every other URL
parameter that the interface itself does not use is a setting of the engine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from meshscope.embedded.clickhouse_errors import QueryRefused

# Parameters that belong to the transport; everything else in the URL is a setting of the engine.
# https://clickhouse.com/docs/interfaces/http#setting-up-default-database and HTTPHandler.cpp.
TRANSPORT_PARAMETERS = frozenset(
    {
        "buffer_size",
        "client_protocol_version",
        "close_session",
        "database",
        "decompress",
        "default_format",
        "enable_http_compression",
        "http_headers_progress_interval_ms",
        "http_zlib_compression_level",
        "password",
        "query",
        "query_id",
        "quota_key",
        "role",
        "send_progress_in_http_headers",
        "session_check",
        "session_id",
        "session_timeout",
        "stacktrace",
        "user",
        "wait_end_of_query",
    }
)

_SETTING_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")

# Spaces, comments, quoted texts, words, anything else: enough of ClickHouse's lexer to find the
# words of a statement that stand outside of quotes and comments.
_TOKEN = re.compile(
    rb"""(?P<space>\s+|--[^\n]*|\#[!\s][^\n]*|/\*.*?\*/)
       | (?P<quoted>'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"|`(?:[^`\\]|\\.|``)*`)
       | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
       | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)

# First words of statements that change nothing in the store; WITH … INSERT is found by its INSERT.
_READING = frozenset({"SELECT", "WITH", "SHOW", "DESCRIBE", "DESC", "EXISTS", "EXPLAIN", "CHECK"})


@dataclass(frozen=True, slots=True)
class StoreRequest:
    """One statement for the engine.

    Attributes:
        sql: The statement; of an INSERT with data, the part before FORMAT.
        data: The rows to insert, encoded in `format`; None if the statement brings none.
        format: Of `data`, else the format of the result where the statement names none.
        parameters: Values of `{name:Type}` placeholders, as ClickHouse's escaped text.
        settings: Settings of the engine, for this statement only.
        database: The current database, None for `default`.
        reads_only: The statement cannot change the store.
    """

    sql: str
    data: bytes | None
    format: str
    parameters: Mapping[str, str]
    settings: Mapping[str, str]
    database: str | None
    reads_only: bool


def parse_request(fields: Mapping[str, str], body: bytes, *, get: bool) -> StoreRequest:
    """The statement that the fields of the URL (or form) and the body make together.

    Args:
        fields: URL parameters, or form fields.
        body: The decompressed body.
        get: The method was GET, which may read only.

    Raises:
        QueryRefused: no statement, or something that the embedded store does not support.
    """
    if fields.get("compress") == "1":
        raise QueryRefused(
            48,
            "The embedded store does not write ClickHouse's native compression (compress=1); "
            "use HTTP compression or none",
        )
    if fields.get("decompress") == "1":
        raise QueryRefused(
            48,
            "The embedded store does not read ClickHouse's native compression (decompress=1); "
            "use Content-Encoding lz4, zstd, gzip or none",
        )
    query = fields.get("query", "").encode()
    statement = query + b"\n" + body if query and body else query or body
    if not statement.strip():
        raise QueryRefused(62, "Empty query")
    settings = {
        name: value
        for name, value in fields.items()
        if name not in TRANSPORT_PARAMETERS and name != "compress" and not _is_parameter(name)
    }
    for name in settings:
        if not _SETTING_NAME.match(name):
            raise QueryRefused(115, f"Setting {name!r} is neither a setting nor a parameter")
    if get:
        settings["readonly"] = "2"
    head, format_, data = split_insert(statement)
    return StoreRequest(
        sql=_text(head),
        data=data,
        format=format_ or fields.get("default_format", "TabSeparated"),
        parameters={n[len("param_") :]: v for n, v in fields.items() if _is_parameter(n)},
        settings=settings,
        database=fields.get("database") or None,
        reads_only=data is None and _reads_only(head),
    )


def split_insert(statement: bytes) -> tuple[bytes, str | None, bytes | None]:
    """Separate the data of an INSERT from its text.

    Returns:
        (text before FORMAT, format, data), or (statement, None, None) where no data is inline:
        other statements, INSERT … SELECT, INSERT … VALUES, INSERT … FROM INFILE.
    """
    words = _words(statement)
    first = next(words, None)
    if first is None or first[0] not in ("INSERT", "WITH"):
        return statement, None, None
    previous = first[0]
    inserting = first[0] == "INSERT"
    for word, start, _ in words:
        # The word after INTO, TABLE or FUNCTION is a name, whatever it says.
        if previous in ("INTO", "TABLE", "FUNCTION"):
            previous = word if word in ("TABLE", "FUNCTION") else ""
            continue
        if word == "INSERT":
            inserting = True
        elif inserting and word in ("SELECT", "VALUES", "INFILE"):
            break
        elif inserting and word == "FORMAT":
            name = next(words, None)
            if name is None:
                break
            return (
                statement[:start],
                statement[name[1] : name[2]].decode(),
                _data(statement, name[2]),
            )
        previous = word
    return statement, None, None


def result_format(sql: str) -> str | None:
    """The format that a statement names for its result, None if it names none."""
    text = sql.encode()
    for (word, _, _), (_, start, end) in pairwise(_words(text)):
        if word == "FORMAT":
            return text[start:end].decode()
    return None


def _data(statement: bytes, position: int) -> bytes:
    # ParserInsertQuery.cpp: blanks, then at most one line end, belong to the statement.
    while statement[position : position + 1] in (b" ", b"\t", b"\f"):
        position += 1
    if statement[position : position + 1] == b"\r":
        position += 1
    if statement[position : position + 1] == b"\n":
        position += 1
    return statement[position:]


def _words(statement: bytes) -> Iterator[tuple[str, int, int]]:
    """Words in capitals, where each starts and ends; none from inside parentheses or comments.

    A quoted name or text counts as a word without letters.
    """
    depth = 0
    for token in _TOKEN.finditer(statement):
        if token.lastgroup == "other":
            depth += {b"(": 1, b")": -1}.get(token.group(), 0)
        elif depth == 0 and token.lastgroup == "word":
            yield token.group().decode().upper(), token.start(), token.end()
        elif depth == 0 and token.lastgroup == "quoted":
            yield "", token.start(), token.end()


def _reads_only(head: bytes) -> bool:
    first = None
    for word, _, _ in _words(head):
        first = first or word
        if word == "INSERT":
            return False
    return first is None or first in _READING  # None: only parentheses, (SELECT …)


def _is_parameter(name: str) -> bool:
    return name.startswith("param_")


def _text(statement: bytes) -> str:
    try:
        return statement.decode()
    except UnicodeDecodeError as error:
        raise QueryRefused(
            62, f"Syntax error: byte {error.start} of the statement is not UTF-8"
        ) from error
