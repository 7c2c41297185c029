"""What all destinations of a client share, from mesh configuration, istiod's switches and version.

Source: https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#MeshConfig and
https://istio.io/latest/docs/reference/commands/pilot-discovery/#envvars.
"""

from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address
from typing import Any

from meshscope.projection.destinations.client_tls import ClientSettings
from meshscope.projection.destinations.connection_settings import MeshDefaults
from meshscope.projection.destinations.destination import Client
from meshscope.projection.durations import milliseconds
from meshscope.projection.features import has

Switch = Callable[[str, bool], bool]
"""Value of one of istiod's switches, given its name and its default."""


def client_settings(
    mesh: Mapping[str, Any], switch: Switch, version: tuple[int, int], addresses: Iterable[str]
) -> Client:
    """The settings of a client.

    Args:
        mesh: MeshConfig as given.
        switch: istiod's switches.
        version: Of the control plane, such as (1, 31).
        addresses: Own addresses of the proxy.
    """
    exchange = switch("PILOT_ENABLE_METADATA_EXCHANGE", True)
    policy = mesh.get("defaultTrafficPolicy") if has(version, "default_traffic_policy") else None
    return Client(
        mesh=MeshDefaults(
            connect_timeout_ms=milliseconds(mesh.get("connectTimeout", "10s")),
            keepalive=mesh.get("tcpKeepalive") or {},
            h2_upgrade=mesh.get("h2UpgradePolicy") == "UPGRADE",
            track_remaining=not switch("DISABLE_TRACK_REMAINING_CB_METRICS", True),
            source="127.0.0.6" if supports_ipv4(addresses) else "::6",
            passthrough=(policy or {}).get("connectionPool") or {},
        ),
        tls=ClientSettings(
            auto_mtls=mesh.get("enableAutoMtls", True),
            peer_exchange=exchange and not switch("PILOT_DISABLE_MX_ALPN", False),
            ciphers=tuple((mesh.get("tlsDefaults") or {}).get("cipherSuites") or ()),
            curves=tuple((mesh.get("tlsDefaults") or {}).get("ecdhCurves") or ()),
        ),
        metadata_exchange=exchange,
        names_services=switch("PILOT_ENABLE_TELEMETRY_LABEL", True),
        locality=mesh.get("localityLbSetting"),
        policy=policy,
        dns_refresh_ms=milliseconds(mesh.get("dnsRefreshRate", "60s")),
        dns_family=_dns_family(addresses, dual_stack=switch("ISTIO_DUAL_STACK", False)),
        unready_sent=has(version, "unready_sent")
        and switch("PILOT_AUTO_SEND_UNHEALTHY_ENDPOINTS", True),
        forced_unready=switch("PILOT_SEND_UNHEALTHY_ENDPOINTS", False),
    )


def describes_workloads(switch: Switch) -> bool:
    """Whether endpoints bear what telemetry is told of their workload."""
    return switch("PILOT_ENABLE_TELEMETRY_LABEL", True) and switch(
        "PILOT_ENDPOINT_TELEMETRY_LABEL", True
    )


def supports_ipv4(addresses: Iterable[str]) -> bool:
    """Whether one of a proxy's addresses is of IPv4, or none is known."""
    found = tuple(addresses)
    return not found or any(ip_address(address).version == 4 for address in found)


def _dns_family(addresses: Iterable[str], *, dual_stack: bool) -> str:
    """The family in which names are resolved: that of the proxy; of both, IPv4 alone by default."""
    families = {ip_address(address).version for address in addresses}
    if families == {6}:
        return "v6_only"
    return "all" if families == {4, 6} and dual_stack else "v4_only"
