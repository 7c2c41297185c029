"""The codes of delivery and loading (`MSC-3xxx`): the way from a declaration into a proxy."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Layer = Literal["declaration", "translation", "delivery", "loading", "enforcement"]
"""The step at which something goes wrong."""

Severity = Literal["critical", "warning", "info"]

SECOND: Final = 1_000
MINUTE: Final = 60 * SECOND


@dataclass(frozen=True, slots=True)
class DeliveryCode:
    """One thing that can go wrong on the way.

    Attributes:
        code: Public and stable.
        title: What it says, as the title of an anomaly.
        layer: The step at which it goes wrong.
        severity: At least so bad; what it does to traffic may make it worse.
        after_ms: It is normal for so long, for example while a push is under way.
        expected: What should be.
        means: What follows from it.
        repair: What to do.
    """

    code: str
    title: str
    layer: Layer
    severity: Severity
    after_ms: int
    expected: str
    means: str
    repair: str


REJECTED: Final = DeliveryCode(
    "MSC-3001",
    "Envoy refused an update",
    "loading",
    "critical",
    0,
    "the update is taken in",
    "The proxy keeps what it had. Whatever is declared since then for the same part of its "
    "configuration does not reach it either.",
    "Correct or remove the resource that the update was made from; mostly an EnvoyFilter, since "
    "istiod seldom writes what Envoy refuses.",
)
WARMING: Final = DeliveryCode(
    "MSC-3002",
    "A resource has been warming for too long",
    "loading",
    "warning",
    30 * SECOND,
    "it is in force",
    "The resource is loaded and not in force: a cluster waits for its endpoints, a listener for "
    "its routes or secrets. The one before it goes on serving, if there is one.",
    "See what it waits for: whether istiod sends these endpoints, routes or secrets to this proxy "
    "(`istioctl proxy-config`), and whether the control plane is overloaded. A restart of the "
    "proxy has everything sent anew.",
)
DRAINING: Final = DeliveryCode(
    "MSC-3003",
    "A proxy has been draining for too long",
    "loading",
    "warning",
    15 * MINUTE,
    "old listeners close within the drain time",
    "Connections that were there before a change still follow the old policy, or the proxy as a "
    "whole takes no new work.",
    "Close the connections or restart the Pod. Where drains always take long, lower Istio's "
    "`drainDuration`.",
)
DISCONNECTED: Final = DeliveryCode(
    "MSC-3004",
    "Proxies are cut off from their control plane",
    "delivery",
    "warning",
    10 * SECOND,
    "connected",
    "They go on with the configuration that they have; whatever is declared from now on does not "
    "reach them, and in the end their certificates expire.",
    "See whether istiod runs and can be reached from the Pod (port 15012), and what the log of "
    "istio-proxy says.",
)
NEVER_RECEIVED: Final = DeliveryCode(
    "MSC-3005",
    "A proxy has not received its configuration",
    "delivery",
    "critical",
    30 * SECOND,
    "clusters and listeners are received",
    "The Pod does not become ready, or sends traffic around every policy.",
    "See whether istiod can be reached from the Pod, accepts its identity, and knows its revision; "
    "the log of istio-proxy tells.",
)
OUTDATED: Final = DeliveryCode(
    "MSC-3006",
    "Proxies hold a configuration older than what is declared",
    "delivery",
    "warning",
    0,
    "what is declared was sent",
    "The control plane has sent these proxies nothing since the declaration changed, although they "
    "are connected to it.",
    "See whether istiod has taken the change in (its log, `pilot_proxy_convergence_time`, "
    "`istioctl proxy-status`); restart it, or the proxy if it is one alone.",
)
OTHER_REVISION: Final = DeliveryCode(
    "MSC-3007",
    "Proxies belong to another revision of Istio than their namespace asks for",
    "declaration",
    "warning",
    0,
    "the revision of the namespace",
    "Another istiod, with its own version and mesh configuration, decides what they hold.",
    "Restart the workloads (`kubectl rollout restart`), so that they are injected anew, or correct "
    "the label of the namespace.",
)
EXPIRING: Final = DeliveryCode(
    "MSC-3008",
    "A certificate is about to expire",
    "loading",
    "critical",
    0,
    "it was renewed in time",
    "Istio renews a workload's certificate when half of its life is over, so renewal fails. New "
    "mutual TLS connections fail once it has expired; open ones go on.",
    "See why the agent gets no new one (the log of istio-proxy: CA address, token, quota). For a "
    "root: distribute the next one beside it before it expires.",
)
OTHER_TRUST: Final = DeliveryCode(
    "MSC-3009",
    "A proxy's certificates are not those of its mesh",
    "loading",
    "critical",
    0,
    "an identity and a root of the mesh",
    "Peers refuse the proxy, or it refuses them; rules about identities do not mean it.",
    "Restart the Pod, so that it gets certificates of the current root and trust domain. While a "
    "root or trust domain is replaced, keep the old one trusted (`caCertificates`, "
    "`trustDomainAliases`) until every proxy has changed.",
)
NOT_INJECTED: Final = DeliveryCode(
    "MSC-3010",
    "Pods run without a sidecar although their namespace asks for one",
    "declaration",
    "warning",
    2 * MINUTE,
    "a sidecar is injected",
    "No policy of the mesh is enforced at these Pods, and their traffic is not encrypted.",
    "Restart them; if they come back without a sidecar, see whether istiod's webhook is reachable "
    "(`kubectl get mutatingwebhookconfiguration`).",
)
UNSEEN: Final = DeliveryCode(
    "MSC-3011",
    "Nothing is known of a proxy's configuration",
    "delivery",
    "warning",
    2 * MINUTE,
    "snapshots arrive",
    "Whether it holds what is declared cannot be told.",
    "See whether the agent runs beside it, reaches its admin interface, and reaches the broker.",
)

DELIVERY_CODES: Final[Mapping[str, DeliveryCode]] = {
    each.code: each
    for each in (
        REJECTED,
        WARMING,
        DRAINING,
        DISCONNECTED,
        NEVER_RECEIVED,
        OUTDATED,
        OTHER_REVISION,
        EXPIRING,
        OTHER_TRUST,
        NOT_INJECTED,
        UNSEEN,
    )
}
"""The closed table of codes."""
