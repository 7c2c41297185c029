"""A client of a running sandbox: one method per command, no dependencies but msgspec."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TypeVar

import msgspec

from meshscope.sandbox import protocol
from meshscope.sandbox.errors import CommandRefused, NotRunning
from meshscope.sandbox.paths import SandboxPaths, default_directory

TIMEOUT = 60.0
"""Seconds to wait for an answer. Commands bound their own waiting well below."""

A = TypeVar("A", bound=protocol.Message)


class SandboxClient:
    """Talks to the sandbox in a directory.

    Every method raises `NotRunning` if none answers there, and `CommandRefused` if the sandbox
    refuses. A proxy that rejects an update is not an error: the result says so.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._paths = SandboxPaths(directory or default_directory())

    def state(self, state: str) -> protocol.MutationResult:
        """Moves the mesh to a recorded state: resources and every proxy."""
        return self._mutate(protocol.MoveState(state))

    def declare(self, state: str) -> protocol.MutationResult:
        """Moves the resources alone."""
        return self._mutate(protocol.Declare(state))

    def stale(self, proxy: str, on: bool = True) -> protocol.MutationResult:
        """Keeps pushes from a proxy."""
        return self._mutate(protocol.SetStale(proxy, on))

    def reject(self, proxy: str, kind: protocol.XdsName) -> protocol.MutationResult:
        """Sends a proxy an update that it refuses."""
        return self._mutate(protocol.Reject(proxy, kind))

    def warm(self, proxy: str) -> protocol.MutationResult:
        """Gives a proxy a cluster that never becomes ready."""
        return self._mutate(protocol.Warm(proxy))

    def disconnect(self, proxy: str, on: bool = True) -> protocol.MutationResult:
        """Takes a proxy's control plane away."""
        return self._mutate(protocol.Disconnect(proxy, on))

    def remove_rbac(self, proxy: str, chain: protocol.ChainName = "all") -> protocol.MutationResult:
        """Serves a proxy inbound listeners without RBAC filters."""
        return self._mutate(protocol.RemoveRbac(proxy, chain))

    def overlay(self, name: protocol.OverlayName, on: bool = True) -> protocol.MutationResult:
        """Declares an overlay and pushes it."""
        return self._mutate(protocol.SetOverlay(name, on))

    def heal(self, proxy: str | None = None) -> protocol.MutationResult:
        """Undoes the faults of a proxy, or of all."""
        return self._mutate(protocol.Heal(proxy))

    def status(self) -> protocol.Status:
        """How the mesh is."""
        return self._ask(protocol.GetStatus(), protocol.StatusTold).ok

    def _mutate(self, command: protocol.Mutation) -> protocol.MutationResult:
        return self._ask(command, protocol.MutationDone).ok

    def _ask(self, command: protocol.Command, kind: type[A]) -> A:
        line = self._exchange(msgspec.json.encode(command) + b"\n")
        if not line.endswith(b"\n"):
            raise NotRunning(f"the sandbox in {self._paths.directory} ended before it answered")
        answer = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
        if "error" in answer:
            raise CommandRefused(msgspec.json.decode(answer["error"], type=str))
        return msgspec.json.decode(line, type=kind)

    def _exchange(self, line: bytes) -> bytes:
        directory = None
        try:
            directory = os.open(self._paths.directory, os.O_RDONLY | os.O_DIRECTORY)
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(TIMEOUT)
                # Through a descriptor: the path of a socket may not be longer than 107 bytes.
                connection.connect(f"/proc/self/fd/{directory}/{self._paths.control_socket.name}")
                connection.sendall(line)
                with connection.makefile("rb") as answers:
                    return answers.readline()
        except TimeoutError as error:
            raise NotRunning(
                f"the sandbox in {self._paths.directory} did not answer within {TIMEOUT:.0f} s"
            ) from error
        except OSError as error:
            raise NotRunning(
                f"no sandbox runs in {self._paths.directory} ({error.strerror}); start one, or name"
                " another directory"
            ) from error
        finally:
            if directory is not None:
                os.close(directory)
