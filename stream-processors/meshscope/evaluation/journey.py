"""One request end to end: the source's sidecar, the connections, the sidecars at their ends."""

from collections.abc import Callable, ItemsView, Iterator, Mapping
from dataclasses import dataclass

from meshscope.evaluation.call import Call
from meshscope.evaluation.connection import Connection, Peer, connect, destination_key
from meshscope.evaluation.evaluate import evaluate
from meshscope.evaluation.trace import Outcome, Reason, Share, Step, Trace
from meshscope.policy import key
from meshscope.policy.destination import Destination
from meshscope.policy.endpoints import Endpoint, Endpoints
from meshscope.policy.key import PolicyKey
from meshscope.policy.outbound_listener import OutboundListener
from meshscope.policy.policy import Policy


class Consulted(Mapping[PolicyKey, Policy]):
    """Policies of a proxy that remember which of them were asked for, there or not."""

    def __init__(self, policies: Mapping[PolicyKey, Policy]) -> None:
        self.keys_asked: dict[PolicyKey, None] = {}
        self._policies = policies

    def __getitem__(self, place: PolicyKey) -> Policy:
        self.keys_asked[place] = None
        return self._policies[place]

    def __iter__(self) -> Iterator[PolicyKey]:
        return iter(self._policies)

    def __len__(self) -> int:
        return len(self._policies)

    def items(self) -> ItemsView[PolicyKey, Policy]:
        """All of them; to look through them all is to ask for none."""
        return self._policies.items()


@dataclass(frozen=True, slots=True)
class Arrival:
    """What becomes of the request at one endpoint of one destination.

    Attributes:
        share: The destination.
        endpoint: `address:port`; empty: there is none.
        peer: Name of the workload there, `pod.namespace`; empty: not known.
        call: The request as it arrives; None: none does.
        way: Decisions of the source's sidecar about the connection.
        steps: Decisions of the sidecar there.
        outcome: What happens in the end.
        says: What is to be known of the place besides, for readers.
        consulted: Policies of the sidecar there that were asked for.
        doubts: What is not known of the connection, and may decide.
    """

    share: Share
    endpoint: str
    peer: str
    call: Call | None
    way: tuple[Step, ...]
    steps: tuple[Step, ...]
    outcome: Outcome
    says: str = ""
    consulted: tuple[PolicyKey, ...] = ()
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Journey:
    """A request from end to end.

    Attributes:
        source: Name of the workload that sends it.
        outbound: What the source's sidecar decides.
        arrivals: One for each endpoint that it may be sent to, in the order of addresses; empty if
            it is not forwarded.
        consulted: Policies of the source's sidecar that were asked for.
    """

    source: str
    outbound: Trace
    arrivals: tuple[Arrival, ...]
    consulted: tuple[PolicyKey, ...]


def journey(source: Peer, call: Call, at: Callable[[str], Peer]) -> Journey:
    """Follow a request of an application through its own sidecar and those at the other end.

    Args:
        source: Who sends it.
        call: As the application sends it, `outbound`.
        at: Who is at an address.

    Raises:
        ValueError: Nothing is known of the source's sidecar.
    """
    if source.policies is None:
        raise ValueError(f"nothing is known of the sidecar of {source.name}")
    policies = Consulted(source.policies)
    known = Peer(source.name, policies, source.identity, source.address)
    trace = evaluate(policies, call)
    arrivals = [
        arrival
        for share in trace.outcome.destinations
        for arrival in _arrivals(known, trace, share, at)
    ]
    named = (step.policy for step in trace.steps if step.policy is not None)
    is_http = any(step.stage == "route" for step in trace.steps)
    filters = key.filter_order(
        "outbound", key.TRANSPORT_NONE, key.PROTOCOL_HTTP if is_http else key.PROTOCOL_TCP
    )
    consulted = tuple(dict.fromkeys((*policies.keys_asked, filters, *named)))
    return Journey(source.name, trace, tuple(arrivals), consulted)


def _arrivals(
    source: Peer, trace: Trace, share: Share, at: Callable[[str], Peer]
) -> Iterator[Arrival]:
    policies = source.policies or {}
    held = policies.get(destination_key(share))
    if held is None or not isinstance(held.content, Destination):
        yield _nowhere(trace, share, "no_cluster")
        return
    endpoints = _endpoints(policies, trace, share, held.content)
    if endpoints is None:
        detail = f"the endpoints of {share.target} are not known"
        if held.content.discovery == "original_dst":
            detail = "it is sent on to the address that was dialled, which is not known"
        yield Arrival(share, "", "", None, (), (), Outcome("undecided", detail=detail))
        return
    if not endpoints:
        yield _nowhere(trace, share, "no_endpoints")
        return
    for endpoint in endpoints:
        peer = at(endpoint.address)
        if held.content.external and not peer.name:
            peer = Peer(says="it is outside of the mesh", takes_all=True)
        yield _arrival(share, endpoint, peer, connect(source, trace, share, endpoint, peer))


def _nowhere(trace: Trace, share: Share, reason: Reason) -> Arrival:
    """There is nothing to connect to: HTTP is answered, other connections are closed."""
    is_http = any(step.stage == "route" for step in trace.steps)
    outcome = Outcome("answered", reason, 503) if is_http else Outcome("closed", reason)
    return Arrival(share, "", "", None, (), (), outcome)


def _endpoints(
    policies: Mapping[PolicyKey, Policy], trace: Trace, share: Share, destination: Destination
) -> tuple[Endpoint, ...] | None:
    """The endpoints that are used while they are healthy; None: they are not known."""
    request = trace.call.request
    if destination.discovery == "original_dst":
        if _is_dialled_itself(policies, trace):
            return ()
        if not request.destination_address:
            return None
        port = destination.load_balancing.override_port or request.port
        return (Endpoint(request.destination_address, port),)
    target = share.target
    held = policies.get(key.endpoints(target.host, target.port, target.subset))
    if held is None or not isinstance(held.content, Endpoints):
        return None
    localities = [
        (locality.priority, [one for one in locality.endpoints if one.health == "healthy"])
        for locality in held.content.localities
    ]
    used = min((priority for priority, healthy in localities if healthy), default=0)
    found = {one for priority, healthy in localities if priority == used for one in healthy}
    return tuple(sorted(found, key=lambda one: (one.address, one.port)))


def _is_dialled_itself(policies: Mapping[PolicyKey, Policy], trace: Trace) -> bool:
    """Whether applications dial the sidecar's listener: then nothing is dialled behind it."""
    place = next((step.policy for step in trace.steps if step.stage == "listener"), None)
    held = None if place is None else policies.get(place)
    listener = None if held is None else held.content
    return (
        isinstance(listener, OutboundListener)
        and listener.binds
        and not listener.use_original_dst
        and "original_dst" not in listener.detects
    )


def _arrival(share: Share, endpoint: Endpoint, peer: Peer, connection: Connection) -> Arrival:
    where = f"{endpoint.address}:{endpoint.port}" if endpoint.port else endpoint.address
    steps: tuple[Step, ...] = ()
    consulted: tuple[PolicyKey, ...] = ()
    says = peer.says
    if connection.failed is not None:
        outcome = connection.failed
    elif peer.policies is not None:
        policies = Consulted(peer.policies)
        trace = evaluate(policies, connection.call)
        steps, outcome = trace.steps, trace.outcome
        named = (step.policy for step in steps if step.policy is not None)
        consulted = tuple(dict.fromkeys((*policies.keys_asked, *named)))
    elif peer.takes_all and not (peer.name and connection.call.request.transport == "mtls"):
        outcome = Outcome("forwarded", destinations=(share,))
    else:
        outcome = Outcome("undecided", detail=peer.says)
    return Arrival(
        share,
        where,
        peer.name,
        connection.call,
        connection.steps,
        steps,
        outcome,
        says,
        consulted,
        connection.doubts,
    )
