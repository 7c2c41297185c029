"""State that survives the worker: a Faust Table as a log of raw bytes per key.

Faust recovers the table from its changelog and moves it with the partitions. Writes go to the
changelog directly, with the partition that the record belongs to, because most of them follow from
a change of a resource or from time, not from a message of that partition; and because a caller
sometimes has to wait until a write is safe.
"""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Generic, Protocol, TypeVar

from meshscope.stream.outlet import Send


class Placed(Protocol):
    """A value that knows the partition that it belongs to."""

    @property
    def partition(self) -> int:
        """Number of the partition."""


V = TypeVar("V", bound=Placed)


class StateTable(Generic[V]):
    """Values by key; those of the partitions that this worker has.

    Args:
        table: A Faust Table with raw keys and values.
        send: The producer.
        dump, load: Between values and bytes.
        failed: Called when a write that nobody waits for fails.
        restart: Has partitions of a changelog read from their beginning the next time.
    """

    def __init__(
        self,
        table: Any,
        send: Send,
        dump: Callable[[V], bytes],
        load: Callable[[bytes], V],
        failed: Callable[[BaseException], None],
        restart: Callable[[str, set[int]], None],
    ) -> None:
        self._table = table
        self._send = send
        self._dump = dump
        self._load = load
        self._failed = failed
        self._restart = restart
        self._values: dict[str, V] = {}
        self._written: dict[str, bytes] = {}

    def get(self, key: str) -> V | None:
        """The value of a key."""
        return self._values.get(key)

    def items(self) -> Iterator[tuple[str, V]]:
        """All keys and values of this worker."""
        yield from self._values.items()

    def recover(self, partitions: set[int]) -> None:
        """The table was recovered: take over what lies in the partitions that are ours.

        What stands in the changelog as we wrote it last we hold already, and its windows are
        running. Whatever else stands there somebody else wrote, perhaps while we were thought dead.
        """
        values: dict[str, V] = {}
        written: dict[str, bytes] = {}
        for key, data in self._table.data.items():
            name = key.decode()
            is_ours = self._written.get(name) == data
            value = self._values[name] if is_ours else self._load(data)
            if value.partition in partitions:
                values[name], written[name] = value, data
        self._values, self._written = values, written

    def release(self, partitions: set[int]) -> None:
        """These partitions are not ours now; somebody else may delete what we would still hold."""
        for key, data in list(self._table.data.items()):
            if self._load(data).partition in partitions:
                self._forget(key.decode())
        self._restart(self._table.changelog_topic.get_topic_name(), partitions)

    async def put(self, key: str, value: V, *, durable: bool) -> None:
        """Keep a value; with `durable`, return when the broker has it."""
        data = self._dump(value)
        written = await self._write(key, data, value.partition)
        self._table.data[key.encode()] = data
        self._values[key], self._written[key] = value, data
        await self._finish(written, durable)

    async def remove(self, key: str, partition: int) -> None:
        """Forget a key."""
        written = await self._write(key, None, partition)
        self._forget(key)
        await self._finish(written, durable=False)

    def _forget(self, key: str) -> None:
        self._table.data.pop(key.encode(), None)
        self._values.pop(key, None)
        self._written.pop(key, None)

    async def _write(self, key: str, data: bytes | None, partition: int) -> Awaitable[Any]:
        topic = self._table.changelog_topic.get_topic_name()
        return await self._send(topic, key.encode(), data, partition, None)

    async def _finish(self, written: Any, durable: bool) -> None:
        if durable:
            await written
        else:
            # Faust flushes the producer before it commits, and its own acknowledgement is the
            # commit; a write that failed must not be followed by one.
            written.add_done_callback(self._check)

    def _check(self, written: Any) -> None:
        error = None if written.cancelled() else written.exception()
        if error is not None:
            self._failed(error)
