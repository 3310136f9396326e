"""Signals for the main thread, from another one."""

import signal
import threading
from types import FrameType
from typing import Optional

#: Between one and the next.
_AGAIN_S = 0.05


class Interruption:
    """A signal's handler that raises ``error`` the first time, and the sending of that signal.

    It is sent until it has been handled, as a person presses Ctrl-C again: Python misses a signal that comes just
    before its main thread begins to wait, until something else ends the wait.
    """

    def __init__(self, number: int, error: BaseException) -> None:
        self.handled = threading.Event()
        self._number = number
        self._error = error

    def __call__(self, number: int, frame: Optional[FrameType]) -> None:
        if not self.handled.is_set():
            self.handled.set()
            raise self._error

    def send(self, after_s: float = 0.0) -> None:
        """Send it from this thread, until it has been handled, or is no more."""
        main = threading.main_thread().ident
        assert main is not None
        self.handled.wait(after_s)
        while not self.handled.is_set() and signal.getsignal(self._number) is self:
            signal.pthread_kill(main, self._number)
            self.handled.wait(_AGAIN_S)
