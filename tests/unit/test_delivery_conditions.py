"""What stands between a declaration and a proxy, and which drift that explains."""

from dataclasses import replace
from pathlib import Path

import pytest

from meshscope.analysis import delivery_codes as codes
from meshscope.analysis.anomaly import fingerprint, layer, severity, title
from meshscope.analysis.delivery import (
    UNSEEN_STATE,
    Condition,
    conditions,
    notice_times,
    ripe,
)
from meshscope.analysis.delivery_codes import DELIVERY_CODES
from meshscope.analysis.explanation import explains
from meshscope.analysis.mesh import DeclaredMesh, declared_mesh, has_sidecar, is_running
from meshscope.events.control_plane import ControlPlane
from meshscope.events.facts import (
    Cause,
    Certificate,
    Drift,
    Finding,
    ProxyState,
    RejectedUpdate,
    Source,
)
from meshscope.events.proxy import ProxyInputs
from meshscope.events.resource import Resource
from meshscope.policy import key as keys
from meshscope.policy.key import PolicyKey
from meshscope.policy.source import ResourceRef

NOW = 1_790_000_000_000
HOUR = 3_600_000
DAY = 24 * HOUR
CART = ProxyInputs("cart-1.shop", "lab", "shop", addresses=("10.1.0.1",), service_account="cart")
IDENTITY = "spiffe://cluster.local/ns/shop/sa/cart"
LEAF = Certificate("workload", "7f", IDENTITY, NOW - 12 * HOUR, NOW + 12 * HOUR)
ROOT = Certificate("root", "a1", "", NOW - 365 * DAY, NOW + 3650 * DAY)
HEALTHY = ProxyState(connected=True, versions={"cds": "1", "lds": "1"}, certificates=(LEAF, ROOT))


def mesh(*resources: Resource, **settings: object) -> DeclaredMesh:
    return declared_mesh(ControlPlane(mesh_config=settings), resources)


def resource(kind: str, name: str, namespace: str = "", **fields: object) -> Resource:
    labels = fields.pop("labels", {})
    return Resource("", "v1", kind, namespace, name, labels=labels, body=fields)  # type: ignore[arg-type]


def found(
    state: ProxyState,
    declared: DeclaredMesh | None = None,
    proxy: ProxyInputs = CART,
    patches: tuple[ResourceRef, ...] = (),
) -> dict[str, Condition]:
    said = conditions(state, proxy, declared or mesh(), now=NOW, patches=patches)
    return {condition.key: condition for condition in said}


def test_a_healthy_proxy_has_no_condition() -> None:
    assert found(HEALTHY) == {}


class TestRefusedUpdates:
    update = RejectedUpdate("listeners", "10.1.0.1_8080", "no such provider", 1)

    def test_the_reason_names_the_anomaly_and_not_the_proxy(self) -> None:
        state = replace(HEALTHY, rejected=(self.update,))
        (one,) = found(state).values()
        (other,) = found(state, proxy=replace(CART, proxy="cart-2.shop")).values()
        assert one.code is codes.REJECTED
        assert one.cause == other.cause
        assert "no such provider" in one.observed

    def test_what_envoy_lists_twice_is_said_once(self) -> None:
        nameless = replace(self.update, resource="")
        assert len(found(replace(HEALTHY, rejected=(self.update, nameless)))) == 1
        assert len(found(replace(HEALTHY, rejected=(nameless,)))) == 1

    def test_without_a_reason_it_is_that_of_the_proxy_alone(self) -> None:
        silent = RejectedUpdate("clusters", "", "")
        (condition,) = found(replace(HEALTHY, rejected=(silent,))).values()
        assert CART.proxy in condition.cause.subject
        assert "log" in condition.observed

    def test_the_only_patch_in_force_is_the_suspect(self) -> None:
        state = replace(HEALTHY, rejected=(self.update,))
        patches = (ResourceRef("EnvoyFilter", "shop", "a"), ResourceRef("WasmPlugin", "shop", "b"))
        (condition,) = found(state, patches=patches[:1]).values()
        assert condition.cause.resource == Source("EnvoyFilter", "shop", "a")
        (condition,) = found(state, patches=patches).values()
        assert condition.cause.resource is None


def test_warming_says_what_it_waits_for() -> None:
    what = "clusters/outbound|80||catalog"
    condition = found(replace(HEALTHY, warming=(what,)))[f"warming/{what}"]
    assert "waits for its endpoints" in condition.observed


@pytest.mark.parametrize(
    ("change", "key", "code"),
    [
        ({"live": "DRAINING"}, "draining", codes.DRAINING),
        ({"draining": 3}, "draining", codes.DRAINING),
        ({"connected": False}, "connection", codes.DISCONNECTED),
        ({"versions": {"cds": "1", "lds": ""}}, "first configuration", codes.NEVER_RECEIVED),
        ({"live": "PRE_INITIALIZING"}, "first configuration", codes.NEVER_RECEIVED),
        ({"error": "the admin interface does not answer"}, "snapshot", codes.UNSEEN),
    ],
)
def test_states_of_the_proxy(change: dict[str, object], key: str, code: codes.DeliveryCode) -> None:
    said = found(replace(HEALTHY, **change))  # type: ignore[arg-type]
    assert said.keys() == {key}
    assert said[key].code is code


def test_what_is_not_told_is_no_condition() -> None:
    assert found(ProxyState(connected=None)) == {}


class TestRevisions:
    canary = replace(CART, revision="canary")

    def test_another_revision_than_the_namespace_asks_for(self) -> None:
        condition = found(HEALTHY, self._asks("canary"))["revision"]
        assert condition.cause.resource == Source("Namespace", "", "shop")
        assert layer(condition.code.code) == "declaration"
        assert found(HEALTHY, self._asks("canary"), self.canary) == {}

    def test_injection_without_a_revision_means_the_default(self) -> None:
        labels = {"istio-injection": "enabled", "istio.io/rev": "canary"}
        declared = mesh(resource("Namespace", "shop", labels=labels))
        assert found(HEALTHY, declared) == {}
        assert found(HEALTHY, declared, self.canary).keys() == {"revision"}

    def test_a_tag_stands_for_its_revision(self) -> None:
        tag = resource(
            "MutatingWebhookConfiguration",
            "istio-revision-tag-prod",
            labels={"istio.io/tag": "prod", "istio.io/rev": "canary"},
        )
        declared = self._asks("prod", tag)
        assert found(HEALTHY, declared, self.canary) == {}
        assert found(HEALTHY, declared).keys() == {"revision"}

    def test_a_tag_that_is_not_declared_cannot_be_judged(self) -> None:
        assert found(HEALTHY, self._asks("prod")) == {}

    def test_a_namespace_that_is_not_declared_cannot_be_judged(self) -> None:
        assert found(HEALTHY, mesh()) == {}

    def _asks(self, revision: str, *others: Resource) -> DeclaredMesh:
        istiod = resource(
            "Deployment", "istiod", labels={"app": "istiod", "istio.io/rev": "canary"}
        )
        namespace = resource("Namespace", "shop", labels={"istio.io/rev": revision})
        return mesh(namespace, istiod, *others)


class TestCertificates:
    @pytest.mark.parametrize(
        ("left", "is_told"), [(12 * HOUR, False), (5 * HOUR, False), (4 * HOUR, True), (-1, True)]
    )
    def test_a_certificate_that_is_not_renewed(self, left: int, is_told: bool) -> None:
        leaf = replace(LEAF, valid_from=NOW + left - DAY, expires_at=NOW + left)
        said = found(replace(HEALTHY, certificates=(leaf, ROOT)))
        assert bool(said) is is_told
        assert (min(notice_times((leaf,))) <= NOW) is is_told

    def test_a_root_is_told_a_month_ahead(self) -> None:
        root = replace(ROOT, expires_at=NOW + 29 * DAY)
        assert found(replace(HEALTHY, certificates=(LEAF, root))).keys() == {
            "/".join(("expiry", root.role, root.serial))
        }

    @pytest.mark.parametrize(
        ("identity", "says"),
        [
            ("spiffe://old.example/ns/shop/sa/cart", "trust domain of the mesh is cluster.local"),
            ("spiffe://cluster.local/ns/shop/sa/other", "runs as service account cart"),
            ("spiffe://cluster.local/ns/other/sa/cart", "of namespace shop"),
        ],
    )
    def test_another_identity(self, identity: str, says: str) -> None:
        leaf = replace(LEAF, identity=identity)
        condition = found(replace(HEALTHY, certificates=(leaf, ROOT)))["identity"]
        assert says in condition.observed

    def test_an_alias_is_one_of_the_mesh(self) -> None:
        leaf = replace(LEAF, identity="spiffe://old.example/ns/shop/sa/cart")
        declared = mesh(trustDomainAliases=["old.example"])
        assert found(replace(HEALTHY, certificates=(leaf, ROOT)), declared) == {}

    def test_a_trust_domain_that_is_not_known_is_not_judged(self) -> None:
        leaf = replace(LEAF, identity="spiffe://any.example/ns/shop/sa/cart")
        unknown = declared_mesh(ControlPlane(assumed=("mesh_config",)), ())
        assert found(replace(HEALTHY, certificates=(leaf, ROOT)), unknown) == {}

    def test_another_root_than_the_namespace_is_given(self) -> None:
        declared = replace_roots(mesh(), shop=frozenset({"b2"}))
        condition = found(HEALTHY, declared)["root"]
        assert "trusts root a1" in condition.observed
        assert found(HEALTHY, replace_roots(mesh(), shop=frozenset({"a1", "b2"}))) == {}

    def test_a_root_that_cannot_be_read_is_not_known(self) -> None:
        broken = resource(
            "ConfigMap", "istio-ca-root-cert", "shop", data={"root-cert.pem": "-----BEGIN"}
        )
        assert mesh(broken).roots == {}


def replace_roots(declared: DeclaredMesh, **roots: frozenset[str]) -> DeclaredMesh:
    return replace(declared, roots=roots)


def test_what_is_normal_for_a_while_is_not_ripe_yet() -> None:
    said = conditions(replace(HEALTHY, connected=False), CART, mesh(), now=NOW)
    assert ripe(said, {}) == ((), codes.DISCONNECTED.after_ms)
    assert ripe(said, {"connection": 4_000}) == ((), codes.DISCONNECTED.after_ms - 4_000)
    assert ripe(said, {"connection": codes.DISCONNECTED.after_ms}) == (said, None)


MTLS = keys.authorization(8080, "mtls", "http")
OUTBOUND = keys.outbound_listener("10.96.0.1", 443)
ROUTE = keys.http_route("8080", "cart:8080")
CATALOG = keys.destination("catalog", 80, "v1")
HOSTS = keys.endpoints("catalog", 80, "v1")
SETTINGS_IN = keys.http_connection(8080, "mtls")
SETTINGS_OUT = keys.http_connection("10.96.0.1_443")
ORDER_OUT = keys.filter_order("outbound", "-", "http")
ALL = (MTLS, OUTBOUND, ROUTE, CATALOG, HOSTS, SETTINGS_IN, SETTINGS_OUT, ORDER_OUT)


@pytest.mark.parametrize(
    ("section", "name", "explained"),
    [
        ("*", "", ALL),
        ("", "", ()),
        ("listeners", "", (MTLS, OUTBOUND, SETTINGS_IN, SETTINGS_OUT, ORDER_OUT)),
        ("listeners", "virtualInbound", (MTLS, SETTINGS_IN)),
        ("listeners", "10.1.0.1_8080", (MTLS, SETTINGS_IN)),
        ("listeners", "10.1.0.1_9090", ()),
        ("listeners", "10.96.0.1_443", (OUTBOUND, SETTINGS_OUT, ORDER_OUT)),
        ("routes", "8080", (ROUTE,)),
        ("routes", "9090", ()),
        ("clusters", "", (CATALOG, HOSTS)),
        ("clusters", "outbound|80|v1|catalog", (CATALOG, HOSTS)),
        ("clusters", "outbound|80||catalog", ()),
        ("endpoints", "outbound|80|v1|catalog", (HOSTS,)),
        ("secrets", "default", ()),
    ],
)
def test_which_policies_a_resource_brings(
    section: str, name: str, explained: tuple[PolicyKey, ...]
) -> None:
    condition = Condition(codes.WARMING, "k", "o", Cause("MSC-3002", "s"), section, name)
    assert tuple(key for key in ALL if explains(condition, key, CART)) == explained


def finding(cause: Cause, proxy: str = "cart-1.shop") -> Finding:
    return Finding(
        id="f",
        episode="f",
        status="opened",
        proxy=proxy,
        cluster="lab",
        key="update/listeners",
        cause=cause,
        expected="",
        observed="",
        snapshot="s",
        opened_at=1,
        observed_at=1,
    )


def drift(cause: Cause | None) -> Drift:
    return Drift(
        id="d",
        episode="d",
        status="opened",
        proxy="cart-1.shop",
        cluster="lab",
        kind="authorization",
        key=str(MTLS),
        code="MSC-1083",
        change="different",
        effect="exposes",
        expected="",
        observed="",
        snapshot="s",
        declared="d",
        opened_at=1,
        observed_at=1,
        sources=(Source("AuthorizationPolicy", "shop", "cart-callers"),),
        cause=cause,
    )


class TestAnomalies:
    refused = Cause("MSC-3001", "listeners: no such provider")

    def test_a_drift_that_is_explained_is_evidence_of_the_cause(self) -> None:
        assert fingerprint(drift(self.refused)) == fingerprint(finding(self.refused))
        assert fingerprint(drift(None)) != fingerprint(drift(self.refused))

    def test_findings_of_several_proxies_are_one_anomaly(self) -> None:
        assert fingerprint(finding(self.refused)) == fingerprint(finding(self.refused, "b.shop"))
        other = replace(self.refused, subject="listeners: another")
        assert fingerprint(finding(other)) != fingerprint(finding(self.refused))

    def test_the_fingerprint_is_a_public_name_and_never_changes(self) -> None:
        assert fingerprint(finding(self.refused)) == "36c290129c00c99dc8e9507a843b6a8a"

    def test_title_layer_and_severity_come_from_the_table(self) -> None:
        assert title(finding(self.refused)) == (
            "Envoy refused an update: listeners: no such provider"
        )
        assert layer("MSC-3001") == "loading"
        assert layer("MSC-1083") == "delivery"
        assert severity((), "MSC-3001") == "critical"
        assert severity(("exposes",), "MSC-3006") == "critical"
        assert severity(("alters",), "MSC-3006") == "warning"


def test_the_table_of_codes_is_complete() -> None:
    numbers = [int(code.removeprefix("MSC-")) for code in DELIVERY_CODES]
    assert numbers == list(range(3001, 3001 + len(numbers)))
    for each in DELIVERY_CODES.values():
        assert each.layer in ("declaration", "delivery", "loading")
        assert all((each.title, each.expected, each.means, each.repair))


@pytest.mark.parametrize(
    ("spec", "has"),
    [
        ({"containers": [{"name": "app"}, {"name": "istio-proxy"}]}, True),
        ({"containers": [{"name": "app"}], "initContainers": [{"name": "istio-proxy"}]}, True),
        ({"containers": [{"name": "app"}]}, False),
        ({}, False),
    ],
)
def test_a_sidecar_is_a_container_or_a_native_one(spec: dict[str, object], has: bool) -> None:
    assert has_sidecar(resource("Pod", "p", "shop", spec=spec)) is has


def test_a_pod_that_has_ended_does_not_run() -> None:
    assert is_running(resource("Pod", "p", "shop"))
    assert not is_running(resource("Pod", "p", "shop", status={"phase": "Succeeded"}))


def test_the_page_lists_every_code_as_it_is() -> None:
    page = (Path(__file__).parents[2] / "docs" / "delivery.md").read_text()
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| MSC-")]
    assert [(row[0].removeprefix("| "), row[1], row[2]) for row in rows] == [
        (each.code, each.title, each.layer) for each in DELIVERY_CODES.values()
    ]


APP: dict[str, object] = {"containers": [{"name": "app"}]}
INJECTED: dict[str, object] = {"containers": [{"name": "app"}, {"name": "istio-proxy"}]}
GATEWAY: dict[str, object] = {"containers": [{"name": "istio-proxy", "args": ["proxy", "router"]}]}


class TestAwaitedPods:
    enabled = resource("Namespace", "shop", labels={"istio-injection": "enabled"})

    @pytest.mark.parametrize(
        ("spec", "labels", "awaited"),
        [
            (APP, {}, True),
            (INJECTED, {}, True),
            (GATEWAY, {}, False),
            ({**APP, "hostNetwork": True}, {}, False),
            (APP, {"sidecar.istio.io/inject": "false"}, False),
            ({}, {}, False),
        ],
    )
    def test_pods_that_have_a_sidecar_or_should(
        self, spec: dict[str, object], labels: dict[str, str], awaited: bool
    ) -> None:
        pod = resource("Pod", "p", "shop", spec=spec, labels=labels)
        assert bool(mesh(self.enabled, pod).awaited) is awaited

    @pytest.mark.parametrize(
        ("labels", "asks"),
        [
            ({}, False),
            ({"istio-injection": "disabled", "istio.io/rev": "x"}, False),
            ({"istio.io/rev": "x"}, True),
        ],
    )
    def test_labels_of_the_namespace(self, labels: dict[str, str], asks: bool) -> None:
        pod = resource("Pod", "p", "shop", spec=APP)
        assert bool(mesh(resource("Namespace", "shop", labels=labels), pod).awaited) is asks

    def test_kubernetes_own_namespaces_and_ended_pods_are_left_alone(self) -> None:
        system = resource("Namespace", "kube-system", labels={"istio-injection": "enabled"})
        ended = resource("Pod", "p", "shop", spec=APP, status={"phase": "Succeeded"})
        own = resource("Pod", "p", "kube-system", spec=APP)
        assert mesh(self.enabled, system, ended, own).awaited == {}

    @pytest.mark.parametrize(
        ("spec", "code"), [(APP, codes.NOT_INJECTED), (INJECTED, codes.UNSEEN)]
    )
    def test_a_pod_of_which_nothing_is_heard(
        self, spec: dict[str, object], code: codes.DeliveryCode
    ) -> None:
        pod = resource("Pod", "cart-1", "shop", spec=spec)
        state = ProxyState(live=UNSEEN_STATE, error="no snapshot of this Pod has arrived")
        (condition,) = found(state, mesh(self.enabled, pod)).values()
        assert condition.code is code
