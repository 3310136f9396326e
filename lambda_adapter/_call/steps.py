"""A call in steps, between which its driver waits; and the driver that waits in the caller's thread."""

import contextlib
import contextvars
from concurrent.futures import Future, InvalidStateError
from typing import TYPE_CHECKING, Any, Callable, Generator, Generic, Hashable, Optional, TypeVar

import attrs

from .agenda import Entry

T = TypeVar("T")

#: A call: it yields the seconds to wait, is sent True to go on or False to end, and returns its result.
Steps = Generator[float, bool, T]

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


@attrs.frozen(eq=False, repr=False)
class Job(Generic[T]):
    """Steps, and what else Workers have to know of a call."""

    steps: Steps[T]
    #: Whose call it is: places go round the groups that wait.
    group: Hashable = None
    #: Whether it needs one of the limited places.
    needs_place: bool = True
    #: When its time is up, by the monotonic clock.
    deadline_s: Optional[float] = None
    #: Gives the result when the time is up within a step, and None when the steps have ended after all. Once it has
    #: given one, the steps return None.
    late: Optional[Callable[[], Optional[T]]] = None
    #: Whether it waits for its place however many others do, and is not counted among those.
    is_patient: bool = False


class Task(_Future):
    """A job that was submitted, and where it stands; that changes under the lock of its Workers.

    Args:
        made: The job, or bare steps.
        end: Called with the task when somebody cancels it, and with whether it had not started.
    """

    def __init__(self, made: object, end: "Callable[[Task, bool], None]") -> None:
        super().__init__()
        steps: Any = made
        self.job: Job[Any] = made if isinstance(made, Job) else Job(steps)
        self.context = contextvars.copy_context()
        #: What the steps are sent next: None starts them, True goes on, False ends them.
        self.signal: Optional[bool] = None
        self.ended = False
        self.has_thread = False
        #: Nobody waits for the result any more; an event loop need not be woken for it.
        self.forgotten = False
        self.parked: Optional[Entry[Task]] = None
        self.timed: Optional[Entry[Task]] = None
        self._end = end

    def cancel(self) -> bool:
        """Cancel a call that has not started; end one that has, after the attempt in flight."""
        cancelled = super().cancel()
        self._end(self, cancelled)
        return cancelled

    def settle(self, value: object, exc: Optional[BaseException] = None) -> None:
        """Give the result, unless the deadline or a cancellation has come first, or nobody wants it."""
        if self.forgotten:
            return
        with contextlib.suppress(InvalidStateError):
            if exc is not None:
                self.set_exception(exc)
            elif value is not None or self.job.late is None:
                self.set_result(value)

    def settle_late(self) -> None:
        """Give the result of a call whose time is up while its steps run in another thread."""
        if self.job.late is not None and not self.done():
            try:
                self.settle(self.context.copy().run(self.job.late))
            except BaseException as exc:
                self.settle(None, exc)
