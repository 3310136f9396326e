"""Many calls as one sequence of pairs: what ``execute_many`` and ``execute_many_async`` yield.

A request that was read is under way until its pair was yielded, and no more are than the adapter has places. The next
one is read when the last one has its place: with others in all places a batch waits, with one call.
"""

import contextlib
import os
from concurrent.futures import Future
from queue import SimpleQueue
from typing import (
    TYPE_CHECKING,
    AsyncGenerator,
    AsyncIterable,
    Callable,
    Dict,
    Generator,
    Generic,
    Iterable,
    List,
    Optional,
    Tuple,
    TypeVar,
    Union,
)

from ..messages import ExecuteResponse
from .steps import Steps

if TYPE_CHECKING:
    import asyncio

R = TypeVar("R")
T = TypeVar("T")

#: Begins the call of a request, and has it call what it is given when it has a place; or answers it at once.
Begin = Callable[[R, Callable[[], object]], "Union[ExecuteResponse, Future[ExecuteResponse]]"]


def announced(steps: Steps[T], has_place: Callable[[], object]) -> Steps[T]:
    """``steps`` that say when they begin: from then on they have a thread, and a place."""
    has_place()
    return (yield from steps)


class Calls(Generic[R]):
    """The calls of one batch that are under way.

    Args:
        most: How many may be.
        changed: Called in any thread when something has come to be taken.
    """

    def __init__(self, begin: Begin[R], most: int, changed: Callable[[], object] = lambda: None) -> None:
        self._begin = begin
        self._most = most
        self._changed = changed
        self._requests: Dict[Future[ExecuteResponse], R] = {}
        #: Calls that have finished, in this order; None where one got its place.
        self._news: SimpleQueue[Optional[Future[ExecuteResponse]]] = SimpleQueue()
        #: The call that began last, until it is known to have a place.
        self._last: Optional[Future[ExecuteResponse]] = None
        self._pid = os.getpid()

    def begin(self, request: R) -> None:
        """Begin another call; one that is refused has finished."""
        self._check_process()
        # Whether to tell of the place. Set before the call can get it, so that none is missed; cleared where it has it,
        # so that not each call wakes its reader twice.
        waits: List[bool] = [True]

        def has_place() -> None:
            if waits:
                self._tell(None)

        begun = self._begin(request, has_place)
        future = _answered(begun) if isinstance(begun, ExecuteResponse) else begun
        self._requests[future] = request
        self._last = future
        if future.running():
            waits.clear()
        future.add_done_callback(self._tell)

    def _tell(self, news: "Optional[Future[ExecuteResponse]]") -> None:
        self._news.put(news)
        self._changed()

    @property
    def under_way(self) -> int:
        """Calls whose pairs have not been taken."""
        return len(self._requests)

    @property
    def has_room(self) -> bool:
        """Whether another call may begin: the last one waits for its place no more."""
        if self._last is not None and (self._last.running() or self._last.done()):
            self._last = None
        return self._last is None and len(self._requests) < self._most

    @property
    def has_news(self) -> bool:
        """Whether ``take`` returns at once."""
        return not self._news.empty()

    def take(self) -> Optional[Tuple[R, ExecuteResponse]]:
        """The pair of the call that finished next; None where a call got its place. Blocks until there is either."""
        self._check_process()
        future = self._news.get()
        return None if future is None else (self._requests.pop(future), future.result())

    def end(self) -> None:
        """End the calls that wait; attempts in flight finish in their threads."""
        if self._pid == os.getpid():  # else they are the parent's
            for future in self._requests:
                future.cancel()
        self._requests.clear()

    def _check_process(self) -> None:
        if self._pid != os.getpid():
            raise RuntimeError("these calls are those of the process that forked; begin anew in this one")


def _answered(response: ExecuteResponse) -> "Future[ExecuteResponse]":
    future: Future[ExecuteResponse] = Future()
    future.set_result(response)
    return future


def pairs(calls: Calls[R], requests: Iterable[R]) -> Generator[Tuple[R, ExecuteResponse], None, None]:
    """Each request with its response, as calls finish; an exception of ``requests`` comes after what is under way."""
    reads, failure = True, None
    try:
        source = iter(requests)
        while reads or calls.under_way:
            if calls.has_news or not (reads and calls.has_room):
                pair = calls.take()
                if pair is not None:
                    yield pair
                continue
            try:
                request = next(source)
            except StopIteration:
                reads = False
            except Exception as exc:
                reads, failure = False, exc
            else:
                calls.begin(request)
        if failure is not None:
            raise failure
    finally:
        del failure  # it knows this frame
        calls.end()


async def pairs_async(
    begin: Begin[R], most: int, requests: Union[Iterable[R], AsyncIterable[R]]
) -> AsyncGenerator[Tuple[R, ExecuteResponse], None]:
    """``pairs`` for the caller's event loop. A task reads ``requests``, so that no pair waits for the next request."""
    import asyncio  # here, so that a script that does without does not take its time

    loop = asyncio.get_running_loop()
    changed = asyncio.Event()

    def wake() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(changed.set)

    def look(reader: "asyncio.Task[None]") -> None:
        # Also when nobody is there to take its exception any more, which asyncio would log.
        if not reader.cancelled():
            reader.exception()
        changed.set()

    calls = Calls(begin, most, wake)
    reader = loop.create_task(_read(calls, requests, changed))
    reader.add_done_callback(look)
    try:
        while calls.under_way or not reader.done():
            changed.clear()
            if calls.has_news:
                pair = calls.take()
                changed.set()  # the reader may have room now
                if pair is not None:
                    yield pair
            else:
                await changed.wait()
        reader.result()
    finally:
        calls.end()
        reader.cancel()
        await asyncio.wait({reader})


async def _read(calls: Calls[R], requests: Union[Iterable[R], AsyncIterable[R]], changed: "asyncio.Event") -> None:
    if isinstance(requests, AsyncIterable):
        async for request in requests:
            await _begin(calls, request, changed)
    else:
        for request in requests:
            await _begin(calls, request, changed)


async def _begin(calls: Calls[R], request: R, changed: "asyncio.Event") -> None:
    """Begin a call, and wait until there is room for another."""
    import asyncio

    calls.begin(request)
    await asyncio.sleep(0)  # whatever else the loop has to do comes between two requests
    while not calls.has_room:
        changed.clear()
        if not calls.has_room:
            await changed.wait()
