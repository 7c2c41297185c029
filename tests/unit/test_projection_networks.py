"""Endpoints in other networks are reached through gateways."""

from typing import Any

import pytest
from declared import client, declare, service

from meshscope.events.control_plane import ControlPlane
from meshscope.events.resource import Resource
from meshscope.policy import key
from meshscope.policy.endpoints import Endpoints
from meshscope.projection.project import project
from meshscope.projection.services.networks import Gateway, Networks, networks

HOST = "vm.example"
LABEL = "topology.istio.io/network"


def entry(*endpoints: dict[str, Any], account: str = "vm") -> Resource:
    spec = {
        "hosts": [HOST],
        "location": "MESH_INTERNAL",
        "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
        "resolution": "STATIC",
        "endpoints": [{"serviceAccount": account, **one} for one in endpoints],
    }
    return declare("ServiceEntry", "vm", spec)


def gateway(*addresses: str, network: str = "far", port: int = 15443, **labels: str) -> Resource:
    found = service(
        "gateway", {"port": port}, namespace="istio-system", externalIPs=list(addresses)
    )
    return declare(
        "Service",
        "gateway",
        found.spec,
        namespace="istio-system",
        labels={LABEL: network, **labels},
    )


def reached(
    *resources: Resource, network: str = "near", given: Any = None
) -> dict[tuple[str, int], int]:
    """Addresses and ports with their weights."""
    plane = ControlPlane(version="1.31.0", mesh_networks=given or {})
    found = project(plane, resources, client(network=network))
    content = found.policies[key.endpoints(HOST, 80)].content
    assert isinstance(content, Endpoints)
    return {
        (one.address, one.port): one.weight
        for group in content.localities
        for one in group.endpoints
    }


NEAR = {"address": "10.1.0.1", "network": "near"}
FAR = {"address": "10.2.0.1", "network": "far"}
FURTHER = {"address": "10.2.0.2", "network": "far"}


def test_without_gateways_everything_is_reached_directly() -> None:
    assert reached(entry(NEAR, FAR)) == {("10.1.0.1", 80): 1, ("10.2.0.1", 80): 1}


def test_gateways_take_the_place_of_endpoints_and_carry_their_weights() -> None:
    found = reached(entry(NEAR, FAR, FURTHER), gateway("35.0.0.1"))
    assert found == {("10.1.0.1", 80): 1, ("35.0.0.1", 15443): 2}


def test_weights_grow_so_that_gateways_can_share_them() -> None:
    found = reached(entry(NEAR, FAR), gateway("35.0.0.1", "35.0.0.2"))
    assert found == {("10.1.0.1", 80): 2, ("35.0.0.1", 15443): 1, ("35.0.0.2", 15443): 1}


def test_what_takes_no_mutual_tls_is_not_reached_through_a_gateway() -> None:
    assert reached(entry(NEAR, FAR, account=""), gateway("35.0.0.1")) == {("10.1.0.1", 80): 1}


def test_sockets_are_lost_where_there_are_gateways() -> None:
    socket = {"address": "unix:///run/x"}
    assert reached(entry(socket)) == {("unix:///run/x", 0): 1}
    assert reached(entry(socket), gateway("1.1.1.1")) == {}


def test_a_gateway_of_the_other_address_family_reaches_nothing() -> None:
    assert reached(entry(NEAR, FAR), gateway("fd00::1")) == {("10.1.0.1", 80): 1}


def test_a_client_of_no_known_network_uses_gateways_for_those_that_are_known() -> None:
    nowhere = {"address": "10.3.0.1"}
    found = reached(entry(nowhere, FAR), gateway("35.0.0.1"), network="")
    assert found == {("10.3.0.1", 80): 1, ("35.0.0.1", 15443): 1}


def test_networks_of_the_mesh_tell_networks_by_address() -> None:
    given = {
        "networks": {
            "far": {
                "endpoints": [{"fromCidr": "10.2.0.0/16"}],
                "gateways": [{"address": "34.0.0.1", "port": 443}],
            }
        }
    }
    found = reached(entry({"address": "10.1.0.1"}, {"address": "10.2.0.1"}), given=given)
    assert found == {("10.1.0.1", 80): 1, ("34.0.0.1", 443): 1}


@pytest.mark.parametrize(
    ("service_", "expected"),
    [
        (gateway("35.0.0.1"), (Gateway("35.0.0.1", 15443, "far", "c"),)),
        (
            gateway("35.0.0.1", port=9, **{"networking.istio.io/gatewayPort": "9"}),
            (Gateway("35.0.0.1", 9, "far", "c"),),
        ),
        (gateway("35.0.0.1", port=9), ()),
        (gateway("gateway.example"), ()),
    ],
)
def test_gateways_of_services(service_: Resource, expected: tuple[Gateway, ...]) -> None:
    found = networks({}, (service_,), cluster="c", root="istio-system", domain="cluster.local")
    assert found.gateways == expected


def test_the_network_of_a_workload_is_its_own_the_clusters_or_that_of_its_address() -> None:
    root = declare("Namespace", "istio-system", {}, namespace="", labels={LABEL: "here"})
    registered = {
        "networks": {
            "named": {
                "endpoints": [{"fromRegistry": "c"}],
                "gateways": [{"registryServiceName": "gateway.istio-system.svc.d", "port": 7}],
            }
        }
    }
    named = service("gateway", namespace="istio-system", externalIPs=["35.0.0.1"])
    where = {"cluster": "c", "root": "istio-system", "domain": "d"}
    found = networks(registered, (named,), **where)
    assert found.of("10.0.0.1", {}) == "named"
    assert found.of("10.0.0.1", {LABEL: "own"}) == "own"
    assert found.gateways == (Gateway("35.0.0.1", 7, "named", "c"),)
    assert networks(registered, (root,), **where).of("10.0.0.1", {}) == "here"
    assert Networks().of("vm.example", {}) == ""


def test_gateways_of_the_endpoints_own_cluster_are_preferred() -> None:
    ours, theirs = Gateway("1.1.1.1", 1, "far", "c"), Gateway("2.2.2.2", 1, "far")
    found = Networks((ours, theirs))
    assert found.leading_to("far", "c") == (ours,)
    assert found.leading_to("far", "other") == (ours, theirs)
