"""The stream and `meshscope check` say the same of real Envoys, down to the JSON."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pipeline import Pipeline, running_pipeline
from said_online import online

from meshscope.sandbox.client import SandboxClient
from meshscope.sandbox.model import data_directory, load_index

pytestmark = pytest.mark.integration

LEFT_OUT = ("proxy", "file", "inference_coverage")


@pytest.fixture
def pipeline(sandbox: SandboxClient, tmp_path: Path) -> Iterator[Pipeline]:
    declared = tmp_path / "declared"
    declared.mkdir()
    declare(declared, "00-base", rename="cart")
    with running_pipeline(tmp_path, declared) as made:
        made.start_watcher()
        made.start_worker()
        made.start_agents()
        yield made


LISTENER_PATCH = """
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata:
  name: listener-patch
  namespace: shop
spec:
  configPatches:
    - applyTo: LISTENER
      match: {context: SIDECAR_INBOUND}
      patch: {operation: MERGE, value: {tcp_fast_open_queue_length: 3}}
"""
"""What patches of listeners do is not modelled."""


def declare(directory: Path, state: str, rename: str = "") -> None:
    """Declare a recorded state, with the resources of one name under another."""
    data = data_directory()
    files = [*(data / "states" / state).iterdir(), *(data / "kubernetes").iterdir()]
    for stale in {path.name for path in directory.iterdir()} - {path.name for path in files}:
        (directory / stale).unlink()
    for file in files:
        text = file.read_text()
        if rename and file.name == "40-traffic.yaml":
            assert f"  name: {rename}\n" in text
            text = text.replace(f"  name: {rename}\n", f"  name: {rename}-renamed\n")
        temporary = directory / f".{file.name}"
        temporary.write_text(text)
        temporary.replace(directory / file.name)


def checked(pipeline: Pipeline) -> dict[str, dict[str, Any]]:
    """What `meshscope check` says of every proxy now, but for what the stream cannot know."""
    dumps = pipeline.folder / "dumps"
    dumps.mkdir(exist_ok=True)
    for proxy in load_index().proxies:
        url = f"http://{proxy.admin}/config_dump?include_eds"
        with urllib.request.urlopen(url, timeout=10) as answer:
            (dumps / f"{proxy.proxy}.json").write_bytes(answer.read())
    switches = [f"{name}={value}" for name, value in load_index().istiod_environment.items()]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "meshscope.cli", "check"),
            *("--resources", str(pipeline.resources), "--config-dump", str(dumps)),
            *("--istiod-env", *switches, "-o", "json"),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"COLUMNS": "200"},
    )
    assert done.returncode in (0, 1, 3), done.stderr
    found = {}
    for report in json.loads(done.stdout)["proxies"]:
        report["differences"].sort(key=lambda each: each["key"])
        for difference in report["differences"]:
            # The stream has the witness; all requests concerned have no room in a record.
            difference.pop("affected", None)
        report["unverifiable"] = [_line(part) for part in report["unverifiable"]]
        found[report["proxy"]] = {k: v for k, v in report.items() if k not in LEFT_OUT}
    return found


def _line(part: dict[str, Any]) -> str:
    what = part["keys"][0] if len(part["keys"]) == 1 else part["kind"] or "every kind"
    return f"{what}: {part['reason']}"


def streamed(pipeline: Pipeline) -> dict[str, dict[str, Any]]:
    """What the stream says of every proxy now."""
    newest = {(fact.proxy, fact.key): fact for fact in pipeline.drifts()}
    return {
        proxy: online(
            verdict,
            [
                fact
                for (name, _), fact in newest.items()
                if name == proxy and fact.status != "closed"
            ],
        )
        for proxy, verdict in pipeline.verdicts().items()
    }


def test_the_stream_says_what_check_says(sandbox: SandboxClient, pipeline: Pipeline) -> None:
    sandbox.remove_rbac("frontend-1.shop")
    first = checked(pipeline)
    assert first["frontend-1.shop"]["verdict"] == "drift"
    names = {
        difference["observed"]
        for report in first.values()
        for difference in report["differences"]
        if difference["effect"] == "equivalent"
    }
    assert any("/cart" in name for name in names), "the renamed resources are notes"
    pipeline.until(lambda: streamed(pipeline) == first)

    declare(pipeline.resources, "07-envoyfilter-removes-rbac")
    (pipeline.resources / "listener-patch.yaml").write_text(LISTENER_PATCH)
    second = checked(pipeline)
    assert {"unverifiable", "drift"} <= {report["verdict"] for report in second.values()}
    pipeline.until(lambda: streamed(pipeline) == second)
