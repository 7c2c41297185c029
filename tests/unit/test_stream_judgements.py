"""Replicas that drift alike are compared once."""

from dataclasses import replace

from small_mesh import CLUSTER, held, policy, project, resource

from meshscope.events.control_plane import ControlPlane
from meshscope.events.facts import ProxyState, Snapshot
from meshscope.events.proxy import ProxyInputs
from meshscope.policy.source import ResourceRef
from meshscope.projection.result import Projection
from meshscope.stream.broadcast import Declaration
from meshscope.stream.expectation import Expectation, Expectations, expect
from meshscope.stream.judgement import Judgement
from meshscope.stream.judgements import Judgements
from meshscope.stream.observation import Missing

DRIFT = Judgement("drift")


def expectation(*policies: tuple[str, int], name: str = "r") -> Expectation:
    found = project(
        ControlPlane(), [resource(name, dict(policies))], ProxyInputs("p", CLUSTER, "shop")
    )
    return expect(found)


class Counted:
    def __init__(self, answer: Judgement | Missing = DRIFT) -> None:
        self.answer = answer
        self.calls = 0

    def __call__(self) -> Judgement | Missing:
        self.calls += 1
        return self.answer


def snapshot(proxy: str, **policies: int) -> Snapshot:
    return held(proxy, policies).snapshot


def test_a_replica_and_a_return_to_earlier_content_need_no_comparison() -> None:
    judgements, compare = Judgements(), Counted()
    expected = expectation(("a", 1))
    for each in (
        snapshot("p1.shop", a=2),
        snapshot("p2.shop", a=2),
        snapshot("p1.shop", a=3),
        snapshot("p1.shop", a=2),
    ):
        assert judgements.of(expected, each, compare) == DRIFT
    assert compare.calls == 2


def test_whatever_a_judgement_follows_from_asks_for_a_new_one() -> None:
    judgements, compare = Judgements(), Counted()
    held_by = snapshot("p1.shop", a=2)
    incomplete = replace(held_by, state=ProxyState(incomplete=("endpoints: none",)))
    judgements.of(expectation(("a", 1)), held_by, compare)
    judgements.of(expectation(("a", 3)), held_by, compare)
    judgements.of(expectation(("a", 1), name="renamed"), held_by, compare)
    judgements.of(expectation(("a", 1)), incomplete, compare)
    judgements.of(expectation(("a", 1)), replace(held_by, unreferenced=("x",)), compare)
    assert compare.calls == 5


def test_a_judgement_follows_from_the_names_of_alternatives_too() -> None:
    """It says after whom a policy is named that is one of several possible outcomes."""
    one, other, third = (
        policy("a", value, [ResourceRef("Rule", "shop", "r")]) for value in (1, 2, 2)
    )
    third = replace(third, sources=(ResourceRef("Rule", "shop", "renamed"),))
    before, after = (
        expect(Projection({one.key: one}, {one.key: (one, each)})) for each in (other, third)
    )
    assert before.lanes == after.lanes, "no proxy needs time for that"
    judgements, compare = Judgements(), Counted()
    for expected in (before, after):
        judgements.of(expected, snapshot("p1.shop", a=2), compare)
    assert compare.calls == 2


def test_what_is_missing_is_asked_for_again() -> None:
    judgements, compare = Judgements(), Counted(Missing(("digest",)))
    for _ in range(2):
        assert judgements.of(expectation(("a", 1)), snapshot("p", a=2), compare) == compare.answer
    assert compare.calls == 2


def test_judgements_with_many_differences_make_room_for_fewer_others() -> None:
    """Or a mesh in which every proxy drifts in everything would take all memory."""
    judgements = Judgements(limit=25)
    compare = Counted(Judgement("drift", unverifiable=tuple(map(str, range(10)))))
    each = [snapshot("p", a=number) for number in range(2, 5)]
    for one in (each[0], each[1], each[0], each[2], each[0]):
        judgements.of(expectation(("a", 1)), one, compare)
    assert compare.calls == 3, "two of weight 11 fit, of which the first was used last"
    judgements.of(expectation(("a", 1)), each[1], compare)
    assert compare.calls == 4
    large = Counted(Judgement("drift", unverifiable=tuple(map(str, range(100)))))
    for _ in range(2):
        judgements.of(expectation(("a", 1)), snapshot("p", a=9), large)
    assert large.calls == 1, "the latest is kept whatever its weight"


def test_expectations_that_say_the_same_are_one() -> None:
    """Or each change of a declaration would cost memory for every proxy that it does not touch."""
    expectations = Expectations(project)
    here, elsewhere = resource("r", {"a": 1}), resource("s", {"b": 1}, ["p9.shop"])
    found = [
        expectations.expectation(
            Declaration(name, ControlPlane(), resources, {}), held(proxy, {}).snapshot
        )
        for name, resources in (("before", (here,)), ("after", (here, elsewhere)))
        for proxy in ("p1.shop", "p2.shop")
    ]
    assert len({id(each) for each in found}) == 1


def test_only_the_latest_are_kept() -> None:
    judgements, compare = Judgements(limit=1), Counted()
    one, other = snapshot("p", a=2), snapshot("p", a=3)
    for each in (one, other, one):
        judgements.of(expectation(("a", 1)), each, compare)
    assert compare.calls == 3
