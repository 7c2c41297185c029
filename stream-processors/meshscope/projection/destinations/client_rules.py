"""The DestinationRules that clients with the same labels apply, looked up once each."""

from collections.abc import Mapping

from meshscope.projection.destinations.destination_rule import MergedRule, RuleIndex
from meshscope.projection.sidecar_scope import SidecarScope


class ClientRules:
    """Rules by host of what a proxy sees.

    Args:
        rules: Every DestinationRule.
        scope: What the proxy sees.
        labels: Of the proxy, as far as workload selectors look at them.

    Attributes:
        labels: As given.
        worlds: How many outcomes unknown ages allow, as far as was looked.
    """

    def __init__(self, rules: RuleIndex, scope: SidecarScope, labels: Mapping[str, str]) -> None:
        self._rules = rules
        self._scope = scope
        self.labels = tuple(sorted(labels.items()))
        self._labels = labels
        self._found: dict[str, tuple[MergedRule | None, ...]] = {}
        self.worlds = 1

    def all(self, host: str) -> tuple[MergedRule | None, ...]:
        """Every rule that may be the one for the service of a host; None: none is."""
        found = self._found.get(host)
        if found is None:
            found = self._found[host] = self._look_up(host)
            self.worlds = max(self.worlds, len(found))
        return found

    def find(self, host: str, world: int) -> MergedRule | None:
        """The rule in one of the worlds."""
        found = self.all(host)
        return found[world % len(found)]

    def _look_up(self, host: str) -> tuple[MergedRule | None, ...]:
        service = self._scope.by_host.get(host)
        if service is None:
            return (None,)
        return self._rules.choose(self._scope.namespace, self._labels, service.namespace, host)
