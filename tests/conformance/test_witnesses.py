"""Every witness of a difference is confirmed by evaluating it on both sides.

Sides are what a real istiod sent before and after a change of its resources: in every twentieth
state of the recorded meshes, with `--all-captures` in all.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest
from recorded_meshes import BASE, inferred
from shared_data import shared

from meshscope.algebra.request import Request
from meshscope.comparison import Difference, compare
from meshscope.comparison.behaviour import words
from meshscope.evaluation import Call, evaluate
from meshscope.evaluation.access import allow, custom, deny
from meshscope.evaluation.routing import route
from meshscope.policy import key as keys
from meshscope.policy.authorization import Authorization
from meshscope.policy.http_route import HttpRoute
from meshscope.policy.key import ANY_PORT, PolicyKey
from meshscope.policy.kinds import Kind
from meshscope.policy.peer_authentication import PeerAuthentication
from meshscope.policy.policy import Policy
from meshscope.projection.result import Projection

pytestmark = pytest.mark.conformance

Policies = Mapping[PolicyKey, Policy]
MESHES = ("bookshop", "bookshop-1.29", "bookinfo", "random-public")
BEHIND = ("", "access_denied", "no_virtual_host", "no_route", "no_cluster", "fault")
UNUSED_PORT = 1
ANYWHERE = "192.0.2.1"


def changes(mesh: str, step: int) -> Iterator[tuple[str, Policies, Policies]]:
    """What a proxy held before and after."""
    states = sorted(shared("captures", mesh, "states").iterdir())
    base = BASE if (states[0] / "dumps").exists() and states[0].name == BASE else states[0].name
    for number, state in enumerate(states[1::step]):
        dumps = sorted(path.name.removesuffix(".gz") for path in state.glob("dumps/*"))
        # Another proxy of each state, or all of them.
        for name in dumps if step == 1 else dumps[number % max(1, len(dumps)) :][:1]:
            proxy = name.removesuffix(".json")
            before, after = (inferred(mesh, each, proxy) for each in (base, state.name))
            yield f"{mesh} {state.name} {proxy}", before.policies, after.policies


def witness_of(difference: Difference) -> tuple[Request, Mapping[str, str]]:
    assert difference.witness is not None
    witness = json.loads(difference.witness)
    fields = witness["request"]
    for name in ("query", "headers", "claims"):
        pairs = fields.get(name, {}).items()
        fields[name] = tuple((k, tuple(v) if isinstance(v, list) else v) for k, v in pairs)
    fields["assumes"] = tuple(fields.get("assumes", ()))
    return Request(**fields), witness


def is_of(key: PolicyKey, port: str) -> bool:
    return key.kind is not Kind.INBOUND or key["port"] == port


def access(policies: Policies, place: PolicyKey, asked: Request) -> str:
    """What a sidecar does with a request from the network, from the filter chain on."""
    accepted = policies[keys.peer_authentication(place["port"])].content
    assert isinstance(accepted, PeerAuthentication)
    spoken = [
        chain.application_protocols
        for chain in accepted.chains
        if chain.protocol == place["protocol"]
        and (chain.tls is not None) == (place["transport"] == "mtls")
    ]
    port = (asked.port or UNUSED_PORT) if place["port"] == ANY_PORT else int(place["port"])
    # The chains of all ports take it only where the port has none of its own.
    policies = {key: held for key, held in policies.items() if is_of(key, place["port"])}
    http = place["protocol"] == "http"
    asked = replace(
        asked,
        port=port,
        application_protocol=next((alpn[0] for alpn in spoken if alpn), ""),
        peer_address=asked.peer_address or ANYWHERE,
        destination_address=asked.destination_address or ANYWHERE,
    )
    trace = evaluate(policies, Call("inbound", asked, "http1" if http else "tcp"))
    if trace.outcome.reason == "mtls_error":
        # Rules may name identities of trust domains that the handshake does not accept.
        return by_rules_alone(policies[place], asked)
    # Nothing else that comes before the access rules may have ended it.
    assert trace.outcome.reason in BEHIND, (place, asked, trace.steps, trace.outcome)
    return "denied" if trace.outcome.reason == "access_denied" else "allowed"


def by_rules_alone(policy: Policy, asked: Request) -> str:
    rules = policy.content
    assert isinstance(rules, Authorization)
    verdicts = {check(rules, asked).verdict for check in (custom, deny, allow)}
    return "allowed" if verdicts == {"passes"} else "denied"


def routed(policies: Policies, place: PolicyKey, asked: Request) -> str:
    content = policies[place].content
    assert isinstance(content, HttpRoute)
    found = route(content.rules, asked, place, policies)
    number = found.steps[0].rule
    return words(content.rules[int(number)]) if number else words("no rule")


def test_every_witness_is_confirmed(
    pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]
) -> None:
    every = pytestconfig.getoption("all_captures")
    seen: Counter[str] = Counter()
    for mesh in MESHES:
        for name, before, after in changes(mesh, 1 if every else 20):
            for difference in compare(Projection(before), after).differences:
                seen["differences"] += 1
                if difference.witness is None:
                    assert not difference.affected
                    continue
                asked, witness = witness_of(difference)
                if asked.assumes or "decided by" in witness["expected"] + witness["observed"]:
                    seen["depends on what is not modelled"] += 1
                    continue
                act = access if difference.key.kind is Kind.AUTHORIZATION else routed
                outcomes = [act(side, difference.key, asked) for side in (before, after)]
                assert outcomes == [witness["expected"], witness["observed"]], (name, difference)
                assert difference.affected, (name, difference)
                seen[f"confirmed {difference.key.kind}"] += 1
    assert seen["confirmed authorization"] > 1
    assert seen["confirmed http_route"] > 1
    if every:
        with capsys.disabled():
            print(f"\n{dict(seen)}")
