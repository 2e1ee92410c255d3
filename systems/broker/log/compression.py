"""Kafka's codecs, for the few places that must look inside a batch. What is produced, replicated and fetched is
never opened."""

from __future__ import annotations

from typing import Final

from aiokafka import codec

GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4

_DECODERS: Final = {
    GZIP: codec.gzip_decode,
    SNAPPY: codec.snappy_decode,
    LZ4: codec.lz4_decode,
    ZSTD: codec.zstd_decode,
}
_ENCODERS: Final = {
    GZIP: codec.gzip_encode,
    SNAPPY: codec.snappy_encode,
    LZ4: codec.lz4_encode,
    ZSTD: codec.zstd_encode,
}


class BadCompression(Exception):
    """Bytes that are not what their codec writes, or a codec that nobody knows."""


def decompress(codec_number: int, data: bytes) -> bytes:
    """Raises `BadCompression`."""
    if codec_number == 0:
        return data
    decode = _DECODERS.get(codec_number)
    if decode is None:
        raise BadCompression(f"codec {codec_number}")
    try:
        return bytes(decode(data))
    except Exception as error:  # each codec has errors of its own
        raise BadCompression(f"codec {codec_number}: {error}") from error


def compress(codec_number: int, data: bytes) -> bytes:
    return data if codec_number == 0 else bytes(_ENCODERS[codec_number](data))
