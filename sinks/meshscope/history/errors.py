"""What can go wrong, and what the sink then does.

```
HistoryError
├── Away                 wait and try again; stay in the group, commit nothing
│   ├── StoreAway
│   └── BrokerAway
├── RowsRejected         bisect, put the row that is wrong on the dead-letter topic, go on
├── StoreMisconfigured   stop with exit code 2: it would never work
├── TooManyDeadLetters   stop with exit code 3, commit nothing: it is not one record that is wrong
└── DeadLetterRefused    stop with exit code 75, commit nothing: start again
```
"""

from typing import ClassVar, Final

from clickhouse_connect.driver.exceptions import DataError, OperationalError, ProgrammingError


class HistoryError(Exception):
    """Base of all errors of the history."""


class Away(HistoryError):
    """Something does not answer, or cannot do now what it will do later.

    Attributes:
        who: What it is, for a message.
    """

    who: ClassVar[str]


class StoreAway(Away):
    """ClickHouse does not answer, or cannot take rows now."""

    who = "ClickHouse"


class BrokerAway(Away):
    """The broker does not answer, or does not take offsets or dead letters now."""

    who = "the broker"


class RowsRejected(HistoryError):
    """ClickHouse does not take these rows: at least one of them is wrong."""


class StoreMisconfigured(HistoryError):
    """ClickHouse answers that this will never work, such as no such table, or no right to it."""


class TooManyDeadLetters(HistoryError):
    """So many records in a row cannot be kept that something else must be wrong."""


class DeadLetterRefused(HistoryError):
    """The broker did not take a dead letter."""


CODES_OF_BAD_ROWS: Final = frozenset(
    {
        6,  # CANNOT_PARSE_TEXT
        26,  # CANNOT_PARSE_QUOTED_STRING
        27,  # CANNOT_PARSE_INPUT_ASSERTION_FAILED
        33,  # CANNOT_READ_ALL_DATA
        38,  # CANNOT_PARSE_DATE
        41,  # CANNOT_PARSE_DATETIME
        53,  # TYPE_MISMATCH
        69,  # ARGUMENT_OUT_OF_BOUND
        70,  # CANNOT_CONVERT_TYPE
        72,  # CANNOT_PARSE_NUMBER
        117,  # INCORRECT_DATA
        131,  # TOO_LARGE_STRING_SIZE
        321,  # VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
        469,  # VIOLATED_CONSTRAINT
    }
)
CODES_OF_MISCONFIGURATION: Final = frozenset(
    {
        16,  # NO_SUCH_COLUMN_IN_TABLE
        47,  # UNKNOWN_IDENTIFIER
        60,  # UNKNOWN_TABLE
        62,  # SYNTAX_ERROR
        81,  # UNKNOWN_DATABASE
        115,  # UNKNOWN_SETTING
        164,  # READONLY
        192,  # UNKNOWN_USER
        193,  # WRONG_PASSWORD
        194,  # REQUIRED_PASSWORD
        497,  # ACCESS_DENIED
        516,  # AUTHENTICATION_FAILED
    }
)


def meaning(error: Exception) -> HistoryError:
    """What an error of the ClickHouse client means.

    What is not known counts as `StoreAway`: waiting loses nothing, and the log says why.
    """
    lines = str(error).strip().splitlines()
    text = f"{type(error).__name__}: {lines[0] if lines else ''}"
    if isinstance(error, DataError | TypeError | ValueError | AttributeError | OverflowError):
        # The client could not serialise a value: no server was asked.
        return RowsRejected(text)
    code = getattr(error, "code", None)
    if code in CODES_OF_BAD_ROWS:
        return RowsRejected(text)
    if code in CODES_OF_MISCONFIGURATION:
        return StoreMisconfigured(text)
    if isinstance(error, ProgrammingError) and not isinstance(error, OperationalError):
        return StoreMisconfigured(text)
    return StoreAway(text)
