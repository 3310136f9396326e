"""The asyncio event loop that a handler finds: AWS runs it in a main thread, which has one, and keeps it.

Under LocalLambda it runs in a thread of its own, under mock_lambda in its caller's: ``asyncio.get_event_loop()`` would
raise in the one always, and in the other often.
"""

import asyncio
import contextlib
import sys
import threading
from typing import Any, Dict, Iterator, List, Optional

#: From 3.14 on a main thread has no event loop either.
_MAIN_THREADS_HAVE_LOOPS = sys.version_info < (3, 14)


class _LoopOnDemand(asyncio.SelectorEventLoop):
    """An event loop that is made when it is first used: most handlers never do, and one has three file descriptors."""

    def __init__(self) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        if self.is_made:
            raise AttributeError(name)
        super().__init__()
        return getattr(self, name)

    @property
    def is_made(self) -> bool:
        return bool(vars(self))

    def __del__(self) -> None:
        if self.is_made:
            super().__del__()


class EventLoops:
    """The event loops of one LocalLambda's functions: one for each environment that would run on AWS."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the two below
        #: What idle environments have: None where asyncio.run has taken the loop away.
        self._idle: Dict[str, List[Optional[asyncio.AbstractEventLoop]]] = {}
        self._closed = False

    @contextlib.contextmanager
    def of(self, function_name: str) -> Iterator[None]:
        """Give this thread the event loop of an environment of the function, as its last call has left it.

        A thread with a loop of its own keeps it.
        """
        if not _MAIN_THREADS_HAVE_LOOPS or _has_loop():
            yield
            return
        with self._lock:
            idle = self._idle.setdefault(function_name, [])
            loop = idle.pop() if idle else _LoopOnDemand()
        asyncio.set_event_loop(loop)
        try:
            yield
        finally:
            self._keep(function_name, loop, _current_loop())

    def _keep(
        self,
        function_name: str,
        given: Optional[asyncio.AbstractEventLoop],
        left: Optional[asyncio.AbstractEventLoop],
    ) -> None:
        asyncio.set_event_loop(None)
        with self._lock:
            closed = self._closed
            if not closed:
                self._idle[function_name].append(left)
        if closed or left is not given:
            _close(given)
        if closed:
            _close(left)

    def close(self) -> None:
        """Close the loops of idle environments; a busy one closes its own at its end."""
        with self._lock:
            self._closed = True
            loops = [loop for idle in self._idle.values() for loop in idle]
            self._idle.clear()
        for loop in loops:
            _close(loop)


def _has_loop() -> bool:
    """Whether a handler finds a loop in this thread already: it runs, was set, or is made when the main thread asks."""
    if asyncio._get_running_loop() is not None:
        return True
    was_set = getattr(getattr(asyncio.get_event_loop_policy(), "_local", None), "_set_called", False)
    if threading.current_thread() is threading.main_thread() and not was_set:
        return True  # not looked for: that would make one, for which nobody may have a use
    return _current_loop() is not None


def _current_loop() -> Optional[asyncio.AbstractEventLoop]:
    try:
        return asyncio.get_event_loop_policy().get_event_loop()
    except RuntimeError:
        return None


def _close(loop: Optional[asyncio.AbstractEventLoop]) -> None:
    # Another may have been made the thread's and still run elsewhere: that one is not ours to end.
    if loop is None or (isinstance(loop, _LoopOnDemand) and not loop.is_made) or loop.is_running():
        return
    loop.close()
