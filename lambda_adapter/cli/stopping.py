"""Signals: the first stops what feeds a batch and lets what is in flight finish, a second one ends at once."""

import contextlib
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any, Callable, Dict, Optional, Type, TypeVar

T = TypeVar("T")

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")

#: A terminal that closes sends SIGHUP, and ``timeout`` SIGTERM, to the process and to its group, and a wrapper passes
#: on the Ctrl-C that the terminal has sent to both: two at once are one.
SAME_S = 0.05


class StoppedError(Exception):
    """Nothing more is to be fed."""


class Stopping:
    """Whether to go on; entered, it takes the signals. A signal that the shell has told us to ignore stays ignored.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: The first signal that came.
        self.signal: Optional[signal.Signals] = None
        self._signalled_at = 0.0
        self._requested = False
        self._interruptible = False
        self._woken = False
        self._before: Dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Stopping":
        if threading.current_thread() is threading.main_thread():
            for name in _NAMES:
                number = getattr(signal, name, None)  # Windows has no SIGHUP
                if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], exc: Optional[BaseException], traceback: Optional[TracebackType]
    ) -> None:
        for number, handler in self._before.items():
            with contextlib.suppress(TypeError):  # None: another language's handler, which Python cannot put back
                signal.signal(number, handler)

    @property
    def settled(self) -> bool:
        """Whether there was a signal, and the next one will be a second one."""
        return self.signal is not None and self._clock() - self._signalled_at >= SAME_S

    def request(self) -> None:
        """Stop, for a reason that is no signal; from any thread."""
        self._requested = True
        number = next(iter(self._before), None)
        if self._interruptible and number is not None and hasattr(signal, "pthread_kill"):
            # The main thread may wait for the next line of a pipe, and nothing but a signal ends that.
            self._woken = True
            signal.pthread_kill(threading.main_thread().ident or 0, number)

    def wait(self, blocking: Callable[[], T]) -> T:
        """What ``blocking`` returns. It must be something that may be interrupted anywhere.

        Raises:
            StoppedError: Before it or in its midst.
        """
        self._interruptible = True
        try:
            self._check()
            return blocking()
        finally:
            self._interruptible = False

    def _check(self) -> None:
        if self._requested:
            raise StoppedError

    def _on_signal(self, number: int, frame: Optional[FrameType]) -> None:
        if self._woken:
            self._woken = False
            if self._interruptible:
                raise StoppedError
        elif self.signal is None:
            self.signal, self._signalled_at, self._requested = signal.Signals(number), self._clock(), True
            # Only there: anywhere else an exception could cut off what has to be done whole.
            if self._interruptible:
                raise StoppedError
        elif self.settled:
            raise KeyboardInterrupt
