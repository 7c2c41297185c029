"""A request from the network: filter chain, TLS, token, access rules, route."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from meshscope.evaluation import access
from meshscope.evaluation.call import Call
from meshscope.evaluation.hosts import virtual_host
from meshscope.evaluation.jwt import check_token
from meshscope.evaluation.matching import any_of, text_meets
from meshscope.evaluation.normalization import client_address, normalized
from meshscope.evaluation.routing import Policies, route
from meshscope.evaluation.trace import Outcome, Reason, Share, Step, Trace
from meshscope.policy import key
from meshscope.policy.authorization import Authorization
from meshscope.policy.filter_order import FilterOrder
from meshscope.policy.http_connection import HttpConnection
from meshscope.policy.inbound import Inbound
from meshscope.policy.key import ANY_PORT, PolicyKey
from meshscope.policy.peer_authentication import AcceptedChain, PeerAuthentication
from meshscope.policy.request_authentication import RequestAuthentication
from meshscope.policy.target import Target

_HTTP2: Final = "h2"
"""Name of HTTP/2 in ALPN."""

_HTTP_FILTERS: Final = ("custom", "jwt", "deny", "allow")
_TCP_FILTERS: Final = ("custom", "deny", "allow")
"""Order of the filters that decide where no policy says it."""

_CHECKS: Final = {"custom": access.custom, "deny": access.deny, "allow": access.allow}


def evaluate_inbound(policies: Policies, call: Call) -> Trace:
    """What a sidecar does with a request from the network.

    Chains are those of the port that was dialled, else those of all ports; see
    `evaluate.evaluate`.
    """
    return _Inbound(policies, call).run()


class _Inbound:
    """One evaluation; `_steps` grows."""

    def __init__(self, policies: Policies, call: Call) -> None:
        self._policies = policies
        self._original = call
        self._call = call
        self._steps: list[Step] = []
        own = key.inbound(call.request.port) in policies
        self._scope: str = str(call.request.port) if own else ANY_PORT

    def run(self) -> Trace:
        """Every stage in order, until one ends it."""
        place = key.inbound(self._scope)
        inbound = self._content(place)
        if not isinstance(inbound, Inbound):
            return self._end(Step("listener", "there is no inbound listener"), "no_listener")
        where = "of the port" if self._scope != ANY_PORT else "of all ports"
        self._steps.append(Step("listener", f"the chains {where} are used", place))
        place = key.peer_authentication(self._scope)
        accepted = self._content(place)
        if not isinstance(accepted, PeerAuthentication):
            return self._end(Step("filter_chain", "no chain is known", place), "no_filter_chain")
        chain = chosen_chain(accepted.chains, inbound.detects, self._call)
        if chain is None:
            says = f"no chain takes {self._words()} ({accepted.mode})"
            return self._end(Step("filter_chain", says, place), "no_filter_chain")
        says = f"a chain for {chain.transport_protocol or 'any transport'}, {chain.protocol}"
        self._steps.append(Step("filter_chain", says, place))
        ended = self._handshake(chain, place)
        if ended is not None:
            return ended
        transport = transport_of(chain)
        return (
            self._http(inbound, transport, chain)
            if chain.protocol == "http"
            else self._tcp(inbound, transport)
        )

    def _content(self, place: PolicyKey) -> object:
        policy = self._policies.get(place)
        return None if policy is None else policy.content

    def _words(self) -> str:
        alpn = self._call.request.application_protocol
        return f"{self._call.request.transport} {self._call.protocol}" + (
            f" (ALPN {alpn})" if alpn else ""
        )

    def _end(self, step: Step, reason: Reason, status: int = 0) -> Trace:
        return self._done(step, Outcome("answered" if status else "closed", reason, status))

    def _done(self, step: Step | None, outcome: Outcome) -> Trace:
        steps = (*self._steps, step) if step else tuple(self._steps)
        return Trace(self._original, steps, outcome)

    def _handshake(self, chain: AcceptedChain, place: PolicyKey) -> Trace | None:
        """TLS; identities that are not proven are forgotten. A trace if the handshake fails."""
        request = self._call.request
        if chain.tls is None:
            self._call = replace(self._call, request=replace(request, principal=""))
            if request.transport != "plaintext" and chain.protocol == "http":
                step = Step("tls", "TLS bytes where HTTP is expected", place)
                return self._end(step, "protocol_error")
            says = "plaintext" if request.transport == "plaintext" else "TLS is passed through"
            self._steps.append(Step("tls", says, place))
            return None
        if request.transport == "plaintext":
            return self._end(Step("tls", "plaintext where TLS is expected", place), "tls_error")
        certificate = chain.tls.certificate or self._call.server_certificate
        if request.transport == "mtls":
            says = ""
            if certificate != self._call.server_certificate:
                says = f"the peer does not accept the certificate {certificate}"
            elif not chain.tls.client_certificate:
                says = "the peer speaks mutual TLS and is not asked for its certificate"
            if says:
                return self._end(Step("tls", says, place), "mtls_error")
        if chain.tls.client_certificate:
            if request.transport != "mtls":
                step = Step("tls", "the peer shows no certificate", place)
                return self._end(step, "mtls_error")
            if request.principal and not _is_accepted(request.principal, chain):
                says = f"{request.principal} is of no accepted trust domain"
                return self._end(Step("tls", says, place), "mtls_error")
            says = f"mutual TLS as {request.principal or 'a peer that is not named'}"
        else:
            self._call = replace(self._call, request=replace(request, principal=""))
            says = "TLS without an identity"
        self._steps.append(Step("tls", says, place))
        return None

    def _http(self, inbound: Inbound, transport: str, chain: AcceptedChain) -> Trace:
        place = key.inbound(self._scope)
        if not self._call.is_http:
            step = Step("filter_chain", "the bytes are not HTTP", place)
            return self._end(step, "protocol_error")
        offered = self._call.request.application_protocol
        agreed = chain.tls is not None and offered in chain.tls.alpn
        if agreed and (offered == _HTTP2) != (self._call.protocol == "http2"):
            says = f"the bytes are not of the protocol that was agreed on, {offered}"
            return self._end(Step("filter_chain", says, place), "protocol_error")
        place = key.http_connection(self._scope, transport)
        connection = self._content(place)
        settings = connection if isinstance(connection, HttpConnection) else None
        request = normalized(self._call.request, settings)
        if request is None:
            step = Step("normalization", "the path has an escaped slash", place)
            return self._end(step, "path_rejected", 400)
        if request.path != self._call.request.path:
            self._steps.append(Step("normalization", f"the path is {request.path}", place))
        if not request.client_address:
            request = replace(request, client_address=client_address(request, settings))
        self._call = replace(self._call, request=request)
        for name in self._filters(transport, "http", _HTTP_FILTERS):
            ended = self._jwt(transport) if name == "jwt" else self._check(name, transport, "http")
            if ended is not None:
                return ended
        for routes in inbound.routes:
            if routes.transport == transport:
                place = key.inbound(self._scope)
                request = self._call.request
                if virtual_host(request.authority, {"": routes.domains}, False) is None:
                    step = Step("virtual_host", f"no host {request.authority}", place)
                    return self._end(step, "no_virtual_host", 404)
                routed = route(routes.rules, request, place, self._policies)
                return Trace(self._original, (*self._steps, *routed.steps), routed.outcome)
        step = Step("virtual_host", f"no routes for {transport}", key.inbound(self._scope))
        return self._end(step, "no_virtual_host", 404)

    def _tcp(self, inbound: Inbound, transport: str) -> Trace:
        for name in self._filters(transport, "tcp", _TCP_FILTERS):
            ended = self._check(name, transport, "tcp")
            if ended is not None:
                return ended
        place = key.inbound(self._scope)
        if not inbound.forwards_to:
            return self._end(Step("destination", "there is no TCP chain", place), "no_cluster")
        target = _target(inbound.forwards_to)
        return self._done(
            Step("destination", f"to {target}", place),
            Outcome("forwarded", destinations=(Share(target, 1.0),)),
        )

    def _filters(self, transport: str, protocol: str, usual: Sequence[str]) -> Sequence[str]:
        order = self._content(key.filter_order(self._scope, transport, protocol))
        if not isinstance(order, FilterOrder):
            return usual
        return [name for name in order.filters if name in usual]

    def _jwt(self, transport: str) -> Trace | None:
        place = key.request_authentication(self._scope, transport)
        rules = self._content(place)
        if not isinstance(rules, RequestAuthentication):
            return None
        checked = check_token(self._call, rules)
        step = Step("jwt", checked.says, place)
        if checked.request is None:
            return self._end(step, "token_rejected", checked.status)
        self._steps.append(step)
        self._call = replace(self._call, request=checked.request)
        return None

    def _check(self, name: str, transport: str, protocol: str) -> Trace | None:
        place = key.authorization(self._scope, transport, protocol)
        rules = self._content(place)
        if not isinstance(rules, Authorization):
            return None
        decision = _CHECKS[name](rules, self._call.request)
        rule = decision.rule
        named = f"{rule.policy}[{rule.index}]" if rule is not None else ""
        among = tuple(dict.fromkeys(one.policy for one in decision.among))
        step = Step("authorization", decision.says, place, named, among)
        match decision.verdict:
            case "undecided":
                return self._done(step, Outcome("undecided", detail=decision.says))
            case "refused":
                return self._end(step, "access_denied", 403 if protocol == "http" else 0)
        self._steps.append(step)
        return None


def chosen_chain(
    chains: Sequence[AcceptedChain], detects: Sequence[str], call: Call
) -> AcceptedChain | None:
    """The chain for a connection; None: it is closed.

    As Envoy chooses: chains for the transport that was detected, if there are any, else those for
    every transport; among them those for the application protocol, else those for every one.
    """
    request = call.request
    encrypted = request.transport != "plaintext" and "tls" in detects
    transport = "tls" if encrypted else "raw_buffer"
    among = [chain for chain in chains if chain.transport_protocol == transport] or [
        chain for chain in chains if not chain.transport_protocol
    ]
    spoken = {request.application_protocol} if encrypted else set()
    if request.transport == "plaintext" and "http" in detects:
        spoken = {"http1": {"http/1.0", "http/1.1"}, "http2": {"h2c"}}.get(call.protocol, set())
    for chain in among:
        if spoken & set(chain.application_protocols):
            return chain
    return next((chain for chain in among if not chain.application_protocols), None)


def transport_of(chain: AcceptedChain) -> str:
    """The transport that stands in the keys of the chain's other policies."""
    if chain.tls is not None:
        return key.TRANSPORT_MTLS
    return key.TRANSPORT_TLS if chain.transport_protocol == "tls" else key.TRANSPORT_PLAINTEXT


def _is_accepted(principal: str, chain: AcceptedChain) -> bool:
    if chain.tls is None or not chain.tls.peers:
        return True
    return any_of(text_meets(peer, principal) for peer in chain.tls.peers) is True


def _target(cluster: str) -> Target:
    """The target behind the name of an inbound cluster (`inbound|8080||`)."""
    direction, _, rest = cluster.partition("|")
    port = rest.partition("|")[0]
    if direction == "inbound" and port.isdigit():
        return Target("inbound", "", int(port))
    return Target("named", cluster)
