"""Which proxies must be looked at, and when: because of a change, a deadline or a missing body."""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

FIRST_REQUEST_MS: Final = 1_000
"""What is missing is usually on its way: bodies stand on another partition than the snapshot."""

MAX_REQUEST_MS: Final = 60_000

MIN_STALE_TIMES: Final = 1_000
"""Fewer times that nobody waits for any more are not worth clearing away."""


@dataclass(slots=True)
class _Entry:
    cluster: str
    wake_at: int | None = None
    missing: frozenset[str] = frozenset()
    requests: int = 0
    request_at: int = 0


class Agenda:
    """The proxies of this worker; times are monotonic milliseconds."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._dirty: dict[str, None] = {}
        self._times: list[tuple[int, str]] = []
        self._waiting: dict[str, set[str]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def track(self, proxy: str, cluster: str) -> None:
        """A proxy is one of ours."""
        self._entries.setdefault(proxy, _Entry(cluster))

    def add(self, proxy: str, cluster: str) -> None:
        """A proxy is one of ours and must be looked at."""
        self.track(proxy, cluster)
        self._dirty[proxy] = None

    def remove(self, proxy: str) -> None:
        """A proxy has gone, or is another worker's."""
        entry = self._entries.pop(proxy, None)
        self._dirty.pop(proxy, None)
        if entry is not None:
            self._forget_missing(proxy, entry)

    def everything(self) -> None:
        """Look at all proxies."""
        self._dirty.update(dict.fromkeys(self._entries))

    def declared(self, cluster: str) -> None:
        """What is declared for a cluster has changed."""
        self._dirty.update(
            (proxy, None) for proxy, entry in self._entries.items() if entry.cluster == cluster
        )

    def arrived(self, digest: str) -> None:
        """A shard or body came."""
        self._dirty.update(dict.fromkeys(self._waiting.pop(digest, ())))

    def due(self, now: int) -> list[str]:
        """The proxies to look at, each once; they are off the agenda until they are settled."""
        while self._times and self._times[0][0] <= now:
            at, proxy = heapq.heappop(self._times)
            entry = self._entries.get(proxy)
            if entry is not None and entry.wake_at == at:
                entry.wake_at = None
                self._dirty[proxy] = None
        due = list(self._dirty)
        self._dirty.clear()
        return due

    def settle(
        self, proxy: str, now: int, missing: Iterable[str], wake_at: int | None
    ) -> tuple[str, ...]:
        """A proxy was looked at: note what it waits for; returns what to ask its agent for."""
        entry = self._entries.get(proxy)
        if entry is None:
            return ()
        wanted = frozenset(missing)
        ask: tuple[str, ...] = ()
        if wanted != entry.missing:
            self._forget_missing(proxy, entry)
            if not wanted & entry.missing:
                entry.requests, entry.request_at = 0, now + FIRST_REQUEST_MS
            entry.missing = wanted
        for digest in wanted:
            self._waiting.setdefault(digest, set()).add(proxy)
        if wanted:
            if now >= entry.request_at:
                ask = tuple(sorted(wanted))
                entry.requests += 1
                pause = min(MAX_REQUEST_MS, FIRST_REQUEST_MS << min(entry.requests, 10))
                entry.request_at = now + pause
            wake_at = entry.request_at if wake_at is None else min(wake_at, entry.request_at)
        if wake_at != entry.wake_at:
            entry.wake_at = wake_at
            self._schedule(proxy, wake_at)
        return ask

    def next_time(self) -> int | None:
        """When something becomes due next, if nothing else happens; None: nothing will."""
        return self._times[0][0] if self._times else None

    def _schedule(self, proxy: str, wake_at: int | None) -> None:
        if wake_at is not None:
            heapq.heappush(self._times, (wake_at, proxy))
        # Each look at a proxy overtakes the time that the one before had set, mostly a day ahead.
        if len(self._times) > 2 * len(self._entries) + MIN_STALE_TIMES:
            self._times = [
                (entry.wake_at, name)
                for name, entry in self._entries.items()
                if entry.wake_at is not None
            ]
            heapq.heapify(self._times)

    def _forget_missing(self, proxy: str, entry: _Entry) -> None:
        for digest in entry.missing:
            waiting = self._waiting.get(digest)
            if waiting is not None:
                waiting.discard(proxy)
                if not waiting:
                    del self._waiting[digest]
