"""Texts on their way from the thread that reads them to whoever wants them, of which few wait."""

import contextlib
import threading
from collections import deque
from typing import Callable, Deque, Generator, Optional, Union

from .._process.clock import monotonic_s
from ..messages import ExecuteResponse
from .steps import Steps

#: With so many texts, or characters, on their way the thread that reads waits, and so the function is slowed.
_MAX_TEXTS = 16
_MAX_CHARS = 262_144


class Channel:
    """From one thread that reads to one that takes, or to one event loop."""

    def __init__(self, clock: Callable[[], float] = monotonic_s) -> None:
        self._clock = clock
        # Reentrant: a finalizer may leave, whatever this thread is at.
        self._changed = threading.Condition(threading.RLock())
        # All below is changed under the lock.
        self._texts: Deque[str] = deque()
        self._chars = 0
        self._left = False
        self._wake: Optional[Callable[[], object]] = None
        self._exception: Optional[BaseException] = None
        #: The call's, as soon as it has ended; texts may still be on their way.
        self.response: Optional[ExecuteResponse] = None

    def put(self, text: str, deadline_s: Optional[float]) -> bool:
        """Send a text, and wait until there is room for another, or until then; whether anybody wants one."""
        with self._changed:
            self._texts.append(text)
            self._chars += len(text)
            self._rouse()
            while self._is_full and not self._left:
                limit_s = None if deadline_s is None else deadline_s - self._clock()
                if limit_s is not None and limit_s <= 0:
                    break
                self._changed.wait(limit_s)
            return not self._left

    def end(self, response: Optional[ExecuteResponse], exception: Optional[BaseException] = None) -> None:
        """Say how the call ended. The first who knows is right; None is said by who is not the first."""
        with self._changed:
            if self.response is None and self._exception is None:
                self.response, self._exception = response, exception
                self._rouse()

    def leave(self) -> None:
        """Want nothing more."""
        with self._changed:
            self._left = True
            self._texts.clear()
            self._chars = 0
            self._rouse()

    def take(self) -> Optional[str]:
        """The next text, "" when it has not come yet, None when there is none any more.

        Raises:
            BaseException: What ended the thread that reads, if that is no affair of the call's.
        """
        with self._changed:
            if self._texts:
                was_full = self._is_full
                text = self._texts.popleft()
                self._chars -= len(text)
                if was_full:
                    self._changed.notify_all()
                return text
            if self._exception is not None:
                raise self._exception
            return None if self._has_ended or self._left else ""

    def wait(self, limit_s: Optional[float] = None) -> None:
        """Block until there is something to take, or the response."""
        with self._changed:
            self._changed.wait_for(lambda: self._texts or self._has_ended, limit_s)

    def wake(self, wake: Callable[[], object]) -> bool:
        """Have ``wake`` called once there is something to take; False when there is already."""
        with self._changed:
            if self._texts or self._has_ended or self._left:
                return False
            self._wake = wake
            return True

    @property
    def _is_full(self) -> bool:
        return len(self._texts) >= _MAX_TEXTS or self._chars >= _MAX_CHARS

    @property
    def _has_ended(self) -> bool:
        return self.response is not None or self._exception is not None

    def _rouse(self) -> None:
        self._changed.notify_all()
        wake, self._wake = self._wake, None
        if wake is not None:
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
