"""Chains, listeners and their policies that were worked out before, of one mesh."""

from meshscope.policy import key
from meshscope.policy.outbound_listener import ChainMatch, OutboundChain
from meshscope.policy.policy import Policy
from meshscope.projection.hosts import is_wildcard
from meshscope.projection.memory import Memory
from meshscope.projection.outbound.built import BuiltListener, Entry, ListenerInputs, build_listener
from meshscope.projection.outbound.chains import (
    Chain,
    ChainInputs,
    Place,
    opaque_chains,
    routing_for,
)
from meshscope.projection.sidecar_scope import EgressListener


class ListenerMemory:
    """Chains and listeners that were worked out before, of one mesh."""

    def __init__(self, mesh: object) -> None:
        self._routed: Memory[frozenset[str]] = Memory()
        self._chains: Memory[tuple[Chain, ...]] = Memory()
        self._listeners: Memory[tuple[tuple[Chain, ...], BuiltListener]] = Memory()
        self._policies: Memory[tuple[BuiltListener, Policy]] = Memory()

    def opaque(
        self, place: Place, listener: EgressListener, inputs: ChainInputs
    ) -> tuple[Chain, ...]:
        """The chains of a service for what is not HTTP."""
        host = place.service.host
        if self._may_route(host, listener) and routing_for(host, listener.opaque):
            return opaque_chains(place, listener.opaque, inputs)
        domain = inputs.dns_domain if place.service.aliases else ""
        name = (place, inputs.find_rule(host), domain, inputs.idle_timeout_ms)
        found = self._chains.get(name)
        if found is None:
            found = self._chains.put(name, opaque_chains(place, (), inputs))
        return found

    def _may_route(self, host: str, listener: EgressListener) -> bool:
        """Whether a VirtualService of the listener may route for a host; most do for none."""
        hosts = self._routed.of(
            listener.opaque, lambda: frozenset(h for vs in listener.opaque for h in vs.hosts)
        )
        return host in hosts or is_wildcard(host) or any(map(is_wildcard, hosts))

    def http(self, table: str, match: ChainMatch, *, grpc_web: bool = False) -> Chain:
        """The chain of an HTTP route table."""
        name = (table, match, grpc_web)
        found = self._chains.get(name)
        if found is None:
            content = OutboundChain(route_table=table, grpc_web=grpc_web)
            found = self._chains.put(name, (Chain(match, content),))
        return found[0]

    def listener(self, entry: Entry, inputs: ListenerInputs) -> BuiltListener:
        """The listener of an entry."""
        name = (
            *map(id, entry.chains),
            entry.binds,
            entry.of_workloads,
            inputs.outside,
            inputs.detection_timeout_ms,
            inputs.connect_timeout_ms,
            inputs.chains.idle_timeout_ms,
        )
        found = self._listeners.get(name)
        if found is None:
            # The chains are kept as well, so that their identity stays theirs.
            found = self._listeners.put(name, (tuple(entry.chains), build_listener(entry, inputs)))
        return found[1]

    def policy(self, address: str, port: int, built: BuiltListener) -> Policy:
        """The policy of a listener at its address."""
        name = (address, port, id(built))
        found = self._policies.get(name)
        if found is None:
            policy = Policy(key.outbound_listener(address, port), built.listener, built.sources)
            found = self._policies.put(name, (built, policy))
        return found[1]
