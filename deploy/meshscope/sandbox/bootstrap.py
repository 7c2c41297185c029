"""The bootstrap of a sandbox's Envoy: the recorded one, its sockets, and Istio's statistics.

One thing differs from a sidecar's: Envoy returns to its control plane within two seconds, not
within half a minute, so that a proxy that was cut off can be healed while somebody watches.

An Istio sidecar keeps few statistics: what readiness and health need, its own metrics, and the
counters of RBAC. `http.*` (hence versions and rejections of RDS), `cluster.*` (hence those of EDS),
`tcp.*` and `control_plane.*` are absent, except for RBAC counters and the cluster `xds-grpc`.
Whoever observes the sandbox sees what they would see of a stock sidecar.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from meshscope.sandbox.paths import ProxyPaths

# Istio, pkg/bootstrap/config.go: what a sidecar keeps without `proxyStatsMatcher`.
STATS_PREFIXES = (
    "reporter=",
    "cluster_manager",
    "listener_manager",
    "server",
    "cluster.xds-grpc",
    "wasm",
    "component",
    "istio",
)
STATS_SUFFIXES = ("rbac.allowed", "rbac.denied", "shadow_allowed", "shadow_denied")
STATS_REGEXES = (r"vhost\..*\.route\..*",)

RECONNECT = {"base_interval": "0.5s", "max_interval": "2s"}
"""`envoy.config.core.v3.BackoffStrategy`; without it Envoy backs off up to 30 s."""


def bootstrap(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """The bootstrap to start Envoy with, in its own working directory."""
    text = json.dumps(recorded)
    text = text.replace("@XDS_SOCKET@", ProxyPaths.XDS_SOCKET)
    text = text.replace("@SDS_SOCKET@", ProxyPaths.SDS_SOCKET)
    document: dict[str, Any] = json.loads(text)
    for service in document["dynamic_resources"]["ads_config"]["grpc_services"]:
        service["envoy_grpc"]["retry_policy"] = {"retry_back_off": RECONNECT}
    document["stats_config"] = {"stats_matcher": stats_matcher()}
    return document


def stats_matcher() -> dict[str, Any]:
    """`envoy.config.metrics.v3.StatsMatcher` of a stock Istio sidecar."""
    patterns = [
        *({"prefix": prefix} for prefix in STATS_PREFIXES),
        *({"suffix": suffix} for suffix in STATS_SUFFIXES),
        *({"safe_regex": {"regex": regex}} for regex in STATS_REGEXES),
    ]
    return {"inclusion_list": {"patterns": patterns}}
