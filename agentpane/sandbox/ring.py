"""Output of any length in bounded memory: its head and its tail."""

from __future__ import annotations


class Ring:
    """Keeps the first and the last half of `limit` bytes; what lay between is counted and named."""

    def __init__(self, limit: int) -> None:
        self._head_size = limit // 2
        self._tail_size = limit - self._head_size
        self._head = bytearray()
        self._tail = bytearray()
        self._cut = 0

    @property
    def truncated(self) -> bool:
        return self._cut > 0 or len(self._tail) > self._tail_size

    def add(self, chunk: bytes) -> None:
        room = self._head_size - len(self._head)
        if room > 0:
            self._head += chunk[:room]
            chunk = chunk[room:]
        self._tail += chunk
        if len(self._tail) > 2 * self._tail_size + 65536:  # trimmed now and then, so that adding stays cheap
            self._trim()

    def content(self) -> bytes:
        self._trim()
        if not self._cut:
            return bytes(self._head + self._tail)
        return bytes(self._head) + b"\n[... %d bytes left out ...]\n" % self._cut + bytes(self._tail)

    def _trim(self) -> None:
        excess = len(self._tail) - self._tail_size
        if excess > 0:
            del self._tail[:excess]
            self._cut += excess
