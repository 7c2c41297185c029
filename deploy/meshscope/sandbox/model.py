"""The recorded mesh as values: its proxies, their addresses and identities, its states."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

import msgspec

from meshscope.sandbox.errors import CommandRefused, SandboxDataError


class Address(str):
    """`IPv4:port`, as the recording writes it."""

    __slots__ = ()

    def __new__(cls, text: str) -> Address:
        host, separator, port = text.rpartition(":")
        if not (separator and host and port.isdigit()):
            raise ValueError(f"{text!r} is not an address of the form IP:PORT")
        return super().__new__(cls, text)

    @property
    def host(self) -> str:
        return self.rpartition(":")[0]

    @property
    def port(self) -> int:
        return int(self.rpartition(":")[2])


@dataclass(frozen=True, slots=True)
class Inbound:
    """A port of the workload: the sidecar listens at `pod_ip:port` and forwards to `app`."""

    port: int
    protocol: str
    app: Address


@dataclass(frozen=True, slots=True)
class Outbound:
    """A listener of the sidecar for the workload's own requests."""

    bind: Address
    protocol: str


@dataclass(frozen=True, slots=True)
class Proxy:
    """One workload with its sidecar. `proxy` is `pod.namespace`, the name used everywhere."""

    proxy: str
    name: str
    namespace: str
    identity: str
    pod_ip: str
    admin: Address
    agent: Address
    inbound: tuple[Inbound, ...]
    outbound: tuple[Outbound, ...]

    def outbound_address(self, protocol: str = "HTTP", port: int | None = None) -> Address:
        """Where the workload sends its requests of a protocol (and to a port, where given)."""
        for listener in self.outbound:
            if listener.protocol == protocol and port in (None, listener.bind.port):
                return listener.bind
        raise SandboxDataError(f"{self.proxy} has no outbound {protocol} listener (port {port})")

    def addresses(self) -> Iterator[Address]:
        """Every address that this workload and its sidecar listen at."""
        yield self.admin
        for inbound in self.inbound:
            yield Address(f"{self.pod_ip}:{inbound.port}")
            yield inbound.app
        for outbound in self.outbound:
            yield outbound.bind


@dataclass(frozen=True, slots=True)
class State:
    """A configuration of the whole mesh; every state is one change against `00-base`."""

    id: str
    title: str
    story: str
    effect: str


@dataclass(frozen=True, slots=True)
class OtherAddresses:
    """Workloads without a sidecar."""

    authorizer: Address
    bank: Address


@dataclass(frozen=True, slots=True)
class MeshIndex:
    """What was recorded: `index.json`.

    Attributes:
        recorded_with: The programs that it was recorded with, `istiod` and `envoy`.
        istiod_environment: istiod's switches at that time.
    """

    recorded_with: Mapping[str, str]
    istiod_environment: Mapping[str, str]
    trust_domain: str
    proxies: tuple[Proxy, ...]
    states: tuple[State, ...]
    others: OtherAddresses

    @property
    def istio_version(self) -> str:
        """Version of the istiod that it was recorded with."""
        return self.recorded_with["istiod"].partition(",")[0]

    def proxy(self, name: str) -> Proxy:
        """Raises `CommandRefused` for a name that is not in the mesh."""
        for proxy in self.proxies:
            if proxy.proxy == name:
                return proxy
        known = ", ".join(proxy.proxy for proxy in self.proxies)
        raise CommandRefused(f"there is no proxy {name!r} in the sandbox mesh; it has {known}")

    def state(self, state: str) -> State:
        """Raises `CommandRefused` for a state that was not recorded."""
        for candidate in self.states:
            if candidate.id == state:
                return candidate
        known = ", ".join(candidate.id for candidate in self.states)
        raise CommandRefused(f"there is no recorded state {state!r}; there are {known}")

    def addresses(self) -> Iterator[Address]:
        """Every address that the sandbox listens at, all fixed by the recording."""
        for proxy in self.proxies:
            yield from proxy.addresses()
        yield self.others.authorizer
        yield self.others.bank


def data_directory() -> Traversable:
    """The recorded mesh inside the installed package."""
    return resources.files(__package__) / "data"


def load_index(data: Traversable | None = None) -> MeshIndex:
    """Reads `index.json`.

    Raises:
        SandboxDataError: the file is missing or does not have the expected shape; names the field.
    """
    file = (data or data_directory()) / "index.json"
    try:
        return msgspec.json.decode(file.read_bytes(), type=MeshIndex, dec_hook=_decode_address)
    except (OSError, msgspec.DecodeError) as error:
        raise SandboxDataError(f"cannot read the recorded mesh, {file}: {error}") from error


def _decode_address(kind: type[Any], value: Any) -> Any:
    if kind is not Address:
        raise TypeError(f"no decoder for {kind}")
    return Address(value)
