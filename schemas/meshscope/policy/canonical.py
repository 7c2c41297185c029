"""One form for one meaning.

Contents are frozen dataclasses whose constructors bring them into canonical form: order only where
order has a meaning, sorted tuples without repetition elsewhere, defaults written out. The bytes of
a content are its JSON with fields in the order of their definition, so equal bytes mean equal
contents, and the digest is a hash over them.
"""

import hashlib
from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec

IR_VERSION = 1
"""Version of the vocabulary; it is part of every digest."""

T = TypeVar("T")
_encode = msgspec.json.Encoder().encode
_encode_sorted = msgspec.json.Encoder(order="sorted").encode


def content_bytes(content: object) -> bytes:
    """The canonical JSON of a content, UTF-8."""
    return _encode(content)


def canonical_json(value: object) -> str:
    """Parsed JSON as JSON with sorted keys, without spaces, letters as they are."""
    return _encode_sorted(value).decode()


def digest_bytes(domain: str, data: bytes) -> str:
    """Hash of `data` for a purpose; 128 bits of BLAKE2b, as 32 hexadecimal digits."""
    hasher = hashlib.blake2b(f"{IR_VERSION}:{domain}:".encode(), digest_size=16)
    hasher.update(data)
    return hasher.hexdigest()


def as_set(items: Iterable[T]) -> tuple[T, ...]:
    """Items whose order means nothing: sorted by their canonical bytes, each once."""
    found = tuple(items)
    if len(found) < 2:
        return found
    unique = {content_bytes(item): item for item in found}
    return tuple(unique[data] for data in sorted(unique))


def replace_fields(value: object, /, **fields: Any) -> None:
    """Set fields of a frozen dataclass; for `__post_init__` alone."""
    for name, field in fields.items():
        object.__setattr__(value, name, field)
