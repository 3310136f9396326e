"""Where memory, threads or time fail, places are given back, no thread runs what is not its own, and errors say why."""

import asyncio
import gc
import signal
import subprocess
import sys
import threading
import time
import weakref

import pytest

from lambda_adapter import CircuitBreaker, LambdaAdapter
from lambda_adapter._call.steps import Job
from lambda_adapter._call.workers import Workers
from lambda_adapter._process.clock import monotonic_s
from support import fault_server as fs
from support.clients import Client
from support.signals import Interruption
from support.waiting import SOON_S, until, until_async

GOOD = fs.answer({"success": True})
FOREVER = {"initial_retry_delay": 3_000, "max_retry_delay": 3_000, "jitter": 0.0}
signals = pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="this platform has no such signals")


def threads_of(name):
    return [thread for thread in threading.enumerate() if thread.name.startswith(f"lambda_adapter-{name}")]


# -- Memory and threads ---------------------------------------------------------------------------


def run(adapter, request, calls=1):
    async def main():
        return await asyncio.gather(*(adapter.execute_async(request) for _ in range(calls)))

    return [response.error_code for response in asyncio.run(main())]


@pytest.mark.parametrize("total_timeout", [None, 60])
def test_after_a_wait_that_memory_fails_later_calls_are_answered(
    monkeypatch, make_adapter, make_request, total_timeout
):
    """Whoever starts a thread waits on a condition until it is alive."""
    adapter = make_adapter(client=Client(), max_concurrency=2, total_timeout=total_timeout)
    failing, wait = [True], threading.Condition.wait

    def fail_once(self, timeout=None):
        if failing:
            failing.pop()
            raise MemoryError
        return wait(self, timeout)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Condition, "wait", fail_once)
        first = run(adapter, make_request())
    assert failing == []
    assert first in ([None], ["overloaded"])
    assert [run(adapter, make_request(), calls=4) for _ in range(3)] == [[None] * 4] * 3


def test_a_thread_in_which_memory_fails_gives_back_its_place(make_adapter, make_request):
    class Failing(Client):
        fails = True

        def invoke(self, **arguments):
            if self.fails:
                raise MemoryError
            return super().invoke(**arguments)

    client = Failing()
    adapter = make_adapter(client=client, max_concurrency=1, max_pending=0)
    assert run(adapter, make_request()) == ["internal_error"]
    client.fails = False
    assert [run(adapter, make_request()) for _ in range(3)] == [[None]] * 3


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()], ids=["threads", "memory"])
@pytest.mark.parametrize("total_timeout", [None, 60])
def test_without_a_thread_a_call_is_refused_and_with_one_it_waits(
    monkeypatch, make_adapter, make_request, error, total_timeout
):
    adapter = make_adapter(client=Client(), max_concurrency=4, total_timeout=total_timeout)

    def no_thread(self):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        assert run(adapter, make_request(), calls=3) == ["overloaded"] * 3
        refused = asyncio.run(adapter.execute_async(make_request()))
        assert refused.error == "overloaded: the machine has no thread to spare"
        assert adapter._workers.waiting == 0
    assert run(adapter, make_request()) == [None]
    until(lambda: adapter._workers.idle == 1)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        assert run(adapter, make_request(), calls=5) == [None] * 5


def test_without_a_thread_for_the_timer_a_wait_is_waited_for_all_the_same(monkeypatch):
    workers = Workers("test", 1)
    start = threading.Thread.start

    def no_timer(self):
        if "timer" in self.name:
            raise RuntimeError("can't start new thread")
        start(self)

    def steps():
        return (yield 0.01)

    monkeypatch.setattr(threading.Thread, "start", no_timer)
    assert workers.submit(steps).result(SOON_S) is True
    workers.close()


# -- Threads end ----------------------------------------------------------------------------------


@pytest.mark.parametrize("total_timeout", [None, 3_600])
def test_no_thread_outlives_a_dropped_adapter(make_request, total_timeout):
    name = f"dropped{total_timeout}"
    adapter = LambdaAdapter("function", "us-east-1", name, client=Client(), total_timeout=total_timeout)
    assert run(adapter, make_request(), calls=8) == [None] * 8
    assert threads_of(name)
    gone = weakref.ref(adapter)
    del adapter
    gc.collect()
    until(lambda: gone() is None and not threads_of(name), within_s=5)  # less than an idle thread stays


def test_a_call_that_ended_before_its_deadline_is_let_go(make_adapter, make_request):
    workers = make_adapter(client=Client())._workers

    def steps():
        return "done"
        yield

    future = workers.submit(lambda: Job(steps(), deadline_s=monotonic_s() + 3_600))
    assert future.result(SOON_S) == "done"
    gone = weakref.ref(future)
    del future
    until(lambda: gc.collect() is not None and gone() is None)


def test_idle_threads_end_after_some_seconds(monkeypatch, make_adapter, make_request):
    monkeypatch.setattr("lambda_adapter._call.threads._IDLE_S", 0.05)
    adapter = make_adapter(client=Client(), module_name="idle", total_timeout=0.2)
    assert run(adapter, make_request(), calls=8) == [None] * 8
    until(lambda: not threads_of("idle"))
    assert run(adapter, make_request(), calls=8) == [None] * 8


# -- The event loop is not held -------------------------------------------------------------------


def test_ten_thousand_calls_that_wait_are_given_up_in_no_time():
    """Nothing is searched for, so it is linear: what took seconds takes some ten milliseconds."""
    workers, calls, ended = Workers("test", 1), 10_000, []

    def steps():
        ended.append(((yield 3_000), threading.current_thread()))

    async def main():
        futures = [workers.submit(steps) for _ in range(calls)]
        await until_async(lambda: workers.parked == calls)
        gc.disable()
        began = time.thread_time()
        for future in futures:
            future.cancel()
        took_s = time.thread_time() - began
        gc.enable()
        await until_async(lambda: len(ended) == calls)
        return took_s

    took_s = asyncio.run(main())
    workers.close()
    assert took_s < 0.2  # 0.02 where nothing else runs
    assert {go_on for go_on, _ in ended} == {False}
    assert threading.main_thread() not in {thread for _, thread in ended}


def test_calls_whose_time_is_up_in_the_queue_are_answered_by_another_thread(make_adapter, make_request, serve):
    threads, held = set(), threading.Event()

    class Slow(Client):
        def invoke(self, **arguments):
            held.wait(SOON_S)
            return super().invoke(**arguments)

    adapter = make_adapter(client=Slow(), max_concurrency=1, total_timeout=0.5)
    refuse = LambdaAdapter._refuse

    async def main():
        responses = await asyncio.gather(*(adapter.execute_async(make_request()) for _ in range(500)))
        held.set()
        return responses

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            LambdaAdapter, "_refuse", lambda *given: threads.add(threading.current_thread()) or refuse(*given)
        )
        responses = asyncio.run(main())
    assert [response.error_code for response in responses] == ["timeout"] * 500
    assert threading.main_thread() not in threads


def test_a_coarse_clock_of_the_event_loop_runs_no_attempt_in_it(make_adapter, make_request):
    """As on Windows, a loop's timers fire up to 15.6 ms early."""
    threads = []

    class Noting(Client):
        def invoke(self, **arguments):
            threads.append(threading.current_thread())
            time.sleep(0.005)
            return super().invoke(**arguments)

    adapter = make_adapter(client=Noting(), max_concurrency=1, total_timeout=0.05)

    async def main():
        asyncio.get_running_loop()._clock_resolution = 0.0156
        return await asyncio.gather(*(adapter.execute_async(make_request()) for _ in range(40)))

    codes = {response.error_code for response in asyncio.run(main())}
    assert codes <= {None, "timeout"}
    assert threading.main_thread() not in threads


# -- Errors say what it is ------------------------------------------------------------------------


def test_without_a_running_loop_it_is_a_runtime_error_that_says_so(make_adapter, make_request):
    coroutine = make_adapter(client=Client()).execute_async(make_request())
    with pytest.raises(RuntimeError, match="no running event loop"):
        coroutine.send(None)


def test_where_python_starts_no_thread_at_its_end_the_error_names_the_shutdown(monkeypatch, make_adapter, make_request):
    def no_thread(self):
        raise RuntimeError("can't create new thread at interpreter shutdown")

    adapter = make_adapter(client=Client())
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    response = asyncio.run(adapter.execute_async(make_request()))
    assert response.error == f"overloaded: {AT_EXIT}"


AT_EXIT = "no thread can be started at interpreter shutdown"
PROGRAM = """
import asyncio, atexit, io
from lambda_adapter import ExecuteRequest, LambdaAdapter
class Client:
    def invoke(self, **arguments):
        return {"StatusCode": 200, "ResponseMetadata": {}, "Payload": io.BytesIO(b'{"success": true}')}
adapter = LambdaAdapter("function", "us-east-1", "module", client=Client(), total_timeout=60)
request = ExecuteRequest("weather", ["Oslo"], "u", "e", "c", "session", "discord")
@atexit.register
def last_words():
    print(adapter.execute(request).error)
    print(asyncio.run(adapter.execute_async(request)).error)
"""


def test_at_interpreter_exit_calls_are_answered_or_refused_with_the_reason():
    """Python 3.12 starts no thread any more when exit handlers run; other versions do."""
    output = subprocess.run(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60
    ).stdout
    assert output.splitlines() in (["None"] * 2, [f"overloaded: {AT_EXIT}"] * 2)


# -- Signals --------------------------------------------------------------------------------------


class SoftTimeLimitExceeded(Exception):  # noqa: N818
    """Named as Celery's."""


@pytest.fixture
def handle():
    before = signal.getsignal(signal.SIGUSR1)
    yield lambda handler: signal.signal(signal.SIGUSR1, handler)
    signal.signal(signal.SIGUSR1, before)


@signals
@pytest.mark.parametrize("total_timeout", [None, 60])
@pytest.mark.parametrize("error", [SoftTimeLimitExceeded, TimeoutError, ConnectionResetError])
@pytest.mark.parametrize("within", ["the head", "the body"])
def test_what_a_signal_handler_raises_in_flight_reaches_the_caller_and_no_attempt_follows(
    make_adapter, make_request, serve, handle, error, total_timeout, within
):
    let_go, interruption = threading.Event(), Interruption(signal.SIGUSR1, error("by a signal"))

    def script(request):
        # A moment later, when the caller waits for what comes.
        threading.Thread(target=interruption.send, args=(0.1,)).start()
        if within == "the body":
            return fs.stall_body()
        let_go.wait(5)
        return GOOD

    script.end = let_go.set
    handle(interruption)
    server = serve(script)
    adapter = make_adapter(
        endpoint_url=server.endpoint_url,
        total_timeout=total_timeout,
        initial_retry_delay=0.001,
        max_retry_delay=0.001,
        circuit_breaker=CircuitBreaker(failure_threshold=1),
    )
    with pytest.raises(error, match="by a signal"):
        adapter.execute(make_request())
    handle(signal.SIG_IGN)
    assert len(server.requests) == 1
    let_go.set()
    if total_timeout is None:
        assert adapter.health.total_requests == 0, "it has come to nothing"
    assert adapter.get_module_info()["circuit_breaker"]["state"] == "closed"


@signals
def test_what_a_signal_handler_raises_within_on_attempt_reaches_the_caller(make_adapter, make_request, handle):
    def handler(signum, frame):
        raise SoftTimeLimitExceeded

    handle(handler)
    adapter = make_adapter(client=Client(), on_attempt=lambda _: signal.raise_signal(signal.SIGUSR1))
    with pytest.raises(SoftTimeLimitExceeded):
        adapter.execute(make_request())


def test_the_same_exception_without_a_signal_is_a_failure_like_any_other(make_adapter, make_request):
    class Failing(Client):
        def invoke(self, **arguments):
            raise SoftTimeLimitExceeded

    response = make_adapter(client=Failing()).execute(make_request())
    assert (response.error_code, response.invocation.attempts) == ("internal_error", 1)
