"""What ``execute_stream`` and ``execute_stream_async`` return: text as it is written, and the one response."""

import os
import weakref
from concurrent.futures import Future
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable, Generator, NoReturn, Optional, Type, Union

from ._call.channel import Channel, pump
from ._call.ending import Ending
from ._call.outcomes import Result
from ._call.steps import Job
from ._call.streams import StreamReader
from .messages import ExecuteResponse

Submit = Callable[["Job[Any]"], "Union[ExecuteResponse, Future[Any]]"]


#: A thread that has the right to say how a call ended says it within microseconds.
_PATIENCE_S = 1.0


class StreamedCall:
    """A call whose answer is read as it comes, before and after it was begun.

    Args:
        job: Its steps yield texts beside the seconds to wait.
        submit: Has the adapter's threads run a job; or gives the answer to one that cannot be run.
        wait: Sleeps between two attempts in the caller's thread; says whether to go on.
    """

    def __init__(
        self,
        job: "Job[Any]",
        reader: StreamReader,
        ending: Ending,
        submit: Submit,
        wait: Callable[[float], bool],
    ) -> None:
        self.job = job
        self.wait = wait
        self.channel = Channel()
        self._reader = reader
        self._ending = ending
        self._submit = submit
        self._task: Optional[Future[Any]] = None
        self._pid = os.getpid()

    def begin(self) -> None:
        """Have a thread of the adapter's read, and send what it reads through the channel."""
        job, channel = self.job, self.channel
        late = job.late and (lambda: _told(channel, self._ending.late(channel.seal)))
        pumped = Job(pump(job.steps, channel, job.deadline_s), job.group, job.needs_place, job.deadline_s, late)
        task = self._submit(pumped)
        if isinstance(task, ExecuteResponse):
            channel.end(task)
        else:
            self._task = task

    @property
    def is_parents(self) -> bool:
        """Whether this is a child of the process that has the call."""
        return self._pid != os.getpid()

    def leave(self) -> Optional[ExecuteResponse]:
        """Read no further: the response, at once, whatever the thread that reads is at."""
        if self.is_parents:
            return None
        self.channel.end(self._ending.leave(self._abandoned))
        self.channel.leave()
        self._reader.leave()
        if self._task is not None:
            self._task.cancel()
            self.channel.wait(_PATIENCE_S)  # for whoever else is just ending it
        return self.channel.response or self._ending.describe(self._reader.abandoned())

    def _abandoned(self) -> Result:
        self.channel.seal()
        self._reader.leave()  # before anything is logged, which may take its time
        return self._reader.abandoned()


def _told(channel: Channel, response: Optional[ExecuteResponse]) -> Optional[ExecuteResponse]:
    channel.end(response)
    return response


#: How streams are read, for who has taken another way.
_WAYS = (
    "In an event loop write `async with adapter.execute_stream_async(request) as stream:` and in it `async for text in "
    "stream:`; in a script, `with adapter.execute_stream(request) as stream:` and in it `for text in stream:`"
)


def _refuse(why: str) -> Callable[..., NoReturn]:
    """A method that is none, and says what to write."""

    def refuse(self: object, *_: object) -> NoReturn:
        raise TypeError(f"{why}. {_WAYS}")

    return refuse


class _Stream:
    """What both kinds of streams have in common."""

    def __init__(self, call: Union[StreamedCall, ExecuteResponse]) -> None:
        self._call = call if isinstance(call, StreamedCall) else None
        self._response = None if isinstance(call, StreamedCall) else call
        self._is_begun = False

    @property
    def response(self) -> ExecuteResponse:
        """The one response of the call; ``message`` is the whole text, or what came of it.

        Raises:
            RuntimeError: The stream has not ended: it was neither read to its end nor left.
        """
        response = self._response or (self._call.channel.response if self._call is not None else None)
        if response is None:
            raise RuntimeError(
                "a stream has its response when it was read to its end or left: ask for it below the `with`"
            )
        return response

    def _check_process(self) -> None:
        if self._call is not None and self._call.is_parents:
            raise RuntimeError("this stream is that of the process that forked; begin another in this one")

    def __repr__(self) -> str:
        response = self._response or (self._call.channel.response if self._call is not None else None)
        state = "under way" if response is None else response.error_code or "ended"
        return f"<{type(self).__name__}: {state}>"


class TextStream(_Stream):
    """Text as a function writes it, for scripts: an iterator of whole characters, to be used in a ``with``.

    Iterating raises nothing for what happens to the call: it ends, and ``response`` says how. The call begins with the
    ``with`` or with the first text that is asked for.
    """

    if not TYPE_CHECKING:  # a type checker finds these mistakes by itself
        __await__ = _refuse("execute_stream() is not awaited")
        __aiter__ = _refuse("execute_stream() is read by `for`, not by `async for`")
        __aenter__ = __aexit__ = _refuse("execute_stream() is entered by `with`, not by `async with`")

    def __init__(self, call: Union[StreamedCall, ExecuteResponse]) -> None:
        super().__init__(call)
        #: Without a deadline the caller's own thread reads.
        self._steps: Optional[Generator[Any, Any, Any]] = None
        if self._call is not None and self._call.job.deadline_s is None:
            self._steps = self._call.job.steps
        elif self._call is not None:
            weakref.finalize(self, self._call.leave).atexit = False

    def __enter__(self) -> "TextStream":
        return self

    def __exit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc: Optional[BaseException],
        tb: Optional[TracebackType],
    ) -> None:
        self.close()

    def __iter__(self) -> "TextStream":
        return self

    def __next__(self) -> str:
        self._check_process()
        if self._call is None or self._response is not None:
            raise StopIteration
        if self._steps is not None:
            return self._read(self._call, self._steps)
        if not self._is_begun:
            self._is_begun = True
            self._call.begin()
        channel = self._call.channel
        while True:
            text = channel.take()
            if text:
                return text
            if text is None:
                raise StopIteration
            channel.wait()

    def _read(self, call: StreamedCall, steps: Generator[Any, Any, Any]) -> str:
        """The next text, in this thread."""
        # Before: another thread may leave while the first text is awaited.
        first, self._is_begun = not self._is_begun, True
        try:
            said = steps.send(None if first else True)
            while not isinstance(said, str):
                said = steps.send(call.wait(said))
        except StopIteration as done:
            self._response = done.value or call.leave()
            raise StopIteration from None
        except ValueError:
            if not getattr(steps, "gi_running", False):
                raise
            raise RuntimeError("another thread reads this stream; one at a time can") from None
        if call.channel.response is not None:
            raise StopIteration  # it was left meanwhile, and its message may lack this text
        return said

    def close(self) -> None:
        """Leave the stream, if it has not ended: the function runs on, and its answer is read no further.

        From another thread it ends a read within milliseconds.
        """
        if self._call is None or self._response is not None:
            return
        if self._steps is not None and self._is_begun:
            try:
                while True:
                    self._steps.send(False)
            except StopIteration as done:
                self._response = done.value
            except ValueError:
                pass  # it is being read, in another thread
        if self._response is None:
            response = self._call.leave()
            if self._steps is not None and not self._is_begun:
                self._steps.close()
            self._response = response


class AsyncTextStream(_Stream):
    """Text as a function writes it, for bots: an asynchronous iterator, to be used in an ``async with``.

    Iterating raises nothing for what happens to the call: it ends, and ``response`` says how. The call begins with the
    ``async with`` or with the first text that is asked for. Leaving it, or being cancelled in it, ends it at once.
    """

    if not TYPE_CHECKING:  # a type checker finds these mistakes by itself
        __await__ = _refuse("execute_stream_async() is not awaited")
        __iter__ = _refuse("execute_stream_async() is read by `async for`, not by `for`")
        __enter__ = __exit__ = _refuse("execute_stream_async() is entered by `async with`, not by `with`")

    def __init__(self, call: Union[StreamedCall, ExecuteResponse]) -> None:
        super().__init__(call)
        self._is_awaited = False
        if self._call is not None:
            # Dropped without a with it must not keep its place, nor the thread that reads.
            weakref.finalize(self, self._call.leave).atexit = False

    async def __aenter__(self) -> "AsyncTextStream":
        self._begin()
        return self

    async def __aexit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc: Optional[BaseException],
        tb: Optional[TracebackType],
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> "AsyncTextStream":
        return self

    async def __anext__(self) -> str:
        self._check_process()
        self._begin()
        if self._call is None:
            raise StopAsyncIteration
        channel = self._call.channel
        while True:
            text = channel.take()
            if text:
                return text
            if text is None:
                raise StopAsyncIteration
            if self._is_awaited:
                raise RuntimeError("another task waits for this stream's next text; one at a time can")
            self._is_awaited = True
            try:
                await _something(channel)
            finally:
                self._is_awaited = False

    def _begin(self) -> None:
        if self._call is not None and not self._is_begun:
            self._is_begun = True
            self._call.begin()

    async def aclose(self) -> None:
        """Leave the stream, if it has not ended: the function runs on, and its answer is read no further."""
        if self._call is not None and self._call.channel.response is None:
            self._call.leave()


async def _something(channel: Channel) -> None:
    """Wait until there is something to take."""
    import asyncio  # here, so that a script that does without does not take its time

    loop = asyncio.get_running_loop()
    arrived = loop.create_future()

    def arrive() -> None:
        if not arrived.done():
            arrived.set_result(None)

    if channel.wake(lambda: loop.call_soon_threadsafe(arrive)):
        await arrived
