"""A request from end to end, as it is said and as it goes through two real Envoys."""

from __future__ import annotations

import http.client
import json
import urllib.request
from base64 import urlsafe_b64decode
from dataclasses import replace
from itertools import product

import pytest

from meshscope.algebra.request import Request
from meshscope.evaluation import Call, Token
from meshscope.evaluation.connection import Peer
from meshscope.evaluation.journey import Arrival, journey
from meshscope.inference.config_dump import read_config_dump
from meshscope.inference.infer import infer
from meshscope.sandbox.client import SandboxClient
from meshscope.sandbox.model import Proxy, data_directory, load_index

pytestmark = pytest.mark.integration

INDEX = load_index()
TOKENS = json.loads((data_directory() / "keys" / "tokens.json").read_bytes())
HOSTS = (
    "cart.shop.svc.cluster.local",
    "catalog.shop.svc.cluster.local",
    "frontend.shop.svc.cluster.local",
    "payments.payments.svc.cluster.local",
    "api.bank.example",
    "nowhere.shop.svc.cluster.local",
)
ASKED = (
    ("GET", "/"),
    ("GET", "/cart"),
    ("POST", "/cart"),
    ("GET", "/admin"),
    ("POST", "/charge"),
    ("GET", "/health"),
    ("GET", "/items"),
)
ANY = frozenset((200, 403))
"""What may become of a request that an external authorizer decides about."""


def peer(proxy: Proxy) -> Peer:
    """A sidecar with what it holds now."""
    address = f"http://{proxy.admin}/config_dump?include_eds"
    with urllib.request.urlopen(address, timeout=5) as response:
        held = infer(read_config_dump(response.read(), address))
    shown = next(one.identity for one in held.state.certificates if one.role == "workload")
    return Peer(proxy.proxy, held.policies, shown, held.proxy.addresses[0])


def statuses(arrival: Arrival) -> frozenset[int]:
    """What the client may get."""
    match arrival.outcome.result:
        case "forwarded":
            return frozenset((200,))
        case "answered":
            return frozenset((arrival.outcome.status,))
        case "closed":
            # The source's sidecar answers for a connection that is closed to it.
            return frozenset((503,))
    return ANY


def asked(proxy: Proxy, host: str, method: str, path: str, token: str) -> int:
    address = proxy.outbound_address()
    connection = http.client.HTTPConnection(address.host, address.port, timeout=5)
    headers = {"host": host, **({"authorization": f"Bearer {token}"} if token else {})}
    try:
        connection.request(method, path, headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def claims_of(token: str) -> Token | None:
    if not token:
        return None
    payload = token.split(".")[1]
    return Token(json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4))))


@pytest.mark.parametrize("state", ["00-base", "13-client-tls-disabled"])
def test_requests_end_as_is_said(sandbox: SandboxClient, state: str) -> None:
    sandbox.state(state)
    peers = {one.address: one for one in map(peer, INDEX.proxies)}
    by_name = {one.name: one for one in peers.values()}
    unknown = Peer(says="it is outside of the mesh", takes_all=True)
    wrong = []
    seen: set[int] = set()
    for proxy, host, (method, path) in product(INDEX.proxies, HOSTS, ASKED):
        token = TOKENS["valid"] if path == "/charge" else ""
        dialled = proxy.outbound_address()
        request = Request(method, host, path)
        request = replace(request, destination_address=dialled.host, port=dialled.port)
        call = Call("outbound", request, token=claims_of(token))
        found = journey(by_name[proxy.proxy], call, lambda at: peers.get(at, unknown))
        expected = frozenset[int]().union(*map(statuses, found.arrivals))
        if not found.arrivals:
            expected = frozenset((found.outbound.outcome.status,))
        status = asked(proxy, host, method, path, token)
        seen.add(status)
        if status not in expected:
            wrong.append((proxy.proxy, host, method, path, set(expected), status))
    assert wrong == []
    assert {200, 403} <= seen
