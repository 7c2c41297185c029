"""ClickHouse's error codes on the way out: text, code, HTTP status.

The texts are ClickHouse's own ("Code: 60. DB::Exception: … (UNKNOWN_TABLE) (version …)"), so that
clients classify them as they do a server's. The statuses follow ClickHouse's HTTP handler
(`exceptionCodeToHTTPStatus`).
"""

from __future__ import annotations

import re

UNKNOWN_EXCEPTION = 1002

_STATUS_OF_CODE = {
    **dict.fromkeys((26, 27, 38, 41, 43, 53, 62, 72, 117, 130, 167, 168, 456, 457), 400),
    **dict.fromkeys((46, 47, 50, 56, 60, 73, 81, 115), 404),
    159: 408,  # TIMEOUT_EXCEEDED
    223: 400,  # UNEXPECTED_AST_STRUCTURE
    307: 413,  # TOO_MANY_BYTES
    48: 501,  # NOT_IMPLEMENTED
    202: 503,  # TOO_MANY_SIMULTANEOUS_QUERIES
    516: 403,  # AUTHENTICATION_FAILED
}

_NAMES = {
    48: "NOT_IMPLEMENTED",
    62: "SYNTAX_ERROR",
    115: "UNKNOWN_SETTING",
    117: "INCORRECT_DATA",
    202: "TOO_MANY_SIMULTANEOUS_QUERIES",
    307: "TOO_MANY_BYTES",
    516: "AUTHENTICATION_FAILED",
    UNKNOWN_EXCEPTION: "UNKNOWN_EXCEPTION",
}

_CODE = re.compile(r"Code: (\d+)\.")


class QueryRefused(Exception):
    """The endpoint refuses a request before the engine sees it; reads like ClickHouse's errors."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"Code: {code}. DB::Exception: {message}. ({_NAMES[code]})")


def error_code(message: str) -> int:
    """ClickHouse's code in an error text; UNKNOWN_EXCEPTION where it has none."""
    match = _CODE.search(message)
    return int(match.group(1)) if match else UNKNOWN_EXCEPTION


def http_status(code: int) -> int:
    """The HTTP status that ClickHouse answers an error with."""
    return _STATUS_OF_CODE.get(code, 500)


def error_text(message: str, version: str) -> str:
    """The body of an error response, with the engine's version as a server adds it."""
    start = message.find("Code: ")
    text = message[max(start, 0) :].strip()
    if not text.startswith("Code: "):
        text = f"Code: {UNKNOWN_EXCEPTION}. DB::Exception: {text}. (UNKNOWN_EXCEPTION)"
    return f"{text}\n" if "(version " in text else f"{text} (version {version})\n"
