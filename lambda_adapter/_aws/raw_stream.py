"""The connection under a streamed answer: read with a limit, cut by another thread, given back when it is at its end.

botocore's stream has none of that, so its response is reached into: here, and nowhere else.
"""

import contextlib
import os
import socket
import threading
from typing import Any, Callable, Iterator, Optional

from .._wire.frames import Frame, FrameError, FrameReader, to_complete

_READ_BYTES = 65_536
#: How long the end of an answer is waited for after its last frame, before its connection is given up instead.
_DRAIN_S = 0.1


class RawStream:
    """The bytes of one streamed answer, as ``client.invoke_with_response_stream`` returned it.

    Args:
        event_stream: The answer's ``EventStream``: botocore's, or of a client that is none of boto3's any iterable of
            events.
    """

    def __init__(self, event_stream: Any) -> None:
        self._events = event_stream
        self._raw: Any = getattr(event_stream, "_raw_stream", None)
        self._http: Any = getattr(self._raw, "_fp", None)
        self._socket = _socket_of(self._http)
        #: read_timeout, as whoever made the client has set it.
        self._silence_s: Optional[float] = self._socket.gettimeout() if self._socket is not None else None
        self._pid = os.getpid()
        self._lock = threading.RLock()  # a finalizer may cut it, whatever this thread is at
        self._is_over = False
        #: Whether somebody has cut it.
        self.was_cut = False

    @property
    def has_frames(self) -> bool:
        """Whether it can be read as bytes; else its ``events`` are all that there is."""
        return hasattr(self._http, "read1")

    def frames(self, remaining_s: Optional[Callable[[], Optional[float]]] = None) -> Iterator[Frame]:
        """Whole frames, as they come.

        Args:
            remaining_s: Called before each read; gives the seconds that it may take, None for read_timeout.

        Raises:
            FrameError: What came is no frame.
            Exception: What the connection's fault is, of whatever class; a ``socket.timeout`` for silence.
        """
        if not self.has_frames:
            yield from map(_of_event, self._events)
            return
        reader = FrameReader()
        while True:
            data = self._read(None if remaining_s is None else remaining_s())
            if not data:
                return
            yield from reader.feed(data)

    def _read(self, remaining_s: Optional[float]) -> bytes:
        if remaining_s is not None and self._socket is not None:
            limit_s = remaining_s if self._silence_s is None else min(remaining_s, self._silence_s)
            self._socket.settimeout(max(limit_s, 0.001))
        return bytes(self._http.read1(_READ_BYTES))

    def give_back(self) -> None:
        """After the last frame: let another call have the connection, once its end has been read."""
        with contextlib.suppress(Exception):
            if not self.has_frames:
                return
            if self._socket is not None:
                self._socket.settimeout(_DRAIN_S)
            while not self.was_cut and not self._read(None):
                with self._lock:
                    # From here on the socket is another call's.
                    self._is_over = True
                if self._socket is not None:
                    self._socket.settimeout(self._silence_s)
                self._http.close()
                self._raw.release_conn()
                return
        self.drop()

    def drop(self) -> None:
        """Close the connection: what is left of the answer must reach no other call."""
        with self._lock:
            self._is_over = True
        with contextlib.suppress(Exception):
            close = getattr(self._raw if self._raw is not None else self._events, "close", None)
            if close is not None:
                close()

    def cut(self) -> None:
        """Have the thread that reads find the end of it within a millisecond. For any other thread."""
        with self._lock:
            # In a child process the connection is the parent's.
            if self._is_over or self._pid != os.getpid():
                return
            self.was_cut = True
            if self._socket is not None:
                shut_down(self._socket)


def shut_down(connected: socket.socket) -> None:
    """Have whoever waits on a socket find the end of it."""
    with contextlib.suppress(OSError):
        # Of the bare socket: ssl's would have the reader take what comes for text that is not encrypted.
        socket.socket.shutdown(connected, socket.SHUT_RDWR)


def _socket_of(http: Any) -> Optional[socket.socket]:
    """The socket of an http.client.HTTPResponse; None where there is none, under a mock for example."""
    found = getattr(getattr(getattr(http, "fp", None), "raw", None), "_sock", None)
    return found if isinstance(found, socket.socket) else None


def _of_event(event: Any) -> Frame:
    """A frame, as botocore's parser gives it."""
    if "PayloadChunk" in event:
        return bytes(event["PayloadChunk"].get("Payload", b""))
    if "InvokeComplete" in event:
        return to_complete(event["InvokeComplete"] or {})
    raise FrameError("the answer holds an event that Lambda does not send")
