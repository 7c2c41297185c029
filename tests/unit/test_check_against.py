"""`meshscope check --against`: what a change of declarations does to the behaviour of sidecars."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console
from small_shop import BASE, CALLERS, FILTER, ROUTES, SHOP, changed, files, workload

from meshscope.cli.against import against
from meshscope.cli.against_markdown import MOST_ENTRIES, against_markdown
from meshscope.cli.against_report import AgainstReport, topic
from meshscope.cli.against_table import against_table
from meshscope.cli.given import Inputs
from meshscope.cli.loading import inferring, project
from meshscope.cli.report import ProxyReport
from meshscope.comparison import Difference, ProxyVerdict
from meshscope.events.control_plane import ControlPlane
from meshscope.events.facts import FieldDifference
from meshscope.events.proxy import ProxyInputs
from meshscope.events.resource import Resource
from meshscope.policy import key as keys
from meshscope.projection.result import Projection

PROXIES = ["cart.shop", "orders.shop", "web.shop"]


def shown(report: AgainstReport) -> str:
    out = StringIO()
    Console(file=out, width=160, highlight=False).print(against_table(report))
    return " ".join(out.getvalue().split())


def verdicts(report: AgainstReport) -> dict[str, str]:
    return {proxy["proxy"]: proxy["verdict"] for proxy in report.to_json()["proxies"]}


def test_what_is_written_otherwise_and_means_the_same_is_no_change() -> None:
    split = CALLERS.replace("methods: [GET, POST]", "methods: [POST, GET]").replace(
        "paths: [/cart, /cart/*]", "paths: [/cart/*, /cart, /cart/receipt]"
    )
    report = changed({"callers": split, "routes": ROUTES.replace("2s", "2000ms")})
    assert report.exit_code == 0
    assert verdicts(report) == dict.fromkeys(PROXIES, "unchanged")
    assert report.summary()["resources_without_effect"] == 2
    table = shown(report)
    assert "No change in behaviour AuthorizationPolicy shop/cart-callers (changed" in table
    assert "VirtualService shop/cart (changed, routes.yaml:1)" in table
    assert table.endswith("No change in behaviour.")


def test_nothing_at_all_changes() -> None:
    report = changed({})
    assert (report.exit_code, report.changes) == (0, ())


def test_who_loses_access() -> None:
    report = changed({"callers": CALLERS.replace("[GET, POST]", "[GET]")})
    assert report.exit_code == 1
    assert verdicts(report) == {**dict.fromkeys(PROXIES, "unchanged"), "cart.shop": "changed"}
    (proxy, *_) = report.to_json()["proxies"]
    found, other = (each for each in proxy["differences"] if each["effect"] != "equivalent")
    places = ["authorization/*/mtls/http", "authorization/8080/mtls/http"]
    assert [found["key"], other["key"]] == places
    assert (found["topic"], found["effect"], found["change"]) == ("access", "blocks", "changed")
    assert found["affected"] == [
        {
            "effect": "blocks",
            "before": "allowed",
            "after": "denied",
            "requests": ["POST /cart or /cart/* from cluster.local/ns/shop/sa/web"],
            "more": 0,
            "complete": True,
            "inverted": False,
        }
    ]
    assert (found["witness"]["before"], found["witness"]["after"]) == ("allowed", "denied")
    assert "expected" not in json.dumps(report.to_json())
    table = shown(report)
    assert "Who gains or loses access blocks access rules of every other inbound port" in table
    assert "loses access POST /cart or /cart/* from cluster.local/ns/shop/sa/web" in table
    assert "1 of 3: cart.shop" in table
    assert table.endswith("Behaviour changes.")


def test_which_requests_go_elsewhere_and_what_waits_otherwise() -> None:
    report = changed({"routes": ROUTES.replace("/v2/", "/v3/").replace("2s", "1s")})
    assert verdicts(report) == dict.fromkeys(PROXIES, "changed")
    table = shown(report)
    assert "Which requests go elsewhere reroutes routes of cart.shop.svc.cluster.local:80" in table
    assert "goes elsewhere /v2/*: sent to orders.shop.svc.cluster.local:80 → sent to cart" in table
    assert "goes elsewhere /v3/*: sent to cart.shop.svc.cluster.local:80 → sent to orders" in table
    assert "changes /* but /v2/* or /v3/*" in table
    assert "3 of 3: cart.shop, orders.shop, web.shop" in table


def test_what_is_deleted_and_what_is_new() -> None:
    report = changed({"callers": "", "more": workload("search")})
    said = report.to_json()
    assert [(c["name"], c["change"]) for c in said["resources"]] == [
        ("search", "added"),
        ("search", "added"),
        ("cart-callers", "removed"),
    ]
    assert said["proxiesAdded"] == ["search.shop"]
    assert "gains access all but GET or POST /cart or /cart/* from" in shown(report)
    assert "Sidecars that come, with nothing to compare them with: search.shop." in shown(report)
    back = changed({"more": ""}, {**SHOP, "more": workload("search")})
    assert back.to_json()["proxiesRemoved"] == ["search.shop"]
    assert "not declared any more" in shown(back)


def test_a_filter_that_nobody_changed_hides_nothing() -> None:
    before = {**SHOP, "filter": FILTER}
    report = changed({"routes": ROUTES.replace("/v2/", "/v3/")}, before)
    assert report.exit_code == 1
    assert not any(proxy.verdict.unverifiable for proxy in report.proxies)
    report = changed({}, before)
    assert report.exit_code == 0


def test_a_filter_that_changes_cannot_be_compared() -> None:
    report = changed({"filter": FILTER.replace("1s", "2s")}, {**SHOP, "filter": FILTER})
    assert report.exit_code == 3
    assert verdicts(report) == dict.fromkeys(PROXIES, "unverifiable")
    assert report.changes[0].effect == "not known"
    table = shown(report)
    assert "Not comparable" in table
    assert "EnvoyFilter shop/odd" in table
    assert "Not known whether they change anything EnvoyFilter shop/odd" in table
    assert table.endswith("not everything could be compared.")


def test_the_age_of_candidates_is_not_guessed() -> None:
    second = ROUTES.replace("name: cart", "name: other").replace("orders", "web")
    report = changed({"second": second})
    assert verdicts(report) == dict.fromkeys(PROXIES, "unverifiable")
    assert "depends on their age" in shown(report)
    both = {**SHOP, "second": second}
    assert changed({"callers": CALLERS + "# again\n"}, both).exit_code == 0


def test_pods_count_before_templates_and_both_before_nothing() -> None:
    pod = """\
apiVersion: v1
kind: Pod
metadata: {name: cart-1, namespace: shop, labels: {app: cart}}
spec: {serviceAccountName: cart, containers: [{name: istio-proxy, image: 'istio/proxyv2:1.30.0'}]}
status: {podIP: 10.1.0.1}
"""
    report = changed({}, {**SHOP, "pod": pod})
    assert sorted(verdicts(report)) == ["cart-1.shop", "orders.shop", "web.shop"]
    report = changed({}, {"base": BASE, "callers": CALLERS})
    assert report.exit_code == 3
    assert "No sidecar is known: put Pods" in shown(report)
    unlabelled = BASE.replace(", labels: {istio-injection: enabled}", "")
    report = changed({}, {**SHOP, "base": unlabelled})
    assert report.exit_code == 3
    assert "it has no sidecar and asks for none" in shown(report)
    report = changed({}, {**SHOP, "base": ""})
    assert "Namespace shop, which may ask for one, is not among the resources" in shown(report)


def test_revisions_are_those_of_the_namespace() -> None:
    revised = BASE.replace("istio-injection: enabled", "istio.io/rev: canary")
    asked: list[str] = []

    def noting(plane: ControlPlane, some: tuple[Resource, ...], proxy: ProxyInputs) -> Projection:
        asked.append(plane.revision)
        return project(plane, some, proxy)

    istiod = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: istiod-canary
  namespace: istio-system
  labels: {app: istiod, istio.io/rev: canary}
spec: {template: {spec: {containers: [{name: discovery, image: 'istio/pilot:1.30.0'}]}}}
"""
    shop = {**SHOP, "base": revised, "istiod": istiod}
    against(Inputs(files(shop)), files(shop), inferring(), noting, "error")
    assert set(asked) == {"canary"}


def test_what_only_the_old_side_names_is_gone_from_the_cluster() -> None:
    old = {"callers": CALLERS}
    report = changed({"callers": ""}, old, cluster=SHOP)
    assert [(c.ref.name, c.change) for c in report.changes] == [("cart-callers", "removed")]
    assert verdicts(report)["cart.shop"] == "changed"


@pytest.mark.parametrize("side", ["before", "after"])
def test_lost_input_counts_most(side: str) -> None:
    broken = {**SHOP, "routes": "a: ["}
    report = changed(broken) if side == "after" else changed(SHOP, broken)
    assert report.exit_code == 2
    assert "MSC-2001" in shown(report)
    assert report.to_json()["findings"][0]["code"] == "MSC-2001"
    empty = changed(dict.fromkeys(SHOP, "")) if side == "after" else changed(SHOP, {})
    assert empty.exit_code == 2
    assert "MSC-5015" in shown(empty)


def test_only_new_problems_are_findings() -> None:
    odd = ROUTES.replace("hosts: [cart]", "hosts: [cart]\n  host: cart")
    assert [found.code for found in changed({"routes": odd}).findings] == ["MSC-2003"]
    assert changed({"routes": odd}).exit_code == 1
    report = changed({"callers": CALLERS + "# again\n"}, {**SHOP, "routes": odd})
    assert (report.findings, report.exit_code) == ((), 0)


def test_a_projection_that_fails_takes_no_other_with_it() -> None:
    def failing(plane: ControlPlane, some: tuple[Resource, ...], proxy: ProxyInputs) -> Projection:
        if proxy.proxy == "cart.shop":
            raise KeyError("rules")
        return project(plane, some, proxy)

    inputs = Inputs(files(SHOP))
    report = against(inputs, files(SHOP), inferring(), failing, "error")
    assert verdicts(report) == {**dict.fromkeys(PROXIES, "unchanged"), "cart.shop": "unknown"}
    assert report.exit_code == 3
    for text in (shown(report), against_markdown(report)):
        assert "projection failed: KeyError" in text


def test_markdown_says_the_same_and_lets_nobody_in() -> None:
    routes = ROUTES.replace("/v2/", "/`x`|@all/")
    text = against_markdown(changed({"callers": CALLERS.replace(", POST", ""), "routes": routes}))
    assert text.startswith("### Behaviour changes.\n")
    for part in (
        "#### Who gains or loses access",
        "- **blocks** access rules of every other inbound port (mutual TLS, HTTP), access rules of",
        "  - loses access: `POST /cart or /cart/* from cluster.local/ns/shop/sa/web`",
        "  | ALLOW shop/cart-callers rules\\[0\\].to | methods GET or POST",
        "#### Which requests go elsewhere",
        "  - goes elsewhere: `` /`x`|@all/*: sent to",
    ):
        assert part in text
    lines = text.splitlines()
    assert all("@" not in line or "``" in line or "\\@" in line for line in lines)
    # Cells end where the table has its bars and nowhere else.
    rows = [line for line in lines if line.startswith("  | ")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {4}


def test_a_long_comment_is_cut() -> None:
    found = tuple(
        Difference(
            "MSC-1083",
            keys.authorization(port, "mtls", "http"),
            "different",
            "blocks",
            "",
            "",
            (FieldDifference(str(port), "a", "b"),),
        )
        for port in range(1, MOST_ENTRIES + 3)
    )
    report = AgainstReport((1, 1), (ProxyReport("p", "", ProxyVerdict("drift", found)),))
    assert "- … and 2 more; `-o json` has all of them" in against_markdown(report)


@pytest.mark.parametrize(
    ("key", "path", "effect", "expected"),
    [
        (keys.egress("80"), "outboundTrafficPolicy.mode", "blocks", "access"),
        (keys.peer_authentication(80), "mtls.mode", "exposes", "encryption"),
        (keys.destination("a", 80, ""), "trafficPolicy.tls.mode", "exposes", "encryption"),
        (keys.endpoints("a", 80, ""), "endpoints[z][1.1.1.1:80].transport", "blocks", "encryption"),
        (keys.endpoints("a", 80, ""), "endpoints[z]", "reroutes", "routing"),
        (keys.http_route("80", "a"), "http[0].timeout", "alters", "treatment"),
    ],
)
def test_topics(key: keys.PolicyKey, path: str, effect: str, expected: str) -> None:
    fields = (FieldDifference(path, "a", "b"),)
    found = Difference("MSC-1083", key, "different", "alters", "a", "b", fields)
    assert topic(replace(found, effect=effect)) == expected  # type: ignore[arg-type]
