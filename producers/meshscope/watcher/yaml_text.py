"""YAML as Kubernetes reads it, document by document, with lines.

PyYAML's events are read in a loop. Its composer calls itself for each level of nesting, and a
hostile file of brackets makes it overflow the stack of the whole process.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import yaml

MAX_DEPTH = 100
"""Levels of nesting; Kubernetes' own deepest schema (CustomResourceDefinition) stays below 40."""

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
# Not `y` and `n`: some readers take them for booleans, others for text and write them unquoted, and
# Kubernetes has no boolean that is written so.
_BOOLEANS = {
    word: value
    for value, words in ((True, "yes true on"), (False, "no false off"))
    for lower in words.split()
    for word in (lower, lower.capitalize(), lower.upper())
}
_INTEGER = re.compile(
    r"(?P<sign>[-+]?)(?:0b(?P<bin>[01_]+)|0x(?P<hex>[0-9a-fA-F_]+)|0o?(?P<oct>[0-7_]+)"
    r"|(?P<dec>0|[1-9][0-9_]*))"
)
_BASES = {"bin": 2, "hex": 16, "oct": 8, "dec": 10}
_LONGEST_INTEGER = 70
"""Digits; longer ones are no 64-bit number even in binary."""
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_STANDARD_TAG = "tag:yaml.org,2002:"
_KEY_IS_NO_TEXT = (
    "a key is itself a mapping or list, as in `{{ … }}`: if this is a template, render it first"
)
# Every escape is matched, so that a backslash that is escaped itself begins none.
_SURROGATES = re.compile(
    r"\\(?:u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})|.)", re.IGNORECASE | re.DOTALL
)
_BOUNDARY = re.compile(r"(?:---|\.\.\.)(?:\s|$)")


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A key that stands twice in one mapping; the later one counts."""

    line: int
    key: str
    first_line: int


@dataclass(frozen=True, slots=True)
class Scalar:
    """A scalar key or value as it was written, before it became a number or a boolean."""

    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file.

    Attributes:
        index: Its number in the file, from 1; documents that are empty do not count.
        line: Line at which its content begins, from 1.
        value: Mappings, lists, text, numbers, booleans and None; keys are text. Timestamps stay
            text, because JSON has none.
        duplicates: Keys that stand twice.
        error: Why it could not be read; then `value` is None and `line` is that of the error.
    """

    index: int
    line: int
    value: Any = None
    duplicates: tuple[Duplicate, ...] = ()
    error: str = ""
    _lines: dict[int, dict[str, Scalar]] = field(default_factory=dict, repr=False)

    def line_of(self, mapping: Any, key: str | None = None) -> int:
        """Line of a key of a mapping of `value`, or of the mapping's own first key."""
        written = self._lines.get(id(mapping), {})
        if key is None:
            return min((scalar.line for scalar in written.values()), default=self.line)
        return written[key].line if key in written else self.line

    def text_of(self, mapping: Any, key: str) -> str:
        """A scalar value of a mapping of `value` as it was written, such as `1.10`."""
        return self._lines[id(mapping)][key].text


class _Refused(Exception):
    """The document breaks a rule of this reader."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def documents(text: str) -> Iterator[Document]:
    """Read every document of a text; one that is broken does not stop the others.

    JSON is read as well: it is YAML but for tabs between its tokens, and for characters that are
    escaped as two surrogates.
    """
    index = 0
    for first_line, chunk in _chunks(text):
        if not _has_content(chunk):
            continue
        index += 1
        if chunk.removeprefix("---").lstrip()[:1] in ("{", "["):
            chunk = _SURROGATES.sub(_unescape, chunk.replace("\t", " "))
        yield _read(index, first_line, chunk)


def _unescape(escape: re.Match[str]) -> str:
    if escape[1] is None:
        return escape[0]
    return bytes.fromhex(escape[1] + escape[2]).decode("utf-16-be")


def _chunks(text: str) -> Iterator[tuple[int, str]]:
    """The text between document markers, each with its first line from 0.

    A marker at the beginning of a line is one wherever it stands, even inside quotes, so that a
    broken document ends where its author meant it to end.
    """
    lines = text.removeprefix("\ufeff").split("\n")
    start = 0
    for number, line in enumerate(lines):
        if _BOUNDARY.match(line):
            if number > start:
                yield start, "\n".join(lines[start:number])
            # The marker of an end is no part of what follows, that of a beginning is.
            start = number + 1 if line[0] == "." else number
    if start < len(lines):
        yield start, "\n".join(lines[start:])


def _has_content(chunk: str) -> bool:
    return any(
        line.strip() and line.lstrip()[0] not in "#%"
        for line in chunk.removeprefix("---").split("\n")
    )


def _read(index: int, first_line: int, chunk: str) -> Document:
    builder = _Builder(first_line, len(chunk))
    try:
        for event in yaml.parse(chunk, Loader=yaml.CSafeLoader):
            builder.take(event)
    except yaml.YAMLError as error:
        return Document(
            index, _error_line(error, first_line, chunk), error=_words(error, first_line, chunk)
        )
    except _Refused as error:
        return Document(index, error.line, error=str(error))
    return Document(
        index,
        builder.root_line or first_line + 1,
        builder.root,
        tuple(builder.duplicates),
        _lines=builder.lines,
    )


def _error_line(error: yaml.YAMLError, first_line: int, chunk: str) -> int:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        # An unclosed quote is noticed behind the last line.
        last = chunk.rstrip().count("\n")
        return first_line + min(_line(error.problem_mark), last) + 1
    position = int(getattr(error, "position", 0))
    return first_line + chunk.encode()[:position].count(b"\n") + 1


def _line(mark: Any) -> int:
    """Line of a mark, from 0."""
    return int(mark.line)


def _words(error: yaml.YAMLError, first_line: int, chunk: str) -> str:
    if isinstance(error, yaml.MarkedYAMLError):
        message = f"not valid YAML: {error.problem}"
        if error.context and error.context_mark is not None:
            message += f" {error.context} that begins in line "
            message += str(first_line + _line(error.context_mark) + 1)
    else:
        message = f"not valid YAML: {getattr(error, 'reason', error)}"
    if "{{" in chunk:
        message += "; it looks like a template: render it first, for example with `helm template`"
    return message


@dataclass(slots=True)
class _Open:
    """A mapping or list that is being filled."""

    value: Any
    line: int
    anchor: str | None
    key: Scalar | None = None
    size: int = 1
    # Only a plain `<<` merges; a quoted one is a key like any other.
    merges: bool = False
    merged: list[Any] = field(default_factory=list)


class _Builder:
    """Makes plain values of the events of one document."""

    def __init__(self, first_line: int, length: int) -> None:
        self.root: Any = None
        self.root_line = 0
        self.lines: dict[int, dict[str, Scalar]] = {}
        self.duplicates: list[Duplicate] = []
        self._first_line = first_line
        # A value that is written out takes a character at least: more values come from aliases.
        self._budget = length + 1000
        self._stack: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int]] = {}

    def take(self, event: yaml.Event) -> None:
        match event:
            case yaml.ScalarEvent():
                self._scalar(event)
            case yaml.MappingStartEvent():
                self._begin({}, event)
            case yaml.SequenceStartEvent():
                self._begin([], event)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._end()
            case yaml.AliasEvent():
                self._alias(event)

    def _line(self, event: yaml.Event) -> int:
        return self._first_line + _line(event.start_mark) + 1

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        written = Scalar(event.value, self._line(event))
        value = self._resolve(event, written.line)
        if event.anchor:
            self._anchors[event.anchor] = (value, 1)
        self._add(value, written, 1, plain=event.implicit[0])

    def _resolve(self, event: yaml.ScalarEvent, line: int) -> Any:
        tag = _known_tag(event, line)
        if tag in (f"{_STANDARD_TAG}str", f"{_STANDARD_TAG}binary", "!") or not (
            event.implicit[0] or tag
        ):
            return event.value
        value = plain_scalar(event.value)
        if isinstance(value, float) and not isfinite(value):
            raise _Refused(line, f"JSON, and so Kubernetes, has no number {event.value[:40]}")
        return value

    def _begin(self, value: Any, event: Any) -> None:
        line = self._line(event)
        _known_tag(event, line)
        if len(self._stack) >= MAX_DEPTH:
            raise _Refused(line, f"nested deeper than {MAX_DEPTH} levels")
        top = self._stack[-1] if self._stack else None
        if top is not None and isinstance(top.value, dict) and top.key is None:
            raise _Refused(line, _KEY_IS_NO_TEXT)
        if not self._stack:
            self.root_line = line
        if isinstance(value, dict):
            self.lines[id(value)] = {}
        self._stack.append(_Open(value, line, event.anchor))

    def _end(self) -> None:
        done = self._stack.pop()
        for merged in done.merged:
            for source in merged if isinstance(merged, list) else [merged]:
                if not isinstance(source, dict):
                    raise _Refused(done.line, "`<<` takes a mapping or a list of mappings")
                for key, value in source.items():
                    if key not in done.value:
                        done.value[key] = value
                        self.lines[id(done.value)][key] = self.lines[id(source)][key]
        if done.anchor:
            self._anchors[done.anchor] = (done.value, done.size)
        self._add(done.value, Scalar("", done.line), done.size)

    def _alias(self, event: yaml.AliasEvent) -> None:
        line = self._line(event)
        if event.anchor not in self._anchors:
            raise _Refused(line, f"the alias *{event.anchor} has no anchor before it")
        value, size = self._anchors[event.anchor]
        self._add(value, Scalar("", line), size)

    def _add(self, value: Any, written: Scalar, size: int, *, plain: bool = False) -> None:
        if not self._stack:
            self.root = value
            self.root_line = self.root_line or written.line
            return
        top = self._stack[-1]
        top.size += size
        if top.size > self._budget:
            raise _Refused(
                written.line,
                "its aliases stand for more values than the document has characters: write the "
                "values out",
            )
        if isinstance(top.value, list):
            top.value.append(value)
        elif top.key is None:
            top.key = Scalar(_key_text(value, written), written.line)
            top.merges = plain and top.key.text == "<<"
        else:
            self._set(top, top.key, value, written)
            top.key = None

    def _set(self, top: _Open, key: Scalar, value: Any, written: Scalar) -> None:
        if top.merges:
            top.merged.append(value)
            return
        known = self.lines[id(top.value)]
        if key.text in known:
            self.duplicates.append(Duplicate(key.line, key.text, known[key.text].line))
        top.value[key.text] = value
        known[key.text] = Scalar(written.text, key.line)


def _known_tag(event: Any, line: int) -> str:
    tag = str(event.tag or "")
    if tag and not tag.startswith(_STANDARD_TAG) and tag != "!":
        raise _Refused(line, f"the tag {tag} means nothing to Kubernetes: remove it")
    return tag


def _key_text(value: Any, written: Scalar) -> str:
    """The text that JSON has for a key: `8080: x` is `{"8080": "x"}`."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, int | float):
        return str(value)
    raise _Refused(written.line, _KEY_IS_NO_TEXT)


def plain_scalar(text: str) -> Any:
    """What an unquoted scalar means in the YAML 1.1 of Kubernetes' own reader.

    It differs from PyYAML: `y` is a boolean, `1e3` a number, `1:30` and dates are text.
    """
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if match := _INTEGER.fullmatch(text):
        base = next(name for name in _BASES if match[name] is not None)
        digits = match[base].replace("_", "")
        if 0 < len(digits) <= _LONGEST_INTEGER:
            number = int(digits, _BASES[base])
            return -number if match["sign"] == "-" else number
    if _FLOAT.fullmatch(text):
        return float(text)
    if text.lower().lstrip("+-") in (".inf", ".nan"):
        return float(text.lower().replace(".", "", 1))
    return text
