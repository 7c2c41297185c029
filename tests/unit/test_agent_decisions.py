"""The agent's decisions: what is a sign of change, what is published, what is kept."""

import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshscope.agent.publication import Held, Publisher, answer, held, publish
from meshscope.agent.settings import SettingsError, from_environment
from meshscope.agent.signs import Signs, Updates, read_signs, refused, wants_dump
from meshscope.agent.spool import Record, Spool, SpoolError
from meshscope.agent.state import certificates, proxy_state, refused_updates, unreachable
from meshscope.events.codec import MAX_VALUE_BYTES, decode
from meshscope.events.facts import (
    PolicyBody,
    PolicyShard,
    ProxyState,
    RejectedUpdate,
    Snapshot,
)
from meshscope.events.proxy import ProxyInputs
from meshscope.events.topics import POLICIES, SNAPSHOTS
from meshscope.policy import key
from meshscope.policy.destination import Destination
from meshscope.policy.policy import Policy
from meshscope.policy.shards import root_digest

PROXY = ProxyInputs("cart-1.shop", "lab", "shop", metadata={"NAME": "cart-1"})
STATS = b"""cluster_manager.cds.update_rejected: 0
cluster_manager.cds.version: 1234
cluster_manager.cds.version_text: "2026-03-01/7"
cluster_manager.warming_clusters: 0
control_plane.connected_state: 1
listener_manager.lds.update_rejected: 2
listener_manager.lds.version_text: "2026-03-01/8"
listener_manager.total_filter_chains_draining: 1
listener_manager.total_listeners_draining: 0
listener_manager.total_listeners_warming: 0
server.state: 0
"""


def clusters(*hosts: dict[str, Any]) -> bytes:
    return json.dumps({"cluster_statuses": [{"name": "a", "host_statuses": list(hosts)}]}).encode()


HOST = {"address": {"socket_address": {"address": "10.0.0.1"}}, "weight": 1}


class TestSigns:
    def test_statistics_are_read(self) -> None:
        signs = read_signs(STATS, b"{}", clusters())
        assert signs.versions == {"cds": "2026-03-01/7", "lds": "2026-03-01/8"}
        assert signs.rejected == {"cds": 0, "lds": 2}
        assert signs.connected is True
        assert (signs.live, signs.warming, signs.draining) == ("LIVE", 0, 1)

    @pytest.mark.parametrize(("requests", "connected"), [(b"1", True), (b"0", False)])
    def test_a_stock_sidecar_shows_its_connection_as_a_request(
        self, requests: bytes, connected: bool
    ) -> None:
        stats = b"cluster.xds-grpc.upstream_rq_active: " + requests
        assert read_signs(stats, b"{}", clusters()).connected is connected

    def test_what_is_not_told_is_not_known(self) -> None:
        assert read_signs(b"server.state: 2\n", b"{}", clusters()).connected is None

    def test_health_and_counters_of_endpoints_are_no_sign(self) -> None:
        ejected = HOST | {"health_status": {"failed_outlier_check": True}, "stats": [{"value": 1}]}
        before, now = (read_signs(STATS, b"{}", clusters(host)) for host in (HOST, ejected))
        assert not wants_dump(before, now)

    def test_a_new_address_is_a_sign(self) -> None:
        before, now = (read_signs(STATS, b"{}", clusters(*hosts)) for hosts in ((), (HOST,)))
        assert wants_dump(before, now)

    def test_order_of_hosts_is_no_sign(self) -> None:
        other = {"address": {"socket_address": {"address": "10.0.0.2"}}, "weight": 1}
        before = read_signs(STATS, b"{}", clusters(HOST, other))
        assert not wants_dump(before, read_signs(STATS, b"{}", clusters(other, HOST)))

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            (b'"2026-03-01/7"', b'"2026-03-01/9"'),
            (b'"2026-03-01/8"', b'"2026-03-01/9"'),
            (b"update_rejected: 2", b"update_rejected: 3"),
            (b"warming_clusters: 0", b"warming_clusters: 1"),
        ],
    )
    def test_what_changes_a_dump_is_a_sign(self, old: bytes, new: bytes) -> None:
        before = read_signs(STATS, b"{}", clusters())
        assert wants_dump(before, read_signs(STATS.replace(old, new), b"{}", clusters()))

    def test_route_tables_are_a_sign(self) -> None:
        before, now = (read_signs(STATS, routes, clusters()) for routes in (b"{}", b'{"v":1}'))
        assert wants_dump(before, now)

    def test_a_lost_connection_is_state_and_no_sign(self) -> None:
        before = read_signs(STATS, b"{}", clusters())
        now = read_signs(
            STATS.replace(b"connected_state: 1", b"connected_state: 0"), b"{}", clusters()
        )
        assert now.connected is False
        assert not wants_dump(before, now)

    def test_subscriptions_are_named_as_in_the_dump(self) -> None:
        stats = STATS + (
            b"cluster_manager.cds.update_success: 3\n"
            b"cluster.outbound|8080||cart.shop.svc.cluster.local;.update_rejected: 1\n"
            b"cluster.outbound|8080||cart.shop.svc.cluster.local;.update_success: 2\n"
            b"http.outbound_0.0.0.0_8080;.rds.8080.update_rejected: 4\n"
        )
        assert read_signs(stats, b"{}", clusters()).updates == {
            "clusters": Updates(0, 3),
            "endpoints/outbound|8080||cart.shop.svc.cluster.local": Updates(1, 2),
            "routes/8080": Updates(4, 0),
        }

    def test_a_refusal_lasts_until_a_response_is_accepted(self) -> None:
        looks = [Updates(0, 1), Updates(1, 1), Updates(1, 1), Updates(2, 1), Updates(2, 2)]
        known: frozenset[str] = frozenset()
        said = []
        before = None
        for each in looks:
            now = Signs(updates={"clusters": each})
            known = refused(before, now, known)
            before = now
            said.append(bool(known))
        assert said == [False, True, True, True, False]

    def test_where_the_order_is_not_told_nothing_is_said(self) -> None:
        before = Signs(updates={"clusters": Updates(0, 1)})
        now = Signs(updates={"clusters": Updates(1, 2)})
        assert refused(before, now, frozenset()) == frozenset()

    def test_a_refusal_of_before_the_first_look_is_not_known(self) -> None:
        now = Signs(updates={"clusters": Updates(5, 1)})
        assert refused(None, now, frozenset()) == frozenset()
        assert refused(None, now, frozenset({"clusters"})) == {"clusters"}

    def test_the_first_look_wants_a_dump(self) -> None:
        assert wants_dump(None, Signs())

    @pytest.mark.parametrize("broken", [b"<html>", b"[]", b""])
    def test_answers_that_are_not_envoys_are_refused(self, broken: bytes) -> None:
        with pytest.raises(ValueError, match=r"."):
            read_signs(STATS, b"{}", broken)


def what(*hosts: str, discovery: str = "eds") -> Held:
    policies = [Policy(key.destination(host, 80), Destination(discovery)) for host in hosts]
    return held(PROXY, policies, 5, (10, 2, 0), ["outbound|80||unused"])


def facts_in(records: tuple[Record, ...]) -> list[Any]:
    return [decode(record.value or b"") for record in records]


class TestPublication:
    start = Publisher("life", 1)

    def test_snapshot_comes_last_and_holds_all(self) -> None:
        publication = publish(self.start, what("a", "b"), ProxyState(), 9, "0.1")
        facts = facts_in(publication.records)
        snapshot = facts[-1]
        assert isinstance(snapshot, Snapshot)
        assert publication.records[-1].key == b"lab/cart-1.shop"
        assert (snapshot.sequence, snapshot.epoch, snapshot.observed_at) == (1, "life", 9)
        digests = {(shard.kind, shard.shard): shard.digest for shard in snapshot.shards}
        assert snapshot.root == root_digest(digests)
        assert {f.digest for f in facts if isinstance(f, PolicyShard)} == set(digests.values())
        entries = [e for f in facts if isinstance(f, PolicyShard) for e in f.entries]
        assert {e.digest for e in entries} == {f.digest for f in facts if isinstance(f, PolicyBody)}

    def test_nothing_new_is_not_said_again(self) -> None:
        first = publish(self.start, what("a"), ProxyState(), 9, "0.1")
        assert publish(first.publisher, what("a"), ProxyState(), 10, "0.1").records == ()

    def test_a_changed_state_is_a_snapshot_without_bodies(self) -> None:
        first = publish(self.start, what("a"), ProxyState(), 9, "0.1")
        second = publish(first.publisher, what("a"), ProxyState(connected=False), 10, "0.1")
        assert [record.topic for record in second.records] == [SNAPSHOTS.name]

    def test_only_what_is_new_is_published(self) -> None:
        first = publish(self.start, what("a"), ProxyState(), 9, "0.1")
        second = publish(first.publisher, what("a", "b"), ProxyState(), 10, "0.1")
        bodies = [f for f in facts_in(second.records) if isinstance(f, PolicyBody)]
        assert bodies == []  # Both hosts have the same policy, and its body stands on the log.

    def test_returning_to_earlier_content_is_a_snapshot_of_its_own(self) -> None:
        publisher, ids = self.start, []
        for discovery in ("eds", "static", "eds"):
            publication = publish(publisher, what("a", discovery=discovery), ProxyState(), 9, "0.1")
            publisher = publication.publisher
            ids.append(facts_in(publication.records)[-1].id)
        assert len(set(ids)) == 3
        assert [record.topic for record in publication.records] == [SNAPSHOTS.name]

    def test_a_new_log_gets_everything_again(self) -> None:
        first = publish(self.start, what("a"), ProxyState(), 9, "0.1")
        again = publish(first.publisher.forget(), what("a"), ProxyState(), 10, "0.1")
        assert len(again.records) == len(first.records)
        assert facts_in(again.records)[-1].sequence == 2

    def test_replicas_share_shards_and_bodies(self) -> None:
        other = held(
            replace(PROXY, proxy="cart-2.shop"), what("a").policies.values(), 5, (1, 0, 0), []
        )
        one = {r.key for r in publish(self.start, what("a"), ProxyState(), 9, "0.1").records[:-1]}
        two = {r.key for r in publish(self.start, other, ProxyState(), 9, "0.1").records[:-1]}
        assert one == two

    def test_what_is_too_large_is_said_as_long_as_the_proxy_holds_it(self) -> None:
        large = what("a", discovery="x" * MAX_VALUE_BYTES)
        first = publish(self.start, large, ProxyState(), 9, "0.1")
        assert [record.topic for record in first.records] == [POLICIES.name, SNAPSHOTS.name]
        (reason,) = first.oversized
        assert reason.startswith(f"destination {next(iter(large.policies))}: a PolicyBody takes")
        assert facts_in(first.records)[-1].state.error == reason

        again = publish(first.publisher, large, ProxyState(), 10, "0.1")
        assert again.records == (), "it was said"
        changed = publish(again.publisher, large, ProxyState(draining=1), 11, "0.1")
        assert facts_in(changed.records)[-1].state.error == reason
        assert changed.oversized == (), "the log of the agent has it once"
        gone = publish(changed.publisher, what("a"), ProxyState(draining=1), 12, "0.1")
        assert facts_in(gone.records)[-1].state.error == ""

    def test_a_snapshot_that_is_too_large_says_that_and_no_more(self) -> None:
        names = [f"outbound|{number}||{'x' * 250}.example" for number in range(4_000)]
        large = held(PROXY, what("a").policies.values(), 5, (1, 0, 0), names)
        said = publish(self.start, large, ProxyState(connected=True), 9, "0.1")
        snapshot = facts_in(said.records)[-1]
        assert snapshot.state.error.startswith("a Snapshot takes")
        assert (snapshot.proxy, snapshot.root, snapshot.state.connected) == (
            PROXY.proxy,
            large.root,
            True,
        )
        assert snapshot.shards == snapshot.unreferenced == ()
        assert said.oversized == (snapshot.state.error,)
        assert publish(said.publisher, large, ProxyState(connected=True), 10, "0.1").records == ()

    def test_readers_get_what_they_ask_for_and_the_proxy_holds(self) -> None:
        holds = what("a")
        digest = next(iter(holds.policies))
        records = answer(holds, [digest, holds.shards[0].digest, "unknown"])
        assert {record.key.decode() for record in records} == {digest, holds.shards[0].digest}
        assert {record.topic for record in records} == {POLICIES.name}


class TestState:
    def test_first_expiry_and_identity(self) -> None:
        certs = {
            "certificates": [
                {
                    "ca_cert": [
                        {"serial_number": "0A0B", "expiration_time": "2036-01-01T00:00:00Z"}
                    ],
                    "cert_chain": [
                        {
                            "serial_number": "7f",
                            "valid_from": "2026-11-30T00:00:00Z",
                            "expiration_time": "2026-12-01T00:00:00Z",
                            "subject_alt_names": [
                                {"uri": "spiffe://cluster.local/ns/shop/sa/cart"}
                            ],
                        },
                        {"serial_number": "0A0B", "expiration_time": "2036-01-01T00:00:00Z"},
                    ],
                }
            ]
            * 2
        }
        workload, root = certificates(json.dumps(certs).encode())
        assert (workload.role, workload.serial, root.role, root.serial) == (
            "workload",
            "7f",
            "root",
            "a0b",
        )
        assert workload.expires_at - workload.valid_from == 24 * 3600 * 1000
        state = proxy_state(Signs(), (), (), (), (workload, root))
        assert state.certificate_expires_at == 1_796_083_200_000
        assert state.certificate_identity == "spiffe://cluster.local/ns/shop/sa/cart"

    def test_no_certificates_yet(self) -> None:
        assert certificates(b"{}") == ()

    def test_a_refusal_without_a_reason_gives_way_to_one_with_it(self) -> None:
        shown = (RejectedUpdate("listeners", "a", "no such provider"),)
        found = refused_updates(shown, {"clusters", "routes/8080", "listeners/b"})
        assert [(each.type, each.resource) for each in found] == [
            ("listeners", "a"),
            ("clusters", ""),
            ("routes", "8080"),
        ]

    def test_a_silent_proxy_is_unreachable_and_not_connected(self) -> None:
        state = unreachable(ProxyState(connected=True, certificate_identity="x"), "no answer")
        assert (state.live, state.connected, state.error) == ("UNREACHABLE", None, "no answer")
        assert state.certificate_identity == "x"


def record(topic: str, size: int, number: int = 0) -> Record:
    return Record(topic, str(number).encode(), b"x" * size)


class TestSpool:
    def test_what_is_put_survives_and_keeps_its_order(self, tmp_path: Path) -> None:
        with Spool(tmp_path / "spool", 10_000, SNAPSHOTS.name) as spool:
            spool.put([record(POLICIES.name, 1, number) for number in range(5)])
        with Spool(tmp_path / "spool", 10_000, SNAPSHOTS.name) as spool:
            assert [s.record.key for s in spool.after(0, 10)] == [b"0", b"1", b"2", b"3", b"4"]

    def test_acknowledged_records_are_gone_and_numbers_do_not_return(self, tmp_path: Path) -> None:
        with Spool(tmp_path / "spool", 10_000, SNAPSHOTS.name) as spool:
            spool.put([record(POLICIES.name, 1, 1)])
            first = spool.after(0, 1)[0].number
            spool.acknowledge([first])
            assert (len(spool), spool.bytes) == (0, 0)
            spool.put([record(POLICIES.name, 1, 2)])
            assert spool.after(0, 1)[0].number > first

    def test_a_full_spool_drops_the_oldest_snapshots_first(self, tmp_path: Path) -> None:
        with Spool(tmp_path / "spool", 100, SNAPSHOTS.name) as spool:
            spool.put([record(POLICIES.name, 39), record(SNAPSHOTS.name, 29, 1)])
            spool.put([record(SNAPSHOTS.name, 29, 2)])
            assert spool.dropped == 0
            spool.put([record(SNAPSHOTS.name, 29, 3)])
            kept = [(s.record.topic, s.record.key) for s in spool.after(0, 10)]
            assert kept == [
                (POLICIES.name, b"0"),
                (SNAPSHOTS.name, b"2"),
                (SNAPSHOTS.name, b"3"),
            ]
            assert spool.dropped == 1

    def test_policies_are_never_dropped(self, tmp_path: Path) -> None:
        with Spool(tmp_path / "spool", 100, SNAPSHOTS.name) as spool:
            spool.put([record(POLICIES.name, 90)])
            with pytest.raises(SpoolError, match="is full"):
                spool.put([record(POLICIES.name, 90)])
            assert len(spool) == 1

    def test_all_or_nothing(self, tmp_path: Path) -> None:
        with Spool(tmp_path / "spool", 100, SNAPSHOTS.name) as spool:
            spool.put([record(SNAPSHOTS.name, 40)])
            with pytest.raises(SpoolError):
                spool.put([record(POLICIES.name, 60), record(POLICIES.name, 60)])
            assert [s.record.topic for s in spool.after(0, 10)] == [SNAPSHOTS.name]

    def test_a_file_that_is_no_spool_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "spool"
        path.write_bytes(b"this is not a database" * 100)
        with pytest.raises(SpoolError, match=r"cannot be used .* remove the file"):
            Spool(path, 100, SNAPSHOTS.name)

    @given(st.lists(st.integers(1, 30), max_size=12))
    def test_bytes_are_counted_right(self, sizes: list[int]) -> None:
        spool = Spool(Path(":memory:"), 200, SNAPSHOTS.name)
        for number, size in enumerate(sizes):
            spool.put([record(SNAPSHOTS.name, size, number)])
        held_bytes = sum(
            len(s.record.key) + len(s.record.value or b"") for s in spool.after(0, 100)
        )
        assert spool.bytes == held_bytes <= 200
        spool.__exit__()

    def test_a_tombstone_is_kept_as_one(self, tmp_path: Path) -> None:
        with Spool(tmp_path / "spool", 100, SNAPSHOTS.name) as spool:
            spool.put([Record(SNAPSHOTS.name, b"k", None)])
            assert spool.after(0, 1)[0].record.value is None

    def test_headers_are_kept_and_counted(self, tmp_path: Path) -> None:
        letter = Record(SNAPSHOTS.name, b"k", b"v", (("ms-error", b"broken"),))
        with Spool(tmp_path / "spool", 1000, SNAPSHOTS.name) as spool:
            spool.put([letter])
            assert spool.after(0, 1)[0].record == letter
            assert spool.bytes == len("kvms-errorbroken")

    @pytest.mark.parametrize("clock", [5_000, 4_000, 5_000 - 3_600_000, 9_000])
    def test_a_later_life_begins_later_whatever_the_clock_says(
        self, tmp_path: Path, clock: int
    ) -> None:
        with Spool(tmp_path / "spool", 1000, SNAPSHOTS.name) as spool:
            first = spool.begin_life(5_000)
        with Spool(tmp_path / "spool", 1000, SNAPSHOTS.name) as spool:
            second = spool.begin_life(clock)
            third = spool.begin_life(clock)
        assert (first, second) == (5_000, max(clock, 5_001))
        assert third > second

    def test_a_torn_write_leaves_the_spool_as_it_was(self, tmp_path: Path) -> None:
        path = tmp_path / "spool"
        with Spool(path, 1000, SNAPSHOTS.name) as spool:
            spool.put([record(POLICIES.name, 1)])
        writer = sqlite3.connect(path, isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM record")
        writer.close()  # As a kill in the middle of a transaction.
        with Spool(path, 1000, SNAPSHOTS.name) as spool:
            assert len(spool) == 1


class TestSettings:
    def test_the_admin_interface_is_read_over_loopback_only(self) -> None:
        with pytest.raises(SettingsError, match="loopback only"):
            from_environment({"MESHSCOPE_AGENT_ADMIN": "http://10.0.0.1:15000"})

    def test_misspelt_settings_are_named(self) -> None:
        with pytest.raises(SettingsError, match="MESHSCOPE_AGENT_POL_SECONDS"):
            from_environment({"MESHSCOPE_AGENT_POL_SECONDS": "1"})

    @pytest.mark.parametrize("value", ["0", "-1", "soon"])
    def test_intervals_are_numbers_above_zero(self, value: str) -> None:
        with pytest.raises(SettingsError, match="give a number"):
            from_environment({"MESHSCOPE_AGENT_POLL_SECONDS": value})
