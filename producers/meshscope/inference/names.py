"""Names that Istio gives to things in Envoy, and what they say."""

import re
from functools import lru_cache
from ipaddress import ip_network
from typing import Final

from meshscope.policy import key
from meshscope.policy.key import PolicyKey
from meshscope.policy.source import ResourceRef
from meshscope.policy.target import Target

BLACKHOLE: Final = "BlackHoleCluster"
PASSTHROUGH: Final = "PassthroughCluster"
INBOUND_PASSTHROUGH: Final = "InboundPassthroughCluster"

_CONFIG: Final = re.compile(
    r"/apis/[a-z.]+\.istio\.io/v1(?:alpha\d|beta\d)?/namespaces/([^/]+)/([a-z-]+)/([^/]+)"
)
_POLICY_ID: Final = re.compile(
    r"(?P<custom>istio-ext-authz-(?:(?P<provider>.+?)-)?)?"
    r"ns\[(?P<namespace>[^\]]*)\]-policy\[(?P<name>[^\]]*)\]-rule\[(?P<index>\d+)\]"
    r"(?P<bad>-deny-due-to-bad-CUSTOM-action)?"
)


@lru_cache(maxsize=65536)
def target(cluster: str) -> Target:
    """What a cluster name stands for: `direction|port|subset|host`, or a name of its own."""
    parts = cluster.split("|")
    if len(parts) == 4 and parts[1].isdecimal():
        direction, port, subset, host = parts
        if direction == "outbound" and host:
            return Target("outbound", host, int(port), subset)
        if direction == "inbound" and not host and not subset:
            return Target("inbound", "", int(port))
    return Target("named", cluster)


@lru_cache(maxsize=65536)
def destination_key(cluster: str) -> PolicyKey:
    """Key of the `destination` policy of a cluster."""
    to = target(cluster)
    if to.direction == "outbound":
        return key.destination(to.host, to.port, to.subset)
    return key.destination(cluster, 0)


@lru_cache(maxsize=65536)
def endpoints_key(cluster: str) -> PolicyKey:
    """Key of the `endpoints` policy of a cluster."""
    return key.endpoints(*_parts(destination_key(cluster)))


def _parts(policy_key: PolicyKey) -> tuple[str, int, str]:
    host, port, subset = policy_key.parts
    return host, int(port), subset


@lru_cache(maxsize=8192)
def resource(config: str) -> ResourceRef | None:
    """The resource that Istio names in `metadata.filter_metadata.istio.config`."""
    found = _CONFIG.fullmatch(config)
    if found is None:
        return None
    namespace, kind, name = found.groups()
    return ResourceRef("".join(map(str.capitalize, kind.split("-"))), namespace, name)


@lru_cache(maxsize=8192)
def policy_id(text: str) -> tuple[str, int, str | None, bool]:
    """Policy and index of a rule's id, its CUSTOM provider, and whether that is unknown to Istio.

    The provider is None for other actions, and empty where the id does not name it. Of an id that
    Istio does not write the policy is the text itself.
    """
    found = _POLICY_ID.fullmatch(text)
    if found is None:
        return text, 0, None, False
    provider = (found["provider"] or "") if found["custom"] else None
    bad = bool(found["bad"])
    return f"{found['namespace']}/{found['name']}", int(found["index"]), provider, bad


@lru_cache(maxsize=8192)
def network(address: str, length: int) -> str | None:
    """A network `address/length`, without the bits beyond its length; None if it is none."""
    try:
        return str(ip_network((address, length), strict=False))
    except ValueError:
        return None
