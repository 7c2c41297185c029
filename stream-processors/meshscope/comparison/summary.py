"""What a policy says, in a few lines."""

from collections.abc import Callable, Iterable
from typing import Any, Final

from meshscope.comparison import words
from meshscope.policy.authorization import Authorization
from meshscope.policy.destination import Destination
from meshscope.policy.egress import Egress
from meshscope.policy.endpoints import Endpoints
from meshscope.policy.extension import Extension
from meshscope.policy.filter_order import FilterOrder
from meshscope.policy.http_connection import HttpConnection
from meshscope.policy.http_route import HttpRoute
from meshscope.policy.inbound import Inbound
from meshscope.policy.outbound_listener import OutboundListener
from meshscope.policy.peer_authentication import PeerAuthentication
from meshscope.policy.policy import Content
from meshscope.policy.request_authentication import RequestAuthentication
from meshscope.policy.telemetry import Telemetry

MOST_LINES: Final = 5


def summarise(content: Content) -> str:
    """A content in words, at most `MOST_LINES` lines."""
    return lines_text(_SUMMARIES[type(content)](content))


def lines_text(lines: Iterable[str]) -> str:
    """Lines as text; of too many the first ones, and how many there are besides."""
    listed = list(lines)
    if len(listed) > MOST_LINES:
        kept = MOST_LINES - 1
        listed = [*listed[:kept], f"… and {len(listed) - kept} more"]
    return "\n".join(listed)


def _authorization(content: Authorization) -> list[str]:
    lines = [f"CUSTOM {words.render(custom)}" for custom in content.custom]
    for action, rules in (
        ("AUDIT", content.audit),
        ("DENY", content.deny),
        ("ALLOW", content.allow),
        ("DENY (dry run)", content.dry_run_deny),
        ("ALLOW (dry run)", content.dry_run_allow),
    ):
        if rules is not None:
            lines += [f"{action} {words.render(rule)}" for rule in rules] or [f"{action} nothing"]
    return lines or ["no rules"]


def _destination(content: Destination) -> list[str]:
    said = {
        "resolution": words.render(content.discovery, "discovery"),
        "loadBalancer": words.render(content.load_balancing.policy, "policy"),
        "TLS": words.render(content.tls_mode, "tls_mode"),
    }
    return [f"{name}: {text}" for name, text in said.items()]


def _egress(content: Egress) -> list[str]:
    return [content.mode + (f" → {words.render(content.to)}" if content.to else "")]


def _endpoints(content: Endpoints) -> list[str]:
    return [words.render(locality) for locality in content.localities] or ["no endpoints"]


def _extension(content: Extension) -> list[str]:
    ends = (".".join(path.split(".")[-2:]) for path in content.paths[:3])
    where = f" at {', '.join(ends)}" if content.paths else ""
    return [f"{content.type or 'a part'} that is not modelled{where} (digest {content.digest})"]


def _filter_order(content: FilterOrder) -> list[str]:
    return [" → ".join(content.filters) or "no filters"]


def _http_connection(content: HttpConnection) -> list[str]:
    return [words.render(content)]


def _http_route(content: HttpRoute) -> list[str]:
    hosts = f"hosts {', '.join(content.domains[:3])}"
    more = f" and {len(content.domains) - 3} more" if len(content.domains) > 3 else ""
    return [hosts + more, *(words.render(rule) for rule in content.rules)]


def _inbound(content: Inbound) -> list[str]:
    to = (
        words.render(content.forwards_to, "forwards_to")
        if content.forwards_to
        else (", ".join(content.upstream.addresses) if content.upstream else "the application")
    )
    return [f"{content.protocol} → {to}"]


def _outbound_listener(content: OutboundListener) -> list[str]:
    lines = [words.render(chain) for chain in content.chains]
    if content.default is not None:
        lines.append(f"otherwise: {words.render(content.default)}")
    return lines or ["no chains"]


def _peer_authentication(content: PeerAuthentication) -> list[str]:
    return [content.mode, *(f"accepts {words.render(chain)}" for chain in content.chains)]


def _request_authentication(content: RequestAuthentication) -> list[str]:
    return [
        f"tokens {content.requirement}",
        *(words.render(rule) for rule in content.rules),
    ]


def _telemetry(content: Telemetry) -> list[str]:
    return [words.render(content)]


_SUMMARIES: Final[dict[type, Callable[[Any], list[str]]]] = {
    Authorization: _authorization,
    Destination: _destination,
    Egress: _egress,
    Endpoints: _endpoints,
    Extension: _extension,
    FilterOrder: _filter_order,
    HttpConnection: _http_connection,
    HttpRoute: _http_route,
    Inbound: _inbound,
    OutboundListener: _outbound_listener,
    PeerAuthentication: _peer_authentication,
    RequestAuthentication: _request_authentication,
    Telemetry: _telemetry,
}
"""One summary per kind of content."""
