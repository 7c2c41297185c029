"""Which endpoints a client gets, with labels, priorities and weights."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from meshscope.events.resource import Resource
from meshscope.policy.endpoints import Endpoints
from meshscope.policy.source import ResourceRef
from meshscope.projection.destinations.destination import Backend, Client
from meshscope.projection.destinations.destination_rule import MergedRule
from meshscope.projection.destinations.endpoints import (
    Viewpoint,
    declared_tls_mode,
    endpoints,
    selected,
    subset_labels,
)
from meshscope.projection.services.instances import Instance, InstanceIndex, with_place
from meshscope.projection.services.locality import Place

BOOKS = Backend("books.shop.svc.cluster.local", "shop", "books", 8000, "http")
NEAR, FAR, ABROAD = Place("eu", "a"), Place("eu", "b"), Place("us", "a")
HERE = Viewpoint(NEAR, with_place({"app": "web"}, NEAR), "node-a")
OUTLIER = {"outlierDetection": {}}


def instance(address: str, place: Place = NEAR, **fields: Any) -> Instance:
    labels = with_place(fields.pop("labels", {"version": "v1"}), place)
    return Instance(
        address, 8000, "http", labels, fields.pop("tls_mode", "istio"), place=place, **fields
    )


def rule(policy: Mapping[str, Any] | None = None, **subsets: Mapping[str, Any]) -> MergedRule:
    ref = ResourceRef("DestinationRule", "shop", "books")
    return MergedRule((ref,), "shop", BOOKS.host, policy=policy, subsets=subsets)


def seen(
    *instances: Instance,
    policy: Mapping[str, Any] | None = None,
    backend: Backend = BOOKS,
    mode: str = "PERMISSIVE",
) -> Endpoints:
    applied = None if policy is None else rule(policy)
    return endpoints(backend, instances, applied, "", Client(), HERE, lambda _: mode)


def priorities(found: Endpoints) -> dict[tuple[str, str], int]:
    return {(loc.region, loc.zone): loc.priority for loc in found.localities}


def weights(found: Endpoints) -> dict[tuple[str, str], int]:
    return {(loc.region, loc.zone): loc.weight for loc in found.localities}


def test_without_outlier_detection_locality_does_not_count() -> None:
    found = seen(instance("10.0.0.1"), instance("10.0.0.2", FAR))
    assert priorities(found) == {("eu", "a"): 0, ("eu", "b"): 0}


def test_with_outlier_detection_the_nearest_locality_comes_first() -> None:
    found = seen(instance("10.0.0.2", FAR), instance("10.0.0.3", ABROAD), policy=OUTLIER)
    assert priorities(found) == {("eu", "b"): 0, ("us", "a"): 1}


def test_failover_names_the_region_that_comes_next() -> None:
    failover = {"failover": [{"from": "eu", "to": "asia"}]}
    found = seen(
        instance("10.0.0.1"),
        instance("10.0.0.2", ABROAD),
        instance("10.0.0.3", Place("asia", "x")),
        policy={**OUTLIER, "loadBalancer": {"localityLbSetting": failover}},
    )
    assert priorities(found) == {("eu", "a"): 0, ("asia", "x"): 1, ("us", "a"): 2}


def test_locality_that_is_switched_off_does_not_count() -> None:
    policy = {**OUTLIER, "loadBalancer": {"localityLbSetting": {"enabled": False}}}
    found = seen(instance("10.0.0.1"), instance("10.0.0.2", FAR), policy=policy)
    assert set(priorities(found).values()) == {0}


def test_distribution_weighs_localities_and_empties_those_it_does_not_name() -> None:
    distribute = [{"from": "eu/a/*", "to": {"eu/a/*": 80, "eu/b/*": 20}}]
    found = seen(
        instance("10.0.0.1"),
        instance("10.0.0.2", FAR),
        instance("10.0.0.3", ABROAD),
        policy={"loadBalancer": {"localityLbSetting": {"distribute": distribute}}},
    )
    assert weights(found) == {("eu", "a"): 80, ("eu", "b"): 20}


def test_labels_tell_priorities_within_a_locality() -> None:
    labels = ["topology.kubernetes.io/zone", "version=v2"]
    found = seen(
        instance("10.0.0.1"),
        instance("10.0.0.2", labels={"version": "v2"}),
        instance("10.0.0.3", FAR),
        policy={**OUTLIER, "loadBalancer": {"localityLbSetting": {"failoverPriority": labels}}},
    )
    by_priority = {
        loc.priority: [endpoint.address for endpoint in loc.endpoints] for loc in found.localities
    }
    assert by_priority == {0: ["10.0.0.2"], 1: ["10.0.0.1"], 2: ["10.0.0.3"]}


def test_a_service_that_asks_for_near_endpoints_needs_no_outlier_detection() -> None:
    found = seen(
        instance("10.0.0.1"), instance("10.0.0.2", FAR), backend=replace(BOOKS, near="zone")
    )
    assert priorities(found) == {("eu", "a"): 0, ("eu", "b"): 1}


@pytest.mark.parametrize(
    ("policy", "tls_mode", "server", "label"),
    [
        (None, "istio", "PERMISSIVE", "istio"),
        (None, "istio", "DISABLE", ""),
        (None, "", "STRICT", ""),
        ({"tls": {"mode": "ISTIO_MUTUAL"}}, "istio", "DISABLE", "istio"),
        ({"tls": {"mode": "ISTIO_MUTUAL"}}, "", "STRICT", ""),
        ({"tls": {"mode": "SIMPLE"}}, "istio", "STRICT", ""),
    ],
)
def test_the_label_for_mutual_tls(
    policy: Mapping[str, Any] | None, tls_mode: str, server: str, label: str
) -> None:
    found = seen(instance("10.0.0.1", tls_mode=tls_mode), policy=policy, mode=server)
    assert found.localities[0].endpoints[0].tls_mode == label


def test_a_port_level_entry_without_tls_leaves_the_labels_of_the_rule() -> None:
    own = rule(
        {"tls": {"mode": "SIMPLE"}, "portLevelSettings": [{"port": {"number": 8000}}]},
        v1={"name": "v1"},
    )
    assert declared_tls_mode(own, "", 8000) == "SIMPLE"
    assert declared_tls_mode(own, "v1", 8000) == "SIMPLE"
    assert declared_tls_mode(None, "", 8000) is None


def test_selection_of_instances() -> None:
    v1, v2 = instance("10.0.0.1", node="a"), instance("10.0.0.2", labels={"version": "v2"})
    unready = instance("10.0.0.3", health="unready")
    gone = instance("10.0.0.4", health="terminating")
    every = (v1, v2, unready, gone)
    assert selected(every, {}, unready=True) == (v1, v2, unready)
    assert selected(every, {}, unready=False) == (v1, v2)
    assert selected(every, {"version": "v2"}, unready=True) == (v2,)
    assert selected(every, {}, unready=True, node="a") == (v1,)
    labels = {"version": "v2"}
    assert subset_labels(rule(v2={"name": "v2", "labels": labels}), "v2") == labels


def resource(kind: str, name: str, body: Mapping[str, Any], **labels: str) -> Resource:
    named = {key.replace("__", "/").replace("_", "."): value for key, value in labels.items()}
    return Resource("", "v1", kind, "" if kind == "Node" else "shop", name, labels=named, body=body)


POD = resource(
    "Pod",
    "books-7d9f-abcde",
    {"spec": {"nodeName": "node-a", "serviceAccountName": "books"}},
    app="books",
    security_istio_io__tlsMode="istio",
)


def test_pods_behind_a_service() -> None:
    piece = Resource(
        "discovery.k8s.io",
        "v1",
        "EndpointSlice",
        "shop",
        "books-x",
        labels={"kubernetes.io/service-name": "books"},
        body={
            "ports": [{"name": "http", "port": 8080}],
            "endpoints": [
                {
                    "addresses": ["10.0.0.1"],
                    "targetRef": {"kind": "Pod", "namespace": "shop", "name": POD.name},
                },
                {
                    "addresses": ["10.0.0.2"],
                    "targetRef": {"kind": "Pod", "namespace": "shop", "name": "unknown"},
                },
                {"addresses": ["10.0.0.3"], "conditions": {"ready": False, "terminating": False}},
            ],
        },
    )
    node = Resource(
        "",
        "v1",
        "Node",
        "",
        "node-a",
        labels={"topology.kubernetes.io/region": "eu", "topology.kubernetes.io/zone": "a"},
    )
    first, second = InstanceIndex((piece, POD, node)).of(BOOKS.host, "shop")
    assert (first.address, first.port, first.place) == ("10.0.0.1", 8080, Place("eu", "a"))
    assert first.identity == "spiffe://cluster.local/ns/shop/sa/books"
    assert first.workload == "books-7d9f-abcde;shop;books;;Kubernetes"
    assert (second.address, second.health, second.workload) == (
        "10.0.0.3",
        "unready",
        ";;;;Kubernetes",
    )


def service_entry(**spec: Any) -> Resource:
    ports = [{"number": 80, "name": "http", "targetPort": 8080}]
    return resource("ServiceEntry", "ext", {"spec": {"hosts": ["x.org"], "ports": ports, **spec}})


def test_endpoints_of_a_service_entry() -> None:
    found = InstanceIndex(
        (
            service_entry(
                resolution="STATIC",
                endpoints=[
                    {"address": "10.7.0.1", "serviceAccount": "vm", "weight": 3},
                    {"address": "10.7.0.2", "ports": {"http": 9}, "locality": "eu/b"},
                ],
            ),
        )
    ).of("x.org", "shop")
    assert [(i.address, i.port, i.tls_mode, i.weight, i.place) for i in found] == [
        ("10.7.0.1", 8080, "istio", 3, Place()),
        ("10.7.0.2", 9, "", 1, FAR),
    ]


def test_every_address_of_a_service_entry_brings_its_endpoints_again() -> None:
    entry = service_entry(
        resolution="STATIC",
        addresses=["10.8.0.1", "10.8.0.2"],
        endpoints=[{"address": "10.7.0.1", "weight": 3}],
    )
    found = InstanceIndex((entry,)).of("x.org", "shop")
    assert [(i.address, i.weight) for i in found] == [("10.7.0.1", 3)] * 2


def test_a_service_entry_by_name_is_its_own_endpoint() -> None:
    (found,) = InstanceIndex((service_entry(resolution="DNS"),)).of("x.org", "shop")
    assert (found.address, found.port, found.tls_mode) == ("x.org", 8080, "")
    assert found.workload == "ext;shop;ext;;Kubernetes"
    assert found.named_workload == ";;;;Kubernetes"


def test_a_service_entry_selects_workload_entries_and_ready_pods() -> None:
    entry = resource(
        "WorkloadEntry", "vm", {"spec": {"address": "10.7.0.1", "labels": {"app": "books"}}}
    )
    status = {"podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]}
    pod = replace(POD, body={**POD.body, "status": status})
    selecting = service_entry(resolution="STATIC", workloadSelector={"labels": {"app": "books"}})
    found = InstanceIndex((selecting, entry, pod)).of("x.org", "shop")
    assert [i.address for i in found] == ["10.7.0.1", "10.0.0.1"]


@pytest.mark.parametrize(
    ("target", "ports", "number"),
    [
        (8080, {"http": 9080}, 9080),
        (8080, {"other": 9080}, 8080),
        ("web", {"web": 9080}, 9080),
        ("web", {"http": 9080}, None),
    ],
)
def test_ports_of_a_workload_entry_that_a_service_selects(
    target: int | str, ports: dict[str, int], number: int | None
) -> None:
    spec = {
        "selector": {"app": "books"},
        "ports": [{"name": "http", "port": 80, "targetPort": target}],
    }
    selecting = Resource("", "v1", "Service", "shop", "books", body={"spec": spec})
    entry = resource(
        "WorkloadEntry",
        "vm",
        {"spec": {"address": "10.7.0.1", "labels": {"app": "books"}, "ports": ports}},
    )
    found = InstanceIndex((selecting, entry)).of(BOOKS.host, "shop")
    assert [i.port for i in found] == ([] if number is None else [number])
    headless = replace(selecting, body={"spec": {**spec, "clusterIP": "None"}})
    assert InstanceIndex((headless, entry)).of(BOOKS.host, "shop") == ()


def test_labels_of_a_workload_entrys_metadata_count_before_those_of_its_spec() -> None:
    spec = {"address": "10.7.0.1", "labels": {"app": "other"}}
    entry = replace(resource("WorkloadEntry", "vm", {"spec": spec}), labels={"app": "books"})
    selecting = service_entry(resolution="STATIC", workloadSelector={"labels": {"app": "books"}})
    (found,) = InstanceIndex((selecting, entry)).of("x.org", "shop")
    assert found.labels["app"] == "books"


def test_names_are_no_endpoints_of_a_service_that_is_not_resolved_by_name() -> None:
    found = seen(instance("vm.example.com"), instance("10.0.0.1"))
    assert [e.address for loc in found.localities for e in loc.endpoints] == ["10.0.0.1"]
