"""Envoy's URI templates (`envoy.path.match.uri_template`)."""

import re
from functools import lru_cache
from typing import Final

from meshscope.algebra.regex import regex
from meshscope.algebra.strings import Language
from meshscope.algebra.syntax import InvalidPatternError

_SEGMENT: Final = "[a-zA-Z0-9._~%!$&'()+,;:@=-]"
"""Characters that `*` stands for."""
_WITH_SLASH: Final = "[a-zA-Z0-9._~%!$&'()+,;:@=/-]"
"""Characters that `**` stands for."""

_VARIABLE: Final = re.compile(r"\{[a-zA-Z][a-zA-Z0-9_]*(?:=([^{}]+))?\}")


@lru_cache(maxsize=4096)
def template(text: str) -> Language:
    """The paths that a template matches.

    `*` is one segment, `**` any number of characters, slashes included, `{name}` as `*`, and
    `{name=…}` what stands after the equals sign.

    Raises:
        InvalidPatternError: It is no template.
    """
    if not text.startswith("/"):
        raise InvalidPatternError(f"the template {text!r} does not begin with a slash")
    plain = _VARIABLE.sub(lambda found: found[1] or "*", text)
    if "{" in plain or "}" in plain:
        raise InvalidPatternError(f"the template {text!r} has a brace without its partner")
    parts = re.split(r"(\*\*|\*)", plain)
    return regex(
        "".join(
            {"*": f"{_SEGMENT}+", "**": f"{_WITH_SLASH}*"}.get(part) or re.escape(part)
            for part in parts
        )
    )
