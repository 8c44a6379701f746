"""Packing of HTTP bodies: the encodings that ClickHouse clients use, lz4 frames included."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Protocol

from deploy.local.http_protocol import MAX_BODY_BYTES, ProtocolError


class Compressor(Protocol):
    """Packs a body piece by piece."""

    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


class _Lz4Frame:
    def __init__(self) -> None:
        import lz4.frame  # type: ignore[import-untyped]  # ships no types

        self._frame = lz4.frame.LZ4FrameCompressor()
        self._header = self._frame.begin()

    def compress(self, data: bytes, /) -> bytes:
        packed: bytes = self._header + self._frame.compress(data)
        self._header = b""
        return packed

    def flush(self) -> bytes:
        tail: bytes = self._header + self._frame.flush()
        return tail


def _zstd() -> Compressor:
    from backports import zstd

    packer: Compressor = zstd.ZstdCompressor()
    return packer


_COMPRESSORS: dict[str, Callable[[], Compressor]] = {
    "lz4": _Lz4Frame,
    "zstd": _zstd,
    "gzip": lambda: zlib.compressobj(1, wbits=31),
    "deflate": lambda: zlib.compressobj(1),
}


def choose_compressor(accept_encoding: str, *, enabled: bool) -> tuple[str, Compressor] | None:
    """The first encoding both sides know, cheapest first; None to send plain bytes.

    ClickHouse compresses only when `enable_http_compression=1` is sent, hence `enabled`.

    >>> choose_compressor("gzip, deflate", enabled=True)[0]
    'gzip'
    """
    if not enabled:
        return None
    accepted = {part.split(";")[0].strip().lower() for part in accept_encoding.split(",")}
    for name, make in _COMPRESSORS.items():
        if name in accepted:
            try:
                return name, make()
            except ImportError:
                continue
    return None


def decompress(body: bytes, encoding: str, max_bytes: int = MAX_BODY_BYTES) -> bytes:
    """Undo a request's Content-Encoding; refuse what would grow past `max_bytes`.

    Raises ProtocolError for an unknown encoding, corrupt data and data that is too large.
    """
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return body
    try:
        plain, finished = _inflate(name, body, max_bytes)
    except ImportError as error:
        text = f"Content-Encoding {name} needs a package: {error}"
        raise ProtocolError(48, "NOT_IMPLEMENTED", text) from error
    except ProtocolError:
        raise
    except Exception as error:  # each codec has its own exception class, none of them public API
        raise ProtocolError(117, "INCORRECT_DATA", f"Body is not valid {name}: {error}") from error
    if len(plain) > max_bytes:
        raise ProtocolError(166, "QUERY_IS_TOO_LARGE", f"Body is over {max_bytes} bytes after decompression")
    if not finished:
        raise ProtocolError(117, "INCORRECT_DATA", f"Body is not valid {name}: it ends too early")
    return plain


def _inflate(name: str, body: bytes, max_bytes: int) -> tuple[bytes, bool]:
    """Up to max_bytes + 1 plain bytes, and whether the compressed stream was complete."""
    limit = max_bytes + 1
    if name == "br":
        import brotli  # type: ignore[import-not-found]  # optional: clients send br only where they have it

        return bytes(brotli.decompress(body)), True
    # Clients pack block by block: a body is any number of frames, one after the other.
    parts: list[bytes] = []
    while True:
        frame = _decompressor(name)
        part = frame.decompress(body, limit)
        parts.append(part)
        limit -= len(part)
        body = frame.unused_data or b""
        if not frame.eof or not body or limit <= 0:
            return b"".join(parts), frame.eof and not body


class Decompressor(Protocol):
    """Unpacks one frame; what follows it is `unused_data`."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes | None: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def _decompressor(name: str) -> Decompressor:
    unpacker: Decompressor
    if name in ("gzip", "x-gzip", "deflate"):
        unpacker = zlib.decompressobj(15 if name == "deflate" else 31)
    elif name == "lz4":
        import lz4.frame

        unpacker = lz4.frame.LZ4FrameDecompressor()
    elif name == "zstd":
        from backports import zstd

        unpacker = zstd.ZstdDecompressor()
    else:
        raise ProtocolError(48, "NOT_IMPLEMENTED", f"Unknown Content-Encoding {name}")
    return unpacker
