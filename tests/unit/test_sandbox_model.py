"""The recorded mesh inside the package."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster

from meshscope.sandbox import protos
from meshscope.sandbox.errors import CommandRefused, SandboxDataError
from meshscope.sandbox.model import Address, MeshIndex, load_index
from meshscope.sandbox.recording import Recording, Variant


@pytest.fixture(scope="module")
def index() -> MeshIndex:
    return load_index()


def test_the_index_names_every_proxy_and_state(index: MeshIndex) -> None:
    assert len(index.proxies) == 7
    assert len(index.states) == 15
    frontend = index.proxy("frontend-1.shop")
    assert frontend.identity == "spiffe://cluster.local/ns/shop/sa/frontend"
    assert (frontend.admin.host, frontend.admin.port) == ("127.20.0.11", 15000)
    assert frontend.outbound_address("TCP") == "127.21.0.11:9300"


def test_addresses_are_loopback_unprivileged_and_used_once(index: MeshIndex) -> None:
    addresses = list(index.addresses())
    assert len(set(addresses)) == len(addresses)
    assert all(address.host.startswith("127.") for address in addresses)
    assert all(address.port >= 1024 for address in addresses)


@pytest.mark.parametrize("variant", Variant)
def test_every_state_of_every_proxy_can_be_read(index: MeshIndex, variant: Variant) -> None:
    recording = Recording(index, variant)
    for state in index.states:
        for proxy in index.proxies:
            resources = recording.resources(state.id, proxy.proxy)
            assert resources.clusters
            assert resources.endpoints
            assert resources.listeners
            assert resources.routes


def test_a_state_declares_its_resources_and_the_kubernetes_objects(index: MeshIndex) -> None:
    files = Recording(index).declarations("00-base")
    assert {"00-mesh-config.yaml", "30-security.yaml", "pods.yaml", "namespaces.yaml"} <= set(files)
    assert "kind: AuthorizationPolicy" in files["30-security.yaml"]
    assert "probe.yaml" not in files
    assert "probe.yaml" in Recording(index, Variant.PROBE).declarations("00-base")


def test_unknown_names_are_refused_with_the_known_ones(index: MeshIndex) -> None:
    with pytest.raises(CommandRefused, match=r"no proxy 'cart'.*cart-1\.shop"):
        index.proxy("cart")
    with pytest.raises(CommandRefused, match=r"no recorded state '99'.*00-base"):
        index.state("99")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "truncated"),
        ('{"trust_domain": "x", "states": []}', "recorded_with"),
        (None, "No such file"),
    ],
)
def test_an_unreadable_index_is_named(tmp_path: Path, content: str | None, complaint: str) -> None:
    if content is not None:
        (tmp_path / "index.json").write_text(content)
    with pytest.raises(SandboxDataError, match=rf"index\.json.*{complaint}"):
        load_index(tmp_path)


def test_a_recording_that_lacks_a_proxy_is_named(tmp_path: Path, index: MeshIndex) -> None:
    with zipfile.ZipFile(tmp_path / "xds.zip", "w") as archive:
        archive.writestr("00-base/cart-2.shop.json", json.dumps({"cds": []}))
    recording = Recording(index, data=tmp_path)
    with pytest.raises(SandboxDataError, match=r"00-base/cart-1\.shop\.json"):
        recording.resources("00-base", "cart-1.shop")
    with pytest.raises(SandboxDataError, match=r"cart-2\.shop\.json.*eds"):
        recording.resources("00-base", "cart-2.shop")


def test_unknown_fields_and_types_of_resources_are_named() -> None:
    with pytest.raises(SandboxDataError, match=r"Cluster 'c'.*no_such_field"):
        protos.parse({"name": "c", "no_such_field": 1}, Cluster)
    with pytest.raises(SandboxDataError, match=r"envoy\.none\.v3"):
        protos.parse({"metadata": {"@type": "type.googleapis.com/envoy.none.v3.X"}}, Cluster)


@pytest.mark.parametrize("text", ["127.0.0.1", ":80", "127.0.0.1:http", ""])
def test_an_address_has_a_port(text: str) -> None:
    with pytest.raises(ValueError, match="IP:PORT"):
        Address(text)
