"""A request from the application: listener, filter chain, virtual host, rule, destination."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from meshscope.algebra.addresses import network, number_of
from meshscope.algebra.intervals import contains
from meshscope.evaluation.call import Call
from meshscope.evaluation.hosts import virtual_host
from meshscope.evaluation.normalization import normalized
from meshscope.evaluation.routing import Policies, destinations, route
from meshscope.evaluation.trace import Outcome, Reason, Step, Trace
from meshscope.policy import key
from meshscope.policy.egress import Egress
from meshscope.policy.http_connection import HttpConnection
from meshscope.policy.http_route import HttpRoute, HttpRule
from meshscope.policy.key import PolicyKey
from meshscope.policy.kinds import Kind
from meshscope.policy.outbound_listener import ChainMatch, OutboundChain, OutboundListener

_WILDCARDS: Final = ("0.0.0.0", "::")  # noqa: S104  (names of listeners, nothing is bound)
_CATCH_ALL_PORT: Final = 15001


def evaluate_outbound(policies: Policies, call: Call) -> Trace:
    """What a sidecar does with a request of its application; see `evaluate.evaluate`."""
    return _Outbound(policies, call).run()


@dataclass(frozen=True, slots=True)
class _Host:
    """A virtual host: of a service, or the one for all others."""

    policy: PolicyKey
    rules: tuple[HttpRule, ...]
    require_tls: bool = False


class _Outbound:
    """One evaluation; `_steps` grows."""

    def __init__(self, policies: Policies, call: Call) -> None:
        self._policies = policies
        self._call = call
        self._steps: list[Step] = []

    def run(self) -> Trace:
        """Every stage in order, until one ends it."""
        found = self._listener()
        if found is None:
            return self._end(Step("listener", "there is no listener"), "no_listener")
        place, listener = found
        self._steps.append(Step("listener", f"listener {place['address']}:{place['port']}", place))
        chain = chosen_chain(listener, self._call)
        if chain is None:
            return self._end(Step("filter_chain", "no chain fits", place), "no_filter_chain")
        if not chain.route_table:
            says = "bytes are passed on"
            self._steps.append(Step("filter_chain", says, place))
            reached = destinations(chain.to, self._policies)
            outcome = reached.outcome
            if outcome.result != "forwarded":
                outcome = Outcome("closed", outcome.reason)
            return Trace(self._call, (*self._steps, *reached.steps), outcome)
        self._steps.append(Step("filter_chain", f"HTTP, route table {chain.route_table}", place))
        if not self._call.is_http or self._call.request.transport != "plaintext":
            return self._end(
                Step("filter_chain", "the bytes are not HTTP", place), "protocol_error"
            )
        return self._http(place, chain.route_table)

    def _listener(self) -> tuple[PolicyKey, OutboundListener] | None:
        """The most specific one: of address and port, of the port, of all others."""
        request = self._call.request
        places = [(request.destination_address, request.port)]
        family = _WILDCARDS if ":" not in request.destination_address else _WILDCARDS[::-1]
        places += [(address, request.port) for address in family]
        places += [(address, _CATCH_ALL_PORT) for address in family]
        for address, port in places:
            place = key.outbound_listener(address, port)
            policy = self._policies.get(place)
            if policy is not None and isinstance(policy.content, OutboundListener):
                return place, policy.content
        return None

    def _end(self, step: Step, reason: Reason, status: int = 0) -> Trace:
        result = Outcome("answered" if status else "closed", reason, status)
        return Trace(self._call, (*self._steps, step), result)

    def _http(self, listener: PolicyKey, table: str) -> Trace:
        place = key.http_connection(f"{listener['address']}_{listener['port']}")
        connection = self._policies.get(place)
        settings = connection.content if connection is not None else None
        request = normalized(
            self._call.request, settings if isinstance(settings, HttpConnection) else None
        )
        if request is None:
            step = Step("normalization", "the path has an escaped slash", place)
            return self._end(step, "path_rejected", 400)
        if request.path != self._call.request.path:
            self._steps.append(Step("normalization", f"the path is {request.path}", place))
        hosts, domains, ignore_port = self._hosts(table)
        if not hosts:
            step = Step("virtual_host", f"route table {table} is not known")
            return self._end(step, "no_virtual_host", 404)
        found = virtual_host(request.authority, domains, ignore_port)
        if found is None:
            step = Step("virtual_host", f"no virtual host takes {request.authority!r}")
            return self._end(step, "no_virtual_host", 404)
        host = hosts[found]
        self._steps.append(Step("virtual_host", f"{request.authority!r} is taken", host.policy))
        if host.require_tls:
            step = Step("virtual_host", "only HTTPS is served", host.policy)
            url = f"https://{request.authority}{request.target()}"
            outcome = Outcome("answered", "tls_redirect", 301, location=url)
            return Trace(self._call, (*self._steps, step), outcome)
        routed = route(host.rules, request, host.policy, self._policies)
        return Trace(self._call, (*self._steps, *routed.steps), routed.outcome)

    def _hosts(
        self, table: str
    ) -> tuple[dict[PolicyKey, _Host], dict[PolicyKey, tuple[str, ...]], bool]:
        """The virtual hosts of a route table, their domains, and whether ports count in them."""
        hosts: dict[PolicyKey, _Host] = {}
        domains: dict[PolicyKey, tuple[str, ...]] = {}
        ignore_port = False
        for place, policy in self._policies.items():
            content = policy.content
            if place.kind is Kind.HTTP_ROUTE and place["route_table"] == table:
                if isinstance(content, HttpRoute):
                    tls = content.require_tls == "all"
                    hosts[place] = _Host(place, content.rules, tls)
                    domains[place] = content.domains
                    ignore_port |= content.ignore_port_in_host
            elif place == key.egress(table) and isinstance(content, Egress):
                hosts[place] = _Host(place, content.rules)
                domains[place] = ("*",)
                ignore_port |= content.ignore_port_in_host
        return hosts, domains, ignore_port


def chosen_chain(listener: OutboundListener, call: Call) -> OutboundChain | None:
    """The filter chain for a connection; None: it is closed.

    Envoy narrows by destination port, address, SNI, transport and application protocol, in this
    order: where some chain is specific and fits, the unspecific ones no longer count.
    """
    request = call.request
    encrypted = request.transport != "plaintext" and "tls" in listener.detects
    spoken: Sequence[str] = ()
    if encrypted:
        spoken = (request.application_protocol,)
    elif request.transport == "plaintext" and "http" in listener.detects:
        spoken = {"http1": ("http/1.1", "http/1.0"), "http2": ("h2c",)}.get(call.protocol, ())
    chains = list(listener.chains)
    chains = _narrowed(chains, [str(request.port)], lambda m: _text(m.destination_port))
    chains = _by_network(chains, request.destination_address)
    name = request.server_name.lower() if "tls" in listener.detects else ""
    chains = _narrowed(chains, _names(name), lambda m: m.server_names)
    transport = ["tls" if encrypted else "raw_buffer"]
    chains = _narrowed(chains, transport, lambda m: _text(m.transport_protocol))
    chains = _narrowed(chains, spoken, lambda m: m.application_protocols)
    return chains[0] if chains else listener.default


def _text(value: int | str) -> tuple[str, ...]:
    return (str(value),) if value else ()


def _names(server_name: str) -> list[str]:
    """What a chain may call a server name, the most specific first."""
    labels = server_name.split(".")
    return [server_name] + ["*." + ".".join(labels[n:]) for n in range(1, len(labels))]


def _narrowed(
    chains: list[OutboundChain],
    wanted: Sequence[str],
    values: Callable[[ChainMatch], Sequence[str]],
) -> list[OutboundChain]:
    """The chains for the first of `wanted` that some chain names, else those that name none."""
    for value in wanted:
        fitting = [chain for chain in chains if value and value in values(chain.match)]
        if fitting:
            return fitting
    return [chain for chain in chains if not values(chain.match)]


def _by_network(chains: list[OutboundChain], address: str) -> list[OutboundChain]:
    """The chains with the smallest network that holds the address."""

    def size(match: ChainMatch) -> int | None:
        fits = [
            last - first
            for text in match.prefix_ranges
            for first, last in network(text)
            if address and contains(((first, last),), number_of(address))
        ]
        return min(fits, default=None)

    sizes = [(size(chain.match), chain) for chain in chains]
    known = [found for found, _ in sizes if found is not None]
    if known:
        return [chain for found, chain in sizes if found == min(known)]
    return [chain for chain in chains if not chain.match.prefix_ranges]
