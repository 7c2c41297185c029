"""The discovery server against a client that behaves as Envoy does, over any history of pushes."""

from __future__ import annotations

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from meshscope.sandbox.ads import (
    Request,
    Resource,
    Response,
    Snapshot,
    Stream,
    XdsType,
    on_request,
    on_snapshot,
)

CDS, EDS = XdsType.CDS, XdsType.EDS

clusters = st.dictionaries(st.sampled_from("abcd"), st.sampled_from([b"1", b"2"]))


class Client:
    """Envoy, as far as clusters and endpoints go: a new or changed cluster warms until it is told
    its endpoints, and asks for all endpoints again when the set of its clusters changes."""

    def __init__(self) -> None:
        self.clusters: dict[str, bytes] = {}
        self.warming: set[str] = set()
        self.nonces = {CDS: "", EDS: ""}
        self.versions = {CDS: "", EDS: ""}

    def subscribe(self) -> Request:
        return Request(CDS.value)

    def receive(self, response: Response) -> list[Request]:
        self.nonces[response.kind] = response.nonce
        self.versions[response.kind] = response.version
        if response.kind is EDS:
            self.warming -= {resource.name for resource in response.resources}
            return [self._request(EDS)]
        before = self.clusters
        self.clusters = {resource.name: resource.body for resource in response.resources}
        self.warming &= set(self.clusters)
        self.warming |= {name for name in self.clusters if before.get(name) != self.clusters[name]}
        requests = [self._request(CDS)]
        if set(before) != set(self.clusters) or self.warming:
            requests.append(self._request(EDS))
        return requests

    def _request(self, kind: XdsType) -> Request:
        names = frozenset(self.clusters) if kind is EDS else frozenset()
        return Request(kind.value, self.versions[kind], self.nonces[kind], names)


def snapshot(version: str, content: dict[str, bytes]) -> Snapshot:
    return Snapshot(
        version,
        {
            CDS: tuple(Resource(name, body) for name, body in content.items()),
            EDS: tuple(Resource(name, b"endpoints") for name in content),
            XdsType.LDS: (),
            XdsType.RDS: (),
        },
    )


class Exchange:
    """Server and client with a wire in each direction that keeps order."""

    def __init__(self, content: dict[str, bytes]) -> None:
        self.client = Client()
        self.stream = Stream()
        self.pushes = 0
        self.served = snapshot("v0", content)
        self._to_server: deque[Request] = deque([self.client.subscribe()])
        self._to_client: deque[Response] = deque()

    def push(self, content: dict[str, bytes]) -> None:
        self.pushes += 1
        self.served = snapshot(f"v{self.pushes}", content)
        self.stream, responses = on_snapshot(self.stream, self.served)
        self._to_client.extend(responses)

    def to_server(self) -> None:
        if self._to_server:
            self.stream, responses = on_request(self.stream, self._to_server.popleft(), self.served)
            self._to_client.extend(responses)

    def to_client(self) -> None:
        if self._to_client:
            self._to_server.extend(self.client.receive(self._to_client.popleft()))

    def settle(self) -> None:
        for _ in range(500):
            self.to_server()
            self.to_client()
            if not (self._to_server or self._to_client):
                return
        raise AssertionError("server and client talk for ever")


STEPS = st.lists(clusters | st.sampled_from(["to_server", "to_client", "settle"]), max_size=40)


@given(first=clusters, steps=STEPS)
def test_every_interleaving_ends_with_the_client_up_to_date_and_nothing_warming(
    first: dict[str, bytes], steps: list[dict[str, bytes] | str]
) -> None:
    exchange = Exchange(first)
    last = first
    for step in steps:
        if isinstance(step, dict):
            last = step
            exchange.push(step)
        else:
            getattr(exchange, step)()
    exchange.settle()
    assert exchange.client.clusters == last
    assert exchange.client.warming == set()
    known = exchange.stream.subscriptions
    assert all(subscription.answered for subscription in known.values() if subscription.nonce)
    assert known[CDS].accepted == exchange.served.version
