"""What a PEM file of certificates says about serial number, validity and identity.

A reader of the few fields of X.509 (RFC 5280) that a mesh's trust depends on; nothing is verified.
"""

import base64
import binascii
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from meshscope.events.facts import Certificate

_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)

_SEQUENCE: Final = 0x30
_INTEGER: Final = 0x02
_UTC_TIME: Final = 0x17
_VERSION: Final = 0xA0
_EXTENSIONS: Final = 0xA3
_URI: Final = 0x86
_SUBJECT_ALT_NAME: Final = b"\x06\x03\x55\x1d\x11"


class UnreadableCertificate(ValueError):
    """Bytes that are no certificate; the message says what is wrong."""


def read_certificates(pem: bytes, role: str) -> tuple[Certificate, ...]:
    """The certificates of a PEM file, in its order.

    Raises:
        UnreadableCertificate: One of them cannot be read.
    """
    try:
        return tuple(_certificate(base64.b64decode(match[1]), role) for match in _PEM.finditer(pem))
    except (IndexError, ValueError, binascii.Error) as error:
        raise UnreadableCertificate(f"no X.509 certificate: {error}") from error


def canonical_serial(serial: str) -> str:
    """A serial number in hexadecimal as `Certificate.serial` has it."""
    return serial.lower().replace(":", "").lstrip("0") or "0"


def _certificate(der: bytes, role: str) -> Certificate:
    to_be_signed = _content(_content(der, _SEQUENCE), _SEQUENCE)
    fields = [field for field in _children(to_be_signed) if field[0] != _VERSION]
    (tag, serial), _, _, (_, validity) = fields[:4]
    if tag != _INTEGER:
        raise ValueError("its serial number is no integer")
    begins, ends = (_time(*time) for time in _children(validity))
    extensions = next((content for tag, content in fields if tag == _EXTENSIONS), b"")
    return Certificate(
        role=role,
        serial=canonical_serial(serial.hex()),
        identity=next(_uris(extensions), ""),
        valid_from=begins,
        expires_at=ends,
    )


def _children(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each element in a constructed one."""
    place = 0
    while place < len(content):
        tag, length, place = content[place], content[place + 1], place + 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(content[place : place + size])
            place += size
        if place + length > len(content):
            raise ValueError("it is truncated")
        yield tag, content[place : place + length]
        place += length


def _content(element: bytes, tag: int) -> bytes:
    found, content = next(_children(element), (0, b""))
    if found != tag:
        raise ValueError("it does not begin as one")
    return content


def _time(tag: int, content: bytes) -> int:
    text = content.decode("ascii")
    # Two digits of a year stand for 1950 to 2049 (RFC 5280, 4.1.2.5.1).
    if tag == _UTC_TIME:
        text = ("19" if text >= "50" else "20") + text
    return int(datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp() * 1000)


def _uris(extensions: bytes) -> Iterator[str]:
    for _, extension in _children(_content(extensions, _SEQUENCE) if extensions else b""):
        if extension.startswith(_SUBJECT_ALT_NAME):
            _, value = list(_children(extension))[-1]
            for tag, name in _children(_content(value, _SEQUENCE)):
                if tag == _URI:
                    yield name.decode("ascii")
