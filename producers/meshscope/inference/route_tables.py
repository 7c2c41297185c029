"""Route tables: their virtual hosts as policies."""

from typing import Final, Literal

from meshscope.inference.evidence import Evidence
from meshscope.inference.matchers import header_mutation
from meshscope.inference.outbound import egress_mode
from meshscope.inference.reader import Message, Unexpected
from meshscope.inference.routes import Rules
from meshscope.policy import key
from meshscope.policy.egress import Egress
from meshscope.policy.http_route import HttpRoute, HttpRule
from meshscope.policy.kinds import Kind
from meshscope.policy.policy import Policy
from meshscope.policy.target import WeightedTarget

_CATCH_ALL: Final = frozenset(("allow_any", "allow_any_dynamic_dns", "block_all"))
_DEFAULT_BODY_BYTES: Final = 4096
_TLS: Final[dict[str, Literal["none", "external", "all"]]] = {
    "NONE": "none",
    "EXTERNAL_ONLY": "external",
    "ALL": "all",
}


def read_route_table(table: Message, evidence: Evidence) -> str:
    """Read a `RouteConfiguration`; its policies are added to the evidence.

    Returns:
        Name of the table.

    Raises:
        Unexpected: It has no name.
    """
    name = table.string("name")
    if not name:
        raise Unexpected("a route table without a name")
    table.place = f"{Kind.HTTP_ROUTE}/{key.escape(name)}"
    reader = _TableReader(table, name, evidence)
    hosts = table.messages("virtual_hosts", "VirtualHost")
    for host in hosts:
        reader.host(host)
    if not hosts:
        reader.empty()
    return name


class _TableReader:
    def __init__(self, table: Message, name: str, evidence: Evidence) -> None:
        self._name = name
        self._policies = evidence.policies
        self._keys = evidence.table_policies.setdefault(name, set())
        self._clusters = evidence.table_clusters.setdefault(name, set())
        self._ignore_port = table.boolean("ignore_port_in_host_matching")
        self._body_bytes = table.integer("max_direct_response_body_size_bytes", _DEFAULT_BODY_BYTES)

    def host(self, host: Message) -> None:
        """Add the policy of a virtual host."""
        name = host.string("name")
        catch_all = name in _CATCH_ALL and host.peek("domains") == ["*"]
        policy_key = key.egress(self._name) if catch_all else key.http_route(self._name, name)
        host.place = str(policy_key)
        domains = host.strings("domains")
        rules = Rules()
        read = rules.read(host)
        self._clusters |= rules.clusters
        attempts = host.boolean("include_request_attempt_count")
        host.constant("require_tls", "NONE")
        content = (
            Egress(
                mode=egress_mode(_targets(read)),
                to=_targets(read),
                rules=read,
                attempt_count_request=attempts,
                ignore_port_in_host=self._ignore_port,
                max_direct_response_bytes=self._body_bytes,
            )
            if catch_all
            else HttpRoute(
                domains=domains,
                rules=read,
                require_tls=host.word("require_tls", _TLS, "none"),
                attempt_count_request=attempts,
                attempt_count_response=host.boolean("include_attempt_count_in_response"),
                ignore_port_in_host=self._ignore_port,
                max_direct_response_bytes=self._body_bytes,
                request_headers=header_mutation(host, "request"),
                response_headers=header_mutation(host, "response"),
            )
        )
        self._add(Policy(policy_key, content, tuple(rules.sources)))

    def empty(self) -> None:
        """Add a policy for a table without virtual hosts, in which every request gets 404."""
        content = HttpRoute(
            domains=(),
            ignore_port_in_host=self._ignore_port,
            max_direct_response_bytes=self._body_bytes,
        )
        self._add(Policy(key.http_route(self._name, ""), content))

    def _add(self, policy: Policy) -> None:
        self._keys.add(policy.key)
        self._policies.append(policy)


def _targets(rules: tuple[HttpRule, ...]) -> tuple[WeightedTarget, ...]:
    """Where the last rule of a catch-all host, which takes every request, sends it."""
    last = rules[-1] if rules else None
    return last.forward.to if last is not None and last.forward is not None else ()
