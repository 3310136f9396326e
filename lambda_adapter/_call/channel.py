"""Texts on their way from the thread that reads them to whoever wants them, of which few wait."""

import contextlib
import threading
from collections import deque
from typing import Callable, Deque, Generator, Optional, Union

from .._process.clock import monotonic_s
from ..messages import ExecuteResponse
from .steps import Steps

#: With so many texts, or characters, on their way the thread that reads waits, and so the function is slowed.
_MAX_TEXTS = 64
_MAX_CHARS = 262_144
#: It goes on with no more than this share of that, since each wait costs as much as many texts.
_REFILL = 0.5


class Channel:
    """From one thread that reads to one that takes, or to one event loop."""

    def __init__(self, clock: Callable[[], float] = monotonic_s) -> None:
        self._clock = clock
        # Reentrant: a finalizer may leave, whatever this thread is at.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        # All below is changed under the lock.
        self._waiting = 0
        self._texts: Deque[str] = deque()
        self._chars = 0
        self._left = False
        self._sealed = False
        self._wake: Optional[Callable[[], object]] = None
        self._exception: Optional[BaseException] = None
        #: The call's, as soon as it has ended; texts may still be on their way.
        self.response: Optional[ExecuteResponse] = None

    def put(self, text: str, deadline_s: Optional[float]) -> bool:
        """Send a text, and wait until there is room for another, or until then; whether anybody wants one.

        Behind the response, or the seal, nothing is sent: the response's message does not have it.
        """
        with self._lock:
            if self._left or self._sealed or self._has_ended:
                return not self._left
            self._texts.append(text)
            self._chars += len(text)
            self._rouse()
            if self._fills(1.0):
                limit_s = None if deadline_s is None else max(0.0, deadline_s - self._clock())
                self._wait_for(lambda: self._left or not self._fills(_REFILL), limit_s)
            return not self._left

    def end(self, response: Optional[ExecuteResponse], exception: Optional[BaseException] = None) -> None:
        """Say how the call ended. The first who knows is right; None is said by who is not the first."""
        with self._lock:
            if self.response is None and self._exception is None:
                self.response, self._exception = response, exception
                self._rouse()

    def seal(self) -> None:
        """Send nothing more: the response is being made of what has come."""
        with self._lock:
            self._sealed = True

    def leave(self) -> None:
        """Want nothing more."""
        with self._lock:
            self._left = True
            self._texts.clear()
            self._chars = 0
            self._rouse()

    def take(self) -> Optional[str]:
        """The next text, "" when it has not come yet, None when there is none any more.

        Raises:
            BaseException: What ended the thread that reads, if that is no affair of the call's.
        """
        with self._lock:
            if self._texts:
                text = self._texts.popleft()
                self._chars -= len(text)
                if self._waiting and not self._fills(_REFILL):
                    self._changed.notify_all()
                return text
            if self._exception is not None:
                raise self._exception
            return None if self._has_ended or self._left else ""

    def wait(self, limit_s: Optional[float] = None) -> None:
        """Block until there is something to take, or the response."""
        with self._lock:
            self._wait_for(lambda: self._texts or self._has_ended, limit_s)

    def wake(self, wake: Callable[[], object]) -> bool:
        """Have ``wake`` called once there is something to take; False when there is already."""
        with self._lock:
            if self._texts or self._has_ended or self._left:
                return False
            self._wake = wake
            return True

    def _fills(self, share: float) -> bool:
        """Whether so large a share of the texts that may be on their way are."""
        return len(self._texts) >= _MAX_TEXTS * share or self._chars >= _MAX_CHARS * share

    def _wait_for(self, condition: Callable[[], object], limit_s: Optional[float]) -> None:
        self._waiting += 1
        try:
            self._changed.wait_for(condition, limit_s)
        finally:
            self._waiting -= 1

    @property
    def _has_ended(self) -> bool:
        return self.response is not None or self._exception is not None

    def _rouse(self) -> None:
        if self._waiting:
            self._changed.notify_all()
        wake = self._wake
        if wake is not None:
            self._wake = None
            with contextlib.suppress(RuntimeError):  # its event loop is closed
                wake()


def pump(
    steps: Generator[Union[float, str], bool, Optional[ExecuteResponse]],
    channel: Channel,
    deadline_s: Optional[float],
) -> Steps[Optional[ExecuteResponse]]:
    """The steps of a call whose texts go through ``channel``: only waits are left of them."""
    try:
        said = next(steps)
        while True:
            said = steps.send(channel.put(said, deadline_s) if isinstance(said, str) else (yield said))
    except StopIteration as done:
        channel.end(done.value)
        return done.value  # type: ignore[no-any-return]
    except BaseException as exc:
        channel.end(None, exc)
        raise
    finally:
        steps.close()
