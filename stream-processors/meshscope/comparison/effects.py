"""What a difference does to traffic, without looking at single requests.

The answer is conservative: where a difference may let something through or refuse it, it is said to
let it through.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from meshscope.comparison.breadth import breadth
from meshscope.comparison.describe import Differing
from meshscope.comparison.verdict import EFFECTS, Effect
from meshscope.events.facts import Change
from meshscope.policy.authorization import Authorization
from meshscope.policy.egress import Egress
from meshscope.policy.endpoints import Endpoints
from meshscope.policy.key import PolicyKey
from meshscope.policy.kinds import Kind
from meshscope.policy.policy import Content
from meshscope.policy.request_authentication import RequestAuthentication

_MODES: Final = ("STRICT", "PERMISSIVE", "DISABLE")
_DEMANDS: Final = ("required", "optional", "none")
"""What may be demanded of tokens, strictest first; `none`: bad ones are let through as well."""

_GUARDED: Final = frozenset(
    (Kind.AUTHORIZATION, Kind.PEER_AUTHENTICATION, Kind.REQUEST_AUTHENTICATION)
)
"""Kinds of policies that keep something out."""

_GUARDS: Final = frozenset({"custom", "jwt", "deny", "allow"})
"""Filters that may refuse a request."""


def worst(effects: Iterable[Effect]) -> Effect:
    """The first of several effects in the order of `EFFECTS`; `alters` for none."""
    return min(effects, key=EFFECTS.index, default="alters")


def effect_of_change(key: PolicyKey, change: Change, content: Content) -> Effect:
    """The effect of a whole policy that is missing, or that nothing declares."""
    kind = key.kind
    if kind is Kind.EXTENSION and key["location"].partition("/")[0] in _GUARDED:
        return "exposes"
    special = _WHOLE.get(kind)
    if special is not None:
        return special(content, change == "missing")
    missing, extra = _WHOLE_DEFAULTS[kind]
    return missing if change == "missing" else extra


def effect_of_fields(kind: Kind, places: Iterable[Differing]) -> Effect:
    """The effect of the places in which two policies differ."""
    special = _FIELDS.get(kind)
    return worst(special(place) if special else "alters" for place in places)


def _authorization_whole(content: Authorization, missing: bool) -> Effect:
    restricts = content.custom or content.deny or content.allow is not None
    if not restricts:
        return "alters"
    return "exposes" if missing else "blocks"


def _request_authentication_whole(content: RequestAuthentication, missing: bool) -> Effect:
    if not content.rules or content.requirement == "none":
        return "alters"
    return "exposes" if missing else "blocks"


def _endpoints_whole(content: Endpoints, missing: bool) -> Effect:
    if not content.localities:
        return "alters"
    return "blocks" if missing else "reroutes"


def _egress_whole(content: Egress, missing: bool) -> Effect:
    if content.mode == "REGISTRY_ONLY":
        return "exposes" if missing else "blocks"
    return "blocks" if missing else "exposes"


_WHOLE: Final[dict[Kind, Callable[[Any, bool], Effect]]] = {
    Kind.AUTHORIZATION: _authorization_whole,
    Kind.REQUEST_AUTHENTICATION: _request_authentication_whole,
    Kind.ENDPOINTS: _endpoints_whole,
    Kind.EGRESS: _egress_whole,
}
_WHOLE_DEFAULTS: Final[dict[Kind, tuple[Effect, Effect]]] = {
    # Effect where the policy is missing, and where it is extra.
    Kind.OUTBOUND_LISTENER: ("reroutes", "reroutes"),
    Kind.HTTP_ROUTE: ("reroutes", "reroutes"),
    Kind.DESTINATION: ("blocks", "alters"),
    # Without chains of its own a port has those of all ports, which may ask for less.
    Kind.INBOUND: ("reroutes", "exposes"),
    Kind.PEER_AUTHENTICATION: ("exposes", "exposes"),
    Kind.HTTP_CONNECTION: ("alters", "alters"),
    Kind.FILTER_ORDER: ("exposes", "alters"),
    Kind.TELEMETRY: ("alters", "alters"),
    Kind.EXTENSION: ("alters", "alters"),
}


def _authorization_field(place: Differing) -> Effect:
    group = place.fields[0]
    if group not in ("custom", "deny", "allow"):
        return "alters"
    loosened: Effect = "exposes"
    tightened: Effect = "blocks"
    if len(place.path) == 1:
        # The filter itself is missing or extra, whatever its action.
        return loosened if place.observed is None else tightened
    more, less = (loosened, tightened) if group == "allow" else (tightened, loosened)
    if place.absent:
        return less if place.absent == "observed" else more
    match breadth(place):
        case "wider":
            return more
        case "narrower":
            return less
        case _:
            return loosened


def _peer_authentication_field(place: Differing) -> Effect:
    if place.fields == ("mode",):
        looser = _MODES.index(place.observed) > _MODES.index(place.expected)
        return "exposes" if looser else "blocks"
    if place.absent == "observed":
        return "blocks"
    if place.absent == "expected":
        tls = place.observed.tls
        return "alters" if tls is not None and tls.client_certificate else "exposes"
    about_peers = {"tls", "peers", "trusted", "client_certificate", "minimum", "ciphers", "curves"}
    return "exposes" if place.fields[-1] in about_peers else "alters"


def _request_authentication_field(place: Differing) -> Effect:
    if place.fields == ("requirement",):
        looser = _DEMANDS.index(place.observed) > _DEMANDS.index(place.expected)
        return "exposes" if looser else "blocks"
    if place.absent == "observed":
        return "exposes"
    if place.absent == "expected":
        return "blocks"
    admits = {"issuer", "audiences", "keys", "local_keys", "clock_skew_s"}
    admits |= {"from_headers", "from_params", "from_cookies"}
    return "exposes" if place.fields[-1] in admits else "alters"


def _http_connection_field(place: Differing) -> Effect:
    if place.fields[-1] in ("normalize_path", "merge_slashes"):
        # Rules about paths miss what is not normalised.
        return "exposes" if place.expected else "alters"
    believed = {
        "escaped_slashes",
        "forward_client_cert",
        "use_remote_address",
        "trusted_hops",
        "strip_host_port",
    }
    return "exposes" if place.fields[-1] in believed else "alters"


def _filter_order_field(place: Differing) -> Effect:
    def guards(filters: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(role for role in filters if role in _GUARDS)

    wanted, found = guards(place.expected), guards(place.observed)
    if wanted == found:
        return "alters"
    remaining = iter(found)
    return "blocks" if all(role in remaining for role in wanted) else "exposes"


def _routing_field(place: Differing) -> Effect:
    """For everything that is made of HTTP rules."""
    name = place.fields[-1]
    if name in ("respond", "fault", "require_tls") and place.observed is not None:
        return "blocks"
    rerouting = {"to", "match", "domains", "rules", "forward", "redirect", "respond", "mirrors"}
    return "reroutes" if place.absent or name in rerouting else "alters"


def _egress_field(place: Differing) -> Effect:
    if place.fields[-1] == "mode":
        return "blocks" if place.observed == "REGISTRY_ONLY" else "exposes"
    return _routing_field(place)


def _destination_field(place: Differing) -> Effect:
    if place.fields == ("tls_mode",):
        # Plaintext where TLS was meant is read by anybody; TLS that the server does not speak
        # fails.
        return "blocks" if place.observed == "always" else "exposes"
    if place.fields == ("tls",):
        return "exposes" if place.observed is None else "blocks"
    if place.fields[0] == "tls":
        checks = {
            "server_names",
            "trusted",
            "auto_san_validation",
            "minimum",
            "ciphers",
            "curves",
            "crl",
        }
        return "exposes" if place.fields[-1] in checks else "blocks"
    return "reroutes" if place.fields[0] in ("discovery", "eds_service_name") else "alters"


def _endpoints_field(place: Differing) -> Effect:
    if place.fields[-1] == "tls_mode":
        return "exposes" if place.expected else "blocks"
    return "alters" if place.fields[-1] == "overprovisioning_percent" else "reroutes"


def _inbound_field(place: Differing) -> Effect:
    name = place.fields[-1]
    if place.fields == ("protocol",):
        # What is taken for TCP has no rules about requests.
        return "exposes"
    if place.fields == ("routes",):
        # Which transports are taken is said by peer_authentication.
        return "alters"
    if name == "upstream" and place.observed is None:
        return "blocks"
    if name in (
        "forwards_to", "upstream", "bind", "addresses", "kind", "source_address", "transparent",
    ):  # fmt: skip
        return "reroutes"
    return _routing_field(place)


def _outbound_listener_field(place: Differing) -> Effect:
    moved = {
        "route_table", "to", "match", "default", "detects", "use_original_dst", "transparent",
        "tunnel",
    }  # fmt: skip
    return "reroutes" if place.absent or place.fields[-1] in moved else "alters"


_FIELDS: Final[dict[Kind, Callable[[Differing], Effect]]] = {
    Kind.AUTHORIZATION: _authorization_field,
    Kind.DESTINATION: _destination_field,
    Kind.EGRESS: _egress_field,
    Kind.ENDPOINTS: _endpoints_field,
    Kind.FILTER_ORDER: _filter_order_field,
    Kind.HTTP_CONNECTION: _http_connection_field,
    Kind.HTTP_ROUTE: _routing_field,
    Kind.INBOUND: _inbound_field,
    Kind.OUTBOUND_LISTENER: _outbound_listener_field,
    Kind.PEER_AUTHENTICATION: _peer_authentication_field,
    Kind.REQUEST_AUTHENTICATION: _request_authentication_field,
}
