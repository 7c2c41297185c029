"""Evaluation of what real control planes generated, against what their tests expect of requests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dumps import dump_of
from shared_data import shared

from meshscope.algebra.request import Request
from meshscope.evaluation import Call, Outcome, Token, Trace, evaluate, split_target
from meshscope.inference.infer import infer
from meshscope.policy.key import PolicyKey
from meshscope.policy.policy import Policy
from meshscope.policy.target import Target

pytestmark = pytest.mark.conformance

Json = Mapping[str, Any]
ACCESS = shared("conformance", "authz-requests")
ROUTING = shared("conformance", "routing-simulation")
_API = "type.googleapis.com/envoy.config."
_TYPES = {
    "lds": ("listeners", "listener.v3.Listener"),
    "rds": ("routes", "route.v3.RouteConfiguration"),
    "cds": ("clusters", "cluster.v3.Cluster"),
}


def folders(suite: Path, *with_files: str) -> list[Path]:
    return [
        folder
        for folder in sorted(suite.iterdir())
        if folder.is_dir() and all((folder / name).exists() for name in with_files)
    ]


def held(node: Json, **resources: list[Json]) -> Mapping[PolicyKey, Policy]:
    """What inference reads out of resources."""
    typed = {
        kind: [{"@type": _API + _TYPES[kind][1], **item} for item in found]
        for kind, found in resources.items()
    }
    return infer(dump_of({"node": node}, typed)).policies


def read(path: Path) -> Any:
    return json.loads(path.read_text())


# Access


def access_call(asked: Json) -> Call:
    source, destination = asked["source"], asked["destination"]
    path, query = split_target(asked.get("path", "/"))
    token = asked.get("jwt")
    return Call(
        "inbound",
        Request(
            asked.get("method", "GET"),
            asked.get("host", ""),
            path,
            query,
            tuple((name.lower(), value) for name, value in asked.get("headers", {}).items()),
            "mtls" if source["mtls"] else "plaintext",
            f"spiffe://{source['principal']}" if source["mtls"] else "",
            source["ip"],
            destination_address=destination["ip"],
            port=destination["port"],
            server_name=asked.get("sni", ""),
            application_protocol=_alpn(asked["protocol"]) if source["mtls"] else "",
        ),
        {"http": "http1", "grpc": "http2", "tcp": "tcp"}[asked["protocol"]],  # type: ignore[arg-type]
        None if token is None else Token(token["claims"], token["valid"]),
    )


def _alpn(protocol: str) -> str:
    return {"http": "istio-http/1.1", "grpc": "istio-h2", "tcp": "istio"}[protocol]


@pytest.mark.parametrize("folder", folders(ACCESS), ids=lambda folder: folder.name)
def test_access_is_allowed_and_denied_as_istio_expects(folder: Path) -> None:
    case = read(folder / "case.json")
    workload = case["workload"]
    node = {
        "id": f"sidecar~{workload['ip']}~{workload['name']}.{workload['namespace']}~x",
        "metadata": {"NAMESPACE": workload["namespace"]},
    }
    listener = read(folder / "virtual_inbound.json")
    policies = held(node, lds=listener if isinstance(listener, list) else [listener])

    wrong = []
    for case in read(folder / "requests.json"):
        trace = evaluate(policies, access_call(case["request"]))
        if (trace.outcome.result == "forwarded") != case["allow"]:
            wrong.append((case["name"], case["allow"], *trace.steps, trace.outcome))
    assert wrong == []


# Routing


def routing_call(call: Json) -> Call:
    path, query = split_target(call.get("path") or "/")
    return Call(
        call["mode"],
        Request(
            call.get("method") or "GET",
            call.get("host", ""),
            path,
            query,
            tuple((name.lower(), value) for name, value in (call.get("headers") or {}).items()),
            call["tls"],
            peer_address="1.2.3.4",
            destination_address=call["address"],
            port=call["port"],
            server_name=call.get("sni", ""),
            application_protocol=call.get("alpn", ""),
        ),
        {"http": "http1"}.get(call["protocol"], call["protocol"]),  # type: ignore[arg-type]
        server_certificate=call.get("mtls_server_certificate_sds", "default"),
    )


def cluster_name(target: Target) -> str:
    if target.direction == "named":
        return target.host
    return f"{target.direction}|{target.port}|{target.subset}|{target.host}"


SIMULATED = [
    folder
    for folder in folders(ROUTING, "xds.json", "calls.json")
    if not folder.name.startswith("traffic-")
]


@pytest.mark.parametrize("folder", SIMULATED, ids=lambda folder: folder.name)
def test_calls_go_where_istio_expects(folder: Path) -> None:
    policies = generated(folder)
    wrong = []
    for case in read(folder / "calls.json"):
        trace = evaluate(policies, routing_call(case["call"]))
        expected = case["expect"]
        # Istio's evaluator goes on after a failed handshake; here nothing is reached then.
        found: dict[str, Any] = {"error": trace.outcome.reason}
        wanted: dict[str, Any] = {"error": expected.get("error", "")}
        if "cluster" in expected and not wanted["error"]:
            found["cluster"], wanted["cluster"] = clusters(trace), [expected["cluster"]]
        if found != wanted:
            wrong.append((case["name"], wanted, found, *trace.steps))
    assert wrong == []


def generated(folder: Path) -> Mapping[PolicyKey, Policy]:
    xds = read(folder / "xds.json")
    proxy = read(folder / "proxy.json")
    namespace = proxy.get("namespace", "default")
    address = (proxy.get("ips") or ["1.1.1.1"])[0]
    node = {
        "id": f"sidecar~{address}~{proxy.get('name', 'test')}.{namespace}~{namespace}.svc",
        "metadata": {"NAMESPACE": namespace},
    }
    return held(node, **{kind: xds.get(name, []) for kind, (name, _) in _TYPES.items()})


def clusters(trace: Trace) -> list[str]:
    return [cluster_name(share.target) for share in trace.outcome.destinations]


TRAFFIC = [folder for folder in folders(ROUTING, "xds.json") if folder.name.startswith("traffic-")]


@pytest.mark.parametrize("folder", TRAFFIC, ids=lambda folder: folder.name)
def test_traffic_is_treated_as_istio_expects(folder: Path) -> None:
    policies = generated(folder)
    wrong = []
    for case in read(folder / "calls.json"):
        trace = evaluate(policies, followed(policies, routing_call(case["call"]), case["call"]))
        outcome = trace.outcome
        expected = case["expect"]
        found, wanted = {}, {}
        for name, value in seen(outcome).items():
            if name in expected:
                found[name], wanted[name] = value, expected[name]
        if "upstream_request" in wanted:
            wanted["upstream_request"] = {**found["upstream_request"], **wanted["upstream_request"]}
            wanted["upstream_request"].pop("headers", None)
        if "split" in wanted:
            wanted["split"] = {name: share / 100 for name, share in wanted["split"].items()}
        if found != wanted:
            wrong.append((case["name"], wanted, found, *trace.steps))
    assert wrong == []


def followed(policies: Mapping[PolicyKey, Policy], call: Call, asked: Json) -> Call:
    """The call, or the one that a client makes which follows a redirect."""
    location = evaluate(policies, call).outcome.location
    if not (asked.get("follow_redirects") and location):
        return call
    path, query = split_target("/" + location.partition("://")[2].partition("/")[2])
    return replace(call, request=replace(call.request, path=path, query=query))


def seen(outcome: Outcome) -> dict[str, Any]:
    """What can be compared, in the words of the suite."""
    shares = {share.target.host: share.share for share in outcome.destinations}
    status = 200 if outcome.result == "forwarded" else outcome.status
    return {
        "status": status,
        "grpc_status": outcome.grpc_status,
        "reaches": next(iter(shares), None),
        "split": shares,
        "blocked": outcome.result == "closed" or shares.keys() == {"BlackHoleCluster"},
        "upstream_request": {
            "host": next((share.authority for share in outcome.destinations), ""),
            "url": outcome.target,
        },
    }


ROUTES = shared("conformance", "envoy-routes")
_MANAGER = (
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3."
    "HttpConnectionManager"
)


@pytest.mark.parametrize("folder", folders(ROUTES), ids=lambda folder: folder.name)
def test_routes_are_taken_as_envoy_does(folder: Path) -> None:
    table = {**read(folder / "route_config.json"), "name": "routes"}
    policies = held({"id": "sidecar~1.1.1.1~a.b~c"}, lds=[_listener()], rds=[table])
    wrong = []
    for case in read(folder / "cases.json")["cases"]:
        trace = evaluate(policies, route_call(case["input"]))
        if trace.outcome.result == "undecided":
            # Clusters that a header names are not in the vocabulary.
            assert trace.outcome.detail == "the action of the rule is not modelled"
            continue
        found = taken(trace)
        wanted = {name: case["validate"][name] for name in found if name in case["validate"]}
        found = {name: found[name] for name in wanted}
        failing = case.get("failing_fields", ())
        if any((found[name] == wanted[name]) == (name in failing) for name in wanted):
            wrong.append((case["name"], wanted, found, *trace.steps))
    assert wrong == []


def _listener() -> Json:
    manager = {"@type": _MANAGER, "rds": {"route_config_name": "routes"}}
    filters = [{"name": "envoy.http_connection_manager", "typed_config": manager}]
    return {
        "name": "127.0.0.1_80",
        "traffic_direction": "OUTBOUND",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 80}},
        "filter_chains": [{"filters": filters}],
    }


def route_call(asked: Json) -> Call:
    path, query = split_target(asked["path"])
    claims: dict[str, Any] = {}
    for entry in asked.get("dynamic_metadata", ()):
        for place, value in leaves(entry["metadata_namespace"], entry["value"]):
            if entry.get("allow_overwrite", True) or place not in claims:
                claims[place] = value
    headers = {
        header["key"].lower(): header["value"]
        for header in asked.get("additional_request_headers", ())
    }
    return Call(
        "outbound",
        Request(
            asked["method"],
            asked["authority"],
            path,
            query,
            tuple(headers.items()),
            destination_address="127.0.0.1",
            port=80,
            claims=tuple(claims.items()),
        ),
    )


def leaves(place: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return [leaf for name, inner in value.items() for leaf in leaves(f"{place}/{name}", inner)]
    return [(place, value)]


def taken(trace: Trace) -> dict[str, Any]:
    """What the suite asks for and evaluation says."""
    outcome = trace.outcome
    request = trace.call.request
    # Envoy's tool shows for an answer where it was asked for.
    location = outcome.location or f"http://{request.authority}{request.path}"
    first = outcome.destinations[0] if outcome.destinations else None
    return {
        "cluster_name": cluster_name(first.target) if first else "",
        "path_rewrite": outcome.target,
        "host_rewrite": first.authority if first else "",
        "path_redirect": location if outcome.result == "answered" else "",
        "timeout": f"{outcome.timeout_ms // 1000}s",
    }
