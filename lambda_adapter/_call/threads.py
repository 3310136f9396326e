"""Daemon threads: a crew that takes its work from one queue, and a timer that looks after what is due.

No thread refers to its owner while it waits, so that an owner that was dropped goes, and its threads with it.
"""

import contextlib
import itertools
import math
import sys
import threading
import time
from queue import Empty, SimpleQueue
from typing import Any, Callable, ContextManager, Optional, Set, TypeVar

from .._process.clock import monotonic_s

#: How long a thread stays for more to do: bursts come close together, and idle threads cost memory.
_IDLE_S = 10.0

#: For how long the timer leaves the interpreter to others when it has much to do: an event loop may be among them.
_RESPITE_S = 0.001

#: How much its owner does in one look, before others may have the lock.
BATCH = 20

#: How long an event loop that gives up one call has for giving up others, before the timer begins to end them.
GRACE_S = 0.05

#: What a thread of a crew does, and then does with what that gives; None when it is free.
Work = Callable[[], Optional[Callable[[], Any]]]

_numbers = itertools.count()

_Item = TypeVar("_Item")


def has_event_loop() -> bool:
    """Whether this thread runs an asyncio event loop."""
    asyncio = sys.modules.get("asyncio")  # whoever runs a loop has imported it
    return asyncio is not None and asyncio._get_running_loop() is not None


class NoThreadError(RuntimeError):
    """No thread could be started; the text is Python's."""


def _start(work: Callable[[], None], name: str) -> None:
    """Have a new thread do ``work``.

    Raises:
        NoThreadError: There is none. Should it come to life nevertheless, it does nothing.
    """
    # start() can fail for want of memory when the thread is alive already: whoever takes the licence decides.
    licence = [True]

    def run() -> None:
        with contextlib.suppress(IndexError):
            licence.pop()
            work()

    try:
        threading.Thread(target=run, name=f"{name}-{next(_numbers)}", daemon=True).start()
    except (RuntimeError, MemoryError) as exc:
        with contextlib.suppress(IndexError):
            licence.pop()
            raise NoThreadError(str(exc)) from None


def take(queue: "SimpleQueue[_Item]", timeout_s: float) -> _Item:
    """Return the next item of ``queue``, for which no other thread waits.

    Raises:
        Empty: None has come in time.
    """
    # Up to CPython 3.12 a get with a time limit waits for ever when its time is over between its first look and its
    # wait, as happens to a short limit on a busy machine. After a get in vain the next one goes to its wait at once.
    with contextlib.suppress(Empty):
        return queue.get(block=False)
    if timeout_s <= 0:
        raise Empty
    return queue.get(timeout=timeout_s)


class Crew:
    """Threads that do work from a queue, started when needed; one that is idle for some seconds ends.

    Args:
        lock: Its owner's, who holds it for ``make_ready``, ``put`` and all changes of ``busy``.
    """

    def __init__(self, name: str, lock: ContextManager[object]) -> None:
        self._name = name
        self._lock = lock
        self._inbox: SimpleQueue[Optional[Work]] = SimpleQueue()
        self._idlers: Set[int] = set()
        #: How many threads there are, on their way or alive.
        self.threads = 0
        #: How many of them are wanted: for work in the queue, and for work that is being done.
        self.busy = 0

    @property
    def idle(self) -> int:
        """How many threads wait for work."""
        return len(self._idlers)

    def make_ready(self) -> None:
        """See to it that there is a thread for more work.

        Raises:
            NoThreadError: There is none to spare.
        """
        if self.threads <= self.busy:
            _start(self._work, self._name)
            self.threads += 1

    def put(self, work: Work) -> None:
        """Let a thread that was made ready do ``work``; ``busy`` counts it already."""
        self._inbox.put(work)

    def dismiss(self) -> None:
        """Let the threads end, each after what it is at."""
        self._inbox.put(None)

    def _work(self) -> None:
        me = threading.get_ident()
        while True:
            self._idlers.add(me)
            try:
                work = self._inbox.get(timeout=_IDLE_S)
            except (Empty, MemoryError):
                if self._retires():
                    return None
                continue
            finally:
                self._idlers.discard(me)
            if work is None:
                return self.dismiss()  # the others too
            # Where memory fails, the thread lives on, for the sake of the others.
            with contextlib.suppress(MemoryError):
                while work is not None:
                    work = work()
            del work  # an idle thread must not keep a call's payload and answer alive

    def _retires(self) -> bool:
        with self._lock:
            goes = self.threads > self.busy
            self.threads -= goes
            return goes


class Timer:
    """A thread that calls ``look`` when something is due; it ends when there has been nothing for some seconds.

    Args:
        lock: Its owner's, who holds it for ``wake_by``.
        look: Gives the function that does what is due and says when more will be, by ``clock``, or that nothing will
            be (None). Without such a function the timer ends. It is asked each time, as by a weak reference.
    """

    def __init__(
        self,
        name: str,
        lock: ContextManager[object],
        look: Callable[[], Optional[Callable[[], Optional[float]]]],
        clock: Callable[[], float] = monotonic_s,
    ) -> None:
        self._name = f"{name}-timer"
        self._lock = lock
        self._look = look
        self._clock = clock
        self._alarm: SimpleQueue[bool] = SimpleQueue()  # False ends the thread
        self._wakes_s: Optional[float] = None  # None: there is no thread

    def wake_by(self, due_s: float) -> None:
        """Have ``look`` called by then.

        Raises:
            NoThreadError: Nothing will call it.
        """
        if self._wakes_s is None:
            _start(self._run, self._name)
            self._wakes_s = due_s
        elif due_s < self._wakes_s:
            self._wakes_s = due_s
            self._alarm.put(True)

    def dismiss(self) -> None:
        """Let the thread end."""
        self._alarm.put(False)

    def _run(self) -> None:
        idled = False
        while True:
            with self._lock:
                # Whatever comes up from now on rings the alarm.
                self._wakes_s = math.inf
            look = self._look()
            due_s = look() if look else None
            if look is None:
                return
            del look
            with self._lock:
                if due_s is None and idled and self._alarm.empty():
                    self._wakes_s = None
                    return
                wakes_s = self._clock() + _IDLE_S
                self._wakes_s = wakes_s if due_s is None else min(due_s, wakes_s)
                pause_s = max(0.0, self._wakes_s - self._clock())
            if not pause_s:
                time.sleep(_RESPITE_S)
            try:
                if not take(self._alarm, pause_s):
                    return
                idled = False
            except (Empty, MemoryError):
                idled = True
