"""Access rules of a chain: its RBAC filters, and those that ask an external authorizer.

Istio writes one RBAC filter per action, and for every CUSTOM provider a pair: an RBAC filter with
shadow rules only, and an `ext_authz` filter that asks where these rules matched. CUSTOM policies
with a provider that Istio does not know become a DENY filter whose rules say so in their ids.
"""

from typing import Final

from meshscope.inference.ext_authz import ext_authz
from meshscope.inference.names import policy_id
from meshscope.inference.rbac import alternatives
from meshscope.inference.reader import Message, Unexpected
from meshscope.policy.authorization import Authorization, CustomRules, Rule

_ACTIONS: Final = {"ALLOW": "allow", "DENY": "deny", "LOG": "audit"}
_CUSTOM_PREFIX: Final = "istio_ext_authz_"
_DRY_RUN_PREFIXES: Final = {"allow": "istio_dry_run_allow_", "deny": "istio_dry_run_deny_"}

Rules = dict[str | None, list[Rule]]
"""Rules by CUSTOM provider; None: other actions."""


class Access:
    """Reads the filters of one chain that decide about access, in their order.

    Args:
        rbac_filter: Name of the RBAC filter on chains of this class.
        clusters: Clusters that are asked are added here.
    """

    def __init__(self, rbac_filter: str, clusters: set[str]) -> None:
        self._rbac_filter = rbac_filter
        self._clusters = clusters
        self._rules: dict[str, list[Rule]] = {}
        self._custom: list[CustomRules] = []
        self._pending: list[tuple[Message, str | None, list[Rule]]] = []

    def rbac(self, config: Message) -> str:
        """Read an RBAC filter; its role in the order of filters."""
        enforced = config.message("rules")
        shadow = config.message("shadow_rules")
        roles = []
        if shadow is not None:
            roles.append(self._shadow(config, shadow))
        else:
            config.kind = "RBAC without dry run"
        if enforced is not None:
            roles.append(self._enforced(enforced))
        if not roles:
            config.remark("rules", "an RBAC filter without rules")
            return "extension:rbac"
        return roles[-1]

    def _enforced(self, message: Message) -> str:
        action = message.word("action", _ACTIONS, "allow")
        rules, bad = _rules(message)
        for provider, found in bad.items():
            self._custom.append(CustomRules(provider or "", tuple(found)))
        if bad and not any(rules.values()):
            return "custom"
        found = [rule for group in rules.values() for rule in group]
        if action == "allow" and "allow" in self._rules:
            message.remark("second ALLOW filter", str(found))
        self._rules.setdefault(action, []).extend(found)
        return action

    def _shadow(self, config: Message, message: Message) -> str:
        action = message.word("action", _ACTIONS, "allow")
        rules, bad = _rules(message)
        groups = {**rules}
        for provider, found in bad.items():
            groups.setdefault(provider, []).extend(found)
        if config.constant("shadow_rules_stat_prefix", _CUSTOM_PREFIX):
            if action != "deny":
                message.remark("action", action)
            for provider, found in (groups or {None: []}).items():
                self._pending.append((message, provider, found))
            return "custom"
        config.require("shadow_rules_stat_prefix", _DRY_RUN_PREFIXES.get(action))
        found = [rule for group in groups.values() for rule in group]
        self._rules.setdefault(f"dry_run_{action}", []).extend(found)
        return action

    def external(self, config: Message) -> str:
        """Read an `ext_authz` filter; its role in the order of filters."""
        try:
            asked = ext_authz(config, self._clusters, self._rbac_filter)
        except Unexpected:
            config.unread()
            return "extension:ext_authz"
        for place, (_, provider, rules) in enumerate(self._pending):
            if not provider or provider == asked.provider:
                del self._pending[place]
                self._custom.append(CustomRules(asked.provider, tuple(rules), asked.authorizer))
                return "custom"
        # The filter that would let it be asked is not there.
        self._custom.append(CustomRules(asked.provider, (), asked.authorizer))
        return "custom"

    def result(self) -> Authorization:
        """The access rules of the chain."""
        for message, provider, rules in self._pending:
            message.remark("shadow_rules", f"nobody is asked about {provider}: {rules}")
        found = {action: tuple(rules) for action, rules in self._rules.items()}
        if "dry_run_audit" in found:
            raise Unexpected("AUDIT rules in dry run")
        return Authorization(custom=tuple(self._custom), **found)


def _rules(message: Message) -> tuple[Rules, Rules]:
    """The rules of a filter by provider, and those of providers that Istio does not know.

    A rule that is not modelled is left.
    """
    rules: Rules = {}
    bad: Rules = {}
    for text, policy in message.entries("policies", "Policy").items():
        name, index, provider, unknown = policy_id(text)
        try:
            rule = Rule(
                name,
                index,
                alternatives(policy.messages("principals")),
                alternatives(policy.messages("permissions")),
            )
        except Unexpected:
            policy.unread()
            policy.label = text
            continue
        (bad if unknown else rules).setdefault(provider, []).append(rule)
    return rules, bad
