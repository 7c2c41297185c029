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


@given(
    history=st.lists(clusters, min_size=1, max_size=5),
    server_first=st.lists(st.booleans(), max_size=60),
)
def test_every_interleaving_ends_with_the_client_up_to_date_and_nothing_warming(
    history: list[dict[str, bytes]], server_first: list[bool]
) -> None:
    client, stream = Client(), Stream()
    to_server: deque[Request] = deque([client.subscribe()])
    to_client: deque[Response] = deque()
    pushes = deque(snapshot(f"v{number}", content) for number, content in enumerate(history))
    served = pushes.popleft()
    order = deque(server_first)
    steps = 0
    while to_server or to_client or pushes:
        steps += 1
        assert steps < 500, "server and client talk for ever"
        deliver_to_server = bool(order.popleft()) if order else True
        if pushes and not order:
            served = pushes.popleft()
            stream, responses = on_snapshot(stream, served)
            to_client.extend(responses)
        elif to_server and (deliver_to_server or not to_client):
            stream, responses = on_request(stream, to_server.popleft(), served)
            to_client.extend(responses)
        elif to_client:
            to_server.extend(client.receive(to_client.popleft()))
        elif pushes:
            served = pushes.popleft()
            stream, responses = on_snapshot(stream, served)
            to_client.extend(responses)
    assert client.clusters == history[-1]
    assert client.warming == set()
    assert all(known.answered for known in stream.subscriptions.values() if known.nonce)
    assert stream.subscriptions[CDS].accepted == f"v{len(history) - 1}"
