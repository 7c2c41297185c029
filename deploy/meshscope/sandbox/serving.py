"""What each proxy is served: recorded resources, then overlays, then faults. Pure but for reading.

Also the transitions: which mesh a command leads to, and which proxies it concerns.
"""

from __future__ import annotations

from dataclasses import dataclass

from meshscope.sandbox import faults, overlays, protocol
from meshscope.sandbox.ads import XdsType
from meshscope.sandbox.errors import CommandRefused
from meshscope.sandbox.faults import Chain, Fault, RbacRemoved, RejectedUpdate, WarmingCluster
from meshscope.sandbox.mesh import Configuration, Mesh, ProxyState
from meshscope.sandbox.model import MeshIndex, Proxy
from meshscope.sandbox.overlays import Overlay
from meshscope.sandbox.recording import Recording, Resources


@dataclass(frozen=True, slots=True)
class Transition:
    """A mesh that a command leads to, and the proxies that are to be sent something for it."""

    mesh: Mesh
    pushes: tuple[str, ...]


def transition(mesh: Mesh, command: protocol.Mutation, index: MeshIndex) -> Transition:
    """What a command does to the mesh.

    Raises:
        CommandRefused: unknown state or proxy, or nothing would reach the proxy.
    """
    everywhere = tuple(mesh.proxies)
    match command:
        case protocol.MoveState(id=state):
            return Transition(mesh.moved(index.state(state).id), everywhere)
        case protocol.Declare(id=state):
            return Transition(mesh.declaring(index.state(state).id), ())
        case protocol.SetOverlay(name=name, on=on):
            return Transition(mesh.overlaid(Overlay(name), on), everywhere)
        case protocol.Heal(proxy=None):
            return Transition(mesh.healed(), everywhere)
        case protocol.Heal(proxy=str() as name):
            return Transition(mesh.healed(index.proxy(name).proxy), (name,))
        case protocol.SetStale(proxy=name, on=on):
            return Transition(mesh.stale(index.proxy(name).proxy, on), () if on else (name,))
        case protocol.Disconnect(proxy=name, on=on):
            return Transition(mesh.disconnected(index.proxy(name).proxy, on), (name,))
        case protocol.Reject(proxy=name, kind=kind):
            fault: Fault = RejectedUpdate(XdsType[kind.upper()])
        case protocol.Warm(proxy=name):
            fault = WarmingCluster()
        case protocol.RemoveRbac(proxy=name, chain=chain):
            fault = RbacRemoved(Chain(chain))
    return Transition(mesh.with_fault(index.proxy(name).proxy, fault), (name,))


def resources_for(recording: Recording, proxy: Proxy, state: ProxyState) -> Resources:
    """What a proxy in this state is served.

    Raises:
        CommandRefused: an overlay or fault does not apply to the recorded state.
    """
    configuration = state.delivered
    resources = recording.resources(configuration.state, proxy.proxy)
    for overlay in sorted(configuration.overlays, key=lambda item: item.value):
        resources = overlays.apply(overlay, resources)
    for fault in state.faults:
        try:
            resources = faults.apply(fault, resources, proxy)
        except CommandRefused as error:
            raise CommandRefused(
                f"{error} in state {configuration.state}: fault '{describe_fault(fault)}' does not"
                " apply there"
            ) from error
    return resources


def declared_files(recording: Recording, declared: Configuration) -> dict[str, str]:
    """The declared resources: file name → YAML."""
    files = recording.declarations(declared.state)
    files.update(overlays.declaration(overlay) for overlay in declared.overlays)
    return files


def describe(state: ProxyState) -> list[str]:
    """What is wrong with a proxy, in the words of the commands that caused it."""
    words = []
    if state.stale:
        words.append("stale")
    if state.disconnected:
        words.append("disconnected")
    return words + [describe_fault(fault) for fault in state.faults]


def describe_fault(fault: Fault) -> str:
    """The command that causes a fault."""
    match fault:
        case RejectedUpdate(kind):
            return f"reject {kind.short}"
        case WarmingCluster():
            return "warm"
        case RbacRemoved(chain):
            return f"remove-rbac {chain.value}"
