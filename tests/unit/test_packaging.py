"""What keeps one namespace over five roots, and what ships inside of it."""

import tomllib
from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOTS = ("schemas", "producers", "stream-processors", "sinks", "deploy")


def test_no_root_closes_the_namespace() -> None:
    for root in ROOTS:
        assert not (ROOT / root / "meshscope" / "__init__.py").exists(), root


def test_every_package_is_typed() -> None:
    for root in ROOTS:
        for package in (ROOT / root / "meshscope").iterdir():
            if (package / "__init__.py").exists():
                assert (package / "py.typed").exists(), package


def test_every_root_is_built_checked_and_on_the_path() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    tool = project["tool"]
    assert tool["hatch"]["build"]["targets"]["wheel"]["packages"] == [
        f"{root}/meshscope" for root in ROOTS
    ]
    assert tool["hatch"]["build"]["dev-mode-dirs"] == list(ROOTS)
    checked = [*ROOTS, "benchmarks", "tests/fixtures"]
    assert tool["mypy"]["files"] == checked
    assert tool["mypy"]["mypy_path"] == checked


def test_every_package_stands_in_the_contracts_between_rooms() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    known = set(project["tool"]["importlinter"]["root_packages"])
    there = {
        f"meshscope.{package.name}"
        for root in ROOTS
        for package in (ROOT / root / "meshscope").iterdir()
        if (package / "__init__.py").exists()
    }
    assert there == known


def test_data_lies_inside_of_packages() -> None:
    assert files("meshscope.events").joinpath("avro").is_dir()
    assert files("meshscope.history").joinpath("migrations").is_dir()
    assert files("meshscope.console").joinpath("static", "index.html").is_file()
    # A link to docs/codes, which a wheel holds as files.
    assert files("meshscope.cli").joinpath("pages", "MSC-1083.md").is_file()


def test_pinned_requirements_name_no_index() -> None:
    for name in ("embedded", "dev"):
        text = (ROOT / "deploy" / "constraints" / f"{name}.txt").read_text()
        assert "://" not in text
        assert "--hash=sha256:" in text


def test_pinned_requirements_bear_the_extras_that_others_ask_for() -> None:
    # Where a package asks for `coverage[toml]`, a pin of `coverage` alone is no pin to older
    # versions of pip: they take the newest one and refuse it for lack of a hash.
    text = (ROOT / "deploy" / "constraints" / "dev.txt").read_text()
    assert "\ncoverage[toml]==" in text
