"""Bodies of requests without their compression, up to a size."""

from __future__ import annotations

import sys
import zlib
from typing import Protocol

import lz4.frame

from meshscope.embedded.clickhouse_errors import QueryRefused

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes | None: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def decompressed(body: bytes, encoding: str, limit: int) -> bytes:
    """Undo a content encoding: lz4 (frames), zstd, gzip, deflate or identity.

    Args:
        body: As received.
        encoding: Value of `Content-Encoding`.
        limit: Most bytes of the result.

    Raises:
        QueryRefused: The encoding is unknown, the body broken, or the result too large.
    """
    if encoding in ("", "identity"):
        return body
    data, rest = bytearray(), body
    # Clients send large bodies as several frames, one behind the other.
    while rest:
        decompressor = _decompressor(encoding)
        try:
            # One byte more than allowed tells "exactly so large" from "larger".
            data += decompressor.decompress(rest, limit + 1 - len(data))
        except (RuntimeError, zlib.error, zstd.ZstdError) as error:
            raise QueryRefused(117, f"The body is no {encoding}: {error}") from error
        if len(data) > limit:
            raise QueryRefused(307, f"The body is larger than {limit} bytes when decompressed")
        if not decompressor.eof:
            raise QueryRefused(117, f"The body is truncated {encoding}")
        rest = decompressor.unused_data or b""
    return bytes(data)


def _decompressor(encoding: str) -> _Decompressor:
    match encoding:
        case "lz4":
            lz4_decompressor: _Decompressor = lz4.frame.LZ4FrameDecompressor()
            return lz4_decompressor
        case "zstd":
            return zstd.ZstdDecompressor()
        case "gzip":
            return zlib.decompressobj(wbits=31)
        case "deflate":
            return zlib.decompressobj()
    raise QueryRefused(
        48, f"Content-Encoding {encoding} is not supported; use lz4, zstd, gzip, deflate or none"
    )
