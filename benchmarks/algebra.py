"""How fast the algebra answers, by kind of rules and their number.

    python benchmarks/algebra.py [--rules 2000] [--seed 1]

Times are CPU time, so that a busy machine gives the same figures. *Strings*: operations per second
on single patterns (median of a sample; caches do not help, since every pattern is new). *Lists*:
seconds to say of every rule of a host whether it ever decides (`review`), which requests two
versions of the list treat differently after one rule changed (`differences`: an example of each
sort), and all of them in words (`affected`), each from policies on, automata and atoms included.
*Boundary*: seconds to find the requests that test the rules of a workload, and how many these are.

*Pairwise* is the rule that linters use, on the same lists: a rule is dead if one earlier rule alone
takes its path by prefix and asks for nothing else, or is the same. The last columns say how many
rules are dead, and which share of them that finds; every one it names is dead.

The last lists are made to be bad. Where they end in "undecided", the reason is printed. What this
leaves out: real rules. Those of the captures are fewer and simpler than any list here.
"""

import argparse
import random
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Literal

from meshscope.algebra.boundary import boundary_requests
from meshscope.algebra.conditions import route_match, rule
from meshscope.algebra.decision_list import Decision, DecisionList, differences, review
from meshscope.algebra.limits import Undecided
from meshscope.algebra.regex import regex
from meshscope.algebra.regions import regions
from meshscope.algebra.strings import containing, exact, prefix, suffix
from meshscope.comparison.request_names import names_of_access, names_of_routes
from meshscope.policy.authorization import Condition, Rule
from meshscope.policy.http_route import RouteMatch
from meshscope.policy.matches import HeaderMatch, PathMatch, StringMatch

Matches = Sequence[RouteMatch]
SLOWEST: list[tuple[float, str]] = []
"""CPU seconds of everything that was measured, and what it was; grows."""
SAMPLE = 200
SERVICES = ("cart", "orders", "users", "payments", "search", "stock")
METHODS = ("GET", "POST", "PUT", "DELETE")


def main(largest: int, seed: int) -> None:
    """Measure and print."""
    chance = random.Random(seed)  # noqa: S311
    strings(chance)
    heads = f"{'review':>9}{'differences':>13}{'affected':>11}{'dead':>6}{'pairwise finds':>16}"
    print(f"\n{'rules':>6}  {'kind':<28}{heads}")
    for kind, make in KINDS.items():
        for number in sorted({10, 100, largest // 4, largest}):
            one_list(kind, make, number, chance)
    for number in sorted({100, largest // 4, largest}):
        access(number, chance)
    print(f"\n{'rules':>6}  boundary requests of access rules")
    for number in (1, 5, 20, 50):
        boundary(number, chance)
    print(f"\n{'rules':>6}  {'made to be bad':<28}{heads}")
    for kind, bad in BAD.items():
        one_list(kind, bad, largest, chance)
    print("\nslowest")
    for seconds, words in sorted(SLOWEST, reverse=True)[:5]:
        print(f"{seconds:>8.2f} s  {words}")


def strings(chance: random.Random) -> None:
    """Single patterns."""
    words = ["".join(chance.choices("abcdefghij", k=8)) for _ in range(SAMPLE)]
    patterns = [regex(f"/api/v[0-9]+/{w}/[^/]+(/.*)?") for w in words]
    operations: dict[str, Callable[[int], object]] = {
        "exact, prefix": lambda n: (exact(f"/{words[n]}"), prefix(f"/{words[n]}")),
        "suffix, contains": lambda n: (suffix(words[n]), containing(words[n])),
        "pattern": lambda n: regex(f"/(items|{words[n]})/[0-9]+(\\.json)?"),
        "intersection of patterns": lambda n: patterns[n] & suffix(words[n - 1]),
        "containment of patterns": lambda n: patterns[n] <= patterns[n - 1],
        "shortest example": lambda n: patterns[n].shortest(),
    }
    for name, operation in operations.items():
        seconds = []
        for number in range(SAMPLE):
            began = time.process_time()
            operation(number)
            seconds.append(time.process_time() - began)
        print(f"{1 / statistics.median(seconds):>10,.0f} per second  {name}")


def one_list(
    kind: str, make: Callable[[int, random.Random], Matches], number: int, chance: random.Random
) -> None:
    """A list, and the same list with one rule changed."""
    matches = make(number, chance)
    changed = [*matches]
    changed[number // 2] = RouteMatch(PathMatch("exact", "/changed"))
    began = time.process_time()
    found = review(as_list(matches))
    reviewed = time.process_time() - began
    began = time.process_time()
    apart = differences(as_list(matches), as_list(changed))
    compared = time.process_time() - began
    began = time.process_time()
    names = names_of_routes((*matches, *changed))
    words = regions(as_list(matches), as_list(changed), lambda one, other: (one, other), names)
    worded = time.process_time() - began
    for what, seconds in (("review", reviewed), ("differences", compared), ("affected", worded)):
        SLOWEST.append((seconds, f"{what}: {number} rules, {kind}"))
    line = f"{number:>6}  {kind:<28}{reviewed:>7.2f} s{compared:>11.2f} s{worded:>9.2f} s"
    answers = (found, apart, words)
    if isinstance(found, Undecided) or any(isinstance(each, Undecided) for each in answers):
        reasons = {answer.reason for answer in answers if isinstance(answer, Undecided)}
        print(f"{line}  undecided: {'; '.join(reasons)}")
        return
    dead = [n for n, said in enumerate(found) if said.standing in ("shadowed", "impossible")]
    simple = pairwise(matches)
    if not set(simple) <= set(dead):
        raise SystemExit(f"the pairwise rule names rules that decide: {set(simple) - set(dead)}")
    share = f"{len(simple) / len(dead):.0%}" if dead else "-"
    print(f"{line}{len(dead):>6}{share:>16}")


def access_rules(number: int, chance: random.Random) -> list[Rule]:
    """Rules of AuthorizationPolicies: identity, method, path."""
    rules = []
    for index in range(number):
        principal = f"spiffe://cluster.local/ns/{chance.choice(SERVICES)}/sa/app-{index % 97}"
        source = Condition("principal", values=(StringMatch("exact", principal),))
        operation = (
            Condition("header", ":method", (StringMatch("exact", chance.choice(METHODS)),)),
            Condition("path", values=(StringMatch("prefix", f"/{chance.choice(SERVICES)}/"),)),
        )
        rules.append(Rule("ns/p", index, ((source,),), (operation,)))
    return rules


def access(number: int, chance: random.Random) -> None:
    """ALLOW rules, and the same without one in the middle."""
    rules = access_rules(number, chance)
    fewer = [*rules[: number // 2], *rules[number // 2 + 1 :]]
    one, other = (
        DecisionList(tuple(Decision(rule(each), 1) for each in some), 0) for some in (rules, fewer)
    )
    began = time.process_time()
    found = review(one)
    reviewed = time.process_time() - began
    began = time.process_time()
    apart = differences(one, other)
    compared = time.process_time() - began
    began = time.process_time()
    words = regions(one, other, lambda before, after: (before, after), names_of_access(rules))
    worded = time.process_time() - began
    for what, seconds in (("review", reviewed), ("differences", compared), ("affected", worded)):
        SLOWEST.append((seconds, f"{what}: {number} access rules"))
    line = f"{number:>6}  {'access rules':<28}{reviewed:>7.2f} s{compared:>11.2f} s{worded:>9.2f} s"
    answers = (found, apart, words)
    if isinstance(found, Undecided) or any(isinstance(each, Undecided) for each in answers):
        reasons = {answer.reason for answer in answers if isinstance(answer, Undecided)}
        print(f"{line}  undecided: {'; '.join(reasons)}")
        return
    print(f"{line}{sum(said.standing != 'decides' for said in found):>6}{'-':>16}")


def boundary(number: int, chance: random.Random) -> None:
    """The requests that test the access rules of a workload."""
    rules = access_rules(number, chance)
    began = time.process_time()
    found = boundary_requests([(each, "allowed") for each in rules], "denied")
    seconds = time.process_time() - began
    if isinstance(found, Undecided):
        print(f"{number:>6}  {seconds:.2f} s  undecided: {found.reason}")
        return
    told = sum(len(each.tells) for each in found.requests)
    print(f"{number:>6}  {seconds:.2f} s, {len(found.requests)} requests tell {told} changes")


def as_list(matches: Matches) -> DecisionList:
    """Every rule with an outcome of its own."""
    return DecisionList(
        tuple(Decision(route_match(match), number) for number, match in enumerate(matches))
    )


def pairwise(matches: Matches) -> list[int]:
    """Rules that one earlier rule without further conditions takes, judged by prefixes."""
    open_prefixes: list[str] = []
    seen: set[RouteMatch] = set()
    dead = []
    for number, match in enumerate(matches):
        path = match.path.value
        literal = match.path.type in ("exact", "prefix") and match.path.case_sensitive
        if match in seen or (literal and any(path.startswith(found) for found in open_prefixes)):
            dead.append(number)
        elif match == RouteMatch(match.path) and literal and match.path.type == "prefix":
            open_prefixes.append(path)
        seen.add(match)
    return dead


def path(chance: random.Random, number: int) -> str:
    """One of about as many paths as there are rules."""
    return f"/{chance.choice(('api', 'svc'))}/{chance.choice(SERVICES)}/{chance.randrange(number)}"


def exact_paths(number: int, chance: random.Random) -> Matches:
    """Exact paths."""
    return [RouteMatch(PathMatch("exact", path(chance, number))) for _ in range(number)]


def prefixes(number: int, chance: random.Random) -> Matches:
    """Prefixes, some within others."""
    kinds: tuple[Literal["prefix", "path_separated_prefix"], ...] = (
        "prefix",
        "path_separated_prefix",
    )
    return [
        RouteMatch(PathMatch(chance.choice(kinds), path(chance, number))) for _ in range(number)
    ]


def with_methods(number: int, chance: random.Random) -> Matches:
    """Prefixes with methods, so that several rules together take another one."""
    return [
        RouteMatch(
            PathMatch("prefix", path(chance, max(1, number // 4))),
            (
                HeaderMatch(
                    ":method", StringMatch("exact", chance.choice(METHODS)), chance.random() < 0.3
                ),
            ),
        )
        for _ in range(number)
    ]


def with_headers(number: int, chance: random.Random) -> Matches:
    """Paths and one of five headers."""
    return [
        RouteMatch(
            PathMatch("prefix", path(chance, max(1, number // 4))),
            (HeaderMatch(f"x-{chance.randrange(5)}", StringMatch("prefix", chance.choice("ab"))),),
        )
        for _ in range(number)
    ]


def patterns(number: int, chance: random.Random) -> Matches:
    """A regular expression in each rule."""
    return [
        RouteMatch(PathMatch("regex", f"{path(chance, number)}/[^/]+(/v[0-9]+)?"))
        for _ in range(number)
    ]


def mixed(number: int, chance: random.Random) -> Matches:
    """A third each of exact paths, prefixes with methods, patterns; at the end a rule for all."""
    found = [*exact_paths(number // 3, chance), *with_methods(number // 3, chance)]
    found += patterns(number - len(found) - 1, chance)
    chance.shuffle(found)
    return [*found, RouteMatch()]


def entangled(number: int, chance: random.Random) -> Matches:
    """Prefixes, and a few patterns that reach into all of them."""
    wide = [RouteMatch(PathMatch("regex", f"/.*{digit}{digit}.*")) for digit in range(5)]
    return [*prefixes(number - len(wide), chance), *wide]


def everywhere(number: int, _: random.Random) -> Matches:
    """Every rule looks for a word anywhere in the path: 2^n parts."""
    return [RouteMatch(PathMatch("regex", f"/.*word{n}.*")) for n in range(number)]


def own_headers(number: int, _: random.Random) -> Matches:
    """Every rule has a header of its own."""
    present = StringMatch("present")
    return [RouteMatch(headers=(HeaderMatch(f"x-{n}", present),)) for n in range(number)]


def crossed_headers(number: int, chance: random.Random) -> Matches:
    """Random values of three of twelve headers: a diagram that cannot be small."""
    return [
        RouteMatch(
            headers=tuple(
                HeaderMatch(f"x-{name}", StringMatch("exact", chance.choice("abc")))
                for name in chance.sample(range(12), 3)
            )
        )
        for _ in range(number)
    ]


KINDS = {
    "exact paths": exact_paths,
    "prefixes": prefixes,
    "prefixes and methods": with_methods,
    "prefixes and headers": with_headers,
    "regular expressions": patterns,
    "mixed": mixed,
}
BAD = {
    "5 patterns across prefixes": entangled,
    "a word anywhere": everywhere,
    "a header for each rule": own_headers,
    "three of twelve headers": crossed_headers,
}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rules", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    main(arguments.rules, arguments.seed)
