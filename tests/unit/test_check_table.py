"""The report for people: what is alike is said once, and what is not clean is seen."""

from dataclasses import replace
from io import StringIO

from check_reports import ACCESS, DRIFTING, PEERS, Mesh, run, text
from rich.console import Console

from meshscope.cli.report import CheckReport, ProxyReport
from meshscope.cli.table import MOST_EQUIVALENT, MOST_FIELDS, MOST_IN_SYNC, report_table
from meshscope.comparison import Difference, ProxyVerdict, UnverifiablePart
from meshscope.events.facts import FieldDifference
from meshscope.policy import key as keys
from meshscope.policy.source import ResourceRef

IN_SYNC = ProxyVerdict("in-sync", policies=1)


def differs(key: keys.PolicyKey = ACCESS, *fields: FieldDifference) -> Difference:
    return Difference("MSC-1083", key, "different", "exposes", "a", "b", fields)


def proxies(verdict: ProxyVerdict, count: int, name: str = "p") -> tuple[ProxyReport, ...]:
    return tuple(ProxyReport(f"{name}{i}.shop", f"d/{name}{i}.json", verdict) for i in range(count))


def shown(*reports: ProxyReport) -> str:
    return " ".join(text(CheckReport(1, reports)).split())


def test_what_is_alike_in_many_proxies_is_said_once() -> None:
    verdict = ProxyVerdict("drift", (differs(),))
    table = shown(*proxies(verdict, 7))
    assert table.count("The access rules of a port differ") == 1
    assert "7 of 7: p0.shop, p1.shop, p2.shop and 4 more" in table


def test_the_request_of_the_first_is_shown() -> None:
    first, second = (
        ProxyVerdict("drift", (replace(differs(), witness=f'{{"text": "GET /{number}"}}'),))
        for number in range(2)
    )
    table = shown(*proxies(first, 1), *proxies(second, 1, "q"))
    assert table.count("The access rules of a port differ") == 1
    assert "request GET /0" in table


def test_what_is_alike_in_many_policies_is_said_once() -> None:
    other = keys.authorization(8080, "plaintext", "http")
    both = proxies(ProxyVerdict("drift", (differs(), differs(other))), 1)
    table = shown(*both)
    assert "access rules of inbound port 8080 (mutual TLS, HTTP; plaintext, HTTP)" in table
    assert "not all in every proxy" not in table
    table = shown(*both, *proxies(ProxyVerdict("drift", (differs(),)), 1, "q"))
    assert "(not all in every proxy)" in table


def test_many_fields_and_many_proxies_in_sync_are_counted() -> None:
    fields = tuple(FieldDifference(f"f{i}", "a", "b") for i in range(MOST_FIELDS + 2))
    table = shown(*proxies(ProxyVerdict("drift", (differs(ACCESS, *fields),)), 1))
    assert f"f{MOST_FIELDS - 1}" in table
    assert f"f{MOST_FIELDS} " not in table
    assert "… and 2 fields more" in table
    assert "p0.shop" in shown(*proxies(IN_SYNC, MOST_IN_SYNC))
    table = shown(*proxies(IN_SYNC, MOST_IN_SYNC + 1), *proxies(ProxyVerdict.unknown("no"), 1, "q"))
    assert f"{MOST_IN_SYNC + 1} proxies are in sync." in table
    assert "p0.shop" not in table
    assert "q0.shop unknown" in table


def test_notes_on_form_are_short() -> None:
    notes = tuple(
        Difference("MSC-1063", keys.peer_authentication(port), "different", "equivalent", "a", "b")
        for port in range(MOST_EQUIVALENT)
    )
    table = shown(*proxies(ProxyVerdict("in-sync", notes), 1))
    assert table.count("MSC-1063") == 2
    assert "and 4 more" in table
    source = (ResourceRef("DestinationRule", "a", "b"),)
    named = tuple(
        Difference("MSC-1063", PEERS, "different", "equivalent", str(i), "b", sources=source)
        for i in range(MOST_EQUIVALENT + 3)
    )
    table = shown(*proxies(ProxyVerdict("in-sync", named), 2))
    assert "inbound port 8080 (DestinationRule a/b), in 2 of 2 proxies" in table
    assert "… and 3 more; -o json shows all of them" in table


def test_reasons_are_said_once_with_whom_they_concern() -> None:
    part = UnverifiablePart("an EnvoyFilter patches it", keys=(ACCESS,))
    table = shown(
        *proxies(ProxyVerdict("unverifiable", unverifiable=(part,), notes=("x",)), 2),
        *proxies(ProxyVerdict("in-sync", notes=("x", "y")), 1, "q"),
    )
    assert table.count("an EnvoyFilter patches it") == 1
    assert "2 of 3: p0.shop, p1.shop" in table
    assert "1 policy: authorization" in table
    assert table.count("note x") == 1
    assert "note y (1 of 3 proxies)" in table


def test_expected_and_observed_stand_side_by_side() -> None:
    out = StringIO()
    Console(file=out, width=160, highlight=False).print(report_table(run(Mesh(DRIFTING))))
    line = next(line for line in out.getvalue().splitlines() if "mtls.mode" in line)
    assert line.split() == ["mtls.mode", "STRICT", "PERMISSIVE"]
