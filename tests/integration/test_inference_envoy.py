"""Inference on what real Envoys hold: the same as on the resources they were sent."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable

import pytest
from dumps import demo_dump

from meshscope.inference.config_dump import read_config_dump
from meshscope.inference.infer import infer
from meshscope.inference.result import Inference
from meshscope.policy import key
from meshscope.policy.authorization import Authorization
from meshscope.policy.key import PolicyKey
from meshscope.policy.kinds import Kind
from meshscope.sandbox.client import SandboxClient
from meshscope.sandbox.faults import WARMING_CLUSTER
from meshscope.sandbox.model import Proxy, load_index

pytestmark = pytest.mark.integration

INDEX = load_index()
CART = INDEX.proxy("cart-1.shop")
FRONTEND = INDEX.proxy("frontend-1.shop")
PAYMENTS = INDEX.proxy("payments-1.payments")


def held(proxy: Proxy) -> Inference:
    """What a running Envoy holds."""
    address = f"http://{proxy.admin}/config_dump?include_eds"
    with urllib.request.urlopen(address, timeout=5) as response:
        return infer(read_config_dump(response.read(), address))


def eventually(probe: Callable[[], Inference], wanted: Callable[[Inference], bool]) -> Inference:
    """The first answer that is as wanted."""
    end = time.monotonic() + 10
    while not wanted(answer := probe()):
        assert time.monotonic() < end, f"not within 10 s, last {answer.state}"
        time.sleep(0.05)
    return answer


def digests(inference: Inference) -> dict[PolicyKey, str]:
    return {policy_key: policy.digest for policy_key, policy in inference.policies.items()}


@pytest.mark.parametrize("state", ["00-base", "03-canary-50-50", "08-jwt-issuer-changed"])
def test_an_envoy_implements_what_it_was_sent(sandbox: SandboxClient, state: str) -> None:
    sandbox.state(state)
    for proxy in INDEX.proxies:
        inference = held(proxy)
        assert dict(inference.coverage.unexplained_at) == {}
        assert inference.incomplete == ()
        assert inference.proxy.proxy == proxy.proxy
        assert digests(inference) == digests(infer(demo_dump(state, proxy.proxy)))


def test_a_refused_update_is_state(sandbox: SandboxClient) -> None:
    before = held(CART)
    sandbox.reject(CART.proxy, "lds")

    inference = held(CART)

    assert digests(inference) == digests(before)
    assert inference.state.rejected
    assert all(update.details for update in inference.state.rejected)


def test_a_warming_cluster_is_state(sandbox: SandboxClient) -> None:
    before = held(CART)
    sandbox.warm(CART.proxy)

    inference = held(CART)

    assert inference.state.warming == (f"clusters/{WARMING_CLUSTER}",)
    assert digests(inference) == digests(before)


def test_rules_removed_from_one_chain_alone_are_missed_there(sandbox: SandboxClient) -> None:
    sandbox.state("02-mtls-permissive")
    before = held(FRONTEND)
    sandbox.remove_rbac(FRONTEND.proxy, "plaintext")

    inference = held(FRONTEND)

    apart = {k for k in before.policies if digests(before)[k] != digests(inference).get(k)}
    plaintext = key.authorization(8080, "plaintext", "http")
    assert apart == {plaintext, key.filter_order(8080, "plaintext", "http")}
    access = inference.policies[plaintext].content
    assert isinstance(access, Authorization)
    assert (access.allow, access.deny) == (None, None)
    assert [custom.rules for custom in access.custom] == [()]


def test_resolved_addresses_are_state(sandbox: SandboxClient) -> None:
    sandbox.overlay("dns-cluster")

    inference = eventually(
        lambda: held(PAYMENTS),
        lambda found: any("127.0.0.1:18080" in hosts.resolved for hosts in found.state.hosts),
    )

    endpoints = inference.policies[key.endpoints("api.shipping.example", 8080)].content
    assert "localhost" in str(endpoints)
    assert "127.0.0.1" not in str(endpoints)
    assert not any(found.kind is Kind.EXTENSION for found in inference.policies)


def test_an_ejected_host_is_state(sandbox: SandboxClient) -> None:
    endpoints = key.endpoints("cart.shop.svc.cluster.local", 8080)
    before = held(FRONTEND)
    sandbox.overlay("outlier")

    inference = held(FRONTEND)

    assert inference.policies[endpoints].digest == before.policies[endpoints].digest
    (hosts,) = (found for found in inference.state.hosts if found.unhealthy)
    assert len(hosts.unhealthy) == 1
