"""Gateways: ports that nothing opens, hosts that two of them claim, credentials that do not serve.

Sidecars are what MeshScope verifies; of gateways it looks at what the resources alone decide.
"""

import base64
import binascii
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

from meshscope.declarations.finding import Finding, Lacking, Said, absent
from meshscope.declarations.reading import Json, labels, mapping, mappings, number, text, texts
from meshscope.declarations.surroundings import Surroundings, words
from meshscope.declarations.workloads import Workload
from meshscope.events.resource import Resource
from meshscope.events.x509 import UnreadableCertificate, read_certificates
from meshscope.projection.hosts import overlaps

NO_PORT: Final = "MSC-2801"
CLAIMED: Final = "MSC-2802"
CREDENTIAL: Final = "MSC-2803"
ABSENT: Final = "MSC-2804"
SHARED: Final = "MSC-2805"

DEFAULT_INGRESS: Final = {"istio": "ingressgateway"}
"""Labels of the gateway that Istio installs, which need not be among the resources."""

_DEFAULT_PORTS: Final = frozenset((80, 443, 15021, 15443, 31400))
_KEYS: Final = (("tls.crt", "tls.key"), ("cert", "key"))
_TLS: Final = ("SIMPLE", "MUTUAL", "OPTIONAL_MUTUAL")


def unopened_ports(gateway: Resource, around: Surroundings) -> Iterator[Said]:
    """Ports of servers that no service of the gateway's workloads has."""
    wanted = labels(gateway.spec, "selector")
    own = _workloads(wanted, around)
    ports = {
        port.number
        for service in around.mesh.registry.services
        if service.from_kubernetes and service.selector
        for workload in own
        if workload.namespace == service.namespace
        and service.selector.items() <= workload.labels.items()
        for port in service.ports
    }
    if not own and wanted == DEFAULT_INGRESS:
        ports = set(_DEFAULT_PORTS)
    if not ports:
        return
    for place, server in mappings(gateway.spec, "servers"):
        port = number(mapping(server, "port"), "number")
        if port and port not in ports:
            yield Finding(
                NO_PORT,
                gateway,
                f"spec.servers[{place}].port",
                f"no service of its workloads has port {port}, only "
                f"{words(str(one) for one in sorted(ports))}: nothing reaches it from outside",
            )


def _workloads(wanted: Mapping[str, str], around: Surroundings) -> list[Workload]:
    return [one for one in around.all_workloads if wanted.items() <= one.labels.items()]


def claimed_hosts(gateway: Resource, around: Surroundings) -> Iterator[Said]:
    """Hosts that another Gateway has on the same port of the same workloads."""
    for other in around.of("Gateway"):
        if other is gateway or not _same_workloads(gateway, other, around):
            continue
        for place, server in mappings(gateway.spec, "servers"):
            shared = _shared(server, other)
            if shared:
                yield Finding(
                    CLAIMED,
                    gateway,
                    f"spec.servers[{place}]",
                    f"{other.ref} has {shared} too, on the same workloads: requests for it are "
                    "served as one of them says",
                    related=(other.ref,),
                )
                break


def _same_workloads(one: Resource, other: Resource, around: Surroundings) -> bool:
    mine, theirs = labels(one.spec, "selector"), labels(other.spec, "selector")
    if mine == theirs:
        return True
    common = _workloads({**mine, **theirs}, around)
    return bool(common) and all(theirs.get(name, value) == value for name, value in mine.items())


def _shared(server: Json, other: Resource) -> str:
    """Port and host that a server has in common with another Gateway; empty: none."""
    port = number(mapping(server, "port"), "number")
    for _, theirs in mappings(other.spec, "servers"):
        if port != number(mapping(theirs, "port"), "number"):
            continue
        if text(server, "bind") != text(theirs, "bind"):
            continue
        for mine in texts(server, "hosts"):
            for host in texts(theirs, "hosts"):
                if overlaps(mine.rpartition("/")[2], host.rpartition("/")[2]):
                    return f"host {mine} on port {port}"
    return ""


def credentials(gateway: Resource, around: Surroundings) -> Iterator[Said]:
    """Credentials of servers that do not exist, or hold no valid certificate."""
    for place, server in mappings(gateway.spec, "servers"):
        tls = mapping(server, "tls")
        name = text(tls, "credentialName")
        if not name or text(tls, "mode") not in _TLS or "://" in name:
            continue
        field = f"spec.servers[{place}].tls.credentialName"
        for namespace in _namespaces(gateway, around):
            secret = around.named("Secret", namespace, name)
            if secret is None:
                if around.complete or any(s.namespace == namespace for s in around.of("Secret")):
                    yield Finding(
                        ABSENT,
                        gateway,
                        field,
                        f"there is no Secret {namespace}/{name}, where the gateway's workloads "
                        "run: the port is not opened",
                    )
                else:
                    yield Lacking((CREDENTIAL, ABSENT), absent(f"Secrets of namespace {namespace}"))
                continue
            reason = _unusable(secret, around)
            if reason:
                yield Finding(
                    CREDENTIAL,
                    gateway,
                    field,
                    f"{secret.ref} {reason}: clients get no valid certificate",
                    related=(secret.ref,),
                )


def shared_certificates(gateway: Resource, around: Surroundings) -> Iterator[Said]:
    """Certificates that two Gateways of the same workloads present for different hosts."""
    for other in around.of("Gateway"):
        if other is gateway or not _same_workloads(gateway, other, around):
            continue
        theirs = {
            text(mapping(one, "tls"), "credentialName")
            for _, one in mappings(other.spec, "servers")
        }
        for place, server in mappings(gateway.spec, "servers"):
            name = text(mapping(server, "tls"), "credentialName")
            if name and name in theirs:
                yield Finding(
                    SHARED,
                    gateway,
                    f"spec.servers[{place}].tls.credentialName",
                    f"{other.ref} presents the certificate {name} too: clients may reuse their "
                    "connection to one of them for hosts of the other, and get 404",
                    related=(other.ref,),
                )
                break


def _namespaces(gateway: Resource, around: Surroundings) -> list[str]:
    """Where the gateway's workloads run, and so where its credentials are looked for."""
    wanted = labels(gateway.spec, "selector")
    found = dict.fromkeys(one.namespace for one in _workloads(wanted, around))
    if not found and wanted == DEFAULT_INGRESS:
        return [around.root]
    return list(found)


def _unusable(secret: Resource, around: Surroundings) -> str:
    """Why a secret does not serve; empty: it does, or its content is not shown."""
    data = mapping(secret.body, "data") or mapping(secret.body, "stringData")
    for certificate, key in _KEYS:
        if certificate in data and key in data:
            break
    else:
        return "has neither the keys tls.crt and tls.key nor cert and key"
    given = str(data[certificate])
    if "stringData" not in secret.body:
        try:
            given = base64.b64decode(given, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return f"has no text in base64 under {certificate}"
    try:
        found = read_certificates(given.encode(), "server")
    except UnreadableCertificate as error:
        return f"has a certificate that cannot be read ({error})"
    if not found:
        return f"has no certificate in PEM under {certificate}"
    ends = datetime.fromtimestamp(found[0].expires_at / 1000, UTC).date()
    return f"has a certificate that ended on {ends}" if ends < around.today else ""
