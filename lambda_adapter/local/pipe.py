"""What a handler has yielded, on its way to the connection that asked for it."""

import threading
from collections import deque
from typing import Deque, Optional

from .._process.clock import monotonic_s

#: Chunks that wait for the connection; with more the handler waits.
_MAX_WAITING = 16


class Pipe:
    """Chunks from one handler to one connection: a reader who is slow slows the handler, one who is gone does not."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._chunks: Deque[bytes] = deque()
        self._ended = False
        self._abandoned = False

    def put(self, chunk: bytes) -> None:
        """Send a chunk on, as soon as there is room for it."""
        with self._changed:
            self._changed.wait_for(lambda: self._abandoned or len(self._chunks) < _MAX_WAITING)
            if not self._abandoned:
                self._chunks.append(chunk)
                self._changed.notify_all()

    def end(self) -> None:
        """Say that no chunk follows."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def get(self, until_s: float) -> Optional[bytes]:
        """The next chunk; None when there is none any more, or none until then, by ``monotonic_s``."""
        with self._changed:
            self._changed.wait_for(lambda: self._chunks or self._ended, max(0.0, until_s - monotonic_s()))
            # AWS stops a function whose time is up, whatever it would still say.
            if not self._chunks or monotonic_s() >= until_s:
                return None
            self._changed.notify_all()
            return self._chunks.popleft()

    def abandon(self) -> None:
        """Take nothing more; the handler runs on, as AWS's do."""
        with self._changed:
            self._abandoned = True
            self._chunks.clear()
            self._changed.notify_all()
