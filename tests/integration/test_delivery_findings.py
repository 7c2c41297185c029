"""What goes wrong between the declaration and real Envoys becomes anomalies of the right layer."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pipeline import Pipeline, running_pipeline

from meshscope.events.facts import Anomaly
from meshscope.sandbox.client import SandboxClient
from meshscope.sandbox.faults import WARMING_CLUSTER
from meshscope.sandbox.model import load_index

pytestmark = pytest.mark.integration

REFUSES, STALE = "cart-1.shop", "cart-2.shop"
WARMS, CUT_OFF = "catalog-v1-1.shop", "frontend-1.shop"
PROXIES = {each.proxy for each in load_index().proxies}


@pytest.fixture
def pipeline(sandbox_process: "object", tmp_path: Path) -> Iterator[Pipeline]:
    resources: Path = sandbox_process.paths.resources  # type: ignore[attr-defined]
    with running_pipeline(tmp_path, resources) as made:
        made.start_watcher()
        made.start_worker()
        made.start_agents()
        yield made


def by_code(pipeline: Pipeline) -> dict[str, Anomaly]:
    opened = pipeline.open_anomalies()
    found = {anomaly.code: anomaly for anomaly in opened}
    assert len(found) == len(opened), "one anomaly per cause"
    return found


def in_sync(pipeline: Pipeline) -> set[str]:
    return {name for name, each in pipeline.verdicts().items() if each.verdict == "in-sync"}


def test_every_fault_is_an_anomaly_with_its_drifts_as_evidence(
    sandbox: SandboxClient, pipeline: Pipeline
) -> None:
    pipeline.until(lambda: in_sync(pipeline) == PROXIES)
    sandbox.warm(WARMS)
    sandbox.disconnect(CUT_OFF)
    # By then it is certain that what the others accepted is older than what comes now.
    pipeline.until(lambda: "MSC-3004" in by_code(pipeline))
    sandbox.stale(STALE)
    sandbox.reject(REFUSES, "lds")
    sandbox.state("01-authz-tightened")
    codes = {"MSC-3001", "MSC-3002", "MSC-3004", "MSC-3006"}
    pipeline.until(lambda: by_code(pipeline).keys() == codes, 60)
    found = by_code(pipeline)

    refused = found["MSC-3001"]
    assert (refused.layer, refused.severity, refused.proxies) == ("loading", "critical", (REFUSES,))
    assert "absent" in refused.title, "Envoy's reason"
    assert [each.key.partition("/")[0] for each in refused.evidence if each.effect] == [
        "authorization"
    ]
    assert any(each.observed.startswith("listeners/") for each in refused.evidence)
    assert refused.resource is not None
    assert refused.resource.name == "cart-callers"

    outdated = found["MSC-3006"]
    assert (outdated.layer, outdated.proxies) == ("delivery", (STALE,))
    assert any(each.key.startswith("authorization/") for each in outdated.evidence)

    warming = found["MSC-3002"]
    assert (warming.layer, warming.proxies) == ("loading", (WARMS,))
    assert WARMING_CLUSTER in warming.title
    assert "its endpoints" in warming.evidence[0].observed

    assert (found["MSC-3004"].layer, found["MSC-3004"].proxies) == ("delivery", (CUT_OFF,))
    assert all(anomaly.repair for anomaly in found.values())

    sandbox.heal()
    sandbox.state("00-base")
    pipeline.until(lambda: in_sync(pipeline) == PROXIES and not pipeline.open_anomalies(), 60)
    for anomaly in pipeline.anomalies():
        assert anomaly.code in codes, f"{anomaly.title} is no cause of its own"


def test_a_refusal_that_only_a_statistic_shows(sandbox: SandboxClient, pipeline: Pipeline) -> None:
    # Sidecars as Istio configures them count refused clusters, but no routes and endpoints.
    pipeline.until(lambda: in_sync(pipeline) == PROXIES)
    sandbox.reject(REFUSES, "cds")
    pipeline.until(lambda: by_code(pipeline).keys() == {"MSC-3001"})
    refused = by_code(pipeline)["MSC-3001"]
    assert refused.proxies == (REFUSES,)
    assert refused.evidence[0].observed.startswith("clusters: its admin interface does not tell")
    sandbox.heal()
    pipeline.until(lambda: not pipeline.open_anomalies())
