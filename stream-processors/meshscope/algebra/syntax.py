"""Reads regular expressions as RE2 does by default, which is how Envoy uses it.

What RE2 refuses is `InvalidPatternError`. What it takes and this module does not model is
`UnmodelledError`: word boundaries, multi-line anchors, Unicode classes, single bytes, and case
folding of letters beyond ASCII.
"""

from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from meshscope.algebra.automata import TOP
from meshscope.algebra.intervals import Intervals, complement, intersection, intervals

MAX_REPEAT: Final = 1000
"""RE2's limit for counted repetition, also for nested ones multiplied."""


class InvalidPatternError(ValueError):
    """RE2 refuses the pattern."""


class UnmodelledError(ValueError):
    """RE2 takes the pattern, but its meaning is not modelled here."""


@dataclass(frozen=True, slots=True)
class Characters:
    """One character of a set."""

    members: Intervals


@dataclass(frozen=True, slots=True)
class Sequence:
    """One after the other."""

    items: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several."""

    items: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """`least` to `most` times; None: without end."""

    item: "Node"
    least: int
    most: int | None


@dataclass(frozen=True, slots=True)
class Anchor:
    """The empty string, at the beginning or at the end of the text alone."""

    at_end: bool


Node: TypeAlias = Characters | Sequence | Choice | Repeat | Anchor


@dataclass(frozen=True, slots=True)
class _Flags:
    ignore_case: bool = False
    multi_line: bool = False
    dot_newline: bool = False


def _points(*characters: str) -> Intervals:
    return intervals((ord(character), ord(character)) for character in characters)


def _ranges(text: str) -> Intervals:
    """`"azAZ"` is a to z and A to Z."""
    return intervals((ord(text[i]), ord(text[i + 1])) for i in range(0, len(text), 2))


_PERL: Final = {
    "d": _ranges("09"),
    "w": _ranges("09AZ__az"),
    "s": _points("\t", "\n", "\f", "\r", " "),
}
_POSIX: Final = {
    "alnum": _ranges("09AZaz"),
    "alpha": _ranges("AZaz"),
    "ascii": ((0, 0x7F),),
    "blank": _points("\t", " "),
    "cntrl": ((0, 0x1F), (0x7F, 0x7F)),
    "digit": _ranges("09"),
    "graph": ((0x21, 0x7E),),
    "lower": _ranges("az"),
    "print": ((0x20, 0x7E),),
    "punct": ((0x21, 0x2F), (0x3A, 0x40), (0x5B, 0x60), (0x7B, 0x7E)),
    "space": _points("\t", "\n", "\v", "\f", "\r", " "),
    "upper": _ranges("AZ"),
    "word": _ranges("09AZ__az"),
    "xdigit": _ranges("09AFaf"),
}
_ESCAPES: Final = {"a": 7, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11}
_HEX: Final = frozenset("0123456789abcdefABCDEF")
_OCTAL: Final = frozenset("01234567")
_ASCII: Final[Intervals] = ((0, 0x7F),)
_FOLDS_TO_ASCII: Final = {"k": "\u212a", "s": "\u017f"}
"""The two characters beyond ASCII that RE2 takes for ASCII letters where case does not count."""


def parse(pattern: str) -> Node:
    """The syntax tree of a pattern.

    Raises:
        InvalidPatternError, UnmodelledError: See the module.
    """
    parser = _Parser(pattern)
    node = parser.choice(_Flags())
    if parser.rest():
        raise InvalidPatternError(f"unexpected ) in {pattern!r}")
    _check_repeats(node, 1, pattern)
    return node


def _check_repeats(node: Node, factor: int, pattern: str) -> None:
    match node:
        case Sequence(items) | Choice(items):
            for item in items:
                _check_repeats(item, factor, pattern)
        case Repeat(item, least, most):
            factor *= max(least, most or 0, 1)
            if factor > MAX_REPEAT:
                raise InvalidPatternError(f"more than {MAX_REPEAT} repetitions in {pattern!r}")
            _check_repeats(item, factor, pattern)


class _Parser:
    """Recursive descent; `_at` is the next character."""

    def __init__(self, pattern: str) -> None:
        self._text = pattern
        self._at = 0

    def rest(self) -> str:
        """What was not read."""
        return self._text[self._at :]

    def choice(self, flags: _Flags) -> Node:
        """Alternatives up to the end or a closing parenthesis."""
        alternatives = []
        items: list[Node] = []
        repeated = False
        while self.rest() and not self._sees(")"):
            if self._takes("|"):
                alternatives.append(_sequence(items))
                items = []
            elif self._sees("(?") and (changed := self._flags_alone(flags)) is not None:
                # What is repeated after it is what stands before it.
                flags = changed
            elif self._takes(r"\Q"):
                quoted, found, after = self.rest().partition(r"\E")
                self._at = len(self._text) - len(after) if found else len(self._text)
                items += [_literal(ord(character), flags) for character in quoted]
            elif (bounds := self._bounds()) is not None:
                if repeated or not items:
                    raise InvalidPatternError(f"nothing to repeat in {self._text!r}")
                items[-1] = self._repeated(items[-1], *bounds)
                repeated = True
                continue
            else:
                items.append(self._atom(flags))
            repeated = False
        alternatives.append(_sequence(items))
        return alternatives[0] if len(alternatives) == 1 else Choice(tuple(alternatives))

    def _sees(self, text: str) -> bool:
        return self._text.startswith(text, self._at)

    def _takes(self, text: str) -> bool:
        if not self._sees(text):
            return False
        self._at += len(text)
        return True

    def _next(self) -> str:
        if self._at == len(self._text):
            raise InvalidPatternError(f"{self._text!r} ends too early")
        self._at += 1
        return self._text[self._at - 1]

    def _repeated(self, item: Node, least: int, most: int | None) -> Node:
        self._takes("?")  # takes as little as it can: not whether there is a match
        if least > MAX_REPEAT or (most is not None and (most > MAX_REPEAT or most < least)):
            raise InvalidPatternError(f"invalid repetition size in {self._text!r}")
        return Repeat(item, least, most)

    def _bounds(self) -> tuple[int, int | None] | None:
        """A repetition operator, if there is one here."""
        for operator, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._takes(operator):
                return bounds
        if not self._sees("{"):
            return None
        inner, closed, _ = self._text[self._at + 1 :].partition("}")
        least, comma, most = inner.partition(",")
        if not closed or not _is_number(least) or (most and not _is_number(most)):
            return None
        self._at += len(inner) + 2
        if not comma:
            return int(least), int(least)
        return int(least), int(most) if most else None

    def _atom(self, flags: _Flags) -> Node:
        character = self._next()
        match character:
            case "(":
                return self._group(flags)
            case "[":
                return Characters(self._set(flags))
            case ".":
                every: Intervals = ((0, TOP),)
                return Characters(every if flags.dot_newline else complement(_points("\n"), TOP))
            case "^" | "$":
                if flags.multi_line:
                    raise UnmodelledError("multi-line anchor")
                return Anchor(at_end=character == "$")
            case "\\":
                return self._escape(flags)
        return _literal(ord(character), flags)

    def _group(self, flags: _Flags) -> Node:
        if self._takes("?P<") or self._takes("?<"):
            name, closed, _ = self.rest().partition(">")
            if not closed or not name.isidentifier():
                raise InvalidPatternError(f"invalid group name in {self._text!r}")
            self._at += len(name) + 1
        elif self._takes("?"):
            flags = self._flag_letters(flags, ":")
        node = self.choice(flags)
        if not self._takes(")"):
            raise InvalidPatternError(f"missing ) in {self._text!r}")
        return node

    def _flags_alone(self, flags: _Flags) -> _Flags | None:
        """The flags after `(?flags)`, or None where a group begins here."""
        inner, closed, _ = self._text[self._at + 2 :].partition(")")
        if not closed or not set(inner) <= set("imsU-"):
            return None
        self._at += 2
        return self._flag_letters(flags, ")")

    def _flag_letters(self, flags: _Flags, end: str) -> _Flags:
        on = True
        letters = 0
        while (letter := self._next()) != end:
            letters += 1
            match letter:
                case "i":
                    flags = replace(flags, ignore_case=on)
                case "m":
                    flags = replace(flags, multi_line=on)
                case "s":
                    flags = replace(flags, dot_newline=on)
                case "U":
                    pass  # which of several matches is found: not whether there is one
                case "-" if on:
                    on, letters = False, 0
                case _:
                    raise InvalidPatternError(f"invalid group in {self._text!r}")
        if letters == 0 and not on:
            raise InvalidPatternError(f"missing flag in {self._text!r}")
        return flags

    def _escape(self, flags: _Flags) -> Node:
        if self._takes("A"):
            return Anchor(at_end=False)
        if self._takes("z"):
            return Anchor(at_end=True)
        found = self._class_escape(flags)
        if found is not None:
            return Characters(found)
        if self.rest()[:1] in ("b", "B", "C"):
            raise UnmodelledError(f"\\{self.rest()[:1]}")
        return _literal(self._character_escape(), flags)

    def _class_escape(self, flags: _Flags) -> Intervals | None:
        """What follows a backslash, if it is a class."""
        letter = self.rest()[:1]
        if letter in ("p", "P"):
            raise UnmodelledError("Unicode class")
        members = _PERL.get(letter.lower())
        if members is None:
            return None
        self._at += 1
        members = _folded(members, flags)
        return members if letter.islower() else complement(members, TOP)

    def _character_escape(self) -> int:
        """What follows a backslash, if it is one character."""
        letter = self._next()
        if letter in _ESCAPES:
            return _ESCAPES[letter]
        if letter == "x":
            return self._hexadecimal()
        if letter in _OCTAL and (letter == "0" or self.rest()[:1] in tuple(_OCTAL)):
            digits = letter
            while len(digits) < 3 and self.rest()[:1] in tuple(_OCTAL):
                digits += self._next()
            return int(digits, 8)
        if letter.isascii() and not letter.isalnum():
            return ord(letter)
        raise InvalidPatternError(f"invalid escape \\{letter} in {self._text!r}")

    def _hexadecimal(self) -> int:
        if self._takes("{"):
            digits, closed, _ = self.rest().partition("}")
            length = len(digits) + 1
        else:
            digits, closed, length = self.rest()[:2], "", 2
        if not digits or not set(digits) <= _HEX or (not closed and len(digits) != 2):
            raise InvalidPatternError(f"invalid escape \\x in {self._text!r}")
        self._at += length
        if int(digits, 16) > TOP:
            raise InvalidPatternError(f"no such character in {self._text!r}")
        return int(digits, 16)

    def _set(self, flags: _Flags) -> Intervals:
        """A bracket expression after its `[`."""
        negated = self._takes("^")
        members: list[tuple[int, int]] = []
        first = True
        while first or not self._sees("]"):
            first = False
            members += self._set_item(flags)
        self._at += 1
        found = intervals(members)
        return complement(found, TOP) if negated else found

    def _set_item(self, flags: _Flags) -> Intervals:
        if self._sees("[:"):
            name, closed, _ = self._text[self._at + 2 :].partition(":]")
            if closed:
                members = _POSIX.get(name.removeprefix("^"))
                if members is None:
                    raise InvalidPatternError(f"invalid class [:{name}:] in {self._text!r}")
                self._at += len(name) + 4
                members = _folded(members, flags)
                return complement(members, TOP) if name.startswith("^") else members
        if self._sees("\\"):
            self._at += 1
            found = self._class_escape(flags)
            if found is not None:
                return found
            self._at -= 1
        low = high = self._set_character()
        if self._sees("-") and self._text[self._at + 1 : self._at + 2] not in ("]", ""):
            self._at += 1
            high = self._set_character()
        if high < low:
            raise InvalidPatternError(f"invalid range in {self._text!r}")
        return _folded(((low, high),), flags)

    def _set_character(self) -> int:
        character = self._next()
        return self._character_escape() if character == "\\" else ord(character)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _sequence(items: list[Node]) -> Node:
    return items[0] if len(items) == 1 else Sequence(tuple(items))


def _literal(code: int, flags: _Flags) -> Characters:
    return Characters(_folded(((code, code),), flags))


def _folded(members: Intervals, flags: _Flags) -> Intervals:
    """The set with all cases of its letters, if case does not count."""
    if not flags.ignore_case:
        return members
    if _has_foreign_case(members):
        raise UnmodelledError("case folding beyond ASCII")
    extra = list(members)
    for first, last in intersection(members, _ranges("AZaz")):
        extra += [(ord(chr(code).swapcase()),) * 2 for code in range(first, last + 1)]
    folded = intervals(extra)
    beyond = [c for letter, c in _FOLDS_TO_ASCII.items() if intersection(folded, _points(letter))]
    return intervals((*folded, *_points(*beyond)))


def _has_foreign_case(members: Intervals) -> bool:
    """Whether there is a letter with case beyond ASCII in a set that is not nearly everything."""
    for first, last in intersection(members, complement(_ASCII, TOP)):
        if last - first > 0x1000:
            if not (first == 0x80 and last == TOP):
                return True
        elif any(
            chr(c).lower() != chr(c) or chr(c).upper() != chr(c) for c in range(first, last + 1)
        ):
            return True
    return False
