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

MAX_JUDGEMENTS: Final = 4_096

_Name = tuple[str, str, tuple[str, ...], tuple[str, ...]]


class Judgements:
    """The latest judgements.

    Args:
        limit: How many are kept.
    """

    def __init__(self, limit: int = MAX_JUDGEMENTS) -> None:
        self._found: OrderedDict[_Name, Judgement] = OrderedDict()
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
        state = snapshot.state
        name = (expectation.whole, snapshot.root, state.incomplete, snapshot.unreferenced)
        known = self._found.get(name)
        if known is None:
            found = judge()
            if isinstance(found, Missing):
                return found
            known = self._found[name] = found
            if len(self._found) > self._limit:
                self._found.popitem(last=False)
        self._found.move_to_end(name)
        return known
