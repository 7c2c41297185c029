"""The sandbox with its real Envoys: what they hold, how they fail, how they heal."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest
from click.testing import CliRunner
from google.protobuf import json_format

from meshscope.sandbox import commands, protos
from meshscope.sandbox.client import SandboxClient
from meshscope.sandbox.errors import CommandRefused
from meshscope.sandbox.faults import WARMING_CLUSTER
from meshscope.sandbox.model import Proxy, data_directory, load_index
from meshscope.sandbox.overlays import CART
from meshscope.sandbox.protocol import ChainName, ProxyStatus
from meshscope.sandbox.recording import Recording, Resources

pytestmark = pytest.mark.integration

INDEX = load_index()
RECORDING = Recording(INDEX)
FRONTEND = INDEX.proxy("frontend-1.shop")
CART_1 = INDEX.proxy("cart-1.shop")
INTRUDER = INDEX.proxy("intruder-1.guest")
TOKENS = json.loads((data_directory() / "keys" / "tokens.json").read_bytes())

T = TypeVar("T")


def eventually(probe: Callable[[], T], deadline: float = 10.0) -> T:
    """The first true answer of a probe."""
    end = time.monotonic() + deadline
    while not (answer := probe()):
        assert time.monotonic() < end, f"not within {deadline} s, last answer {answer!r}"
        time.sleep(0.05)
    return answer


def admin(proxy: Proxy, path: str) -> Any:
    with urllib.request.urlopen(f"http://{proxy.admin}{path}", timeout=5) as response:
        return response.read().decode()


def dump(proxy: Proxy) -> dict[str, Any]:
    """The parts of `/config_dump?include_eds` by the names of their types."""
    document = json.loads(admin(proxy, "/config_dump?include_eds"))
    return {part["@type"].rpartition(".")[2]: part for part in document["configs"]}


def stats(proxy: Proxy) -> dict[str, str]:
    lines = admin(proxy, "/stats").splitlines()
    return dict(line.split(": ", 1) for line in lines)


def status_of(client: SandboxClient, proxy: Proxy) -> ProxyStatus:
    return next(item for item in client.status().proxies if item.proxy == proxy.proxy)


def request(
    proxy: Proxy, host: str, path: str, method: str = "GET", **headers: str
) -> tuple[int, str]:
    """A request of a workload through its own sidecar: status and body."""
    address = proxy.outbound_address()
    return call(address.host, address.port, path, method, host=host, **headers)


def call(ip: str, port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(ip, port, timeout=5)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers=named)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def held(proxy: Proxy) -> dict[str, dict[str, Any]]:
    """What an Envoy holds, per kind and name, as JSON of the parsed messages."""
    parts = dump(proxy)
    configs: dict[str, Iterator[dict[str, Any]]] = {
        "clusters": (
            item["cluster"] for item in parts["ClustersConfigDump"]["dynamic_active_clusters"]
        ),
        "listeners": (
            item["active_state"]["listener"]
            for item in parts["ListenersConfigDump"]["dynamic_listeners"]
            if "active_state" in item  # a rejected update adds a nameless entry
        ),
        "routes": (
            item["route_config"] for item in parts["RoutesConfigDump"]["dynamic_route_configs"]
        ),
        "endpoints": (
            without_state(item["endpoint_config"])
            for item in parts["EndpointsConfigDump"]["dynamic_endpoint_configs"]
        ),
    }
    first = RECORDING.resources("00-base", proxy.proxy)
    found = {
        kind: by_name(protos.parse(item, type(getattr(first, kind)[0])) for item in items)
        for kind, items in configs.items()
    }
    # The dump also lists assignments that are part of their cluster.
    found["endpoints"] = {
        name: assignment
        for name, assignment in found["endpoints"].items()
        if found["clusters"][name].get("type") == "EDS"
    }
    return found


def without_state(assignment: dict[str, Any]) -> dict[str, Any]:
    """An endpoint assignment without what Envoy adds: defaults and health."""
    for locality in assignment.get("endpoints", []):
        for host in locality.get("lb_endpoints", []):
            host.pop("health_status", None)
            host["endpoint"].pop("health_check_config", None)
    assignment.pop("policy", None)
    return assignment


def recorded(resources: Resources) -> dict[str, dict[str, Any]]:
    return {
        kind: by_name(getattr(resources, kind))
        for kind in ("clusters", "listeners", "routes", "endpoints")
    }


def by_name(messages: Any) -> dict[str, Any]:
    return {
        getattr(message, "cluster_name", "") or message.name: json_format.MessageToDict(
            message, preserving_proto_field_name=True
        )
        for message in messages
    }


@pytest.mark.parametrize("state", ["00-base", "02-mtls-permissive", "04-new-subset-empty"])
def test_every_envoy_holds_exactly_what_was_recorded(sandbox: SandboxClient, state: str) -> None:
    result = sandbox.state(state)
    assert all(push.accepted and not push.rejected for push in result.pushes)
    for proxy in INDEX.proxies:
        assert held(proxy) == recorded(RECORDING.resources(state, proxy.proxy)), proxy.proxy


def test_every_state_is_accepted_by_every_envoy_and_returns_to_base(
    sandbox: SandboxClient,
) -> None:
    for state in INDEX.states:
        for push in sandbox.state(state.id).pushes:
            assert (push.rejected, push.unanswered, push.note) == ({}, [], ""), (state.id, push)
    sandbox.state("00-base")
    for proxy in INDEX.proxies:
        assert held(proxy) == recorded(RECORDING.resources("00-base", proxy.proxy)), proxy.proxy


def test_the_status_says_that_all_is_well(sandbox: SandboxClient) -> None:
    status = sandbox.status()
    assert status.declared == status.pushed == "00-base"
    assert [item.proxy for item in status.proxies] == [item.proxy for item in INDEX.proxies]
    for item in status.proxies:
        assert (item.state, item.connected, item.faults) == ("LIVE", True, [])
        assert set(item.types) == {"cds", "eds", "lds", "rds"}
        assert all(kind.answered and kind.error is None for kind in item.types.values())


def test_envoys_keep_the_statistics_of_a_stock_sidecar(sandbox: SandboxClient) -> None:
    call_refused = request(INTRUDER, "cart.shop.svc.cluster.local", "/cart")
    assert call_refused[0] == 403
    known = {name for proxy in INDEX.proxies for name in stats(proxy)}
    assert "listener_manager.lds.version" in known
    assert "cluster.xds-grpc.upstream_cx_active" in known
    assert any(name.endswith("rbac.denied") for name in known)
    assert not any(".rds." in name for name in known)
    assert not any(name.startswith("cluster.outbound") for name in known)


CART_HOST = "cart.shop.svc.cluster.local"
FRONTEND_HOST = "frontend.shop.svc.cluster.local"
PAYMENTS_HOST = "payments.payments.svc.cluster.local"


@pytest.mark.parametrize(
    ("sender", "host", "method", "path", "headers", "status"),
    [
        (FRONTEND, CART_HOST, "GET", "/cart", {}, 200),
        (FRONTEND, CART_HOST, "DELETE", "/cart", {}, 403),
        (INTRUDER, CART_HOST, "GET", "/cart", {}, 403),
        (INTRUDER, FRONTEND_HOST, "GET", "/admin", {}, 403),
        (CART_1, FRONTEND_HOST, "GET", "/admin", {}, 200),
        (INTRUDER, FRONTEND_HOST, "GET", "/beta", {"x_user": "alice"}, 403),
        (INTRUDER, FRONTEND_HOST, "GET", "/beta", {"x_user": "bob"}, 200),
        (CART_1, PAYMENTS_HOST, "POST", "/charge", {}, 403),
        (CART_1, PAYMENTS_HOST, "POST", "/charge", {"authorization": "valid"}, 200),
        (CART_1, PAYMENTS_HOST, "POST", "/charge", {"authorization": "expired"}, 401),
        (FRONTEND, "nowhere.example", "GET", "/", {}, 503),
    ],
)
def test_requests_are_treated_as_under_the_real_control_plane(
    sandbox: SandboxClient,
    sender: Proxy,
    host: str,
    method: str,
    path: str,
    headers: dict[str, str],
    status: int,
) -> None:
    if "authorization" in headers:
        headers = {"authorization": f"Bearer {TOKENS[headers['authorization']]}"}
    answered, body = request(sender, host, path, method, **headers)
    assert answered == status, body


def test_the_receiver_sees_the_identity_of_the_sender(sandbox: SandboxClient) -> None:
    _, body = request(FRONTEND, CART_HOST, "/cart")
    peer = json.loads(body)["headers"]["x-forwarded-client-cert"]
    assert "URI=spiffe://cluster.local/ns/shop/sa/frontend" in peer


@pytest.mark.parametrize(("sender", "answer"), [(CART_1, b"ledger:hello\n"), (INTRUDER, b"")])
def test_the_ledger_answers_whom_it_may(
    sandbox: SandboxClient, sender: Proxy, answer: bytes
) -> None:
    address = sender.outbound_address("TCP")
    with socket.create_connection((address.host, address.port), timeout=5) as connection:
        connection.sendall(b"hello\n")
        assert connection.recv(100) == answer


def test_traffic_flows_permitted_and_refused(sandbox: SandboxClient) -> None:
    def seen() -> bool:
        return {"200", "403"} <= set(sandbox.status().traffic)

    eventually(seen)


def test_declaring_moves_the_files_and_nothing_else(
    sandbox: SandboxClient, sandbox_process: Any
) -> None:
    before = held(CART_1)
    directory = sandbox_process.paths.resources
    assert "POST" in (directory / "30-security.yaml").read_text()
    assert (directory / "pods.yaml").exists()
    sandbox.declare("01-authz-tightened")
    assert sandbox.status().pushed == "00-base"
    for name, text in RECORDING.declarations("01-authz-tightened").items():
        assert (directory / name).read_text() == text
    assert held(CART_1) == before
    sandbox.heal()
    assert held(CART_1) == recorded(RECORDING.resources("01-authz-tightened", CART_1.proxy))


def test_a_stale_proxy_keeps_its_configuration_and_shows_nothing(sandbox: SandboxClient) -> None:
    sandbox.stale(CART_1.proxy)
    result = sandbox.state("01-authz-tightened")
    assert {push.proxy: push.note for push in result.pushes}[CART_1.proxy] == "stale: not sent"
    status = status_of(sandbox, CART_1)
    assert (status.delivered, status.faults, status.connected) == ("00-base", ["stale"], True)
    assert all(kind.answered for kind in status.types.values())
    assert held(CART_1) == recorded(RECORDING.resources("00-base", CART_1.proxy))
    assert request(FRONTEND, CART_HOST, "/cart")[0] == 200
    sandbox.stale(CART_1.proxy, on=False)
    assert held(CART_1) == recorded(RECORDING.resources("01-authz-tightened", CART_1.proxy))


@pytest.mark.parametrize(
    ("kind", "words", "statistic"),
    [
        ("lds", "Error adding/updating listener(s) 127.20.0.12_8080", "listener_manager.lds"),
        ("cds", "Error adding/updating cluster(s)", "cluster_manager.cds"),
        ("rds", "missing ]", None),
        ("eds", "malformed IP address: host.sandbox.invalid", None),
    ],
)
def test_a_rejected_update_shows_where_envoy_shows_it(
    sandbox: SandboxClient, kind: Any, words: str, statistic: str | None
) -> None:
    before = held(CART_1)
    rejected = int(stats(CART_1)[f"{statistic}.update_rejected"]) if statistic else 0
    (push,) = sandbox.reject(CART_1.proxy, kind).pushes
    assert set(push.rejected) == {kind}
    assert words in push.rejected[kind]
    assert set(push.accepted) == {"cds", "eds", "lds", "rds"} - {kind}
    # Envoy serves what it had.
    assert held(CART_1) == before
    known = status_of(sandbox, CART_1).types[kind]
    assert known.error is not None
    assert known.accepted != known.sent
    if statistic:
        assert int(stats(CART_1)[f"{statistic}.update_rejected"]) == rejected + 1
    listeners = dump(CART_1)["ListenersConfigDump"]["dynamic_listeners"]
    errors = [item for item in listeners if "error_state" in item]
    assert bool(errors) == (kind == "lds")
    sandbox.heal(CART_1.proxy)
    assert all(item.error is None for item in status_of(sandbox, CART_1).types.values())
    assert held(CART_1) == before
    listeners = dump(CART_1)["ListenersConfigDump"]["dynamic_listeners"]
    assert not any("error_state" in item for item in listeners)


def test_a_warming_cluster_warms_until_it_is_healed(sandbox: SandboxClient) -> None:
    (push,) = sandbox.warm(CART_1.proxy).pushes
    assert push.unanswered == ["cds"]
    clusters = dump(CART_1)["ClustersConfigDump"]
    names = [item["cluster"]["name"] for item in clusters["dynamic_warming_clusters"]]
    assert names == [WARMING_CLUSTER]
    assert stats(CART_1)["cluster_manager.warming_clusters"] == "1"
    assert status_of(sandbox, CART_1).state == "LIVE"
    # The rest of the control plane goes on.
    pushed = {item.proxy: item for item in sandbox.state("01-authz-tightened").pushes}
    assert pushed[CART_1.proxy].unanswered == ["cds"]
    assert "lds" in pushed[CART_1.proxy].accepted
    (healed,) = sandbox.heal(CART_1.proxy).pushes
    assert set(healed.accepted) == {"cds", "eds", "lds", "rds"}
    assert held(CART_1) == recorded(RECORDING.resources("01-authz-tightened", CART_1.proxy))


def test_a_disconnected_proxy_goes_on_and_catches_up(sandbox: SandboxClient) -> None:
    failures = int(stats(CART_1)["cluster_manager.cds.update_failure"])
    (push,) = sandbox.disconnect(CART_1.proxy).pushes
    assert push.note == "disconnected"
    status = status_of(sandbox, CART_1)
    assert (status.connected, status.state, status.types) == (False, "LIVE", {})
    eventually(lambda: int(stats(CART_1)["cluster_manager.cds.update_failure"]) > failures)
    sandbox.state("01-authz-tightened")
    assert held(CART_1) == recorded(RECORDING.resources("00-base", CART_1.proxy))
    assert request(FRONTEND, CART_HOST, "/cart")[0] == 200
    (back,) = sandbox.disconnect(CART_1.proxy, on=False).pushes
    assert set(back.accepted) == {"cds", "eds", "lds", "rds"}
    assert held(CART_1) == recorded(RECORDING.resources("01-authz-tightened", CART_1.proxy))


@pytest.mark.parametrize(
    ("chain", "plaintext", "mtls"), [("plaintext", 200, 403), ("mtls", 403, 200), ("all", 200, 200)]
)
def test_removed_rbac_opens_the_chosen_chains(
    sandbox: SandboxClient, chain: ChainName, plaintext: int, mtls: int
) -> None:
    sandbox.state("02-mtls-permissive")
    inbound = (FRONTEND.pod_ip, FRONTEND.inbound[0].port)
    assert call(*inbound, "/admin")[0] == 403
    assert call(*inbound, "/")[0] == 200
    assert request(INTRUDER, FRONTEND_HOST, "/admin")[0] == 403
    (push,) = sandbox.remove_rbac(FRONTEND.proxy, chain).pushes
    assert set(push.accepted) == {"cds", "eds", "lds", "rds"}
    assert call(*inbound, "/admin")[0] == plaintext
    # Pooled connections keep the old policy for one more request (section "draining" of Envoy).
    eventually(lambda: request(INTRUDER, FRONTEND_HOST, "/admin")[0] == mtls)
    assert status_of(sandbox, FRONTEND).faults == [f"remove-rbac {chain}"]
    sandbox.heal(FRONTEND.proxy)
    assert call(*inbound, "/admin")[0] == 403
    eventually(lambda: request(INTRUDER, FRONTEND_HOST, "/admin")[0] == 403)


def test_commands_that_make_no_sense_change_nothing(sandbox: SandboxClient) -> None:
    before = sandbox.status()
    with pytest.raises(CommandRefused, match=r"no inbound plaintext filter chain.*00-base"):
        sandbox.remove_rbac(FRONTEND.proxy, "plaintext")
    with pytest.raises(CommandRefused, match="there is no proxy 'cart'"):
        sandbox.warm("cart")
    with pytest.raises(CommandRefused, match="there is no recorded state"):
        sandbox.state("99")
    after = sandbox.status()
    assert [item.types for item in after.proxies] == [item.types for item in before.proxies]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["status"], "frontend-1.shop       LIVE"),
        (["status", "-o", "json"], '"declared": "00-base"'),
        (["state", "03-canary-50-50"], "7 proxies accepted what was pushed"),
        (["declare", "03-canary-50-50"], "declared: 03-canary-50-50"),
        (["stale", "cart-1.shop"], "declared: 00-base"),
        (["reject", "cart-1.shop", "lds"], "cart-1.shop: Envoy rejected lds: Error adding"),
        (["warm", "cart-1.shop"], "cart-1.shop: no answer for cds"),
        (["disconnect", "cart-1.shop"], "cart-1.shop: disconnected"),
        (["remove-rbac", "cart-1.shop", "--chain", "mtls"], "1 proxy accepted"),
        (["overlay", "dns-cluster"], "7 proxies accepted what was pushed"),
        (["heal", "cart-1.shop"], "1 proxy accepted what was pushed"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_every_command_can_be_given_on_the_command_line(
    sandbox: SandboxClient, sandbox_process: Any, arguments: list[str], words: str
) -> None:
    directory = ["--dir", str(sandbox_process.paths.directory)]
    result = CliRunner().invoke(commands.sandbox, [*directory, *arguments])
    assert result.exit_code == 0, result.output
    assert words in result.output


def test_the_dns_overlay_is_resolved(sandbox: SandboxClient) -> None:
    payments = INDEX.proxy("payments-1.payments")
    result = sandbox.overlay("dns-cluster")
    assert all(not push.rejected and not push.unanswered for push in result.pushes)

    def resolved() -> bool:
        clusters = json.loads(admin(payments, "/clusters?format=json"))["cluster_statuses"]
        (shipping,) = (item for item in clusters if "shipping" in item["name"])
        hosts = [host["address"]["socket_address"] for host in shipping.get("host_statuses", [])]
        return hosts == [{"address": "127.0.0.1", "port_value": 18080}]

    eventually(resolved)
    sandbox.overlay("dns-cluster", on=False)
    assert held(payments) == recorded(RECORDING.resources("00-base", payments.proxy))


def test_the_outlier_overlay_ejects_a_host(sandbox: SandboxClient) -> None:
    result = sandbox.overlay("outlier")
    assert "ejected 127.20.0.1" in result.note, result.note
    clusters = json.loads(admin(FRONTEND, "/clusters?format=json"))["cluster_statuses"]
    (cart,) = (item for item in clusters if item["name"] == CART)
    ejected = [
        host for host in cart["host_statuses"] if host["health_status"].get("failed_outlier_check")
    ]
    assert len(ejected) == 1
    # The other host answers.
    assert request(FRONTEND, CART_HOST, "/cart")[0] == 200


def test_an_envoy_that_dies_comes_back_with_its_configuration(sandbox: SandboxClient) -> None:
    before = status_of(sandbox, CART_1)
    assert before.pid is not None
    os.kill(before.pid, signal.SIGKILL)

    def back() -> bool:
        now = status_of(sandbox, CART_1)
        return now.state == "LIVE" and now.pid not in (None, before.pid)

    eventually(back)
    assert status_of(sandbox, CART_1).restarts == before.restarts + 1
    assert held(CART_1) == recorded(RECORDING.resources("00-base", CART_1.proxy))
