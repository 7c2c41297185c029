"""What surrounds services: discovered namespaces, owners of Pods, addresses of both families."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from declared import client, declare, projected, route, service

from meshscope.events.resource import Resource
from meshscope.policy import key
from meshscope.policy.destination import UNLIMITED, Destination
from meshscope.policy.endpoints import Endpoints
from meshscope.policy.http_route import HttpRoute
from meshscope.policy.inbound import Inbound
from meshscope.policy.kinds import Kind
from meshscope.projection.declared.discovery import discovered, selects
from meshscope.projection.result import Projection
from meshscope.projection.services.owners import workload_name
from meshscope.watcher.manifests import read_manifests

WEB = "web.shop.svc.cluster.local"


def entry(*addresses: str, **spec: Any) -> Resource:
    given = {
        "hosts": ["x.example"],
        "addresses": list(addresses),
        "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
        "resolution": "STATIC",
        "endpoints": [{"address": "10.8.0.1"}, {"address": "10.8.0.2"}],
        **spec,
    }
    return declare("ServiceEntry", "x", given)


def endpoints(found: Projection, host: str, port: int = 80) -> Endpoints:
    content = found.policies[key.endpoints(host, port)].content
    assert isinstance(content, Endpoints)
    return content


class TestDiscovery:
    @pytest.mark.parametrize(
        ("selector", "selected"),
        [
            ({}, True),
            ({"matchLabels": {"team": "a"}}, True),
            ({"matchLabels": {"team": "b"}}, False),
            ({"matchExpressions": [{"key": "team", "operator": "In", "values": ["a"]}]}, True),
            ({"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["a"]}]}, False),
            ({"matchExpressions": [{"key": "team", "operator": "Exists"}]}, True),
            ({"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]}, False),
            ({"matchExpressions": [{"key": "x", "operator": "NotIn", "values": ["a"]}]}, True),
        ],
    )
    def test_label_selectors(self, selector: Mapping[str, Any], selected: bool) -> None:
        assert selects(selector, {"team": "a"}) is selected

    def test_what_is_in_no_discovered_namespace_is_not_there(self) -> None:
        resources = (
            service("web"),
            service("api", ip="10.0.0.2", namespace="bank"),
            declare("Namespace", "shop", {}, namespace="", labels={"team": "a"}),
            declare("Namespace", "bank", {}, namespace=""),
        )
        found = projected(*resources, discoverySelectors=[{"matchLabels": {"team": "a"}}])
        assert key.destination(WEB, 80) in found.policies
        assert key.destination("api.bank.svc.cluster.local", 80) not in found.policies
        assert found.notes == ()

    def test_every_namespace_bears_its_name(self) -> None:
        selector = {"matchLabels": {"kubernetes.io/metadata.name": "shop"}}
        seen, notes = discovered((service("web"),), (selector,))
        assert len(seen) == 1
        assert notes == ()

    def test_a_namespace_of_unknown_labels_is_assumed_to_be_discovered(self) -> None:
        seen, notes = discovered((service("web"),), ({"matchLabels": {"team": "a"}},))
        assert len(seen) == 1
        assert "'shop'" in notes[0]


class TestOwners:
    @pytest.mark.parametrize(
        ("kind", "name", "labels", "workload"),
        [
            ("ReplicaSet", "web-5d4f8", {"pod-template-hash": "5d4f8"}, "web"),
            ("ReplicaSet", "web-5d4f8", {"rollouts-pod-template-hash": "5d4f8"}, "web"),
            ("ReplicaSet", "web", {}, "web"),
            ("StatefulSet", "db", {}, "db"),
            ("Job", "nightly-28001234", {}, "nightly"),
            ("Job", "migrate", {}, "migrate"),
            ("ReplicationController", "old-3", {"deploymentconfig": "old"}, "old"),
            ("ReplicationController", "old", {}, "old"),
        ],
    )
    def test_what_stands_behind_the_controller(
        self, kind: str, name: str, labels: Mapping[str, str], workload: str
    ) -> None:
        owner = {"kind": kind, "name": name, "controller": True}
        metadata = {"generateName": f"{name}-", "ownerReferences": [{"kind": "Other"}, owner]}
        pod = replace(
            declare("Pod", f"{name}-x", {}, labels=labels), body={"metadata": metadata, "spec": {}}
        )
        assert workload_name(pod) == workload

    def test_a_pod_without_an_owner_is_its_own_workload(self) -> None:
        pod = declare("Pod", "one", {})
        assert workload_name(pod) == "one"
        unowned = replace(pod, body={"metadata": {"generateName": "on"}})
        assert workload_name(unowned) == "one"

    def test_manifests_keep_what_names_the_owner_of_a_pod(self) -> None:
        text = b"""
apiVersion: v1
kind: Pod
metadata:
  name: web-5d4f8-x
  generateName: web-5d4f8-
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-5d4f8, controller: true}]
  labels: {pod-template-hash: 5d4f8}
spec: {}
"""
        (pod,) = read_manifests([("pod.yaml", text)]).resources
        assert workload_name(pod) == "web"
        assert set(pod.body) == {"metadata", "spec"}


class TestEndpoints:
    def test_every_address_of_a_service_entry_counts_its_endpoints(self) -> None:
        found = endpoints(projected(entry("10.1.0.1", "10.1.0.2")), "x.example")
        assert [len(group.endpoints) for group in found.localities] == [2]
        assert [group.weight for group in found.localities] == [4]

    @pytest.mark.parametrize(
        ("port", "number"),
        [
            ({"name": "http", "port": 80, "targetPort": 8080}, 9999),
            ({"name": "grpc", "port": 80, "targetPort": 8080}, 8080),
            ({"name": "grpc", "port": 80, "targetPort": "http"}, 9999),
        ],
    )
    def test_a_workload_entry_maps_the_ports_of_a_kubernetes_service(
        self, port: Mapping[str, Any], number: int
    ) -> None:
        spec = {"address": "6.6.6.6", "labels": {"app": "vm"}, "ports": {"http": 9999}}
        found = projected(
            service("web", port, selector={"app": "vm"}), declare("WorkloadEntry", "vm", spec)
        )
        (group,) = endpoints(found, WEB).localities
        assert [one.port for one in group.endpoints] == [number]

    def test_a_headless_service_has_no_workload_entries(self) -> None:
        entry = declare("WorkloadEntry", "vm", {"address": "6.6.6.6", "labels": {"app": "vm"}})
        found = projected(service("web", ip="None", selector={"app": "vm"}), entry)
        assert key.outbound_listener("6.6.6.6", 80) not in found.policies

    def test_localities_that_are_written_in_other_ways_are_kept_apart(self) -> None:
        pair = [
            {"address": f"10.8.0.{number}", "locality": text}
            for number, text in enumerate(("a/b", "a/b/", "a/b"))
        ]
        found = endpoints(projected(entry("10.1.0.1", endpoints=pair)), "x.example")
        assert sorted(group.weight for group in found.localities) == [1, 2]
        assert {(group.region, group.zone) for group in found.localities} == {("a", "b")}


class TestNames:
    def test_a_service_entry_adds_to_the_names_of_a_service_if_it_is_the_newer_one(self) -> None:
        spec = {
            "hosts": [WEB],
            "ports": [{"number": 99, "name": "tcp", "protocol": "TCP"}],
            "resolution": "STATIC",
            "subjectAltNames": ["spiffe://x/y"],
        }
        for age, names in (("2026-02-01T00:00:00Z", {"spiffe://x/y"}), ("2025-01-01", set())):
            found = projected(service("web"), declare("ServiceEntry", "more", spec, age=age))
            content = found.policies[key.destination(WEB, 80)].content
            assert isinstance(content, Destination)
            assert content.tls is not None
            assert {name.value for name in content.tls.server_names} == names

    def test_settings_of_names_stay_where_connections_are_passed_through(self) -> None:
        rule = {
            "host": "x.example",
            "trafficPolicy": {"loadBalancer": {"simple": "PASSTHROUGH"}},
            "subsets": [{"name": "v1", "labels": {"version": "v1"}}],
        }
        found = projected(entry(resolution="DNS"), declare("DestinationRule", "x", rule))
        for subset, refresh in (("", 60_000), ("v1", 0)):
            content = found.policies[key.destination("x.example", 80, subset)].content
            assert isinstance(content, Destination)
            assert content.discovery == "original_dst"
            assert content.dns_refresh_ms == refresh


class TestAddresses:
    BOTH = ("10.0.0.1", "fd00::1")

    def domains(self, *addresses: str, **spec: Any) -> set[str]:
        proxy = client(addresses=addresses)
        found = projected(service("web", **spec), proxy=proxy)
        return {d for d in route(found, "80", f"{WEB}:80").domains if d[0] in "1[" or d[:2] == "fd"}

    def test_a_proxy_knows_the_addresses_of_its_own_family(self) -> None:
        both = {"clusterIPs": list(self.BOTH)}
        assert self.domains("10.9.0.1", **both) == {"10.0.0.1"}
        assert self.domains("fd00:9::1", **both) == {"[fd00::1]"}
        assert self.domains("10.9.0.1", ip="fd00::1") == set()

    def test_one_of_both_families_knows_those_of_the_first(self) -> None:
        assert self.domains("10.9.0.1", "fd00:9::1", clusterIPs=list(self.BOTH)) == {"10.0.0.1"}

    def test_any_of_several_addresses_of_a_service_entry_may_stand_for_it(self) -> None:
        found = projected(entry("10.1.0.1", "10.2.0.1"))
        outcomes = found.alternatives[key.http_route("80", "x.example:80")]
        named = {
            domain
            for outcome in outcomes
            if outcome is not None and isinstance(outcome.content, HttpRoute)
            for domain in outcome.content.domains
        }
        assert {"10.1.0.1", "10.2.0.1"} <= named
        assert projected(entry("10.1.0.1")).alternatives == {}

    def test_an_address_of_several_hosts_may_stand_for_any_of_them(self) -> None:
        shared = entry("10.1.0.1")
        hosts = {**shared.spec, "hosts": ["a.example", "b.example"]}
        found = projected(replace(shared, body={"spec": hosts}))
        for host in hosts["hosts"]:
            outcomes = found.alternatives[key.http_route("80", f"{host}:80")]
            assert {
                "10.1.0.1" in outcome.content.domains
                for outcome in outcomes
                if outcome is not None and isinstance(outcome.content, HttpRoute)
            } == {True, False}

    @pytest.mark.parametrize(
        ("address", "source"), [("10.9.0.1", "127.0.0.6"), ("fd00:9::1", "::6")]
    )
    def test_a_workload_is_reached_from_an_address_of_its_family(
        self, address: str, source: str
    ) -> None:
        content = projected(proxy=client(addresses=(address,))).policies[key.inbound("*")].content
        assert isinstance(content, Inbound)
        assert content.upstream is not None
        assert content.upstream.source_address == source

    def test_further_addresses_of_listeners_are_in_doubt(self) -> None:
        found = projected(proxy=client(addresses=("10.9.0.1", "fd00:9::1")))
        assert {part.kind for part in found.unverifiable} == {Kind.EXTENSION}


def test_a_workload_applies_rules_to_its_own_ports_only_if_it_sees_its_service() -> None:
    limited = {"connectionPool": {"tcp": {"maxConnections": 7}}}
    own = (
        service("web", {"name": "http", "port": 80, "targetPort": 8080}, selector={"app": "web"}),
        declare("DestinationRule", "web", {"host": "web", "trafficPolicy": limited}),
    )
    hidden = declare("Sidecar", "none", {"egress": [{"hosts": ["~/*"]}]})
    proxy = client(labels={"app": "web"})
    for resources, limit in ((own, 7), ((*own, hidden), UNLIMITED)):
        content = projected(*resources, proxy=proxy).policies[key.inbound(8080)].content
        assert isinstance(content, Inbound)
        assert content.upstream is not None
        assert content.upstream.connection_pool.max_connections == limit


def test_a_udp_port_of_a_workload_is_taken_for_tcp() -> None:
    dns = service("dns", {"name": "dns", "port": 53, "protocol": "UDP"}, selector={"app": "dns"})
    found = projected(dns, proxy=client(labels={"app": "dns"}))
    content = found.policies[key.inbound(53)].content
    assert isinstance(content, Inbound)
    assert content.protocol == "tcp"


def test_a_table_of_no_listener_has_its_catch_all() -> None:
    port = {"number": 90, "protocol": "TCP", "name": "tcp"}
    sidecar = declare("Sidecar", "one", {"egress": [{"port": port, "hosts": ["./*"]}]})
    found = projected(service("web"), sidecar, proxyHttpPort=15002)
    assert key.egress("http_proxy") in found.policies
    assert key.http_route("http_proxy", "") not in found.policies


def test_nothing_is_seen_where_everything_is_excluded() -> None:
    sidecar = declare("Sidecar", "none", {"egress": [{"hosts": ["./*", "~/*"]}]})
    assert key.destination(WEB, 80) not in projected(service("web"), sidecar).policies


def test_an_address_that_several_hosts_share_may_stand_for_any_of_them() -> None:
    found = projected(entry("10.1.0.1", hosts=["a.example", "b.example"]))
    for host in ("a.example", "b.example"):
        outcomes = found.alternatives[key.http_route("80", f"{host}:80")]
        assert len(outcomes) == 2


def test_the_default_traffic_policy_limits_what_is_passed_through() -> None:
    found = projected(defaultTrafficPolicy={"connectionPool": {"tcp": {"maxConnections": 7}}})
    content = found.policies[key.inbound("*")].content
    assert isinstance(content, Inbound)
    assert content.upstream is not None
    assert content.upstream.connection_pool.max_connections == 7
