"""Which mesh a command leads to, and whom it concerns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshscope.sandbox import protocol
from meshscope.sandbox.ads import XdsType
from meshscope.sandbox.errors import CommandRefused
from meshscope.sandbox.faults import Chain, RbacRemoved, RejectedUpdate, WarmingCluster
from meshscope.sandbox.mesh import Configuration, Mesh, ProxyState
from meshscope.sandbox.model import load_index
from meshscope.sandbox.overlays import Overlay
from meshscope.sandbox.recording import Recording
from meshscope.sandbox.serving import declared_files, describe, resources_for, transition

INDEX = load_index()
RECORDING = Recording(INDEX)
NAMES = [proxy.proxy for proxy in INDEX.proxies]
BASE, CANARY = "00-base", "03-canary-50-50"
CART = "cart-1.shop"


def after(*commands: protocol.Mutation) -> Mesh:
    mesh = Mesh.at(BASE, NAMES)
    for command in commands:
        mesh = transition(mesh, command, INDEX).mesh
    return mesh


def test_a_state_reaches_resources_and_every_proxy() -> None:
    step = transition(after(), protocol.MoveState(CANARY), INDEX)
    assert step.pushes == tuple(NAMES)
    assert step.mesh == Mesh.at(CANARY, NAMES)


def test_declaring_leaves_the_data_plane_alone() -> None:
    step = transition(after(), protocol.Declare(CANARY), INDEX)
    assert step.pushes == ()
    assert step.mesh.declared == Configuration(CANARY)
    assert {state.delivered.state for state in step.mesh.proxies.values()} == {BASE}


def test_a_stale_proxy_keeps_what_it_had() -> None:
    mesh = after(protocol.SetStale(CART), protocol.MoveState(CANARY))
    served = {name: state.delivered.state for name, state in mesh.proxies.items()}
    assert served.pop(CART) == BASE
    assert set(served.values()) == {CANARY}


def test_a_proxy_that_is_no_longer_stale_gets_what_the_others_have() -> None:
    stale: list[protocol.Mutation] = [protocol.SetStale(CART), protocol.MoveState(CANARY)]
    assert after(*stale, protocol.SetStale(CART, False)) == Mesh.at(CANARY, NAMES)
    declared_only = after(*stale, protocol.Declare(BASE), protocol.SetStale(CART, False))
    assert declared_only.proxies[CART].delivered.state == CANARY


@pytest.mark.parametrize("away", [protocol.SetStale(CART), protocol.Disconnect(CART)])
def test_no_fault_can_reach_a_proxy_that_gets_nothing(away: protocol.Mutation) -> None:
    with pytest.raises(CommandRefused, match="no update reaches it; heal it first"):
        transition(after(away), protocol.Warm(CART), INDEX)


def test_faults_add_up_and_replace_their_own_kind() -> None:
    mesh = after(
        protocol.Reject(CART, "lds"),
        protocol.Warm(CART),
        protocol.RemoveRbac(CART, "mtls"),
        protocol.Reject(CART, "lds"),
        protocol.RemoveRbac(CART, "all"),
    )
    assert mesh.proxies[CART].faults == (
        WarmingCluster(),
        RejectedUpdate(XdsType.LDS),
        RbacRemoved(Chain.ALL),
    )
    assert describe(mesh.proxies[CART]) == ["warm", "reject lds", "remove-rbac all"]


def test_faults_outlive_a_change_of_state_and_end_when_healed() -> None:
    mesh = after(protocol.Warm(CART), protocol.MoveState(CANARY))
    assert mesh.proxies[CART].faults == (WarmingCluster(),)
    assert transition(mesh, protocol.Heal(CART), INDEX).mesh == Mesh.at(CANARY, NAMES)


def test_healing_one_proxy_leaves_the_others() -> None:
    mesh = after(protocol.SetStale(CART), protocol.Disconnect("cart-2.shop"), protocol.Heal(CART))
    assert mesh.proxies[CART].healthy
    assert mesh.proxies["cart-2.shop"].disconnected


COMMANDS = st.one_of(
    st.builds(protocol.MoveState, st.sampled_from([BASE, CANARY])),
    st.builds(protocol.Declare, st.sampled_from([BASE, CANARY])),
    st.builds(protocol.SetStale, st.sampled_from(NAMES), st.booleans()),
    st.builds(protocol.Disconnect, st.sampled_from(NAMES), st.booleans()),
    st.builds(protocol.Reject, st.sampled_from(NAMES), st.sampled_from(["cds", "lds"])),
    st.builds(protocol.RemoveRbac, st.sampled_from(NAMES)),
    st.builds(protocol.SetOverlay, st.sampled_from(["dns-cluster", "outlier"]), st.booleans()),
    st.builds(protocol.Heal, st.sampled_from([None, *NAMES])),
)


@given(st.lists(COMMANDS, max_size=12))
def test_healing_always_leads_back_to_what_is_declared(commands: list[protocol.Mutation]) -> None:
    mesh = Mesh.at(BASE, NAMES)
    for command in commands:
        try:
            mesh = transition(mesh, command, INDEX).mesh
        except CommandRefused:
            continue
    step = transition(mesh, protocol.Heal(), INDEX)
    assert step.pushes == tuple(NAMES)
    assert step.mesh.pushed == step.mesh.declared == mesh.declared
    assert set(step.mesh.proxies.values()) == {ProxyState(mesh.declared)}


def test_a_healthy_proxy_is_served_the_recording_itself() -> None:
    for proxy in INDEX.proxies:
        served = resources_for(RECORDING, proxy, ProxyState(Configuration(BASE)))
        assert served is RECORDING.resources(BASE, proxy.proxy)


def test_a_fault_that_does_not_apply_names_the_state() -> None:
    state = ProxyState(Configuration(BASE), faults=(RbacRemoved(Chain.PLAINTEXT),))
    with pytest.raises(CommandRefused, match=r"plaintext.*00-base"):
        resources_for(RECORDING, INDEX.proxy(CART), state)


def test_overlays_are_declared_beside_the_recorded_resources() -> None:
    files = declared_files(RECORDING, Configuration(BASE, frozenset(Overlay)))
    assert "resolution: DNS" in files["overlay-dns-cluster.yaml"]
    assert "outlierDetection" in files["overlay-outlier.yaml"]
    assert set(files) - set(declared_files(RECORDING, Configuration(BASE))) == {
        "overlay-dns-cluster.yaml",
        "overlay-outlier.yaml",
    }
