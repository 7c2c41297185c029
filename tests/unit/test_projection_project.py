"""Projections as a whole: unknown ages, notes, sharing."""

from declared import client, declare, projected, service, to, virtual_service

from meshscope.events.control_plane import ControlPlane
from meshscope.events.resource import Resource
from meshscope.policy import key
from meshscope.policy.http_route import HttpRoute
from meshscope.policy.key import PolicyKey
from meshscope.policy.kinds import Kind
from meshscope.projection.features import features
from meshscope.projection.limits import Limit
from meshscope.projection.mesh_config import mesh_config
from meshscope.projection.project import project
from meshscope.projection.result import Projection

WEB = "web.shop.svc.cluster.local"
HOST = key.http_route("80", f"{WEB}:80")


def names(found: Projection, policy: PolicyKey = HOST) -> list[str]:
    outcomes = found.alternatives.get(policy, (found.policies[policy],))
    contents = [outcome.content for outcome in outcomes if outcome is not None]
    assert all(isinstance(content, HttpRoute) for content in contents)
    return [c.rules[0].name for c in contents if isinstance(c, HttpRoute)]


def routed(name: str, age: str | None, host: str = "web") -> Resource:
    return virtual_service(name, [host], to("web", name=name), age=age)


def test_where_age_decides_and_is_unknown_every_outcome_is_said() -> None:
    found = projected(service("web"), routed("a", None), routed("b", None))
    assert sorted(names(found)) == ["a", "b"]
    assert found.policies[HOST] in found.alternatives[HOST]


def test_one_that_is_known_to_be_older_than_another_is_never_younger() -> None:
    found = projected(
        service("web"),
        routed("old", "2026-01-01T00:00:00Z"),
        routed("young", "2026-02-01T00:00:00Z"),
        routed("unknown", None),
    )
    assert sorted(names(found)) == ["old", "unknown"]


def test_unknown_ages_do_not_matter_where_nothing_competes() -> None:
    found = projected(
        service("web", age=None),
        service("api", ip="10.0.0.2", age=None),
        routed("a", None),
        routed("b", None, host="api"),
    )
    assert found.alternatives == {}


def test_a_wildcard_competes_with_what_it_covers() -> None:
    tcp = {"name": "tcp", "port": 90}
    one, other = (
        declare(
            "VirtualService",
            name,
            {"hosts": [host], "tcp": [{"route": [{"destination": {"host": name}}]}]},
            age=None,
        )
        for name, host in (("one", "*.shop.svc.cluster.local"), ("other", "db"))
    )
    found = projected(service("db", tcp), one, other)
    assert len(found.alternatives[key.outbound_listener("10.0.0.1", 90)]) == 2


def test_services_and_sidecars_compete_too() -> None:
    entries = [
        declare(
            "ServiceEntry",
            name,
            {
                "hosts": ["x.example"],
                "ports": [{"number": 80, "name": "http", "protocol": protocol}],
                "resolution": "DNS",
            },
            age=None,
        )
        for name, protocol in (("one", "HTTP"), ("two", "HTTP2"))
    ]
    found = projected(*entries)
    assert len(found.alternatives[key.destination("x.example", 80)]) == 2

    sidecars = [
        declare("Sidecar", name, {"egress": [{"hosts": [hosts]}]}, age=None)
        for name, hosts in (("one", "./*"), ("two", "~/*"))
    ]
    found = projected(service("web"), *sidecars)
    assert None in found.alternatives[HOST]


def test_any_of_several_addresses_may_stand_for_a_host_in_every_table() -> None:
    spec = {
        "hosts": ["x.example"],
        "addresses": ["240.0.0.1", "240.0.0.2"],
        "ports": [{"number": 81, "name": "http", "protocol": "HTTP"}],
    }
    found = projected(declare("ServiceEntry", "x", spec), proxyHttpPort=15002)

    def addresses(table: str) -> set[str]:
        outcomes = found.alternatives[key.http_route(table, "x.example:81")]
        contents = [policy.content for policy in outcomes if policy is not None]
        domains = (d for c in contents if isinstance(c, HttpRoute) for d in c.domains)
        return {domain for domain in domains if domain.startswith("240")}

    assert addresses("81") == {"240.0.0.1", "240.0.0.2"}
    assert addresses("http_proxy") == {"240.0.0.1:81", "240.0.0.2:81"}


def test_versions_and_settings_that_are_assumed_are_noted() -> None:
    assert features("1.29.6", {}).notes == ()
    assert features("1.31-alpha.0", {}).version == (1, 31)
    assert features("1.34.0", {}).version == (1, 31)
    assert features("1.20.0", {}).version == (1, 29)
    for version in ("1.34.0", "", "none"):
        assert features(version, {}).notes[0].startswith("MSC-5001")
    assert features("1.31.0", {"A": "true", "B": "maybe"}).switch("A", False)
    assert not features("1.31.0", {"B": "maybe"}).switch("B", False)
    assert not features("1.31.0", {"C": "0"}).switch("C", True)
    plane = ControlPlane(version="1.31.0", assumed=("environment", "version"))
    assert project(plane, (), client()).notes == (
        "MSC-5007: the Pod is not among the resources; the labels that the proxy itself names are "
        "used",
        "MSC-5003: environment is not known; Istio's defaults are assumed",
    )


def test_mesh_configuration_that_is_not_known_is_noted() -> None:
    found = mesh_config({"trustDomian": "x", "outboundTrafficPolicy": {"mode": "NONE"}})
    assert [note[:8] for note in found.notes] == ["MSC-5002", "MSC-5002"]
    assert found.outbound_mode == "ALLOW_ANY"
    assert mesh_config({}).root_namespace == "istio-system"


def doubted(found: Projection) -> set[PolicyKey]:
    return {k for k in found.policies if any(part.covers(k) for part in found.unverifiable)}


def test_proxies_of_one_mesh_share_policies_and_different_ones_do_not_mix() -> None:
    plane = ControlPlane(version="1.31.0")
    resources = (
        service("web"),
        virtual_service(
            "web",
            ["web"],
            to("web", name="a", match=[{"sourceLabels": {"app": "a"}}]),
            to("web", name="rest"),
        ),
    )
    one, two, other = (
        project(plane, resources, client(labels={"app": app}, addresses=(ip,)))
        for app, ip in (("b", "10.9.0.1"), ("b", "10.9.0.2"), ("a", "10.9.0.3"))
    )
    assert one.policies[HOST] is two.policies[HOST]
    assert names(one) == ["rest"]
    assert names(other) == ["a"]
    assert names(project(plane, resources[:1], client())) == ["default"]


def test_what_is_not_modelled_is_never_in_sync() -> None:
    redis = service("db", {"name": "redis", "port": 6379})
    order = key.filter_order("outbound", "-", "tcp")
    assert order not in doubted(projected(redis))
    plane = ControlPlane(version="1.31.0", environment={"PILOT_ENABLE_REDIS_FILTER": "true"})
    switched = project(plane, (redis,), client())
    assert order in doubted(switched)
    ports = [{"number": 443, "name": "tls", "protocol": "TLS"}]
    wild = {"hosts": ["*.example.com"], "ports": ports, "resolution": "DYNAMIC_DNS"}
    looked_up = doubted(projected(declare("ServiceEntry", "wild", wild)))
    assert key.destination("*.example.com", 443) in looked_up
    parent = {"group": "", "kind": "Service", "name": "db"}
    tls = declare("TLSRoute", "tls", {"parentRefs": [parent]})
    assert {k.kind for k in doubted(projected(service("db"), tls))} == {Kind.OUTBOUND_LISTENER}
    beta = declare("TCPRoute", "tcp", {"parentRefs": [parent]})
    assert doubted(projected(service("db"), beta)) == set()
    dynamic = projected(service("web"), outboundTrafficPolicy={"mode": "ALLOW_ANY_DYNAMIC_DNS"})
    assert key.egress("80") in doubted(dynamic)
    assert HOST not in doubted(dynamic)


# Resources that are not all that there are


def lacking(*resources: Resource) -> list[Kind | None]:
    found = project(ControlPlane(version="1.31.0"), resources, client())
    return [part.kind for part in found.unverifiable if part.code is Limit.MISSING_RESOURCES]


def test_without_services_nothing_can_be_said() -> None:
    outside = declare("ServiceEntry", "pay", {"hosts": ["pay.example.com"]})
    assert lacking() == lacking(virtual_service("web", ["web"], to("web")), outside) == [None]
    inside = declare("ServiceEntry", "web", {"hosts": ["web.shop.svc.cluster.local"]})
    assert lacking(inside) == []


def test_services_without_endpoints_say_nothing_of_endpoints() -> None:
    slices = declare("EndpointSlice", "web", {})
    assert lacking(service("web")) == [Kind.ENDPOINTS]
    assert lacking(service("web"), slices) == []


def test_a_workload_that_is_not_declared_is_noted() -> None:
    name = client().proxy.removesuffix(f".{client().namespace}")
    for kind, noted in (("Pod", False), ("WorkloadEntry", False), ("Other", True)):
        own = declare(kind, name, {}, namespace=client().namespace)
        notes = project(ControlPlane(version="1.31.0"), (own,), client()).notes
        assert any("MSC-5007" in note for note in notes) is noted
