"""What `meshscope check` says about delivery and loading, from dumps alone."""

import base64
import copy
from datetime import timedelta
from typing import Any

from dumps import dump_of
from fragments import BOOTSTRAP, cluster, listener, tcp_chain
from pem_files import FROM, IDENTITY, pem

from meshscope.analysis.mesh import declared_mesh
from meshscope.cli.codes import CODES
from meshscope.cli.delivery import delivery_findings
from meshscope.cli.report import Finding
from meshscope.events.control_plane import ControlPlane
from meshscope.events.resource import Resource
from meshscope.inference.infer import infer
from meshscope.policy.source import ResourceRef
from meshscope.projection.result import Unverifiable

RESOURCES = {
    "cds": [cluster("outbound|80||a.b")],
    "lds": [listener("10.0.0.1_80", "10.0.0.1", 80, tcp_chain("outbound|80||a.b"))],
}
DAY = timedelta(days=1)


def dump() -> dict[str, Any]:
    return copy.deepcopy(dict(dump_of(BOOTSTRAP, RESOURCES)))


def section(found: dict[str, Any], name: str) -> dict[str, Any]:
    return next(item for item in found["configs"] if item["@type"].endswith(f".{name}ConfigDump"))


def findings(found: dict[str, Any], *patches: str, **declared: str) -> dict[str, Finding]:
    resources = [
        Resource("", "v1", "ConfigMap", namespace, "istio-ca-root-cert", body={"data": data})
        for namespace, text in declared.items()
        for data in ({"root-cert.pem": text},)
    ]
    said = delivery_findings(
        infer(found),
        declared_mesh(ControlPlane(), resources),
        [
            Unverifiable("it is patched", source=ResourceRef("EnvoyFilter", "shop", name))
            for name in patches
        ],
        "cart-1.shop.json",
    )
    return {finding.code: finding for finding in said}


def refused() -> dict[str, Any]:
    found = dump()
    section(found, "Listeners")["dynamic_listeners"][0]["error_state"] = {
        "failed_configuration": {"name": "10.0.0.1_80"},
        "details": "no such provider",
        "last_update_attempt": "2026-11-24T10:00:00Z",
    }
    return found


def secrets(leaf: bytes, root: bytes, updated: str) -> dict[str, Any]:
    found = dump()
    found["configs"].append(
        {
            "@type": "type.googleapis.com/envoy.admin.v3.SecretsConfigDump",
            "dynamic_active_secrets": [
                {
                    "name": "default",
                    "last_updated": updated,
                    "secret": {
                        "name": "default",
                        "tls_certificate": {"certificate_chain": inline(leaf + root)},
                    },
                },
                {
                    "name": "ROOTCA",
                    "last_updated": updated,
                    "secret": {
                        "name": "ROOTCA",
                        "validation_context": {"trusted_ca": inline(root)},
                    },
                },
            ],
        }
    )
    return found


def inline(data: bytes) -> dict[str, str]:
    return {"inline_bytes": base64.b64encode(data).decode()}


def test_a_healthy_dump_has_no_finding() -> None:
    assert findings(dump()) == {}


def test_a_refused_update_with_its_reason_and_the_suspect() -> None:
    found = findings(refused())["MSC-3001"]
    assert (found.severity, found.proxy, found.resource) == ("error", "cart-1.shop", None)
    assert "listeners/10.0.0.1_80: no such provider" in found.explanation
    assert findings(refused(), "a")["MSC-3001"].resource == ResourceRef("EnvoyFilter", "shop", "a")
    assert findings(refused(), "a", "b")["MSC-3001"].resource is None


def test_what_warms_may_be_normal_and_what_drains_is() -> None:
    found = dump()
    section(found, "Clusters")["dynamic_warming_clusters"] = [
        {"cluster": cluster("outbound|81||a.b"), "version_info": "2"}
    ]
    section(found, "Listeners")["dynamic_listeners"][0]["draining_state"] = {
        "listener": listener("10.0.0.1_80", "10.0.0.1", 80)
    }
    (warming,) = findings(found).values()
    assert (warming.code, warming.severity) == ("MSC-3002", "warning")
    assert warming.explanation.endswith(
        "waits for its endpoints, or the resolution of its names, at the moment of the dump"
    )


def test_certificates_are_compared_with_the_time_of_the_dump() -> None:
    leaf = pem(7, FROM, FROM + DAY, IDENTITY)
    root = pem(8, FROM, FROM + 3650 * DAY)
    early, late = "2026-01-01T06:00:00Z", "2026-01-01T23:00:00Z"
    assert findings(secrets(leaf, root, early)) == {}
    found = findings(secrets(leaf, root, late))["MSC-3008"]
    assert "1 h 0 min left" in found.explanation


def test_another_identity_and_another_root() -> None:
    at = "2026-01-01T06:00:00Z"
    root, other = (pem(serial, FROM, FROM + 3650 * DAY) for serial in (8, 9))
    stranger = pem(7, FROM, FROM + DAY, "spiffe://old.example/ns/shop/sa/cart")
    assert "old.example" in findings(secrets(stranger, root, at))["MSC-3009"].explanation
    leaf = pem(7, FROM, FROM + DAY, IDENTITY)
    found = findings(secrets(leaf, root, at), shop=other.decode())["MSC-3009"]
    assert "trusts root 8" in found.explanation
    assert findings(secrets(leaf, root, at), shop=(other + root).decode()) == {}


def test_every_code_has_a_title_and_help() -> None:
    assert all(CODES[f"MSC-30{number:02}"].help for number in range(1, 12))
