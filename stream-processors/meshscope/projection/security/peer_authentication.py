"""Kind `peer_authentication` from PeerAuthentication.

The narrowest scope wins (workload, namespace, mesh), the oldest policy within a scope, and UNSET
takes the mode of the wider scope. Port-level modes count only in the winning workload policy, and
name target ports. A policy with a selector in the root namespace selects nothing.

Source: https://istio.io/latest/docs/reference/config/security/peer_authentication/.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from meshscope.events.resource import Resource
from meshscope.policy.matches import StringMatch
from meshscope.policy.peer_authentication import AcceptedChain, PeerAuthentication, ServerTls
from meshscope.policy.source import ResourceRef
from meshscope.projection.declared.age import possibly_oldest
from meshscope.projection.inbound.chains import ChainShape, Mode

_CIPHERS = (
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-GCM-SHA256",
)
_MODES: Mapping[Any, Mode] = {
    "STRICT": "STRICT",
    "PERMISSIVE": "PERMISSIVE",
    "DISABLE": "DISABLE",
}


@dataclass(frozen=True, slots=True)
class MutualTls:
    """The modes of a workload.

    Attributes:
        mode: Of every port that is not in `ports`.
        ports: Port-level modes, by target port.
        sources: The policies that decide.
    """

    mode: Mode = "PERMISSIVE"
    ports: tuple[tuple[int, Mode], ...] = ()
    sources: tuple[ResourceRef, ...] = ()

    def of_port(self, port: int) -> Mode:
        """The mode of a target port."""
        return dict(self.ports).get(port, self.mode)


@dataclass(frozen=True, slots=True)
class Scopes:
    """The policies that may decide for a workload, by scope."""

    mesh: tuple[Resource, ...]
    namespace: tuple[Resource, ...]
    workload: tuple[Resource, ...]


def scopes(
    policies: Iterable[Resource], *, namespace: str, labels: Mapping[str, str], root: str
) -> Scopes:
    """The policies that take part in deciding for a workload.

    Args:
        policies: Every PeerAuthentication.
        namespace: Namespace of the workload.
        labels: Its labels.
        root: The root namespace.
    """
    found = tuple((policy, _selector(policy)) for policy in policies)
    wide = tuple(policy for policy, selector in found if not selector)
    return Scopes(
        mesh=tuple(policy for policy in wide if policy.namespace == root),
        namespace=tuple(policy for policy in wide if policy.namespace == namespace != root),
        workload=tuple(
            policy
            for policy, selector in found
            if selector
            and policy.namespace == namespace != root
            and selector.items() <= labels.items()
        ),
    )


def mutual_tls(found: Scopes) -> tuple[MutualTls, ...]:
    """The modes of a workload; several where it is not known which policies are older."""
    candidates = [
        possibly_oldest(scope) or (None,) for scope in (found.mesh, found.namespace, found.workload)
    ]
    return tuple(dict.fromkeys(_composed(chosen) for chosen in product(*candidates)))


def _selector(policy: Resource) -> Mapping[str, str]:
    labels: Mapping[str, str] = (policy.spec.get("selector") or {}).get("matchLabels") or {}
    return labels


def _composed(scopes: Sequence[Resource | None]) -> MutualTls:
    mode: Mode = "PERMISSIVE"
    sources: list[ResourceRef] = []
    for policy in scopes:
        if policy is not None:
            mode = _mode(policy.spec.get("mtls"), mode)
            sources.append(policy.ref)
    workload = scopes[-1]
    levels = (workload.spec.get("portLevelMtls") or {}) if workload is not None else {}
    ports = sorted((int(port), _mode(level, mode)) for port, level in levels.items())
    return MutualTls(mode, tuple(ports), tuple(sources))


def _mode(mtls: Mapping[str, Any] | None, inherited: Mode) -> Mode:
    return _MODES.get((mtls or {}).get("mode"), inherited)


@dataclass(frozen=True, slots=True)
class MeshTls:
    """What the mesh's own mutual TLS looks like at a server.

    Attributes:
        trust_domains: Peers must belong to one of them; empty: not checked.
        minimum: Lowest protocol version.
        ciphers: Cipher suites, in order.
        peer_exchange: TCP peers exchange metadata, which ALPN must offer.
        certificate, trusted: SDS names.
    """

    trust_domains: tuple[str, ...]
    minimum: str = "TLSv1_2"
    ciphers: tuple[str, ...] = _CIPHERS
    peer_exchange: bool = True
    certificate: str = "default"
    trusted: str = "ROOTCA"

    def context(self, protocol: str) -> ServerTls:
        """The TLS of chains that carry `http` or `tcp`."""
        exchange = ("istio-peer-exchange",) if self.peer_exchange and protocol == "tcp" else ()
        return ServerTls(
            client_certificate=True,
            peers=tuple(StringMatch("prefix", f"spiffe://{td}/") for td in self.trust_domains),
            trusted=self.trusted,
            certificate=self.certificate,
            minimum=self.minimum,
            maximum="TLSv1_3",
            ciphers=self.ciphers,
            alpn=(*exchange, "h2", "http/1.1"),
        )


def peer_authentication(shapes: Iterable[ChainShape], tls: MeshTls) -> PeerAuthentication:
    """What a port with these chains accepts."""
    return PeerAuthentication(
        tuple(
            AcceptedChain(
                shape.transport_protocol,
                shape.application_protocols,
                shape.protocol,
                tls.context(shape.protocol) if shape.terminates else None,
            )
            for shape in shapes
        )
    )
