"""What can go wrong with a sandbox, and what the person who started it can do about it.

SandboxError            anything below; the message is meant for a person
├── SandboxDataError    the recorded mesh inside the package cannot be read
├── CannotStart         an address is taken, a directory is not ours, Envoy does not run
├── CommandRefused      a command that makes no sense now (unknown proxy, no such chain)
└── NotRunning          no sandbox answers in the given directory
"""

from __future__ import annotations


class SandboxError(Exception):
    """A failure of the sandbox; its text says what happened and what to do."""


class SandboxDataError(SandboxError):
    """The recorded mesh is missing, unreadable or lacks the requested part."""


class CannotStart(SandboxError):
    """The sandbox cannot start here and now: address in use, unusable directory, no Envoy."""


class CommandRefused(SandboxError):
    """The command does not apply to the mesh in its present state; nothing was changed."""


class NotRunning(SandboxError):
    """No sandbox answers in this directory."""
