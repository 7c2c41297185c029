"""Trust domains: one mesh may know its identities under several names.

Istio writes a principal once per trust domain of the mesh (`trustDomain` and `trustDomainAliases`),
so that policies survive the migration from one trust domain to another.
"""

from collections.abc import Iterable, Mapping
from typing import Any

DEFAULT_TRUST_DOMAIN = "cluster.local"
"""Istio's default; in a principal it stands for whatever the mesh's own trust domain is."""

_PRINCIPAL_SEGMENTS = 5
"""`<trust domain>/ns/<namespace>/sa/<service account>`."""

TrustDomains = tuple[str, ...]
"""The trust domain of the mesh, then its aliases, in order."""


def trust_domains(mesh_config: Mapping[str, Any]) -> TrustDomains:
    """The trust domains of a mesh, its own first."""
    own = mesh_config.get("trustDomain") or DEFAULT_TRUST_DOMAIN
    return (own, *(mesh_config.get("trustDomainAliases") or ()))


def expand_principals(principals: Iterable[str], domains: TrustDomains) -> tuple[str, ...]:
    """Principals as they stand for every trust domain of the mesh.

    Only full SPIFFE paths with a trust domain that the mesh knows (wildcards allowed), or with
    `cluster.local`, are written out; all others stay as they are.
    """
    expanded: list[str] = []
    for principal in principals:
        domain, *rest = principal.split("/")
        if len(rest) != _PRINCIPAL_SEGMENTS - 1 or domain == "*" or not _is_own(domain, domains):
            expanded.append(principal)
            continue
        expanded += dict.fromkeys(
            principal if _ends_like(own, domain) else "/".join((own, *rest)) for own in domains
        )
    return tuple(expanded)


def expand_trust_domains(values: Iterable[str], domains: TrustDomains) -> tuple[str, ...]:
    """Trust domains of a policy, with all of the mesh's in place of each that it knows."""
    expanded: list[str] = []
    for value in values:
        expanded += domains if value in domains else (value,)
    return tuple(dict.fromkeys(expanded))


def _is_own(domain: str, domains: TrustDomains) -> bool:
    return domain == DEFAULT_TRUST_DOMAIN or any(
        own in (domain, "*")
        or _starts_like(domain, own)
        or _starts_like(own, domain)
        or _ends_like(domain, own)
        or _ends_like(own, domain)
        for own in domains
    )


def _starts_like(text: str, pattern: str) -> bool:
    return pattern.endswith("*") and text.startswith(pattern[:-1])


def _ends_like(text: str, pattern: str) -> bool:
    return pattern.startswith("*") and text.endswith(pattern[1:])
