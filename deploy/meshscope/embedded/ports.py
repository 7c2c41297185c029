"""Loopback ports: take one, or say who has it."""

from __future__ import annotations

import socket

import psutil

HOST = "127.0.0.1"


class PortInUse(Exception):
    """A port is taken; the text names the setting that moves it and, if known, who has it."""


def listening_socket(port: int, service: str, setting: str) -> socket.socket:
    """A socket that listens on a loopback port.

    Args:
        port: The port.
        service: Who wants it, for the message.
        setting: The setting that changes the port, for the message.

    Raises:
        PortInUse: somebody else listens there.
    """
    sock = socket.socket()
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((HOST, port))
        sock.listen(128)
    except OSError as error:
        sock.close()
        raise PortInUse(port_in_use(port, service, setting)) from error
    return sock


def check_port(port: int, service: str, setting: str) -> None:
    """Make sure that a port can be listened on.

    Raises:
        PortInUse: it cannot.
    """
    listening_socket(port, service, setting).close()


def port_in_use(port: int, service: str, setting: str) -> str:
    """The message about a taken port."""
    holder = _listener(port)
    by = f" (by pid {holder})" if holder is not None else ""
    return f"port {port} of the {service} is in use{by}; set {setting} or stop it"


def _listener(port: int) -> int | None:
    """The pid that listens on a port; None where the system does not tell this user."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        return None
    for connection in connections:
        address = connection.laddr
        if connection.status == psutil.CONN_LISTEN and address and address.port == port:
            pid: int | None = connection.pid
            return pid
    return None
