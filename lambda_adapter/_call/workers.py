"""The daemon-thread executor under execute_async: a call that waits holds no thread.

``concurrent.futures.ThreadPoolExecutor`` will not do: its threads are joined at interpreter exit, so that a read in
flight would hold the exit for its whole timeout; and a call asleep in backoff would keep one of its threads.
"""

import contextvars
import heapq
import itertools
import threading
import time
from collections import deque
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any, Callable, Deque, Generator, List, Optional, Set, Tuple, TypeVar

from .._process import forks

T = TypeVar("T")

#: A call in steps: it yields the seconds to wait, is sent True to go on or False to end, and returns its result.
Steps = Generator[float, bool, T]

#: How long a thread stays for the next call: bursts come close together, and idle threads cost memory.
_IDLE_S = 10.0

#: What every wait between attempts is multiplied by. lambda_adapter.testing makes it 0.0, so that no bot's tests wait.
wait_scale = 1.0

if TYPE_CHECKING:
    _Future = Future[Any]
else:
    _Future = Future


def drive(steps: Steps[T], wait: Callable[[float], bool]) -> T:
    """Run ``steps`` to its result in this thread. ``wait`` sleeps, and says whether to go on."""
    try:
        delay_s = next(steps)
        while True:
            delay_s = steps.send(wait(delay_s))
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]


class _Task(_Future):
    """A call, and where it stands."""

    def __init__(self, steps: Steps[Any], workers: "Workers") -> None:
        super().__init__()
        self.steps = steps
        self.context = contextvars.copy_context()
        #: What the steps are sent next: None starts them, True goes on, False ends them.
        self.signal: Optional[bool] = None
        self.ended = False
        self._workers = workers

    def cancel(self) -> bool:
        """Cancel a call that has not started; end one that has, after the attempt in flight."""
        if super().cancel():
            self._workers.forget(self)
            return True
        self._workers.end(self)
        return False


class QueueFullError(Exception):
    """``submit`` was given one call more than may wait."""


class Workers(Executor):
    """Runs calls in at most ``max_threads`` daemon threads, started when needed.

    Args:
        name: Begins the threads' names.
        max_pending: Calls that may wait for a thread before their first step; None for any number.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        name: str,
        max_threads: int,
        max_pending: Optional[int] = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._max_threads = max_threads
        self._max_waiting = None if max_pending is None else max_threads + max_pending
        self._clock = clock
        self._closing = threading.Event()
        self._reset()
        forks.register(self)

    def _reset(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        # All below is changed under _changed's lock.
        self._ready: Deque[_Task] = deque()
        self._parked: List[Tuple[float, int, _Task]] = []  # a heap, by the time at which they go on
        self._order = itertools.count()
        self._threads = 0
        self._idle = 0
        self._running: Set[_Task] = set()  # those that hold a thread
        self._watched = False  # an idle thread sleeps no longer than until the first parked call is due

    def reset_after_fork(self) -> None:
        """In the child: the threads are the parent's, and so are the calls that they had."""
        was_closed = self.closed
        self._closing = threading.Event()
        if was_closed:
            self._closing.set()
        self._reset()

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._closing.is_set()

    def wait(self, delay_s: float) -> bool:
        """Sleep in the caller's thread; False when ``close`` has ended the sleep."""
        return not self._closing.wait(delay_s * wait_scale)

    def submit(self, fn: Callable[..., Steps[Any]], *args: Any, **kwargs: Any) -> "Future[Any]":  # type: ignore[override]
        """Begin the steps that ``fn`` returns, in the caller's context, as soon as a thread is free.

        Raises:
            QueueFullError: ``max_pending`` calls wait already.
        """
        task = _Task(fn(*args, **kwargs), self)
        with self._changed:
            closed = self.closed
            if not closed:
                # Those that are ready include the ones for which a thread is on its way.
                if self._max_waiting is not None and len(self._ready) + len(self._running) >= self._max_waiting:
                    raise QueueFullError
                self._ready.append(task)
                try:
                    self._rouse()
                except RuntimeError:
                    self._ready.remove(task)
                    raise
        if closed:
            self._run(task)
        return task

    def close(self) -> None:
        """End what waits, in this thread, and let the threads go; what is in flight finishes in its own."""
        with self._changed:
            self._closing.set()
            waiting = [*self._ready, *(task for _, _, task in self._parked)]
            self._ready.clear()
            self._parked.clear()
            self._changed.notify_all()
        for task in waiting:
            self._run(task)

    def end(self, task: _Task) -> None:
        """Let ``task`` make no further attempt; one that is parked ends now, in this thread."""
        with self._changed:
            task.ended = True
            parked = [entry for entry in self._parked if entry[2] is task]
            self._unpark(parked)
        if parked:
            self._run(task)

    def forget(self, task: _Task) -> None:
        """Give up the place in the queue of a call that was cancelled."""
        with self._changed:
            if task in self._ready:
                self._ready.remove(task)

    def hurry(self, steps: Steps[Any]) -> None:
        """Take the next step of a call that waits, for a thread or for its time, in this thread."""
        with self._changed:
            waiting = [task for task in self._ready if task.steps is steps]
            for task in waiting:
                self._ready.remove(task)
            parked = [entry for entry in self._parked if entry[2].steps is steps]
            self._unpark(parked)
        for task in [*waiting, *(task for _, _, task in parked)]:
            self._run(task)

    def _unpark(self, entries: List[Tuple[float, int, _Task]]) -> None:
        """Take ``entries`` off the heap. Needs the lock."""
        for entry in entries:
            self._parked.remove(entry)
        if entries:
            heapq.heapify(self._parked)

    def _rouse(self) -> None:
        """See to it that somebody takes what is ready and watches what is parked. Needs the lock."""
        wanted = len(self._ready) + (1 if self._parked and not self._watched else 0)
        if wanted <= self._idle:
            self._changed.notify()
        elif self._threads < self._max_threads:
            name = f"{self._name}-{next(self._order)}"
            thread = threading.Thread(target=self._work, name=name, daemon=True)
            try:
                thread.start()
            except RuntimeError:
                # The machine has no thread to give; those that there are will get to it.
                if not self._threads:
                    raise
            else:
                self._threads += 1

    def _work(self) -> None:
        while True:
            task = self._next()
            if task is None:
                return
            self._run(task)
            del task  # an idle thread must not keep a call's payload and answer alive

    def _next(self) -> Optional[_Task]:
        """The next call that can go on; None when there is nothing left to wait for."""
        expired = False
        with self._changed:
            while True:
                task = self._take()
                if task is not None:
                    self._running.add(task)
                    if self._ready or self._parked:
                        self._rouse()
                    return task
                watch = bool(self._parked) and not self._watched
                if self.closed or (expired and not watch):
                    self._threads -= 1
                    return None
                self._watched |= watch
                self._idle += 1
                roused = self._changed.wait(self._parked[0][0] - self._clock() if watch else _IDLE_S)
                self._idle -= 1
                if watch:
                    self._watched = False
                expired = not roused and not watch

    def _take(self) -> Optional[_Task]:
        # Calls that have begun go first: somebody has waited for them longest.
        if self._parked and self._parked[0][0] <= self._clock():
            return heapq.heappop(self._parked)[2]
        return self._ready.popleft() if self._ready else None

    def _run(self, task: _Task) -> None:
        """Take ``task`` to its next wait or to its end."""
        if task.signal is None and not task.set_running_or_notify_cancel():
            return self._give_back(task)
        while True:
            if task.signal and self._is_over(task):
                task.signal = False
            try:
                delay_s = task.context.run(task.steps.send, task.signal)  # type: ignore[arg-type]
            except StopIteration as done:
                # First, so that whoever waited for this result finds the place free.
                self._give_back(task)
                return task.set_result(done.value)
            except BaseException as exc:
                self._give_back(task)
                return task.set_exception(exc)
            task.signal = True
            if self._park(task, delay_s):
                return None

    def _give_back(self, task: _Task) -> None:
        """Let another call have this one's place."""
        with self._changed:
            self._running.discard(task)

    def _is_over(self, task: _Task) -> bool:
        return task.ended or self.closed

    def _park(self, task: _Task, delay_s: float) -> bool:
        """Set ``task`` aside until its time; False if it has to end now."""
        with self._changed:
            if self._is_over(task):
                return False
            self._running.discard(task)
            entry = (self._clock() + delay_s * wait_scale, next(self._order), task)
            heapq.heappush(self._parked, entry)
            if self._parked[0] is entry:
                self._watched = False  # whoever watches sleeps until a later time
            self._rouse()
            return True
