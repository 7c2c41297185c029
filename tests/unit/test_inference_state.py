"""What no resource declares is state: versions, refused updates, what is warming or draining."""

import copy
from typing import Any

from dumps import dump_of
from fragments import BOOTSTRAP, any_, cluster, host, listener, route, route_table, tcp_chain

from meshscope.inference.infer import infer
from meshscope.inference.result import Rejected
from meshscope.policy import key

_ADMIN = "type.googleapis.com/envoy.admin.v3."
RESOURCES = {
    "cds": [cluster("outbound|80||a.b")],
    "lds": [listener("10.0.0.1_80", "10.0.0.1", 80, tcp_chain("outbound|80||a.b"))],
    "rds": [route_table("80", host("a", route()))],
}


def dump() -> dict[str, Any]:
    return copy.deepcopy(dict(dump_of(BOOTSTRAP, RESOURCES)))


def section(found: dict[str, Any], name: str) -> dict[str, Any]:
    return next(item for item in found["configs"] if item["@type"] == f"{_ADMIN}{name}ConfigDump")


def test_the_node_says_who_the_proxy_is() -> None:
    proxy = infer(dump()).proxy

    assert proxy.id == "east/cart-1.shop"
    assert (proxy.namespace, proxy.dns_domain) == ("shop", "shop.svc.cluster.local")
    assert proxy.addresses == ("10.0.0.7", "fd00::7")
    assert proxy.labels == {"app": "cart"}
    assert proxy.istio_version == "1.29.6"


def test_versions_and_times_are_state() -> None:
    changed = dump()
    clusters = section(changed, "Clusters")
    clusters["version_info"] = "2"
    clusters["dynamic_active_clusters"][0]["version_info"] = "2"
    clusters["dynamic_active_clusters"][0]["last_updated"] = "later"

    before, after = infer(dump()), infer(changed)

    assert after.policies == before.policies
    assert after.state != before.state
    assert dict(after.state.versions)["ClustersConfigDump"] == "2"


def test_warming_and_draining_resources_are_no_policies() -> None:
    found = dump()
    section(found, "Clusters")["dynamic_warming_clusters"] = [
        {"cluster": cluster("outbound|81||a.b"), "version_info": "2"}
    ]
    entries = section(found, "Listeners")["dynamic_listeners"]
    entries[0]["draining_state"] = {"listener": listener("10.0.0.1_80", "10.0.0.1", 80)}
    entries.append({"name": "new", "warming_state": {"listener": listener("new", "10.0.0.2", 80)}})

    inference = infer(found)

    assert inference.policies == infer(dump()).policies
    assert inference.state.warming == ("clusters/outbound|81||a.b", "listeners/new")
    assert inference.state.draining == ("listeners/10.0.0.1_80",)


def test_refused_updates_are_state_with_or_without_a_name() -> None:
    found = dump()
    entries = section(found, "Listeners")["dynamic_listeners"]
    error = {
        "details": "no such provider",
        "last_update_attempt": "t",
        "failed_configuration": any_("config.listener.v3.Listener", {"name": "bad"}),
    }
    entries[0]["error_state"] = error
    entries.append({"error_state": {"details": "no such provider"}})
    entries.append({"error_state": error})

    inference = infer(found)

    assert [
        Rejected(item.section, item.name, item.details, item.last_attempt)
        for item in inference.state.rejected
    ] == [
        Rejected("listeners", "", "no such provider"),
        Rejected("listeners", "10.0.0.1_80", "no such provider", "t"),
        Rejected("listeners", "bad", "no such provider", "t"),
    ]
    assert inference.policies == infer(dump()).policies


def test_secrets_are_state_and_only_their_hash() -> None:
    found = dump()
    secret = {"name": "default", "tls_certificate": {"private_key": {"inline_bytes": "canary"}}}
    section(found, "Secrets")["dynamic_active_secrets"] = [
        {"name": "default", "version_info": "v", "last_updated": "t", "secret": secret}
    ]

    inference = infer(found)

    assert inference.policies == infer(dump()).policies
    assert [item.name for item in inference.state.resources if item.section == "secrets"] == [
        "default"
    ]
    assert "canary" not in str(inference)


def test_inline_copies_of_inbound_routes_are_not_read() -> None:
    found = dump()
    section(found, "Routes")["static_route_configs"] = [
        {"route_config": route_table("inbound|80||", host("x", route("elsewhere")))}
    ]

    inference = infer(found)

    assert inference.policies == infer(dump()).policies
    assert inference.coverage.ignored_by["RoutesConfigDump.static_route_configs"] > 0


def test_unknown_sections_and_fields_are_extensions() -> None:
    found = dump()
    found["configs"].append({"@type": "x/new.ConfigDump", "a": 1})
    found["configs"].append("nonsense")
    section(found, "Clusters")["dynamic_new_clusters"] = [{"cluster": {}}]
    section(found, "Clusters")["dynamic_active_clusters"].append({"version_info": "x"})

    inference = infer(found)

    locations = {k["location"] for k in inference.policies if k.kind == "extension"}
    assert locations == {"new.ConfigDump", "configs", "ClustersConfigDump"}
    assert key.destination("a.b", 80) in inference.policies


def test_extension_configurations_are_extensions() -> None:
    found = dump()
    wasm = any_("config.core.v3.TypedExtensionConfig", {"name": "w", "typed_config": {"a": 1}})
    found["configs"].append(
        {
            "@type": f"{_ADMIN}EcdsConfigDump",
            "ecds_filters": [{"version_info": "1", "ecds_filter": wasm}],
        }
    )

    inference = infer(found)

    assert key.extension("EcdsConfigDump", "w") in inference.policies


def test_without_endpoints_in_the_dump_nothing_is_said_about_them() -> None:
    found = dump()
    found["configs"].remove(section(found, "Endpoints"))

    inference = infer(found)

    assert [missing.section for missing in inference.incomplete] == ["EndpointsConfigDump"]
    assert not any(found.kind == "endpoints" for found in inference.policies)
    assert key.endpoints("a.b", 80) in infer(dump()).policies
