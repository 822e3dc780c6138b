"""An iterator of bytes that runs ahead in a thread of its own, with a digest taken on the way.

Decompressing and hashing let go of the interpreter lock, so they overlap with whoever uses the bytes.
"""

import hashlib
import queue
import threading
from collections.abc import Iterator
from types import TracebackType

from shared.model import Digest

_DEPTH = 8


class ReadAhead:
    """A context manager and an iterator. Leaving the context early stops the thread; an error of the source is raised where it is met."""

    def __init__(self, source: Iterator[bytes], *, name: str = "read-ahead") -> None:
        self._source = source
        self._queue: queue.Queue[bytes | None] = queue.Queue(maxsize=_DEPTH)
        self._hash = hashlib.sha256()
        self._stopped = threading.Event()
        self._error: BaseException | None = None
        self._ended = False
        self._thread = threading.Thread(target=self._run, name=name)

    def __enter__(self) -> "ReadAhead":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stopped.set()
        while self._thread.is_alive():  # the thread may wait for a place in the queue
            try:
                self._queue.get(timeout=0.05)
            except queue.Empty:
                continue
        self._thread.join()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        piece = None if self._ended else self._queue.get()
        if piece is None:
            self._ended = True
            if self._error is not None:
                raise self._error
            raise StopIteration
        return piece

    @property
    def digest(self) -> Digest:
        """Of all bytes. Raises AssertionError before the end was met."""
        assert self._ended and self._error is None, "the stream has not been read to its end"
        return Digest("sha256:" + self._hash.hexdigest())

    def _run(self) -> None:
        try:
            for piece in self._source:
                if self._stopped.is_set():
                    return
                self._hash.update(piece)
                if piece:
                    self._queue.put(piece)
        except BaseException as e:
            self._error = e
        finally:
            if not self._stopped.is_set():
                self._queue.put(None)
