"""The daemon-thread executor under execute_async: a call that waits holds no thread.

``concurrent.futures.ThreadPoolExecutor`` will not do: its threads are joined at interpreter exit, so that a read in
flight would hold the exit for its whole timeout; and a call asleep in backoff would keep one of its threads.
"""

import contextlib
import functools
import math
import threading
import weakref
from collections import deque
from concurrent.futures import CancelledError, Executor, Future
from typing import Any, Callable, Deque, Optional

from .._process import forks
from .._process.clock import monotonic_s
from .agenda import Agenda
from .places import Places
from .steps import Job, Task
from .threads import BATCH, GRACE_S, Crew, NoThreadError, Timer, Work, has_event_loop

#: What every wait between attempts is multiplied by. lambda_adapter.testing makes it 0.0, so that no bot's tests wait.
wait_scale = 1.0


class Workers(Executor):
    """Runs calls in at most ``max_threads`` places, which go round the groups that wait for one.

    A call that waits is taken from where it waits by one alone, under the lock: by a thread that has a place for it, or
    by whoever ends it. The timer ends calls whose time is up, and those that would hold an event loop.

    Args:
        name: Begins the threads' names.
        max_pending: Calls that may wait for a place before their first step; None for any number.
        max_pending_per_group: The same for the calls of one group.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        name: str,
        max_threads: int,
        max_pending: Optional[int] = None,
        max_pending_per_group: Optional[int] = None,
        clock: Callable[[], float] = monotonic_s,
    ) -> None:
        self._name = name
        self._limits = (max_threads, max_pending, max_pending_per_group)
        self._clock = clock
        self._closing = threading.Event()
        self._reset()
        forks.register(self)

    def _reset(self) -> None:
        # Reentrant: a signal handler or a finalizer may close or cancel, whatever this thread is at.
        self._lock = threading.RLock()
        # All below is changed under the lock.
        self._places: Places[Task] = Places(*self._limits)
        self._parked: Agenda[Task] = Agenda()
        self._deadlines: Agenda[Task] = Agenda()
        self._given_up: Deque[Task] = deque()  # the timer ends them
        self._crew: Crew = Crew(self._name, self._lock)
        self._timer = Timer(self._name, self._lock, weakref.WeakMethod(self._look), self._clock)
        for threads in (self._crew, self._timer):
            weakref.finalize(self, threads.dismiss).atexit = False

    def reset_after_fork(self) -> None:
        """In the child: the threads are the parent's, and so are the calls that they had."""
        closing = threading.Event()
        if self.closed:
            closing.set()
        self._closing = closing
        self._reset()

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._closing.is_set()

    @property
    def waiting(self) -> int:
        """Calls that wait for a place before their first step."""
        return self._places.new

    @property
    def parked(self) -> int:
        """Calls that wait between two steps."""
        return len(self._parked)

    @property
    def idle(self) -> int:
        """Threads that wait for a call."""
        return self._crew.idle

    def wait(self, delay_s: float) -> bool:
        """Sleep in the caller's thread; False when ``close`` has ended the sleep."""
        return not self._closing.wait(delay_s * wait_scale)

    def submit(self, fn: Callable[..., object], *args: object, **kwargs: object) -> "Future[Any]":  # type: ignore[override]
        """Begin the Job, or the bare steps, that ``fn`` returns, in the caller's context, as soon as there is a place.

        Raises:
            QueueFullError: As many calls as may wait do so already.
            NoThreadError: There is no thread, and none can be started.
        """
        task = Task(fn(*args, **kwargs), self._end)
        with self._lock:
            closed = self.closed
            if not closed:
                self._accept(task, task.job)
        if closed:
            self._end_here(task)
        return task

    def _accept(self, task: Task, job: "Job[Any]") -> None:
        if job.deadline_s is not None:
            self._timer.wake_by(job.deadline_s)
        if job.needs_place:
            if not job.is_patient:
                self._places.check_room(job.group)
            self._places.wait(task, job.group, counts=not job.is_patient)
            try:
                self._dispatch()
            except NoThreadError:
                # The threads that there are will get to it.
                if not self._crew.threads:
                    self._places.discard(task, job.group)
                    raise
        else:
            self._crew.make_ready()
            task.set_running_or_notify_cancel()
            self._crew.put(self._employ(task))
        if job.deadline_s is not None:
            task.timed = self._deadlines.add(job.deadline_s, task)

    def _dispatch(self) -> None:
        """Give free places, and threads, to calls that wait. Needs the lock; raises NoThreadError."""
        while self._places.could_go_to():
            self._crew.make_ready()
            work = self._next()
            if work is not None:
                self._crew.put(work)

    def _next(self) -> Optional[Work]:
        """The call whose turn it is, with a place; None when there is none of either. Needs the lock."""
        if self._parked:
            self._resume()
        while self._places.could_go_to():
            task = self._places.pop()
            if task is not None and (task.signal is not None or task.set_running_or_notify_cancel()):
                return self._employ(task)
        return None

    def _employ(self, task: Task) -> Work:
        task.has_thread = True
        self._crew.busy += 1
        self._places.taken += task.job.needs_place
        return functools.partial(self._advance, task)

    def _resume(self) -> None:
        """Let calls whose wait is over wait for a place, or for a thread alone. Needs the lock."""
        for task in self._parked.pop_all_due(self._clock(), BATCH):
            if task.job.needs_place:
                self._places.wait(task, task.job.group, again=True)
            else:
                with contextlib.suppress(NoThreadError):
                    self._crew.make_ready()
                self._crew.put(self._employ(task))

    def _advance(self, task: Task) -> Optional[Work]:
        """Take ``task`` to its next wait or its end; the call that has its place then, for the same thread."""
        while True:
            if task.signal and (task.ended or self.closed):
                task.signal = False
            try:
                if task.signal is None and task.ended:
                    raise CancelledError
                delay_s = task.context.run(task.job.steps.send, task.signal)  # type: ignore[arg-type]
            except StopIteration as done:
                return self._finish(task, done.value)
            except BaseException as exc:
                return self._finish(task, None, exc)
            task.signal = True
            with self._lock:
                if task.ended or self.closed:
                    continue
                with contextlib.suppress(NoThreadError):
                    return self._park(task, delay_s * wait_scale)
            # There is no thread for the timer, so that this one waits.
            self.wait(delay_s)

    def _park(self, task: Task, delay_s: float) -> Optional[Work]:
        """Set ``task`` aside, and return the call that has its place then. Needs the lock; raises NoThreadError."""
        due_s = self._clock() + delay_s
        if delay_s > 0:
            self._timer.wake_by(due_s)
        task.parked = self._parked.add(due_s, task)
        return self._leave(task)

    def _finish(self, task: Task, value: object, exc: Optional[BaseException] = None) -> Optional[Work]:
        try:
            with self._lock:
                self._deadlines.strike(task.timed)
                # First, so that whoever waited for this result finds the place free.
                return self._leave(task)
        finally:
            task.settle(value, exc)

    def _leave(self, task: Task) -> Optional[Work]:
        """Give up the thread and the place of ``task``; the call that gets them. Needs the lock."""
        if not task.has_thread:
            return None
        task.has_thread = False
        self._crew.busy -= 1
        self._places.taken -= task.job.needs_place
        return self._next()

    def close(self) -> None:
        """End what waits, and let the threads go; what is in flight finishes in its own."""
        with self._lock:
            self._closing.set()
            waiting = [*iter(self._places.pop, None), *self._parked.pop_all_due(math.inf)]
            waiting = [task for task in waiting if not self._give_up(task)]
            self._crew.dismiss()
        for task in waiting:
            self._end_here(task)

    def _end(self, task: Task, cancelled: bool) -> None:
        """Let ``task`` make no further attempt. One that waits between two ends now, unless it was ``cancelled``."""
        with self._lock:
            task.ended = True
            ends = self._claim(task) and not cancelled
            self._deadlines.strike(task.timed)
            if ends and self._give_up(task):
                task.forgotten, ends = True, False
        if ends:
            self._end_here(task)

    def _claim(self, task: Task) -> bool:
        """Take ``task`` from where it waits; False when it does not wait. Needs the lock."""
        return self._parked.strike(task.parked) or self._places.discard(task, task.job.group)

    def _give_up(self, task: Task) -> bool:
        """Leave it to the timer to end ``task``, where this thread has an event loop to run. Needs the lock."""
        with contextlib.suppress(NoThreadError):
            if not has_event_loop():
                return False
            self._timer.wake_by(self._clock() + GRACE_S)
            self._given_up.append(task)
            return True
        return False

    def _end_here(self, task: Task) -> None:
        """Take a call that was claimed to its end in this thread; steps that have not begun refuse."""
        if task.signal is not None:
            task.signal = False
        elif not task.set_running_or_notify_cancel():
            return
        self._advance(task)

    def _look(self) -> Optional[float]:
        """In the timer's thread: do what is due, and say when more will be."""
        with self._lock:
            ended = [self._given_up.popleft() for _ in range(min(BATCH, len(self._given_up)))]
            late = self._deadlines.pop_all_due(self._clock(), BATCH)
            waited = [task for task in late if self._claim(task)]
            self._resume()
            with contextlib.suppress(NoThreadError):
                self._dispatch()
        for task in [*ended, *waited]:
            self._end_here(task)
        for task in late:
            task.settle_late()
        with self._lock:
            dues = [-math.inf if self._given_up else None, self._parked.next_due_s(), self._deadlines.next_due_s()]
        return min((due_s for due_s in dues if due_s is not None), default=None)
