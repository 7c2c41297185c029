"""The way through: a drift made in the sandbox reaches an operator, and goes once repaired."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import open_page
from stack import Stack, new_stack, wait_until

pytestmark = pytest.mark.e2e

PROXIES = 7
SOON = 40.0
"""Seconds: convergence window, polls and batches, and two slow cores."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with new_stack(tmp_path_factory.mktemp("home")) as stack:
        stack.start(lambda: all_in_sync(stack))
        yield stack


def all_in_sync(stack: Stack) -> bool:
    verdicts = stack.verdicts()
    return len(verdicts) == PROXIES and set(verdicts.values()) == {"in-sync"}


def anomalies_of(stack: Stack, proxy: str) -> list[dict[str, Any]]:
    """Open anomalies in the history that concern a proxy."""
    return [anomaly for anomaly in stack.open_anomalies() if proxy in anomaly["proxies"]]


def on_the_topic(stack: Stack, proxy: str) -> list[dict[str, Any]]:
    """Open anomalies on the topic that concern a proxy."""
    found = stack.json("anomalies", "--no-follow")
    listed = found if isinstance(found, list) else [found]
    return [anomaly for anomaly in listed if proxy in anomaly["proxies"]]


def make_two_drifts(stack: Stack) -> None:
    """cart-1 keeps the rules of state 01; frontend-1 loses its rules, on plaintext alone."""
    stack.run("sandbox", "state", "01-authz-tightened")
    stack.run("sandbox", "stale", "cart-1.shop")
    stack.run("sandbox", "state", "02-mtls-permissive")
    stack.run("sandbox", "remove-rbac", "frontend-1.shop", "--chain", "plaintext")


def repair(stack: Stack) -> None:
    stack.run("sandbox", "heal")
    stack.run("sandbox", "state", "00-base")
    wait_until(
        "all in sync and nothing open",
        lambda: all_in_sync(stack) and stack.open_anomalies() == [],
        SOON,
        stack,
    )


def expect_both_everywhere(stack: Stack) -> None:
    """Topic, history and command line name proxy, policy, resource, expected and observed."""
    for proxy, policy, resource in (
        ("frontend-1.shop", "authorization/8080/plaintext/http", "frontend-admin"),
        ("cart-1.shop", "authorization/8080/mtls/http", "cart-callers"),
    ):
        wait_until(
            f"an anomaly about {proxy} in the history",
            lambda proxy=proxy: bool(anomalies_of(stack, proxy)),
            SOON,
            stack,
        )
        evidence = [
            (key, expected, observed, anomaly)
            for anomaly in anomalies_of(stack, proxy)
            for key, expected, observed in zip(
                anomaly["evidence_keys"],
                anomaly["evidence_expected"],
                anomaly["evidence_observed"],
                strict=True,
            )
            if key == policy
        ]
        assert evidence, anomalies_of(stack, proxy)
        for _, expected, observed, _ in evidence:
            assert expected != observed
            assert expected
            assert observed
        assert any(resource in anomaly["resource"] for *_, anomaly in evidence), evidence

        topic = on_the_topic(stack, proxy)
        assert any(e["key"] == policy for anomaly in topic for e in anomaly["evidence"])

        table = stack.run("drift", "--proxy", proxy, expect=(1,))
        assert policy in table.replace("\n", "")
        assert resource in table


async def test_two_drifts_reach_the_operator_and_resolve(stack: Stack, tmp_path: Path) -> None:
    make_two_drifts(stack)
    expect_both_everywhere(stack)
    only = {proxy for proxy, verdict in stack.verdicts().items() if verdict != "in-sync"}
    assert only == {"frontend-1.shop", "cart-1.shop"}
    repair(stack)


async def test_the_page_shows_them_and_their_end_without_being_loaded_again(stack: Stack) -> None:
    console = stack.json("status")["console"]
    async with open_page(console) as page:
        await page.wait_for(f"document.querySelectorAll('.verdict.in-sync').length === {PROXIES}")
        make_two_drifts(stack)
        await page.wait_for("document.querySelectorAll('article').length >= 2", SOON)
        await page.wait_for("document.querySelectorAll('.verdict.drift').length === 2", SOON)
        text = await page.value("document.getElementById('anomalies').innerText")
        for word in ("frontend-1.shop", "cart-1.shop", "frontend-admin", "cart-callers"):
            assert word in text
        repair(stack)
        await page.wait_for("document.querySelectorAll('article').length === 0", SOON)
        await page.wait_for(
            f"document.querySelectorAll('.verdict.in-sync').length === {PROXIES}", SOON
        )


def pid_of(stack: Stack, service: str) -> int:
    services = {entry["name"]: entry for entry in stack.json("status")["services"]}
    return int(services[service]["pid"])


async def test_a_killed_broker_comes_back_and_nothing_is_forgotten(stack: Stack) -> None:
    before = stack.json("sql", "SELECT count() AS n FROM anomalies")[0]["n"]
    old = pid_of(stack, "broker")
    os.kill(old, signal.SIGKILL)
    wait_until("the broker is up again", lambda: pid_of(stack, "broker") != old, SOON, stack)
    wait_until("all in sync after it", lambda: all_in_sync(stack), 2 * SOON, stack)
    make_two_drifts(stack)
    expect_both_everywhere(stack)
    repair(stack)
    assert stack.json("sql", "SELECT count() AS n FROM anomalies")[0]["n"] > before


async def test_a_second_start_goes_on_recording(stack: Stack) -> None:
    before = stack.json("sql", "SELECT count() AS n FROM anomalies")[0]["n"]
    assert stack.stop() == 0
    stack.start(lambda: all_in_sync(stack))
    assert stack.json("sql", "SELECT count() AS n FROM anomalies")[0]["n"] >= before
    make_two_drifts(stack)
    expect_both_everywhere(stack)
    repair(stack)
