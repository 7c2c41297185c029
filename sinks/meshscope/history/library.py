"""The questions that the history answers, one SQL file each."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

_PARAMETER = re.compile(r"(\w+) (\w+(?:\([^)]*\))?)(?: = ('[^']*'|[^\s,]+))?")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a query; `default` None: it must be given."""

    name: str
    type: str
    default: str | None


@dataclass(frozen=True, slots=True)
class Query:
    """One question.

    Attributes:
        name: The file's name without its ending.
        question: What it answers.
        parameters: Bound by ClickHouse, never formatted into the text.
        columns: Names of what it returns, in order.
        sql: The text.
    """

    name: str
    question: str
    parameters: tuple[Parameter, ...]
    columns: tuple[str, ...]
    sql: str

    def bound(self, given: Mapping[str, object]) -> dict[str, object]:
        """Values for all parameters.

        Raises:
            ValueError: One is missing, or one is given that the query does not have.
        """
        names = [parameter.name for parameter in self.parameters]
        if unknown := sorted(set(given) - set(names)):
            raise ValueError(
                f"the query {self.name} has no parameter {', '.join(unknown)}; it has "
                f"{', '.join(names) or 'none'}"
            )
        values: dict[str, object] = {}
        for parameter in self.parameters:
            if parameter.name in given:
                values[parameter.name] = given[parameter.name]
            elif parameter.default is None:
                raise ValueError(f"the query {self.name} needs the parameter {parameter.name}")
            else:
                values[parameter.name] = parameter.default
        return values


def parse(name: str, text: str) -> Query:
    """Read a query file: `-- word: …` lines, which may continue, and then SQL.

    Raises:
        ValueError: The header lacks the question or the columns.
    """
    header: dict[str, str] = {}
    word = ""
    for line in text.splitlines():
        if not line.startswith("--"):
            break
        content = line.removeprefix("--").strip()
        match = re.match(r"(question|parameters|columns): (.*)", content)
        if match:
            word = match[1]
            header[word] = match[2]
        elif word:
            header[word] += " " + content
    for needed in ("question", "columns"):
        if needed not in header:
            raise ValueError(f"the query {name} has no line `-- {needed}: …`")
    parameters = tuple(
        Parameter(match[1], match[2], match[3].strip("'") if match[3] else None)
        for match in _PARAMETER.finditer(header.get("parameters", ""))
    )
    columns = tuple(column.strip() for column in header["columns"].split(","))
    return Query(name, header["question"], parameters, columns, text)


@cache
def library() -> Mapping[str, Query]:
    """All queries by name."""
    folder = files("meshscope.history").joinpath("queries")
    return {
        query.name: query
        for query in (
            parse(entry.name.removesuffix(".sql"), entry.read_text("utf-8"))
            for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
            if entry.name.endswith(".sql")
        )
    }
