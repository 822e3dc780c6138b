"""Streams through gzip and zstd, in both directions; the C libraries let go of the interpreter lock while they work."""

from collections.abc import Callable, Iterator
from typing import IO, Any, Protocol, cast

from shared.errors import InvalidInput, Unsupported
from shared.oci import Compression, detect_compression

_STEP = 4 << 20  # at most so much comes out of the decompressor at once, whatever the input claims


class Compressor(Protocol):
    """Bytes in, compressed bytes out; `flush` ends the stream."""

    def compress(self, data: bytes | bytearray | memoryview) -> bytes: ...

    def flush(self) -> bytes: ...


class _Plain:
    def compress(self, data: bytes | bytearray | memoryview) -> bytes:
        return bytes(data)

    def flush(self) -> bytes:
        return b""


def compressor(kind: Compression, level: int = -1) -> Compressor:
    """A fresh compressor; `level` -1 = the default. The output depends on nothing but the input, kind and level.

    gzip 0–9: the fast ISA-L coder serves -1 and 1–5, zlib the levels that ask for size. zstd 0–22. Raises InvalidInput, Unsupported.
    """
    match kind:
        case Compression.UNCOMPRESSED:
            return _Plain()
        case Compression.GZIP:
            return _gzip(level)
        case Compression.ZSTD:
            return _zstd(level)
        case _:
            raise Unsupported(f"compression {kind} is not supported")


def _gzip(level: int) -> Compressor:
    if not -1 <= level <= 9:
        raise InvalidInput(f"gzip compression level must be between 0 and 9, not {level}")
    if level == 0 or level >= 6:
        import zlib

        return zlib.compressobj(level, zlib.DEFLATED, 31)
    from isal import isal_zlib

    result: Compressor = isal_zlib.compressobj({-1: 2, 1: 1, 2: 1, 3: 2}.get(level, 3), wbits=31)
    return result


def _zstd(level: int) -> Compressor:
    if not -1 <= level <= 22:
        raise InvalidInput(f"zstd compression level must be between 0 and 22, not {level}")
    import zstandard

    # One worker thread even on one core: its output differs from the single-threaded coder's, but not with the number of workers.
    parameters = zstandard.ZstdCompressionParameters.from_level(level if level > 0 else 3, threads=1, write_checksum=True)
    result: Compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return result


def decompress(chunks: Iterator[bytes], kind: Compression | None = None) -> Iterator[bytes]:
    """The plain bytes of a stream; `kind` None = told by its first bytes. Pieces are of bounded size. Raises InvalidInput when damaged."""
    chunks = _with_head(chunks)
    head = next(chunks, b"")
    match kind or detect_compression(head):
        case Compression.GZIP | Compression.ESTARGZ:
            yield from _gunzip(head, chunks)
        case Compression.ZSTD:
            yield from _unzstd(head, chunks)
        case _:
            yield head
            yield from chunks


def decompress_stream(encoding: str) -> Callable[[bytes], Iterator[bytes]]:
    """A function that takes the next bytes of an HTTP body and gives plain ones; an empty argument ends the body.

    `encoding` is gzip, or empty for none. Raises InvalidInput when damaged.
    """
    if not encoding:
        return lambda data: iter([data] if data else [])
    from isal import isal_zlib

    zlib_error: Any = isal_zlib.error
    decoder: Any = isal_zlib.decompressobj(wbits=31)

    def step(data: bytes) -> Iterator[bytes]:
        if not data and not decoder.eof:
            raise InvalidInput("damaged gzip stream: unexpected end")
        try:
            while data and not decoder.eof:
                yield decoder.decompress(data, _STEP)
                data = decoder.unconsumed_tail
        except zlib_error as e:
            raise InvalidInput(f"damaged gzip stream: {e}") from None

    return step


def _with_head(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes, the first piece at least 4 bytes long if there are so many."""
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= 4:
            break
    yield head
    yield from chunks


def _gunzip(head: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    from isal import isal_zlib

    zlib_error: Any = isal_zlib.error
    decoder: Any = isal_zlib.decompressobj(wbits=31)
    fed = False
    for chunk in _chain(head, chunks):
        data = chunk
        try:
            while data:
                if decoder.eof:  # another member follows (or zero padding, which ends it)
                    if not data.strip(b"\0"):
                        break
                    decoder = isal_zlib.decompressobj(wbits=31)
                fed = True
                out = decoder.decompress(data, _STEP)
                if out:
                    yield out
                data = decoder.unused_data if decoder.eof else decoder.unconsumed_tail
        except zlib_error as e:
            raise InvalidInput(f"damaged gzip stream: {e}") from None
    while not decoder.eof and (out := decoder.decompress(b"", _STEP)):
        yield out
    if fed and not decoder.eof:
        raise InvalidInput("damaged gzip stream: unexpected end")


def _unzstd(head: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    import zstandard

    source = _Readable(_chain(head, chunks))
    reader = zstandard.ZstdDecompressor(max_window_size=1 << 30).stream_reader(cast("IO[bytes]", source), read_across_frames=True)
    try:
        while out := reader.read(_STEP):
            yield out
    except zstandard.ZstdError as e:
        raise InvalidInput(f"damaged zstd stream: {e}") from None


class _Readable:
    """An iterator as a file; `read` may return less than was asked for."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""
        self.ended = False

    def read(self, size: int = -1) -> bytes:
        while not self._rest and not self.ended:
            chunk = next(self._chunks, None)
            if chunk is None:
                self.ended = True
            else:
                self._rest = chunk
        out, self._rest = (self._rest, b"") if size < 0 else (self._rest[:size], self._rest[size:])
        return out


def _chain(head: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    yield head
    yield from chunks
