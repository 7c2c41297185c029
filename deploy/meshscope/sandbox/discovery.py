"""The discovery server of one proxy: gRPC around the state machine of `ads`.

`Session` outlives streams: it holds what the proxy is to be served, whether it may connect, and how
far it got. All of it lives on one event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

import grpc
from envoy.service.discovery.v3 import ads_pb2_grpc
from envoy.service.discovery.v3.discovery_pb2 import DiscoveryRequest, DiscoveryResponse

from meshscope.sandbox.ads import (
    Request,
    Response,
    Snapshot,
    Stream,
    Subscription,
    XdsType,
    on_request,
    on_snapshot,
)

log = logging.getLogger(__name__)


class _Signal(Enum):
    """What the sandbox tells a running stream."""

    PUSH = "send the snapshot"
    END = "end the stream"


_Inbox = asyncio.Queue[DiscoveryRequest | _Signal]


@dataclass(frozen=True, slots=True)
class Delivery:
    """How the proxy answered what it was last sent, per type."""

    accepted: tuple[XdsType, ...]
    rejected: dict[XdsType, str]
    pending: tuple[XdsType, ...]


class Session:
    """What one proxy is served, over however many streams."""

    def __init__(self, proxy: str, snapshot: Snapshot) -> None:
        self.proxy = proxy
        self.snapshot = snapshot
        self.accepting = True
        self._stream: Stream | None = None
        self._inbox: _Inbox | None = None
        self._changed = asyncio.Event()

    @property
    def connected(self) -> bool:
        return self._stream is not None

    def subscriptions(self) -> dict[XdsType, Subscription]:
        """What is known about each type on the present stream; empty while disconnected."""
        return dict(self._stream.subscriptions) if self._stream else {}

    def push(self, snapshot: Snapshot) -> None:
        """Serve this from now on, and send it if the proxy is connected."""
        self.snapshot = snapshot
        self._tell(_Signal.PUSH)

    def disconnect(self) -> None:
        """End the stream, and refuse new ones until `accept`."""
        self.accepting = False
        self._tell(_Signal.END)

    def accept(self) -> None:
        self.accepting = True

    async def delivered(self, version: str, unanswered: frozenset[XdsType]) -> Delivery:
        """Waits until the proxy accepted or refused every response of a version, `unanswered`
        types aside. Bound it with `asyncio.timeout`; `progress` then says how far it got."""
        while True:
            progress = self.progress(version)
            if progress is not None and unanswered.issuperset(progress.pending):
                return progress
            await self.changed()

    def progress(self, version: str) -> Delivery | None:
        """How far a version got; None as long as it was not sent."""
        known = self.subscriptions()
        # Envoy subscribes to the types in order: before the last of them, it is still starting.
        if not known or XdsType.LDS not in known:
            return None
        sent = {kind: item for kind, item in known.items() if item.nonce}
        if any(item.sent != version for item in sent.values()):
            return None
        return Delivery(
            accepted=tuple(k for k, item in sent.items() if item.answered and item.error is None),
            rejected={k: item.error for k, item in sent.items() if item.error is not None},
            pending=tuple(k for k, item in sent.items() if not item.answered),
        )

    async def changed(self) -> None:
        """Waits for the next event on the session."""
        await self._changed.wait()

    async def serve(self, requests: AsyncIterator[DiscoveryRequest], context: Any) -> None:
        """One stream, until either side ends it."""
        if not self.accepting:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the sandbox refuses this proxy")
        inbox: _Inbox = asyncio.Queue()
        reader = asyncio.create_task(_read(requests, inbox))
        self._inbox, self._stream = inbox, Stream()
        try:
            while True:
                event = await inbox.get()
                if event is _Signal.END:
                    break
                for response in self._step(inbox, event):
                    await context.write(_encode(response))
        finally:
            reader.cancel()
            if self._inbox is inbox:  # a newer stream may have taken over
                self._inbox = self._stream = None
                self._notify()
        if not self.accepting:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the sandbox cut this proxy off")

    def _step(self, inbox: _Inbox, event: DiscoveryRequest | _Signal) -> tuple[Response, ...]:
        if self._inbox is not inbox or self._stream is None:
            return ()
        if isinstance(event, _Signal):
            self._stream, responses = on_snapshot(self._stream, self.snapshot)
        else:
            request = _decode(event)
            if request.error is not None:
                log.info("%s rejects %s: %s", self.proxy, request.type_url, request.error)
            self._stream, responses = on_request(self._stream, request, self.snapshot)
        self._notify()
        return responses

    def _tell(self, signal: _Signal) -> None:
        if self._inbox is not None:
            self._inbox.put_nowait(signal)

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class DiscoveryService(ads_pb2_grpc.AggregatedDiscoveryServiceServicer):  # type: ignore[misc]
    """The gRPC service that one proxy's `xds-grpc` cluster reaches."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def StreamAggregatedResources(
        self, request_iterator: AsyncIterator[DiscoveryRequest], context: Any
    ) -> None:
        await self._session.serve(request_iterator, context)


async def _read(requests: AsyncIterator[DiscoveryRequest], inbox: _Inbox) -> None:
    try:
        async for request in requests:
            inbox.put_nowait(request)
    finally:
        inbox.put_nowait(_Signal.END)


def _decode(request: DiscoveryRequest) -> Request:
    return Request(
        type_url=request.type_url,
        version=request.version_info,
        nonce=request.response_nonce,
        names=frozenset(request.resource_names),
        error=request.error_detail.message.strip() if request.HasField("error_detail") else None,
    )


def _encode(response: Response) -> DiscoveryResponse:
    message = DiscoveryResponse(
        version_info=response.version, nonce=response.nonce, type_url=response.kind.value
    )
    for resource in response.resources:
        message.resources.add(type_url=response.kind.value, value=resource.body)
    return message
