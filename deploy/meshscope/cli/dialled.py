"""What an application dials when it asks for a host: address, port, protocol."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Final, Literal

from meshscope.cli.traced import Sidecar, Sidecars, View
from meshscope.policy.kinds import Kind
from meshscope.policy.outbound_listener import OutboundListener
from meshscope.policy.source import ResourceRef
from meshscope.projection.services.protocols import HTTP, TCP, TLS
from meshscope.projection.services.registry import UNSPECIFIED, Service

Protocol = Literal["http1", "http2", "tcp"]

_SCHEME_PORT: Final = 80
_HTTPS_PORT: Final = 443
_HTTP2: Final = frozenset(("grpc", "http2"))


class CannotDial(Exception):
    """It cannot be said what is dialled; the message tells why, and what to do."""


@dataclass(frozen=True, slots=True)
class Dialled:
    """What is dialled.

    Attributes:
        host: As given.
        address: To which the connection goes; empty: only DNS outside of the mesh knows.
        port: To which it goes.
        protocol: That of the port.
        encrypted: The application itself speaks TLS.
        is_http: Whether the port carries HTTP that can be read.
        service: The resource that declares the host; None: none does.
        notes: What was chosen, where there was a choice.
    """

    host: str
    address: str
    port: int
    protocol: Protocol = "http1"
    encrypted: bool = False
    is_http: bool = True
    service: ResourceRef | None = None
    notes: tuple[str, ...] = ()

    @property
    def authority(self) -> str:
        """Host header that clients send: the port stands in it where it is not the usual one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = _HTTPS_PORT if self.encrypted else _SCHEME_PORT
        return host if self.port == usual else f"{host}:{self.port}"


def split_host(text: str) -> tuple[str, int]:
    """Host and port of `HOST[:PORT]`; port 0: none is given.

    Raises:
        CannotDial: It is neither.
    """
    host, port = text, ""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if not host or (port and not (port.isdecimal() and 0 < int(port) < 65536)):
        raise CannotDial(f"{text!r} is no HOST or HOST:PORT, such as cart:8080")
    return host.lower(), int(port or 0)


def dial(text: str, source: Sidecar, sidecars: Sidecars) -> Dialled:
    """What the application beside a sidecar dials.

    Args:
        text: `HOST[:PORT]`, as the application names it.
        source: Its sidecar.
        sidecars: The mesh.

    Raises:
        CannotDial: The host has several ports and none is given.
    """
    host, port = split_host(text)
    service, pod = _service(host, source, sidecars)
    notes: list[str] = []
    if service is None:
        port = port or _SCHEME_PORT
        address = host if _is_address(host) else ""
        if not address:
            notes.append(f"no service is called {host}")
        encrypted = port == _HTTPS_PORT
        found = Dialled(host, address, port, encrypted=encrypted, is_http=not encrypted)
    else:
        found = _to_service(host, port, (service, pod), source, sidecars, notes)
    if source.inputs.interception == "NONE":
        bound = _bound(source, found.port)
        if len(bound) == 1:
            # Nothing redirects connections: applications dial their sidecar's listener.
            found = replace(found, address=bound[0])
        else:
            notes.append(
                f"connections are not intercepted, and {len(bound)} listeners of the sidecar bind "
                f"port {found.port}"
            )
    return replace(found, notes=tuple(notes))


def _to_service(
    host: str,
    port: int,
    found: tuple[Service, str],
    source: Sidecar,
    sidecars: Sidecars,
    notes: list[str],
) -> Dialled:
    service, pod = found
    ports = {one.number: one for one in service.ports if one.protocol != "udp"}
    if not port:
        if len(ports) == 1:
            (port,) = ports
        elif _SCHEME_PORT in ports:
            port = _SCHEME_PORT
        else:
            known = ", ".join(f"{host}:{number}" for number in ports)
            raise CannotDial(f"{host} has several ports; give one of {known}")
    declared = ports.get(port)
    protocol = "auto" if declared is None else declared.protocol
    if declared is None:
        notes.append(f"{service.host} has no port {port}")
    encrypted = protocol in TLS or (protocol == "auto" and port == _HTTPS_PORT)
    is_http = not encrypted and protocol not in TCP
    captured = str(source.inputs.metadata.get("DNS_CAPTURE", "")).lower() == "true"
    address = _address(service, pod, sidecars, captured, notes)
    spoken: Protocol = "http2" if protocol in _HTTP2 else "http1"
    if not is_http and not encrypted and protocol not in HTTP:
        spoken = "tcp"
    return Dialled(host, address, port, spoken, encrypted, is_http, service.ref)


def _address(
    service: Service, pod: str, sidecars: Sidecars, captured: bool, notes: list[str]
) -> str:
    """The address that a service's name stands for; `captured`: the sidecar answers DNS."""
    if pod:
        return sidecars.pod_address(pod)
    if service.address != UNSPECIFIED:
        if "/" not in service.address:
            return service.address
        notes.append(f"{service.host} stands for the network {service.address}")
        return ""
    if service.allocated and captured:
        return service.allocated[0]
    if service.from_kubernetes and service.selector:
        found = sidecars.addresses(service.selector, service.namespace)
        if len(found) > 1:
            notes.append(
                f"{service.host} has no address of its own but those of {len(found)} Pods; "
                f"{found[0]} is dialled"
            )
        return found[0] if found else ""
    notes.append(f"the address of {service.host} is known to DNS alone")
    return ""


def _service(host: str, source: Sidecar, sidecars: Sidecars) -> tuple[Service | None, str]:
    """The service that a name means for an application, and the Pod if it means one of them."""
    if source.projection is None or _is_address(host):
        return _by_address(host, source, sidecars), ""
    mesh = sidecars.mesh(source)
    known = mesh.registry.by_host
    own = source.inputs.namespace
    # The search list of a Pod's resolver.
    for suffix in ("", f".{own}.svc.{mesh.domain}", f".svc.{mesh.domain}", f".{mesh.domain}"):
        name = host.rstrip(".") + suffix
        if name in known:
            return _nearest(known[name], own), ""
        first, _, rest = name.partition(".")
        if rest in known and _nearest(known[rest], own).from_kubernetes:
            # A Pod behind a service without an address.
            service = _nearest(known[rest], own)
            pod = f"{first}.{service.namespace}"
            if sidecars.pod_address(pod):
                return service, pod
    for wildcard in sorted((name for name in known if name.startswith("*.")), key=len)[::-1]:
        if host.endswith(wildcard[1:]):
            return _nearest(known[wildcard], own), ""
    return None, ""


def _by_address(address: str, source: Sidecar, sidecars: Sidecars) -> Service | None:
    if source.projection is None:
        return None
    services = sidecars.mesh(source).registry.services
    return next((one for one in services if address in (one.address, *one.addresses)), None)


def _nearest(services: Mapping[str, Service], namespace: str) -> Service:
    return services.get(namespace) or next(iter(services.values()))


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _bound(source: Sidecar, port: int) -> list[str]:
    """Addresses at which the sidecar itself takes connections to a port."""
    return _listening(source, "declared", port) or _listening(source, "held", port)


def _listening(source: Sidecar, view: View, port: int) -> list[str]:
    return [
        place["address"]
        for place, policy in source.policies(view).items()
        if place.kind is Kind.OUTBOUND_LISTENER
        and place["port"] == str(port)
        and isinstance(policy.content, OutboundListener)
        and policy.content.binds
    ]
