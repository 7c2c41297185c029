"""How a sidecar connects to an endpoint, and what reaches the other side."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from meshscope.evaluation.call import Call, split_target
from meshscope.evaluation.matching import any_of, text_meets
from meshscope.evaluation.trace import Outcome, Share, Step, Trace
from meshscope.policy import key
from meshscope.policy.destination import ClientTls, Destination
from meshscope.policy.endpoints import Endpoint
from meshscope.policy.filter_order import FilterOrder
from meshscope.policy.key import PolicyKey
from meshscope.policy.policy import Policy

MESH_ROOT = "ROOTCA"
"""SDS name of the certificates that vouch for the workloads of the mesh."""
WORKLOAD_CERTIFICATE = "default"
"""SDS name of the certificate that says who a workload is."""

_ALPN = {"http1": "istio-http/1.1", "http2": "istio-h2"}
"""What Istio's ALPN filter offers first, by the protocol that is spoken to the endpoint."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A workload, or whatever else is at an address.

    Attributes:
        name: `pod.namespace`; empty: not known.
        policies: What its sidecar does; None: it has none, or nothing is known of it.
        identity: SPIFFE name in its certificate; empty: not known.
        address: Its own; empty: not known.
        says: Where `policies` is None: why.
        takes_all: Where `policies` is None: whether every connection reaches the application,
            because nothing stands in front of it.
    """

    name: str = ""
    policies: Mapping[PolicyKey, Policy] | None = None
    identity: str = ""
    address: str = ""
    says: str = ""
    takes_all: bool = False


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection to an endpoint.

    Attributes:
        call: The request as it reaches the other side.
        steps: What decided how it is made.
        failed: The outcome, if it is known that it cannot be made.
        doubts: What is not known of it.
    """

    call: Call
    steps: tuple[Step, ...]
    failed: Outcome | None = None
    doubts: tuple[str, ...] = ()


def connect(source: Peer, trace: Trace, share: Share, endpoint: Endpoint, peer: Peer) -> Connection:
    """The connection from a source's sidecar to an endpoint of a destination.

    Args:
        source: Who asks; it has policies.
        trace: What its sidecar decided; the request is forwarded.
        share: The destination that was chosen.
        endpoint: One of its endpoints.
        peer: Who is there.
    """
    policies = source.policies or {}
    place = destination_key(share)
    held = policies.get(place)
    destination = held.content if held is not None else None
    if not isinstance(destination, Destination):
        destination = Destination("static")
    tls = _tls(destination, endpoint)
    is_http = any(step.stage == "route" for step in trace.steps)
    call = _sent(trace, share, destination) if is_http else trace.call
    request = replace(
        call.request,
        peer_address=source.address,
        destination_address=endpoint.address,
        port=endpoint.port,
        principal="",
    )
    call = replace(call, direction="inbound", request=request)
    doubts = [f"the value of the header {name} as sent on" for name in share.headers.unknown]
    if tls is None:
        says = (
            "in plaintext" if request.transport == "plaintext" else "as the application encrypts it"
        )
        return Connection(call, (Step("connection", says, place),), doubts=tuple(doubts))
    if not is_http and request.transport != "plaintext":
        call = replace(call, protocol="tcp")  # What is encrypted twice looks like any bytes.
    transport: Literal["mtls", "tls"] = "mtls" if tls.certificate else "tls"
    is_own = tls.certificate == WORKLOAD_CERTIFICATE
    alpn = _alpn(policies, destination, tls, call) if is_http else _first(tls.alpn)
    call = replace(
        call,
        request=replace(
            request,
            transport=transport,
            principal=source.identity if is_own else "",
            server_name=tls.sni or (share.authority if tls.auto_sni else ""),
            application_protocol=alpn,
        ),
    )
    if transport == "mtls" and not is_own:
        doubts.append(f"the identity in the certificate {tls.certificate}")
    if transport == "mtls" and tls.trusted not in ("", MESH_ROOT):
        doubts.append(f"whether the server's certificate is signed by {tls.trusted}")
    named = "mutual TLS" if transport == "mtls" else "TLS"
    by = f" as {call.request.principal}" if call.request.principal else ""
    steps: tuple[Step, ...] = (Step("connection", f"over {named}{by}", place),)
    failed = None
    if tls.server_names and peer.policies is not None:
        if not peer.identity:
            doubts.append(f"the identity of {peer.name}")
        elif any_of(text_meets(name, peer.identity) for name in tls.server_names) is False:
            says = f"{peer.identity} is none of the names that are expected of the server"
            steps = (*steps, Step("tls", says, place))
            status = 503 if is_http else 0
            failed = Outcome("answered" if is_http else "closed", "mtls_error", status)
    return Connection(call, steps, failed, tuple(doubts))


def destination_key(share: Share) -> PolicyKey:
    """Where it is said how connections to a destination are made."""
    target = share.target
    return key.destination(target.host, target.port, target.subset)


def _tls(destination: Destination, endpoint: Endpoint) -> ClientTls | None:
    """The TLS that is spoken to an endpoint; None: none is added."""
    match destination.tls_mode:
        case "always":
            return destination.tls
        case "auto":
            return destination.tls if endpoint.tls_mode == "istio" else None
    return None


def _sent(trace: Trace, share: Share, destination: Destination) -> Call:
    """The request as a rule and the destination leave it."""
    call = trace.call
    path, query = split_target(trace.outcome.target)
    request = replace(
        call.request,
        authority=share.authority,
        path=path,
        query=query,
        headers=share.headers.known,
    )
    protocol = call.protocol
    if destination.protocol in ("http1", "http2"):
        protocol = "http1" if destination.protocol == "http1" else "http2"
    return replace(call, protocol=protocol, request=request)


def _alpn(
    policies: Mapping[PolicyKey, Policy], destination: Destination, tls: ClientTls, call: Call
) -> str:
    """The application protocol that is offered first."""
    order = policies.get(key.filter_order("outbound", key.TRANSPORT_NONE, key.PROTOCOL_HTTP))
    is_filtered = (
        order is not None
        and isinstance(order.content, FilterOrder)
        and "alpn" in order.content.filters
    )
    if is_filtered and destination.alpn_override:
        return _ALPN[call.protocol]
    return _first(tls.alpn)


def _first(names: tuple[str, ...]) -> str:
    return names[0] if names else ""
