"""The store speaks ClickHouse's HTTP interface: what sink, console and commands rely on.

`TestClickHouse` holds for any ClickHouse: set `MESHSCOPE_CLICKHOUSE_URL` (http://host:port) and it
runs against that server too. The rest is about the embedded store.
"""

import contextlib
import datetime
import gzip
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import clickhouse_connect
import lz4.frame
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError
from embedded import Store, eventually, running_store

pytestmark = pytest.mark.integration

URL = "MESHSCOPE_CLICKHOUSE_URL"


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_store(tmp_path_factory.mktemp("store") / "store") as store:
        yield store.address


@pytest.fixture(scope="module", params=["embedded", "server"])
def address(request: pytest.FixtureRequest) -> str:
    if request.param == "server":
        if URL not in os.environ:
            pytest.skip(f"{URL} names no ClickHouse")
        return os.environ[URL]
    found: str = request.getfixturevalue("embedded")
    return found


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    """A client in a database of its own."""
    made = connect(address)
    name = f"test_{uuid.uuid4().hex}"
    made.command(f"CREATE DATABASE {name}")
    made.database = name
    yield made
    made.command(f"DROP DATABASE {name}")
    made.close()


def connect(address: str) -> Client:
    parts = urllib.parse.urlsplit(address)
    return clickhouse_connect.get_client(
        host=parts.hostname or "", port=parts.port or 0, autogenerate_session_id=False
    )


def http(
    address: str,
    fields: dict[str, str],
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    path: str = "/",
) -> tuple[int, dict[str, str], bytes]:
    """One request; POST where there is a body."""
    url = f"{address}{path}?{urllib.parse.urlencode(fields)}"
    request = urllib.request.Request(url, data=body, headers=headers or {})  # noqa: S310 (loopback)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 (loopback)
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read()


class TestClickHouse:
    def test_a_client_learns_version_and_settings(self, client: Client) -> None:
        major = int(client.server_version.split(".")[0])
        assert major >= 24
        assert client.server_settings["max_execution_time"].name == "max_execution_time"

    def test_parameters_are_bound_by_the_server(self, client: Client) -> None:
        awkward = "a'b\\c\td\ne{x}"
        result = client.query(
            "SELECT {text:String} AS text, {numbers:Array(UInt8)} AS numbers",
            parameters={"text": awkward, "numbers": [1, 2]},
        )
        assert result.column_names == ("text", "numbers")
        assert result.result_rows == [(awkward, [1, 2])]

    def test_columns_of_the_history_come_back_as_they_went_in(self, client: Client) -> None:
        client.command(
            "CREATE TABLE facts (id UUID, kind LowCardinality(String), at DateTime64(3, 'UTC'),"
            " labels Map(String, String), tags Array(LowCardinality(String)),"
            " maybe Nullable(Int64), body String, state Enum8('open' = 1, 'closed' = 2),"
            " flag Bool, share Float64, big UInt64) ENGINE = MergeTree ORDER BY id"
        )
        at = datetime.datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=datetime.UTC)
        row = (
            *(uuid.uuid4(), "route", at, {"app": "cart", "": "ü"}, ["a", ""], None),
            *("\n\n;--'\x00\t", "closed", True, 0.1, 2**64 - 1),
        )
        summary = client.insert("facts", [row] * 3)
        assert summary.written_rows == 3
        # The client gives times of UTC without a zone.
        expected = (*row[:2], at.replace(tzinfo=None), *row[3:])
        assert client.query("SELECT * FROM facts").result_rows == [expected] * 3

    @pytest.mark.parametrize("columns", [9, 10, 13, 32, 59])
    def test_the_number_of_columns_is_no_white_space(self, client: Client, columns: int) -> None:
        # The first byte of a Native block is the number of columns: here tab, line feed, …
        names = [f"c{number}" for number in range(columns)]
        declared = ", ".join(f"{name} String" for name in names)
        client.command(f"CREATE TABLE wide ({declared}) ENGINE = MergeTree ORDER BY c0")
        client.insert("wide", [names])
        assert client.query("SELECT * FROM wide").result_rows == [tuple(names)]

    def test_json_columns(self, client: Client) -> None:
        client.command("CREATE TABLE j (v JSON) ENGINE = MergeTree ORDER BY tuple()")
        client.insert("j", [[{"a": {"b": 1}, "c": ["x"]}]])
        assert client.query("SELECT v.a.b::Int64, v.c::Array(String) FROM j").result_rows == [
            (1, ["x"])
        ]

    def test_a_repeated_token_is_inserted_once_also_into_views(self, client: Client) -> None:
        client.command(
            "CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n"
            " SETTINGS non_replicated_deduplication_window = 100"
        )
        client.command(
            "CREATE TABLE sums (k UInt8, n UInt64) ENGINE = SummingMergeTree ORDER BY k"
            " SETTINGS non_replicated_deduplication_window = 100"
        )
        client.command(
            "CREATE MATERIALIZED VIEW view TO sums AS SELECT 1 AS k, sum(n) AS n FROM t GROUP BY k"
        )
        settings = {
            "insert_deduplication_token": "sink:0:100",
            "deduplicate_blocks_in_dependent_materialized_views": 1,
        }
        for _ in range(3):
            client.insert("t", [[1], [2]], column_names=["n"], settings=settings)
        assert client.query("SELECT count() FROM t").result_rows == [(2,)]
        assert client.query("SELECT sum(n) FROM sums").result_rows == [(3,)]

    def test_settings_and_database_of_a_request_end_with_it(
        self, client: Client, address: str
    ) -> None:
        other = connect(address)
        try:
            assert other.command("SELECT currentDatabase()") == "default"
            asked = "SELECT changed FROM system.settings WHERE name = 'max_block_size'"
            other.command("SELECT 1", settings={"max_block_size": 77})
            assert other.command(asked) == 0
        finally:
            other.close()

    def test_final_and_time_to_live(self, client: Client) -> None:
        client.command(
            "CREATE TABLE r (k UInt8, v UInt8, at DateTime) ENGINE = ReplacingMergeTree(v)"
            " ORDER BY k TTL at + INTERVAL 1 DAY"
        )
        now = datetime.datetime.now(tz=datetime.UTC)
        client.insert("r", [[1, 1, now]])
        client.insert("r", [[1, 2, now]])
        client.insert("r", [[2, 1, now - datetime.timedelta(days=9)]])
        client.command("OPTIMIZE TABLE r FINAL")
        assert client.query("SELECT k, v FROM r FINAL ORDER BY k").result_rows == [(1, 2)]

    @pytest.mark.parametrize(
        ("sql", "code", "name"),
        [
            ("SELECT * FROM nowhere", 60, "UNKNOWN_TABLE"),
            ("SELECT nothing", 47, "UNKNOWN_IDENTIFIER"),
            ("SELEKT 1", 62, "SYNTAX_ERROR"),
            ("SELECT throwIf(1)", 395, "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"),
        ],
    )
    def test_errors_carry_clickhouses_code(
        self, client: Client, sql: str, code: int, name: str
    ) -> None:
        with pytest.raises(DatabaseError) as raised:
            client.command(sql)
        assert (raised.value.code, raised.value.name) == (code, name)

    def test_an_unknown_setting_is_an_error(self, address: str) -> None:
        status, headers, text = http(address, {"query": "SELECT 1", "max_threats": "1"})
        assert status == 404
        assert headers["X-ClickHouse-Exception-Code"] == "115"
        assert b"max_threats" in text

    def test_a_database_that_is_not_there_is_named(self, address: str) -> None:
        awkward = "no`where'"
        status, headers, text = http(address, {"query": "SELECT 1", "database": awkward})
        assert status == 404
        assert headers["X-ClickHouse-Exception-Code"] == "81"
        assert b"no" in text

    def test_a_statement_that_takes_too_long_is_ended(self, client: Client) -> None:
        with pytest.raises(DatabaseError) as raised:
            client.command(
                "SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 1",
                settings={"max_execution_time": 1},
            )
        assert raised.value.code == 159

    def test_commands_answer_with_a_value_only_if_there_is_one(self, client: Client) -> None:
        client.command("CREATE TABLE e (n UInt8) ENGINE = MergeTree ORDER BY n")
        assert client.command("EXISTS TABLE e") == 1
        assert client.query("SELECT n FROM e").result_rows == []
        assert client.query("SELECT n FROM e LIMIT 0").column_names == ("n",)

    def test_get_reads_and_only_reads(self, address: str) -> None:
        assert http(address, {"query": "SELECT 1"})[::2] == (200, b"1\n")
        status, headers, _ = http(address, {"query": "CREATE DATABASE no"})
        assert status >= 400
        assert headers["X-ClickHouse-Exception-Code"] == "164"

    def test_query_and_body_make_one_statement(self, address: str) -> None:
        assert http(address, {}, b"SELECT 2 FORMAT JSONEachRow")[2] == b'{"2":2}\n'
        assert http(address, {"query": "SELECT"}, b"3")[2] == b"3\n"
        fields = {"query": "SELECT {n:UInt8} AS n", "param_n": "4", "default_format": "CSV"}
        status, headers, body = http(address, fields)
        assert (status, body) == (200, b"4\n")
        assert headers["X-ClickHouse-Format"] == "CSV"

    @pytest.mark.parametrize("encoding", ["gzip", "lz4", "identity"])
    def test_compressed_bodies(self, client: Client, address: str, encoding: str) -> None:
        client.command("CREATE TABLE z (a String) ENGINE = MergeTree ORDER BY a")
        rows = b"one\n\n;two\n"
        compress = {"gzip": gzip.compress, "lz4": lz4.frame.compress, "identity": bytes}[encoding]
        fields = {"query": "INSERT INTO z FORMAT LineAsString", "database": client.database or ""}
        status, _, text = http(address, fields, compress(rows), {"Content-Encoding": encoding})
        assert (status, text) == (200, b"")
        assert client.query("SELECT count() FROM z").first_row == (3,)

    @pytest.mark.parametrize("compress", ["lz4", "zstd", "gzip", False])
    def test_a_client_that_compresses(self, address: str, compress: str | bool) -> None:
        parts = urllib.parse.urlsplit(address)
        made = clickhouse_connect.get_client(
            host=parts.hostname or "", port=parts.port or 0, compress=compress
        )
        name = f"test_{uuid.uuid4().hex}"
        try:
            made.command(f"CREATE TABLE {name} (a String) ENGINE = MergeTree ORDER BY a")
            made.insert(name, [["x" * 1000]] * 100, column_names=["a"])
            found = made.query("SELECT a FROM {t:Identifier}", parameters={"t": name})
            assert found.result_rows == [("x" * 1000,)] * 100
        finally:
            made.command(f"DROP TABLE IF EXISTS {name}")
            made.close()

    def test_a_truncated_block_inserts_nothing(self, client: Client, address: str) -> None:
        client.command("CREATE TABLE b (a String) ENGINE = MergeTree ORDER BY a")
        block = client.raw_query("SELECT toString(number) AS a FROM numbers(100)", fmt="Native")
        fields = {"query": "INSERT INTO b FORMAT Native", "database": client.database or ""}
        status, _, text = http(address, fields, block[: len(block) // 2])
        assert status >= 400
        assert b"Code: " in text
        assert client.query("SELECT count() FROM b").first_row == (0,)

    def test_a_form_carries_statement_and_parameters(self, address: str) -> None:
        parts = urllib.parse.urlsplit(address)
        made = clickhouse_connect.get_client(
            host=parts.hostname or "", port=parts.port or 0, form_encode_query_params=True
        )
        try:
            result = made.query("SELECT {a:String}", parameters={"a": "b" * 5000})
            assert result.first_row == ("b" * 5000,)
        finally:
            made.close()

    def test_several_clients_write_and_read_at_once(self, client: Client, address: str) -> None:
        client.command("CREATE TABLE m (w UInt8, n UInt32) ENGINE = MergeTree ORDER BY (w, n)")
        failures: list[BaseException] = []

        def write(writer: int) -> None:
            mine = connect(address)
            mine.database = client.database
            try:
                for number in range(0, 500, 50):
                    mine.insert("m", [[writer, number + k] for k in range(50)])
                    mine.query("SELECT count() FROM m")
            except BaseException as error:
                failures.append(error)
            finally:
                mine.close()

        threads = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        counted = client.query("SELECT count(), uniqExact(w, n) FROM m")
        assert counted.first_row == (2000, 2000)


def test_ping_and_root_say_ok(embedded: str) -> None:
    assert http(embedded, {}, path="/ping")[::2] == (200, b"Ok.\n")
    assert http(embedded, {})[::2] == (200, b"Ok.\n")


def test_pages_from_elsewhere_are_refused(embedded: str) -> None:
    query = {"query": "SELECT 1"}
    assert http(embedded, query, headers={"Origin": "https://evil.example"})[0] == 403
    assert http(embedded, query, headers={"Host": "evil.example"})[0] == 403
    assert http(embedded, query, headers={"Origin": embedded})[0] == 200


def test_what_is_not_offered_is_refused_by_name(embedded: str) -> None:
    status, _, text = http(embedded, {"query": "SELECT 1", "compress": "1"})
    assert status == 501
    assert b"compress=1" in text
    assert http(embedded, {"query": "SELECT 1", "user": "ann"})[0] == 403
    status, _, text = http(embedded, {}, b"SELECT 1", {"Content-Encoding": "br"})
    assert status == 501
    assert b"use lz4, zstd, gzip" in text


def test_a_body_that_is_too_large_is_refused(tmp_path: Path) -> None:
    with running_store(tmp_path / "store", "--max-body", "1000") as store:
        fields = {"query": "SELECT length('x')"}
        assert http(store.address, fields, b"-- " + b"x" * 500)[0] == 200
        assert http(store.address, fields, b"-- " + b"x" * 2000)[0] == 413
        bomb = gzip.compress(b"-- " + b"x" * 100_000)
        assert len(bomb) < 1000
        status, headers, _ = http(store.address, fields, bomb, {"Content-Encoding": "gzip"})
        assert (status, headers["X-ClickHouse-Exception-Code"]) == (413, "307")


def test_a_slow_read_does_not_hold_up_a_write(embedded: str) -> None:
    client = connect(embedded)
    client.command("CREATE OR REPLACE TABLE w (n UInt8) ENGINE = MergeTree ORDER BY n")
    seconds: list[float] = []

    def slow() -> None:
        reader = connect(embedded)
        result = reader.query(
            "SELECT sum(sleepEachRow(0.1)) FROM numbers(20)", settings={"max_block_size": 1}
        )
        seconds.append(float(result.summary["elapsed_ns"]) / 1e9)
        reader.close()

    thread = threading.Thread(target=slow)
    thread.start()
    running = "SELECT count() FROM system.processes WHERE query LIKE '%sleepEachRow%'"
    eventually(lambda: int(client.command(running)) > 1, 10, "the slow query runs")
    client.insert("w", [[1]], column_names=["n"])
    assert thread.is_alive()
    thread.join()
    assert seconds[0] > 1.5
    client.close()


def start_another(directory: Path, port: str) -> subprocess.CompletedProcess[str]:
    module = [sys.executable, "-m", "meshscope.embedded.store"]
    return subprocess.run(
        [*module, "--path", str(directory), "--port", port],
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with running_store(tmp_path / "store") as store:
        second = start_another(store.directory, "0")
        assert second.returncode == 2
        assert store.process is not None
        assert f"in use by the process with pid {store.process.pid}" in second.stderr
        assert "MESHSCOPE_HOME" in second.stderr


def test_a_port_in_use_is_named(tmp_path: Path, embedded: str) -> None:
    port = embedded.rpartition(":")[2]
    second = start_another(tmp_path / "other", port)
    assert second.returncode == 2
    assert f"port {port} of the store is in use" in second.stderr
    assert "set MESHSCOPE_STORE_PORT" in second.stderr


def test_sigterm_ends_it_cleanly(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.start()
    assert store.process is not None
    store.process.send_signal(signal.SIGTERM)
    assert store.stop() == 0


def insert_hundred(client: Client, first: int) -> None:
    client.insert("k", [[n] for n in range(first, first + 100)], column_names=["n"])


@pytest.mark.faults
def test_acknowledged_rows_outlive_kill_9(tmp_path: Path) -> None:
    """A writer goes on through twelve kills; what was acknowledged is there afterwards."""
    store = Store(tmp_path / "store")
    acknowledged = 0
    try:
        for round_ in range(12):
            store.start()
            client = connect(store.address)
            client.command(
                "CREATE TABLE IF NOT EXISTS k (n UInt64) ENGINE = ReplacingMergeTree ORDER BY n"
            )
            counted = client.query("SELECT count(), max(n) FROM k FINAL").first_row
            assert counted[0] >= acknowledged, f"lost rows before round {round_}"
            # Killed while inserts are under way, after a number of them that differs per round.
            killer = threading.Timer(0.05 + 0.03 * round_, store.kill)
            killer.start()
            with contextlib.suppress(OperationalError):
                while True:
                    insert_hundred(client, acknowledged)
                    acknowledged += 100
            killer.join()
            client.close()
        store.start()
        client = connect(store.address)
        rows, distinct = client.query("SELECT count(), uniqExact(n) FROM k FINAL").first_row
        client.close()
        assert acknowledged > 1000
        # One insert may have been written without its acknowledgement having been sent.
        assert rows == distinct
        assert acknowledged <= rows <= acknowledged + 100
    finally:
        store.stop()
