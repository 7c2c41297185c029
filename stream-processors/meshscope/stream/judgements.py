"""Judgements by what they follow from, so that replicas that drift alike are compared once.

A rollout that went wrong leaves hundreds of proxies with the same difference, and a proxy that
returns to an earlier configuration returns to an earlier judgement.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from meshscope.events.facts import Snapshot
from meshscope.stream.expectation import Expectation
from meshscope.stream.judgement import Judgement
from meshscope.stream.observation import Missing

MAX_WEIGHT: Final = 50_000
"""Judgements that are kept, and the differences in them, which take some kilobytes each: a proxy
that was sent nothing for weeks differs in hundreds of policies."""

_Name = tuple[str, str, tuple[str, ...], tuple[str, ...]]


class Judgements:
    """The latest judgements.

    Args:
        limit: How many are kept, counted as `_weight` does; always the latest one.
    """

    def __init__(self, limit: int = MAX_WEIGHT) -> None:
        self._found: OrderedDict[_Name, Judgement] = OrderedDict()
        self._weight = 0
        self._limit = limit

    def of(
        self,
        expectation: Expectation,
        snapshot: Snapshot,
        judge: Callable[[], Judgement | Missing],
    ) -> Judgement | Missing:
        """The judgement on a snapshot.

        Args:
            expectation: What the proxy should hold.
            snapshot: What it holds.
            judge: Compares; asked only for what is new. What is missing is not remembered.
        """
        incomplete = snapshot.state.incomplete
        name = (expectation.whole, snapshot.root, incomplete, snapshot.unreferenced)
        known = self._found.get(name)
        if known is None:
            found = judge()
            if isinstance(found, Missing):
                return found
            known = self._found[name] = found
            self._weight += _weight(found)
            while self._weight > self._limit and len(self._found) > 1:
                self._weight -= _weight(self._found.popitem(last=False)[1])
        self._found.move_to_end(name)
        return known


def _weight(judgement: Judgement) -> int:
    return 1 + len(judgement.differences) + len(judgement.equivalents) + len(judgement.unverifiable)
