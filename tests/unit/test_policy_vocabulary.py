"""Laws of the vocabulary: one form for one meaning, and nothing gets lost on the way."""

from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshscope.policy import key
from meshscope.policy.authorization import Authorization, Condition, Rule
from meshscope.policy.canonical import as_set, content_bytes
from meshscope.policy.destination import Destination
from meshscope.policy.endpoints import Endpoint, Endpoints, LocalityEndpoints
from meshscope.policy.http_route import Forward, HttpRoute, HttpRule, RouteMatch
from meshscope.policy.key import PolicyKey
from meshscope.policy.kinds import KINDS, Kind
from meshscope.policy.matches import HeaderMatch, PathMatch, StringMatch
from meshscope.policy.outbound_listener import ChainMatch
from meshscope.policy.peer_authentication import AcceptedChain, PeerAuthentication, ServerTls
from meshscope.policy.policy import CONTENT_TYPES, Policy, content_from_bytes
from meshscope.policy.shards import root_digest, shard_number, shards
from meshscope.policy.source import ResourceRef
from meshscope.policy.target import Target, WeightedTarget

text = st.text(max_size=8)


def contents(kind: Kind) -> st.SearchStrategy[Any]:
    return st.from_type(CONTENT_TYPES[kind])


kinds = st.sampled_from(list(Kind))
keys = kinds.flatmap(
    lambda kind: st.tuples(*[text for _ in KINDS[kind].key_parts]).map(
        lambda parts: PolicyKey(kind, parts)
    )
)
policies = keys.flatmap(
    lambda policy_key: contents(policy_key.kind).map(lambda content: Policy(policy_key, content))
)
slow = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def test_every_kind_has_a_content() -> None:
    assert set(CONTENT_TYPES) == set(KINDS) == set(Kind)


@given(keys)
def test_a_key_is_read_as_it_was_written(policy_key: PolicyKey) -> None:
    assert PolicyKey.parse(str(policy_key)) == policy_key


def test_a_key_with_a_missing_part_is_refused() -> None:
    with pytest.raises(ValueError, match="a key of destination has the parts"):
        PolicyKey(Kind.DESTINATION, ("reviews", "9080"))


def test_parts_of_a_key_have_names() -> None:
    assert key.authorization(8080, key.TRANSPORT_MTLS, key.PROTOCOL_HTTP)["transport"] == "mtls"


@slow
@given(policies)
def test_a_content_is_read_as_it_was_written(policy: Policy) -> None:
    again = content_from_bytes(policy.key.kind, content_bytes(policy.content))
    assert again == policy.content
    assert Policy(policy.key, again).digest == policy.digest


@slow
@given(policies)
def test_canonical_form_is_idempotent(policy: Policy) -> None:
    content: Any = policy.content
    assert type(content)(**{f.name: getattr(content, f.name) for f in fields(content)}) == content
    nameless: Any = content.without_names()
    assert nameless.without_names() == nameless


@slow
@given(policies)
def test_values_cannot_be_changed(policy: Policy) -> None:
    with pytest.raises(FrozenInstanceError):
        policy.digest = "other"  # type: ignore[misc]


@slow
@given(policies)
def test_digest_ignores_key_and_sources(policy: Policy) -> None:
    other_key = replace_parts(policy.key)
    sourced = Policy(other_key, policy.content, (ResourceRef("VirtualService", "shop", "cart"),))
    assert sourced.digest == policy.digest


def replace_parts(policy_key: PolicyKey) -> PolicyKey:
    return PolicyKey(policy_key.kind, tuple(f"{part}x" for part in policy_key.parts))


def test_a_content_of_another_kind_is_refused() -> None:
    with pytest.raises(TypeError, match="HttpRoute is no content of egress"):
        Policy(key.egress("80"), HttpRoute(()))


def test_bytes_of_another_kind_are_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        content_from_bytes(Kind.DESTINATION, content_bytes(HttpRoute(("a",))))


class TestOneFormForOneMeaning:
    def test_order_of_sets_does_not_count(self) -> None:
        a, b = StringMatch("exact", "a"), StringMatch("exact", "b")
        assert Condition("path", values=(a, b)) == Condition("path", values=(b, a, b))

    def test_order_of_rules_counts(self) -> None:
        one = HttpRule(RouteMatch(PathMatch("exact", "/a")))
        two = HttpRule(RouteMatch(PathMatch("exact", "/b")))
        assert HttpRoute(("h",), (one, two)) != HttpRoute(("h",), (two, one))

    def test_header_names_have_no_case(self) -> None:
        match = StringMatch("present")
        assert HeaderMatch("X-Canary", match) == HeaderMatch("x-canary", match)

    def test_value_without_case_is_written_in_lower_case(self) -> None:
        assert StringMatch("exact", "ShOp", True) == StringMatch("exact", "shop", True)
        assert StringMatch("exact", "ShOp") != StringMatch("exact", "shop")
        assert PathMatch("prefix", "/A", case_sensitive=False).value == "/a"

    def test_case_of_a_regular_expression_stays(self) -> None:
        assert PathMatch("regex", "/[A-Z]", case_sensitive=False).value == "/[A-Z]"

    def test_destinations_of_weight_zero_are_left_out(self) -> None:
        v1, v2 = (Target("outbound", "reviews", 9080, subset) for subset in ("v1", "v2"))
        split = Forward((WeightedTarget(v1, 100), WeightedTarget(v2, 0)))
        assert split == Forward((WeightedTarget(v1),))

    def test_localities_without_endpoints_are_left_out(self) -> None:
        there = LocalityEndpoints((Endpoint("10.0.0.1", 80),), region="eu")
        assert Endpoints((there, LocalityEndpoints((), region="us"))) == Endpoints((there,))

    def test_chain_matches_are_sets(self) -> None:
        assert ChainMatch(application_protocols=("h2", "http/1.1")) == ChainMatch(
            application_protocols=("http/1.1", "h2")
        )

    def test_no_filter_differs_from_a_filter_without_rules(self) -> None:
        assert Authorization(allow=None) != Authorization(allow=())

    def test_names_of_policies_change_the_form_and_not_the_meaning(self) -> None:
        one, other = (Authorization(allow=(Rule(name, 0),)) for name in ("shop/a", "shop/b"))
        assert one != other
        assert one.without_names() == other.without_names()


class TestModeOfAPort:
    mutual = AcceptedChain("tls", (), "http", ServerTls())
    plain = AcceptedChain("raw_buffer", (), "http")

    def test_strict(self) -> None:
        assert PeerAuthentication((self.mutual,)).mode == "STRICT"

    def test_permissive(self) -> None:
        assert PeerAuthentication((self.plain, self.mutual)).mode == "PERMISSIVE"

    def test_disable(self) -> None:
        assert PeerAuthentication((self.plain,)).mode == "DISABLE"

    def test_tls_without_client_certificates_is_not_mutual(self) -> None:
        one_way = replace(self.mutual, tls=ServerTls(client_certificate=False))
        assert PeerAuthentication((one_way,)).mode == "DISABLE"


@slow
@given(st.lists(policies, max_size=6, unique_by=lambda policy: policy.key), st.randoms())
def test_shards_do_not_depend_on_order(items: list[Policy], random: Any) -> None:
    shuffled = items[:]
    random.shuffle(shuffled)
    assert shards(items) == shards(shuffled)
    assert sum(len(shard.entries) for shard in shards(items)) == len(items)
    assert all(
        shard_number(PolicyKey.parse(entry.key)) == shard.number
        for shard in shards(items)
        for entry in shard.entries
    )


def test_root_moves_with_every_digest_and_every_source() -> None:
    policy = Policy(key.destination("reviews", 9080), Destination("eds"))
    sourced = Policy(policy.key, policy.content, (ResourceRef("DestinationRule", "shop", "r"),))
    changed = Policy(policy.key, Destination("strict_dns"))
    roots = {
        root_digest({(shard.kind, shard.number): shard.digest for shard in shards([each])})
        for each in (policy, sourced, changed)
    }
    assert len(roots) == 3


@given(st.lists(st.integers(), max_size=20))
def test_as_set_is_idempotent_and_keeps_every_item(items: list[int]) -> None:
    assert as_set(as_set(items)) == as_set(items)
    assert set(as_set(items)) == set(items)
