"""Archives of `istioctl bug-report`: what is found in them, and what of them is missing."""

from pathlib import Path

import pytest
import yaml
from bug_reports import bug_report_files, write_bug_report
from check_reports import CLEAN_MANIFEST, CLUSTER, DUMP, Mesh

from meshscope.cli.bug_report import BugReport, read_bug_report
from meshscope.cli.examine import examine
from meshscope.cli.given import Inputs
from meshscope.cli.report import CheckReport, Finding

RESOURCES = [*yaml.safe_load(CLUSTER)["items"], yaml.safe_load(CLEAN_MANIFEST)]
NAMESPACE = {
    "apiVersion": "v1",
    "kind": "Namespace",
    "metadata": {"name": "shop", "labels": {"istio-injection": "enabled"}},
}
NODE = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}
CRS = "bug-report/cluster/crs"
DUMP_PATH = "bug-report/proxies/shop/cart-1/config_dump?include_eds"


@pytest.fixture
def files() -> dict[str, bytes]:
    return bug_report_files([*RESOURCES, NAMESPACE, NODE], {"cart-1.shop": DUMP})


def check(report: BugReport) -> CheckReport:
    inputs = Inputs((), report.dumps, unreadable=report.lost, cluster=report.manifests)
    return examine(inputs, Mesh().infer, Mesh().project, "warning")


@pytest.mark.parametrize("top", ["bug-report/", ""])
@pytest.mark.parametrize("unpacked", [False, True])
def test_dumps_and_resources_are_found(
    files: dict[str, bytes], tmp_path: Path, top: str, unpacked: bool
) -> None:
    files = {name.replace("bug-report/", top, 1): data for name, data in files.items()}
    path = tmp_path / "report"
    if unpacked:
        for name, data in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
    else:
        write_bug_report(path, files)
    found = read_bug_report(str(path))
    assert (found.count, found.lost) == (1, ())
    report = check(found)
    # The node stands in two files, which is no finding.
    assert (report.exit_code, report.findings, report.resources) == (0, (), 6)
    (proxy,) = report.proxies
    assert (proxy.proxy, proxy.file) == ("cart-1.shop", f"{path}:{top}{DUMP_PATH[11:]}")


def test_resources_from_elsewhere_win_over_those_of_the_cluster(
    files: dict[str, bytes], tmp_path: Path
) -> None:
    found = read_bug_report(str(write_bug_report(tmp_path / "r.tgz", files)))
    inputs = Inputs((("git.yaml", CLEAN_MANIFEST),), found.dumps, cluster=found.manifests)
    report = examine(inputs, Mesh().infer, Mesh().project, "warning")
    assert (report.exit_code, report.findings, report.resources) == (0, (), 6)
    assert ("git.yaml", 1) in report.places.values()


def test_a_proxy_without_a_dump_is_unknown(files: dict[str, bytes], tmp_path: Path) -> None:
    del files[DUMP_PATH]
    report = check(read_bug_report(str(write_bug_report(tmp_path / "r.tgz", files))))
    assert report.exit_code == 2
    (proxy,) = report.proxies
    assert (proxy.proxy, proxy.verdict.verdict, proxy.code) == (
        "cart-1.shop",
        "unknown",
        "MSC-5016",
    )


def test_what_an_archive_lacks_is_said(files: dict[str, bytes], tmp_path: Path) -> None:
    del files[CRS]
    (lost,) = read_bug_report(str(write_bug_report(tmp_path / "r.tgz", files))).lost
    assert (lost.code, lost.loses_input) == ("MSC-5011", True)
    assert lost.file.endswith("r.tgz:cluster/crs")


def test_a_report_without_any_resources_is_of_proxies_alone(
    files: dict[str, bytes], tmp_path: Path
) -> None:
    whole = read_bug_report(str(write_bug_report(tmp_path / "whole.tgz", files)))
    proxies = {name: data for name, data in files.items() if "/cluster/" not in name}
    bare = read_bug_report(str(write_bug_report(tmp_path / "bare.tgz", proxies)))
    assert (whole.is_of_proxies_alone, bare.is_of_proxies_alone) == (False, True)
    assert len(bare.lost) == 2


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"no archive", "no tar archive"),
        (b"", "no tar archive"),
        (None, "no such file"),
    ],
)
def test_what_is_no_archive(tmp_path: Path, data: bytes | None, reason: str) -> None:
    path = tmp_path / "r.tgz"
    if data is not None:
        path.write_bytes(data)
    (lost,) = read_bug_report(str(path)).lost
    assert reason in lost.explanation


def test_a_truncated_archive_is_refused_as_a_whole(files: dict[str, bytes], tmp_path: Path) -> None:
    path = write_bug_report(tmp_path / "r.tgz", files)
    whole = path.read_bytes()
    for length in range(1, len(whole) - 8, len(whole) // 7):
        path.write_bytes(whole[:length])
        found = read_bug_report(str(path))
        assert found.lost
        assert (found.manifests, found.count) == ((), 0)


def test_other_archives_and_directories_are_refused(tmp_path: Path) -> None:
    path = write_bug_report(tmp_path / "r.tgz", {"a/b.json": b"{}"})
    for place in (path, tmp_path):
        (lost,) = read_bug_report(str(place)).lost
        assert "looks like the output of `istioctl bug-report`" in lost.explanation


def test_a_ztunnel_is_known_as_such(files: dict[str, bytes], tmp_path: Path) -> None:
    files["bug-report/proxies/istio-system/ztunnel-1/config_dump"] = (
        b'{"services": [], "workloads": []}'
    )
    report = check(read_bug_report(str(write_bug_report(tmp_path / "r.tgz", files))))
    assert [proxy.code for proxy in report.proxies if proxy.verdict.verdict == "unknown"] == [
        "MSC-5013"
    ]
    assert not [found for found in report.findings if isinstance(found, Finding)]
