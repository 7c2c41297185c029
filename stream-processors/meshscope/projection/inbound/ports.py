"""Which inbound ports a workload has: those of its services, or those that a Sidecar lists.

Of several services that share a target port the oldest decides. The ingress listeners of a Sidecar
take the place of all service ports. Where connections are not redirected (interception `NONE`),
only ingress listeners take any, and there is no pass-through.

Source: https://istio.io/latest/docs/reference/config/networking/sidecar/#IstioIngressListener.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any, Literal

from meshscope.policy.destination import Service
from meshscope.policy.inbound import SELF_ADDRESS
from meshscope.policy.source import ResourceRef
from meshscope.projection.inbound.inbound import InboundPort
from meshscope.projection.services.protocols import HTTP, parse

Interception = Literal["REDIRECT", "TPROXY", "NONE"]

LOOPBACK = "127.0.0.1"
LOOPBACKS = {4: LOOPBACK, 6: "::1"}
_ANY_ADDRESS = ("0.0.0.0", "[::]", "::")  # noqa: S104, how Sidecar says the workload's own address
_FAMILIES = {LOOPBACK: 4, "[::1]": 6, "0.0.0.0": 4, "[::]": 6}  # noqa: S104
"""Hosts of default endpoints that stand for whatever address of a family the workload has."""


@dataclass(frozen=True, slots=True)
class ServiceTarget:
    """A port of a service that the workload serves.

    Attributes:
        host, namespace, name: The service as the registry names it.
        port: Port of the service.
        target_port: Port of the workload.
        protocol: Istio's name, lower case; `auto`: to be detected.
        external: The service lies outside the mesh.
        sources: Resources that it came from.
    """

    host: str
    namespace: str
    name: str
    port: int
    target_port: int
    protocol: str
    external: bool = False
    sources: tuple[ResourceRef, ...] = ()

    @property
    def service(self) -> Service:
        """The service as policies name it."""
        return Service(self.host, self.namespace, self.name)


@dataclass(frozen=True, slots=True)
class PortPlan:
    """An inbound port, and what decides about the cluster behind it.

    Attributes:
        port: The port.
        owner: The service port whose DestinationRule counts; None: none.
        policy_port: Port by which that rule knows it.
        address: `ip:port` or `unix://path` that it forwards to; empty: what the caller dialled.
        pool: `connectionPool` that the Sidecar sets; None: the rule's counts.
        own_tls: The Sidecar gives it TLS of its own.
    """

    port: InboundPort
    owner: ServiceTarget | None
    policy_port: int
    address: str = ""
    pool: Mapping[str, Any] | None = None
    own_tls: bool = False


def service_ports(
    targets: Iterable[ServiceTarget],
    *,
    forward_to_loopback: bool = False,
    labelled: bool = True,
    reserved: Collection[int] = (),
) -> tuple[PortPlan, ...]:
    """The ports of the services of a workload.

    Args:
        targets: Oldest service first.
        forward_to_loopback: Connections go to `127.0.0.1` (`inboundTrafficPolicy: LOCALHOST`).
        labelled: Clusters name their services (`PILOT_ENABLE_TELEMETRY_LABEL`).
        reserved: Ports of the proxy itself, which no service can have.
    """
    by_port: dict[int, list[ServiceTarget]] = {}
    for target in targets:
        # Ports of UDP, too: istiod makes chains for them as for TCP.
        if target.target_port not in reserved:
            by_port.setdefault(target.target_port, []).append(target)
    return tuple(
        PortPlan(
            InboundPort(
                number,
                found[0].protocol,
                found[0].host,
                found[0].port,
                f"inbound|{number}||",
                services=_services(found) if labelled else (),
                sources=tuple(ref for target in found for ref in target.sources),
            ),
            owner=found[0],
            policy_port=found[0].port,
            address=f"{LOOPBACK}:{number}" if forward_to_loopback else "",
        )
        for number, found in sorted(by_port.items())
    )


def _services(found: Sequence[ServiceTarget]) -> tuple[Service, ...]:
    if found[0].external:
        return ()
    return tuple(target.service for target in found if target.port == found[0].port)


def ingress_ports(
    sidecar: ResourceRef,
    spec: Mapping[str, Any],
    targets: Sequence[ServiceTarget],
    *,
    interception: Interception,
    addresses: Collection[str],
    reserved: Collection[int] = (),
    unprivileged: bool = False,
    labelled: bool = True,
) -> tuple[PortPlan, ...]:
    """The ports that the ingress listeners of a Sidecar open.

    Args:
        sidecar: The Sidecar.
        spec: Its spec.
        targets: Ports of the workload's services, oldest first.
        interception: How the workload's connections are captured.
        addresses: Own addresses of the workload.
        reserved: Ports of the proxy itself at the wildcard address.
        unprivileged: The proxy cannot open ports below 1024.
        labelled: As in `service_ports`.
    """
    plans: dict[int, PortPlan] = {}
    for listener in spec.get("ingress") or ():
        port = listener.get("port") or {}
        number = int(port.get("number") or 0)
        protocol = parse(port.get("protocol") or "")
        bind = _bind(listener, interception, addresses)
        at_wildcard = listener["bind"] in _ANY_ADDRESS if listener.get("bind") else protocol in HTTP
        if (bind and unprivileged and 0 < number < 1024) or (at_wildcard and number in reserved):
            continue
        owner = next((target for target in targets if target.target_port == number), None)
        known = owner is not None and not owner.external
        address = _endpoint(listener.get("defaultEndpoint") or "", addresses)
        plans.setdefault(
            number,
            PortPlan(
                InboundPort(
                    number,
                    protocol,
                    f"{sidecar.name}.{sidecar.namespace}",
                    number,
                    f"inbound|{number}||",
                    bind=bind,
                    services=(owner.service,) if known and labelled and owner is not None else (),
                    sources=(sidecar,),
                ),
                owner=owner,
                policy_port=number,
                address=address,
                pool=listener.get("connectionPool"),
                own_tls=listener.get("tls") is not None,
            ),
        )
    return tuple(plans[number] for number in sorted(plans))


def with_pools(plans: Iterable[PortPlan], spec: Mapping[str, Any]) -> tuple[PortPlan, ...]:
    """The ports with the limits that a Sidecar sets for all ports without limits of their own."""
    general = spec.get("inboundConnectionPool")
    return tuple(replace(plan, pool=general) if plan.pool is None else plan for plan in plans)


def _bind(
    listener: Mapping[str, Any], interception: Interception, addresses: Collection[str]
) -> str:
    """Address of a listener of its own; empty: connections are redirected to the virtual one."""
    mode = listener.get("captureMode") or "DEFAULT"
    if mode == "IPTABLES" or (mode == "DEFAULT" and interception != "NONE"):
        return ""
    bind = listener.get("bind") or SELF_ADDRESS
    return SELF_ADDRESS if bind in addresses else bind


def _endpoint(endpoint: str, addresses: Collection[str]) -> str:
    """Where a port forwards to; of an address of a family that the workload lacks the other's."""
    host, _, port = endpoint.rpartition(":")
    family = _FAMILIES.get(host)
    if family is None:
        return endpoint
    has = {ip_address(address).version for address in addresses} or {4}
    if host in _ANY_ADDRESS:
        found = SELF_ADDRESS if family in has else LOOPBACKS[family]
    else:
        found = LOOPBACKS[family if family in has else 10 - family]
    return f"{found}:{port}"
