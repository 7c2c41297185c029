"""What the operator wants the sandbox to be: declared state, delivered states, faults. Pure.

`declared` is what the control plane says; `pushed` is what it last sent to its proxies. They differ
after `declare`, which leaves the data plane where it is. A proxy that is stale keeps the delivery
that it had; every other proxy has the mesh's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from meshscope.sandbox.errors import CommandRefused
from meshscope.sandbox.faults import Fault, RejectedUpdate
from meshscope.sandbox.overlays import Overlay


@dataclass(frozen=True, slots=True)
class Configuration:
    """A recorded state with overlays on top."""

    state: str
    overlays: frozenset[Overlay] = frozenset()

    def with_overlay(self, overlay: Overlay, on: bool) -> Configuration:
        return replace(
            self, overlays=self.overlays | {overlay} if on else self.overlays - {overlay}
        )


@dataclass(frozen=True, slots=True)
class ProxyState:
    """One proxy: what it is served and what is wrong with it."""

    delivered: Configuration
    stale: bool = False
    disconnected: bool = False
    faults: tuple[Fault, ...] = ()

    @property
    def healthy(self) -> bool:
        return not (self.stale or self.disconnected or self.faults)


@dataclass(frozen=True, slots=True)
class Mesh:
    """The whole sandbox as it is wanted."""

    declared: Configuration
    pushed: Configuration
    proxies: Mapping[str, ProxyState] = field(default_factory=dict)

    @classmethod
    def at(cls, state: str, proxies: Iterable[str]) -> Mesh:
        """The mesh in a recorded state, with nothing wrong."""
        configuration = Configuration(state)
        return cls(
            configuration,
            configuration,
            {proxy: ProxyState(configuration) for proxy in proxies},
        )

    def moved(self, state: str) -> Mesh:
        """The control plane declares a state and pushes it."""
        return self._pushed(replace(self.declared, state=state))

    def overlaid(self, overlay: Overlay, on: bool) -> Mesh:
        """The control plane declares an overlay (or withdraws it) and pushes."""
        return self._pushed(self.declared.with_overlay(overlay, on))

    def declaring(self, state: str) -> Mesh:
        """The control plane declares a state and pushes nothing: every proxy is out of date."""
        return replace(self, declared=replace(self.declared, state=state))

    def stale(self, proxy: str, on: bool) -> Mesh:
        """The proxy gets no pushes; without it, it gets at once what the others have."""
        known = self.proxies[proxy]
        delivered = known.delivered if on else self.pushed
        return self._with(proxy, replace(known, stale=on, delivered=delivered))

    def disconnected(self, proxy: str, on: bool) -> Mesh:
        """The proxy has no connection to its control plane."""
        return self._with(proxy, replace(self.proxies[proxy], disconnected=on))

    def with_fault(self, proxy: str, fault: Fault) -> Mesh:
        """One fault more; it stays through changes of state until the proxy is healed.

        Raises:
            CommandRefused: nothing would reach the proxy.
        """
        known = self.proxies[proxy]
        if known.stale or known.disconnected:
            reason = "stale" if known.stale else "disconnected"
            raise CommandRefused(f"{proxy} is {reason}: no update reaches it; heal it first")
        others = tuple(item for item in known.faults if not _same_place(item, fault))
        return self._with(proxy, replace(known, faults=(*others, fault)))

    def healed(self, proxy: str | None = None) -> Mesh:
        """Back to what is declared: one proxy, or all of them."""
        if proxy is not None:
            return self._with(proxy, ProxyState(self.declared))
        return Mesh(
            self.declared, self.declared, {name: ProxyState(self.declared) for name in self.proxies}
        )

    def _pushed(self, configuration: Configuration) -> Mesh:
        proxies = {
            name: known if known.stale else replace(known, delivered=configuration)
            for name, known in self.proxies.items()
        }
        return Mesh(configuration, configuration, proxies)

    def _with(self, proxy: str, state: ProxyState) -> Mesh:
        return replace(self, proxies={**self.proxies, proxy: state})


def _same_place(one: Fault, other: Fault) -> bool:
    """Whether a new fault takes the place of an old one."""
    if isinstance(one, RejectedUpdate) and isinstance(other, RejectedUpdate):
        return one.kind is other.kind
    return type(one) is type(other)
