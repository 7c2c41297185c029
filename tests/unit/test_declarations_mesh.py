"""Services, injection, gateways, patches, telemetry, and Istio's own installation."""

import base64
from datetime import UTC, datetime

import pytest
from pem_files import FROM, pem
from reviewed import fields, findings, istio, kubernetes, one, pod, service

from meshscope.declarations.injection import injects

# Services


def test_ports_without_a_protocol() -> None:
    ports = "[{port: 80}, {name: web, port: 81}, {name: http-a, port: 82}, {name: x, port: 3306}]"
    assert fields(service(ports), "MSC-2603") == ["spec.ports[0]", "spec.ports[1]"]
    declared = "[{name: web, port: 80, appProtocol: http}, {name: dns, port: 53, protocol: UDP}]"
    assert not findings(service(declared), "MSC-2603")


def test_tcp_ports_of_external_names() -> None:
    external = "{type: ExternalName, externalName: a.example, ports: [{name: %s, port: 80}]}"
    assert findings(kubernetes("Service", external % "tcp"), "MSC-2603")
    assert not findings(kubernetes("Service", external % "http"), "MSC-2603")


def test_a_port_with_two_protocols() -> None:
    both = service("[{name: http, port: 80}]", "a", selector="{app: a}") + service(
        "[{name: tcp, port: 81, targetPort: 80}]", "b", selector="{app: a}"
    )
    assert one(both + pod("{app: a}"), "MSC-2604").resource.kind == "Pod"
    alike = both.replace("name: tcp", "name: http-b")
    assert not findings(alike + pod("{app: a}"), "MSC-2604")
    assert not findings(both + pod("{app: a, sidecar.istio.io/inject: 'false'}"), "MSC-2604")


def entry(name: str, ports: str, more: str = "", host: str = "db.example") -> str:
    return istio("ServiceEntry", f"{{hosts: [{host}], ports: [{ports}]{more}}}", name)


TCP = "{number: 5432, name: tcp, protocol: TCP}"


def test_tcp_ports_without_addresses() -> None:
    assert findings(entry("a", TCP), "MSC-2601")
    assert findings(entry("a", "{number: 1, name: x}"), "MSC-2601")
    assert not findings(entry("a", TCP, ", addresses: [10.0.0.1]"), "MSC-2601")
    assert not findings(entry("a", "{number: 443, name: a, protocol: TLS}"), "MSC-2601")
    capture = {"ISTIO_META_DNS_CAPTURE": "true", "ISTIO_META_DNS_AUTO_ALLOCATE": "true"}
    settings = {"defaultConfig": {"proxyMetadata": capture}}
    assert not findings(entry("a", TCP), "MSC-2601", **settings)


def test_services_that_declare_a_host_differently() -> None:
    http = "{number: 80, name: http, protocol: HTTP}"
    other = entry("b", http, ", resolution: STATIC")
    assert len(findings(entry("a", http) + other, "MSC-2602")) == 2
    assert not findings(entry("a", http) + entry("b", http), "MSC-2602")
    apart = other.replace("namespace: shop", "namespace: web").replace(
        "STATIC", "STATIC, exportTo: ['.']"
    )
    private = entry("a", http, ", exportTo: ['.']")
    assert not findings(private + apart, "MSC-2602")


def test_tcp_ports_that_cannot_be_told_apart() -> None:
    both = entry("a", TCP) + entry("b", TCP, host="other.example")
    assert fields(both, "MSC-2602") == ["spec.ports", "spec.ports"]
    placed = entry("a", TCP) + entry("b", TCP, ", addresses: [10.0.0.1]", "other.example")
    assert not findings(placed, "MSC-2602")


# Injection


def namespace(labels: str, name: str = "shop") -> str:
    return kubernetes("Namespace", "{}", name, "''", f", labels: {labels}")


@pytest.mark.parametrize(
    ("labels", "code"),
    [
        ("{}", "MSC-2701"),
        ("{istio-injection: disabled}", ""),
        ("{istio.io/dataplane-mode: ambient}", ""),
        ("{istio-injection: enabled, istio.io/rev: a}", "MSC-2702"),
        ("{istio.io/rev: a, istio.io/dataplane-mode: ambient}", "MSC-2702"),
        ("{istio-injection: disabled, istio.io/rev: a}", ""),
    ],
)
def test_labels_of_namespaces(labels: str, code: str) -> None:
    said = {c for c in ("MSC-2701", "MSC-2702") if findings(namespace(labels), c)}
    assert said == ({code} if code else set())


def test_namespaces_of_the_system_say_nothing() -> None:
    assert not findings(namespace("{}", "kube-system"), "MSC-2701")
    assert injects({"istio.io/rev": "a"})
    assert not injects({"istio-injection": "disabled", "istio.io/rev": "a"})


def test_meshes_that_inject_where_nothing_is_said() -> None:
    everywhere = INJECTOR.replace(
        '{"global"', '{"sidecarInjectorWebhook": {"enableNamespacesByDefault": true}, "global"'
    )
    said = one(namespace("{}") + everywhere, "MSC-2701").explanation
    assert "its Pods get a sidecar" in said
    assert "get no sidecar" in one(namespace("{}") + INJECTOR, "MSC-2701").explanation


INJECTOR = (
    "---\napiVersion: v1\nkind: ConfigMap\n"
    "metadata: {name: istio-sidecar-injector, namespace: istio-system}\n"
    'data: {values: \'{"global": {"hub": "h.example", "tag": "1.31.0", '
    '"proxy": {"image": "proxyv2"}}}\'}\n'
)


def running(image: str) -> str:
    return pod("{app: a}", spec=f"{{containers: [{{name: istio-proxy, image: '{image}'}}]}}")


def test_pods_with_another_proxy() -> None:
    enabled = namespace("{istio-injection: enabled}") + INJECTOR
    found = one(enabled + running("h.example/proxyv2:1.30.0"), "MSC-2703")
    assert "h.example/proxyv2:1.31.0 would be injected" in found.explanation
    for image in ("h.example/proxyv2:1.31.0", "h.example/proxyv2:1.31.0-distroless"):
        assert not findings(enabled + running(image), "MSC-2703")
    assert not findings(namespace("{a: b}") + INJECTOR + running("x"), "MSC-2703")


def test_applications_that_run_as_the_proxy() -> None:
    own = "{containers: [{name: a, securityContext: {runAsUser: %d}}]}"
    assert findings(pod("{}", spec=own % 1337), "MSC-2704")
    assert not findings(pod("{}", spec=own % 1000), "MSC-2704")
    whole = "{securityContext: {runAsUser: 1337}, containers: [{name: a}]}"
    assert findings(pod("{}", spec=whole), "MSC-2704")
    proxy = "{containers: [{name: istio-proxy, securityContext: {runAsUser: 1337}}]}"
    assert not findings(pod("{}", spec=proxy), "MSC-2704")


def test_images_that_nothing_replaces() -> None:
    automatic = pod("{}", spec="{containers: [{name: istio-proxy, image: auto}]}")
    assert findings(automatic + namespace("{}"), "MSC-2705")
    assert not findings(automatic + namespace("{istio-injection: enabled}"), "MSC-2705")
    assert not findings(automatic, "MSC-2705")


# Gateways


def gateway(name: str, servers: str, selector: str = "{istio: ingressgateway}") -> str:
    return istio("Gateway", f"{{selector: {selector}, servers: [{servers}]}}", name)


def test_ports_that_no_service_has() -> None:
    servers = "{port: {number: 80}, hosts: ['*']}, {port: {number: 8004}, hosts: ['*']}"
    assert fields(gateway("a", servers), "MSC-2801") == ["spec.servers[1].port"]
    own = gateway("a", servers, "{app: own}") + pod("{app: own}")
    opened = service("[{name: http, port: 8004}]", selector="{app: own}")
    assert fields(own + opened, "MSC-2801") == ["spec.servers[0].port"]
    assert not findings(own, "MSC-2801")


def test_hosts_that_two_gateways_claim() -> None:
    def server(host: str, port: int = 443) -> str:
        return f"{{port: {{number: {port}}}, hosts: ['{host}']}}"

    both = gateway("a", server("*.example")) + gateway("b", server("x/a.example"))
    assert len(findings(both, "MSC-2802")) == 2
    for other in (server("a.other"), server("a.example", 80)):
        assert not findings(gateway("a", server("*.example")) + gateway("b", other), "MSC-2802")
    elsewhere = gateway("b", server("a.example"), "{istio: other}")
    assert not findings(gateway("a", server("*.example")) + elsewhere, "MSC-2802")


TLS = "{port: {number: 443}, hosts: [a.example], tls: {mode: SIMPLE, credentialName: c}}"


def secret(data: dict[str, bytes]) -> str:
    encoded = {name: base64.b64encode(value).decode() for name, value in data.items()}
    return (
        "---\napiVersion: v1\nkind: Secret\n"
        f"metadata: {{name: c, namespace: istio-system}}\ndata: {encoded}\n"
    )


def test_credentials_that_serve_and_do_not() -> None:
    valid = pem(1, FROM, datetime(2030, 1, 1, tzinfo=UTC))
    over = pem(2, FROM, datetime(2026, 6, 30, tzinfo=UTC))
    assert not findings(gateway("a", TLS) + secret({"tls.crt": valid, "tls.key": b"k"}), "MSC-2803")
    assert not findings(gateway("a", TLS) + secret({"cert": valid, "key": b"k"}), "MSC-2803")
    for data, reason in (
        ({"tls.crt": over, "tls.key": b"k"}, "ended on 2026-06-30"),
        ({"tls.crt": b"x", "tls.key": b"k"}, "no certificate in PEM"),
        ({"tls.crt": valid}, "has neither the keys"),
    ):
        assert reason in one(gateway("a", TLS) + secret(data), "MSC-2803").explanation


def test_credentials_that_do_not_exist() -> None:
    other = secret({}).replace("name: c", "name: other")
    assert findings(gateway("a", TLS) + other, "MSC-2804")
    assert not findings(gateway("a", TLS), "MSC-2804")


def test_certificates_that_two_gateways_present() -> None:
    other = gateway("b", TLS.replace("a.example", "b.example"))
    assert len(findings(gateway("a", TLS) + other, "MSC-2805")) == 2
    renamed = other.replace("credentialName: c", "credentialName: d")
    assert not findings(gateway("a", TLS) + renamed, "MSC-2805")


# Patches


@pytest.mark.parametrize(
    ("patch", "priority", "code"),
    [
        ("{applyTo: HTTP_FILTER, patch: {operation: INSERT_BEFORE}}", 0, "MSC-2901"),
        ("{applyTo: HTTP_FILTER, patch: {operation: INSERT_BEFORE}}", 10, ""),
        ("{applyTo: HTTP_FILTER, patch: {operation: INSERT_FIRST}}", 0, ""),
        ("{applyTo: CLUSTER, patch: {operation: REPLACE}}", 10, "MSC-2902"),
        ("{applyTo: VIRTUAL_HOST, patch: {operation: REPLACE}}", 10, ""),
        ("{applyTo: ROUTE_CONFIGURATION, patch: {operation: ADD}}", 10, "MSC-2902"),
        ("{applyTo: CLUSTER, patch: {operation: ADD}}", 0, ""),
    ],
)
def test_patches(patch: str, priority: int, code: str) -> None:
    manifests = istio("EnvoyFilter", f"{{priority: {priority}, configPatches: [{patch}]}}")
    assert {c for c in ("MSC-2901", "MSC-2902") if findings(manifests, c)} == ({code} - {""})


# Telemetry

LIGHTSTEP = {"extensionProviders": [{"name": "old", "lightstep": {"service": "a.b"}}]}


def test_providers_of_telemetry() -> None:
    nameless = istio("Telemetry", "{accessLogging: [{providers: [{name: envoy}]}, {filter: {}}]}")
    assert fields(nameless, "MSC-2903") == ["spec.accessLogging[1]"]
    default = {"defaultProviders": {"accessLogging": ["envoy"]}}
    assert not findings(nameless, "MSC-2903", **default)
    off = istio("Telemetry", "{accessLogging: [{disabled: true}]}")
    assert not findings(off, "MSC-2903")
    traced = istio("Telemetry", "{tracing: [{providers: [{name: old}]}]}")
    assert findings(traced, "MSC-2903")
    assert not findings(traced, "MSC-2903", **LIGHTSTEP)
    assert findings(traced, "MSC-2904", **LIGHTSTEP)
    assert not findings(traced, "MSC-2904")


# Istio's installation


def webhook(client: str, name: str = "istio-sidecar-injector") -> str:
    return (
        "---\napiVersion: admissionregistration.k8s.io/v1\nkind: MutatingWebhookConfiguration\n"
        f"metadata: {{name: {name}}}\nwebhooks: [{{name: w, clientConfig: {client}}}]\n"
    )


def test_webhooks_that_lead_nowhere() -> None:
    assert findings(webhook("{url: null}"), "MSC-2905")
    assert not findings(webhook("{url: 'https://a.example/inject'}"), "MSC-2905")
    assert not findings(webhook("{url: null}", "somebody-else"), "MSC-2905")
    named = "{service: {name: istiod, namespace: shop}}"
    assert not findings(webhook(named), "MSC-2908")
    assert findings(webhook(named) + service("[{port: 1}]"), "MSC-2908")
    assert not findings(webhook(named) + service("[{port: 1}]", "istiod"), "MSC-2908")


def test_webhooks_at_an_address() -> None:
    assert findings(webhook("{url: 'https://192.0.2.1:15017/inject'}"), "MSC-2907")
    assert not findings(webhook("{url: 'https://a.example/inject'}"), "MSC-2907")


def test_keys_that_istiod_fetches_from_anywhere() -> None:
    tokens = istio("RequestAuthentication", "{jwtRules: [{issuer: a, jwksUri: 'https://a/k'}]}")
    container = "{name: discovery, env: [{name: %s, value: 10.0.0.0/8}]}"
    istiod = kubernetes(
        "Deployment",
        f"{{template: {{spec: {{containers: [{container}]}}}}}}",
        "istiod",
        more=", labels: {app: istiod}",
    )
    assert findings(tokens + istiod % "OTHER", "MSC-2906")
    assert not findings(tokens + istiod % "BLOCKED_CIDRS_IN_JWKS_URIS", "MSC-2906")
    assert not findings(istiod % "OTHER", "MSC-2906")
