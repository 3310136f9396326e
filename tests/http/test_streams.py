"""Streams as callers have them: one contract for both ways, who leaves, who is slow, and how many at once."""

import asyncio
import gc
import logging
import os
import threading
import time

import boto3
import pytest

from lambda_adapter import CircuitBreaker, LocalLambda
from lambda_adapter.local.event_stream import chunked, payload_chunk
from support import fault_server as fs
from support.calls import CREDENTIALS, FAST, REQUEST
from support.event_streams import READS, TEXTS, begun, body_of, frames_of, read_async, read_sync, streamed
from support.waiting import SOON_S, soon, until, until_async


@pytest.fixture(params=READS.values(), ids=READS)
def how(request):
    """One of the two ways to read a stream."""
    return request.param


class Talker:
    """A handler whose texts a test lets go one by one."""

    def __init__(self):
        self.steps = threading.Semaphore(0)
        self.yielded = 0
        self.running = 0
        self.over = False

    def __call__(self, event, context):
        self.running += 1
        while self.steps.acquire(timeout=SOON_S) and not self.over:
            self.yielded += 1
            yield f"{self.yielded} "


@pytest.fixture
def talker():
    """Ends what still waits for its test."""
    made = Talker()
    yield made
    made.over = True
    for _ in range(made.running):
        made.steps.release()


class Once:
    """A handler that says one thing and then nothing until its test has ended."""

    def __init__(self):
        self.ended = threading.Event()

    def __call__(self, event, context):
        yield "1 "
        self.ended.wait(60)

    def flood(self, event, context):
        while not self.ended.is_set():
            yield "x" * 100


def fast(event, context):
    for number in range(1_000):
        yield f"{number:01000}"


@pytest.fixture
def local(talker):
    """A LocalLambda with ``talk`` and ``once``, which wait for the test, and ``fast``, which does not."""
    once = Once()
    with LocalLambda({"talk": talker, "once": once, "fast": fast, "flood": once.flood}, timeout=60) as running:
        yield running
    once.ended.set()


@pytest.fixture
def make_local(local, make_adapter):
    def make(name="talk", **settings):
        return make_adapter(function_identifier=name, endpoint_url=local.endpoint_url, **settings)

    return make


def places_taken(adapter):
    return adapter._workers._places.taken


# --- One contract ---


def test_text_comes_whole_and_the_response_has_it(serve, make_adapter, how):
    attempts = []
    server = serve(streamed(*TEXTS))
    adapter = make_adapter(endpoint_url=server.endpoint_url, on_attempt=attempts.append)
    read = how(adapter, REQUEST)
    assert read.texts == list(TEXTS)
    response = read.response
    assert (response.success, response.message, response.data, response.targets) == (True, "".join(TEXTS), None, [])
    invocation = response.invocation
    assert (invocation.executed, invocation.attempts, invocation.why_ended) == ("yes", 1, "succeeded")
    assert (invocation.status_code, invocation.executed_version) == (200, "7")
    assert invocation.request_id == "0f4e0d1c-ab12-4c3d-9e8f-0123456789ab"
    assert 0 < invocation.first_text_s <= invocation.duration_s
    assert 0 < attempts[0].first_text_s <= attempts[0].duration_s
    assert (adapter.health.total_requests, adapter.health.total_failures) == (1, 0)
    assert server.requests[0].path == "/2021-11-15/functions/function/response-streaming-invocations"


@pytest.mark.parametrize("total_timeout", [None, 30.0], ids=["no deadline", "a deadline"])
def test_a_connection_serves_one_stream_after_another(serve, make_adapter, how, total_timeout):
    server = serve(streamed(*TEXTS))
    adapter = make_adapter(endpoint_url=server.endpoint_url, total_timeout=total_timeout)
    for _ in range(5):
        assert how(adapter, REQUEST).response.success
    assert server.connections == 1


def test_a_stream_without_a_with_is_read_all_the_same(serve, make_adapter):
    adapter = make_adapter(endpoint_url=serve(streamed(*TEXTS)).endpoint_url)
    stream = adapter.execute_stream(REQUEST)
    assert list(stream) == list(TEXTS)
    assert list(stream) == []
    assert stream.response.message == "".join(TEXTS)


async def _enter(stream):
    async with stream:
        pass


async def _read_it(stream):
    async for _ in stream:
        pass


async def _await(stream):
    await stream


async def _enter_as_a_script(stream):
    with stream:
        pass


async def _read_as_a_script(stream):
    list(stream)


MISTAKES = {
    "await": ("execute_stream", _await),
    "async for": ("execute_stream", _read_it),
    "async with": ("execute_stream", _enter),
    "await, async": ("execute_stream_async", _await),
    "for, async": ("execute_stream_async", _read_as_a_script),
    "with, async": ("execute_stream_async", _enter_as_a_script),
}


@pytest.mark.parametrize(("method", "mistake"), MISTAKES.values(), ids=MISTAKES)
def test_a_stream_read_the_other_way_says_what_to_write(make_adapter, method, mistake):
    stream = getattr(make_adapter(), method)(REQUEST)
    with pytest.raises(TypeError, match=rf"^{method}\(\) is .* write `async with adapter"):
        asyncio.run(mistake(stream))


def test_an_async_stream_without_a_with_is_read_all_the_same(serve, make_adapter):
    async def main():
        return [text async for text in adapter.execute_stream_async(REQUEST)]

    adapter = make_adapter(endpoint_url=serve(streamed(*TEXTS)).endpoint_url)
    assert asyncio.run(main()) == list(TEXTS)


def test_nothing_is_sent_before_it_is_read(serve, make_adapter):
    server = serve(streamed(*TEXTS))
    adapter = make_adapter(endpoint_url=server.endpoint_url)
    with adapter.execute_stream(REQUEST) as stream:
        with pytest.raises(RuntimeError, match="read to its end or left"):
            stream.response  # noqa: B018
        assert repr(stream) == "<TextStream: under way>"
    assert (stream.response.error_code, stream.response.invocation.executed) == ("abandoned", "no")
    assert stream.response.invocation.attempts == 0
    assert repr(stream) == "<TextStream: abandoned>"
    assert server.requests == []


def test_a_request_is_read_at_once(serve, make_adapter, make_request, how):
    server = serve(streamed("Hi"))
    request = make_request()
    stream = make_adapter(endpoint_url=server.endpoint_url).execute_stream(request)
    request.metadata["late"] = {1, 2}
    assert list(stream) == ["Hi"]


def test_an_event_has_no_answer_to_stream(make_adapter):
    adapter = make_adapter(invocation_type="Event")
    with pytest.raises(ValueError, match="RequestResponse"):
        adapter.execute_stream(REQUEST)
    with pytest.raises(ValueError, match="RequestResponse"):
        adapter.execute_stream_async(REQUEST)


def test_a_durable_adapter_does_not_stream(make_adapter, shared_client):
    if "DurableExecutionName" not in shared_client.meta.service_model.operation_model("Invoke").input_shape.members:
        pytest.skip("this botocore knows no durable executions")
    adapter = make_adapter(qualifier="prod", durable=True)
    with pytest.raises(ValueError, match="durable"):
        adapter.execute_stream(REQUEST)
    with pytest.raises(ValueError, match="durable"):
        adapter.execute_stream_async(REQUEST)


def test_what_is_refused_is_refused_like_any_call(make_adapter, make_request, how):
    adapter = make_adapter(required_scopes=["sing"])
    assert how(adapter, make_request(args=[object()])).response.error_code == "invalid_request"
    assert how(adapter, make_request()).response.error_code == "missing_scopes"
    adapter.close()
    read = how(adapter, make_request(scopes=["sing"]))
    assert (read.texts, read.response.error_code, adapter.health.total_requests) == ([], "closed", 0)


def test_what_was_not_sent_did_not_run(make_adapter, how):
    """botocore's events have another name for each operation."""

    def refuse(**_):
        raise ValueError("not today")

    client = boto3.client("lambda", "us-east-1", endpoint_url="http://127.0.0.1:9", **CREDENTIALS)
    client.meta.events.register("before-sign.lambda", refuse)
    adapter = make_adapter(client=client)
    whole, streamed_one = adapter.execute(REQUEST), how(adapter, REQUEST).response
    assert streamed_one.invocation.executed == whole.invocation.executed == "no"
    assert (streamed_one.error_code, streamed_one.error) == (whole.error_code, whole.error)
    client.close()


def test_an_interim_answer_loses_its_connection(serve, make_adapter, how):
    """http.client takes a 103 for the whole answer, and the next call would get this one's."""
    early = fs.raw(b"HTTP/1.1 103 Early Hints\r\n\r\n" + body_of(frames_of(["another's"])), "keep")
    server = serve([early, streamed(*TEXTS)])
    adapter = make_adapter(endpoint_url=server.endpoint_url, max_retries=0)
    assert how(adapter, REQUEST).response.error_code == "connection_lost"
    assert how(adapter, REQUEST).texts == list(TEXTS)


# --- Deadlines ---


@pytest.mark.parametrize("texts", [["Hel"], []], ids=["after a text", "before any"])
def test_a_deadline_in_the_middle_of_a_stream(serve, make_adapter, how, texts):
    """Bytes come all the time, so that read_timeout has nothing to say."""
    piece = next(chunked([payload_chunk(b"x" * 4_000)]))
    drip = tuple(step for byte in piece for step in (bytes((byte,)), 0.01))
    server = serve(begun(*texts, steps=drip))
    adapter = make_adapter(endpoint_url=server.endpoint_url, total_timeout=0.5)
    began = time.monotonic()
    read = how(adapter, REQUEST)
    assert 0.4 < time.monotonic() - began < SOON_S
    assert (read.texts, read.response.error_code) == (texts, "timeout")
    assert read.response.message == ("Hel" if texts else None)
    assert read.response.invocation.executed == ("yes" if texts else "maybe")
    assert read.response.invocation.why_ended == "total_timeout"
    assert read.response.error.count("total_timeout of 0.5 s is up") == 1
    until(lambda: places_taken(adapter) == 0)
    assert (adapter.health.total_requests, adapter.health.total_failures) == (1, 1)


def test_a_deadline_ends_a_stream_that_never_pauses(make_local, how):
    adapter = make_local("flood", total_timeout=0.3)
    response = how(adapter, REQUEST).response
    assert (response.error_code, response.invocation.why_ended) == ("timeout", "total_timeout")
    assert response.invocation.duration_s < SOON_S
    until(lambda: places_taken(adapter) == 0)


def test_a_deadline_ends_a_call_that_has_no_answer_yet(serve, make_adapter, how):
    server = serve(fs.hang())
    read = how(make_adapter(endpoint_url=server.endpoint_url, total_timeout=1.0, read_timeout=3.0), REQUEST)
    assert (read.texts, read.response.error_code, read.response.invocation.executed) == ([], "timeout", "maybe")


def test_a_deadline_ends_a_stream_that_nobody_reads(make_local):
    async def main():
        async with adapter.execute_stream_async(REQUEST) as stream:
            await until_async(lambda: stream._call.channel.response)
            return [text async for text in stream], stream.response

    adapter = make_local("fast", total_timeout=0.3)
    texts, response = asyncio.run(main())
    assert response.error_code == "timeout"
    assert response.message == "".join(texts)


# --- Leaving ---


def assert_abandoned(response, executed="yes", message="1 "):
    assert (response.success, response.error_code) == (False, "abandoned")
    assert (response.invocation.executed, response.invocation.why_ended) == (executed, "ended")
    assert response.message == message


@pytest.mark.parametrize("total_timeout", [None, 30.0], ids=["no deadline", "a deadline"])
def test_whoever_leaves_has_a_response(make_local, talker, total_timeout):
    attempts = []
    adapter = make_local(total_timeout=total_timeout, on_attempt=attempts.append)
    talker.steps.release()
    with adapter.execute_stream(REQUEST) as stream:
        assert next(stream) == "1 "
    assert_abandoned(stream.response)
    assert list(stream) == []
    until(lambda: attempts)
    assert [attempt.error_code for attempt in attempts] == ["abandoned"]
    assert adapter.health.total_requests == 0


def test_a_connection_is_not_given_back_half_read(serve, make_adapter):
    server = serve([begun("Hel"), streamed(*TEXTS)])
    adapter = make_adapter(endpoint_url=server.endpoint_url)
    with adapter.execute_stream(REQUEST) as stream:
        next(stream)
    read = read_sync(adapter, REQUEST)
    assert (read.texts, read.response.invocation.attempts) == (list(TEXTS), 1)
    assert server.connections == 2


def test_an_exception_of_the_readers_own_goes_through(make_local, talker):
    talker.steps.release()
    stream = make_local().execute_stream(REQUEST)
    with pytest.raises(KeyError), stream:
        {}[next(stream)]
    assert_abandoned(stream.response)


def test_a_read_in_another_thread_ends_with_close(make_local, talker):
    adapter = make_local(read_timeout=SOON_S)
    talker.steps.release()
    stream = adapter.execute_stream(REQUEST)
    next(stream)
    rest = []
    reader = threading.Thread(target=lambda: rest.extend(stream))
    reader.start()
    stream.close()
    reader.join(SOON_S)
    assert (reader.is_alive(), rest) == (False, [])
    assert_abandoned(stream.response)


@pytest.mark.parametrize("total_timeout", [None, 60.0], ids=["no deadline", "a deadline"])
def test_a_wait_for_the_head_in_another_thread_ends_with_close(serve, make_adapter, total_timeout):
    server = serve(fs.hang())
    adapter = make_adapter(endpoint_url=server.endpoint_url, read_timeout=60.0, total_timeout=total_timeout)
    stream, texts = adapter.execute_stream(REQUEST), []
    reader = threading.Thread(target=lambda: texts.extend(stream))
    reader.start()
    until(lambda: server.requests)
    stream.close()
    reader.join(SOON_S)
    assert (reader.is_alive(), texts, places_taken(adapter)) == (False, [], 0)
    assert_abandoned(stream.response, executed="maybe", message=None)
    assert len(server.requests) == 1


def test_two_threads_cannot_read_one_stream(serve, make_adapter):
    server = serve(fs.hang())
    stream = make_adapter(endpoint_url=server.endpoint_url, read_timeout=60.0).execute_stream(REQUEST)
    reader = threading.Thread(target=lambda: list(stream))
    reader.start()
    until(lambda: server.requests)
    with pytest.raises(RuntimeError, match="another thread reads this stream"):
        next(stream)
    stream.close()
    reader.join(SOON_S)
    assert not reader.is_alive()


async def reading(stream):
    """A task that waits for the next text."""
    task = asyncio.ensure_future(stream.__anext__())
    await until_async(lambda: stream._call.channel._wake)
    return task


@pytest.mark.parametrize("leave", ["cancel", "aclose", "drop"])
def test_a_reader_of_the_loop_leaves(make_local, talker, leave):
    async def main():
        stream = adapter.execute_stream_async(REQUEST)
        assert await soon(stream.__anext__()) == "1 "
        assert places_taken(adapter) == 1
        if leave == "drop":
            del stream
            gc.collect()
        else:
            task = await reading(stream)
            if leave == "cancel":
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            await stream.aclose()
            assert_abandoned(stream.response)
            if leave == "aclose":
                with pytest.raises(StopAsyncIteration):
                    await task
        await until_async(lambda: places_taken(adapter) == 0)

    attempts = []
    adapter = make_local(read_timeout=60.0, on_attempt=attempts.append)
    talker.steps.release()
    asyncio.run(main())
    assert [attempt.error_code for attempt in attempts] == ["abandoned"]
    assert (adapter.health.total_requests, talker.running) == (0, 1)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("leave", ["cancel", "aclose", "drop"])
def test_a_reader_who_leaves_before_the_head_frees_the_place(serve, make_adapter, tmp_path, monkeypatch, leave, scheme):
    """The usual wait of a chat: a model that has yet to say its first word."""

    async def main():
        for number in range(4):
            stream = adapter.execute_stream_async(REQUEST)
            task = await reading(stream)
            await until_async(lambda: len(server.requests) > number)  # noqa: B023
            if leave == "drop":
                task.cancel()
                await asyncio.wait({task})
                del stream, task
                gc.collect()
            elif leave == "cancel":
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                await stream.aclose()
            else:
                await stream.aclose()
                await asyncio.wait({task})
            await until_async(lambda: places_taken(adapter) == 0)
        async with adapter.execute_stream_async(REQUEST) as stream:
            assert [text async for text in stream] == list(TEXTS)

    context, pem = fs.tls_contexts(tmp_path) if scheme == "https" else (None, None)
    if pem:
        monkeypatch.setenv("AWS_CA_BUNDLE", pem)
    attempts = []
    with fs.FaultServer([*[fs.hang()] * 4, streamed(*TEXTS)], tls=context) as server:
        adapter = make_adapter(
            endpoint_url=server.endpoint_url, read_timeout=60.0, max_concurrency=1, on_attempt=attempts.append
        )
        asyncio.run(main())
    assert [attempt.error_code for attempt in attempts] == ["abandoned"] * 4 + [None]


def test_a_connection_that_has_given_its_head_is_cut_for_nobody(serve, make_adapter):
    """Once an answer is there its connection may be another call's."""
    server = serve([fs.aws_error("ResourceNotFoundException", 404), streamed(*TEXTS)])
    adapter = make_adapter(endpoint_url=server.endpoint_url)
    first = adapter.execute_stream(REQUEST)
    assert list(first) == []
    first._call.leave()
    assert read_sync(adapter, REQUEST).texts == list(TEXTS)
    assert server.connections == 1


class Connections(fs.FaultServer):
    """Knows when each of its clients has gone."""

    def __init__(self, *args, **settings):
        super().__init__(*args, **settings)
        self.gone_s = []

    def _commit(self, connection, reaction):
        is_kept = super()._commit(connection, reaction)
        self.gone_s.append(time.perf_counter())
        return is_kept


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_reader_who_leaves_ends_the_connection_within_10_ms(tmp_path, make_adapter, monkeypatch, scheme):
    async def main():
        times = []
        for number in range(20):
            stream = adapter.execute_stream_async(REQUEST)
            await soon(stream.__anext__())
            await reading(stream)
            began = time.perf_counter()
            await stream.aclose()
            await until_async(lambda: len(server.gone_s) > number and not places_taken(adapter))  # noqa: B023
            times.append(server.gone_s[-1] - began)
        return sorted(times)[10]

    context, pem = fs.tls_contexts(tmp_path) if scheme == "https" else (None, None)
    if pem:
        monkeypatch.setenv("AWS_CA_BUNDLE", pem)
    with Connections(begun("Hel"), tls=context) as server:
        adapter = make_adapter(endpoint_url=server.endpoint_url, read_timeout=60.0)
        assert asyncio.run(main()) < 0.010


def test_a_reader_who_leaves_ends_the_connection_before_it_is_logged(make_local, talker, caplog):
    """A handler of logs may take its time, and the function is told first."""

    class Handler(logging.Handler):
        def emit(self, record):
            if "Left by its reader" in record.getMessage():
                was_cut.append(stream._call._reader.was_left)

    was_cut = []
    adapter = make_local(total_timeout=30.0)
    talker.steps.release()
    with adapter.execute_stream(REQUEST) as stream:
        next(stream)
        handler = Handler()
        logging.getLogger("lambda_adapter").addHandler(handler)
        caplog.set_level(logging.INFO, "lambda_adapter")
    logging.getLogger("lambda_adapter").removeHandler(handler)
    assert was_cut == [True]


def test_two_tasks_cannot_wait_for_one_text(make_local, talker):
    """The second would be woken in place of the first, which would wait for ever."""

    async def main():
        async with adapter.execute_stream_async(REQUEST) as stream:
            first = await reading(stream)
            with pytest.raises(RuntimeError, match="one at a time"):
                await stream.__anext__()
            talker.steps.release()
            assert await soon(first) == "1 "
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(stream.__anext__(), 0.01)
            talker.steps.release()
            assert await soon(stream.__anext__()) == "2 "

    adapter = make_local()
    asyncio.run(main())


def test_a_cancelled_task_leaves_its_stream(make_local, talker):
    async def read():
        async with adapter.execute_stream_async(REQUEST) as stream:
            responses.append(stream)
            async for _ in stream:
                heard.append(True)

    async def main():
        task = asyncio.ensure_future(read())
        await until_async(lambda: heard)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    responses, heard = [], []
    adapter = make_local()
    talker.steps.release()
    asyncio.run(main())
    assert_abandoned(responses[0].response)


def test_leaving_before_the_head(serve, make_adapter):
    async def main():
        async with adapter.execute_stream_async(REQUEST) as stream:
            await until_async(lambda: server.requests)
        return stream.response

    server = serve(fs.hang())
    adapter = make_adapter(endpoint_url=server.endpoint_url, read_timeout=0.3, **FAST)
    assert_abandoned(asyncio.run(main()), "maybe", None)
    until(lambda: places_taken(adapter) == 0)
    assert len(server.requests) == 1


def test_leaving_the_queue(make_local, talker):
    async def main():
        async with adapter.execute_stream_async(REQUEST) as first:
            await soon(first.__anext__())
            async with adapter.execute_stream_async(REQUEST) as second:
                assert adapter._workers.waiting == 1
            assert adapter._workers.waiting == 0
            return second.response

    adapter = make_local(max_concurrency=1)
    talker.steps.release()
    response = asyncio.run(main())
    assert (response.error_code, response.invocation.executed) == ("abandoned", "no")
    assert response.invocation.attempts == 0


def test_a_probe_that_is_abandoned_is_given_back(serve, make_adapter, how):
    now = [0.0]
    breaker = CircuitBreaker(failure_threshold=1, reset_timeout=10.0, clock=lambda: now[0])
    server = serve([fs.function_error(), begun("Hel"), streamed(*TEXTS)])
    adapter = make_adapter(endpoint_url=server.endpoint_url, circuit_breaker=breaker)
    adapter.execute(REQUEST)
    assert how(adapter, REQUEST).response.error_code == "circuit_open"
    now[0] = 11.0
    with adapter.execute_stream(REQUEST) as stream:
        next(stream)
    assert stream.response.error_code == "abandoned"
    assert how(adapter, REQUEST).response.success


def test_over_tls_too(tmp_path, make_adapter, monkeypatch):
    async def main():
        async with adapter.execute_stream_async(REQUEST) as stream:
            assert await soon(stream.__anext__()) == "Hel"
            task = await reading(stream)
        with pytest.raises(StopAsyncIteration):
            await task
        await until_async(lambda: places_taken(adapter) == 0)
        return stream.response

    context, pem = fs.tls_contexts(tmp_path)
    monkeypatch.setenv("AWS_CA_BUNDLE", pem)
    with fs.FaultServer([begun("Hel"), streamed(*TEXTS)], tls=context) as server:
        adapter = make_adapter(endpoint_url=server.endpoint_url, read_timeout=60.0)
        assert_abandoned(asyncio.run(main()), "yes", "Hel")
        for _ in range(3):
            assert read_sync(adapter, REQUEST).texts == list(TEXTS)
        assert server.connections == 2


# --- Slow readers, many streams ---


def test_a_slow_reader_slows_the_function(make_local, local):
    """Socket buffers hold some megabytes; what is over them waits in the function."""

    async def main():
        async with adapter.execute_stream_async(REQUEST) as stream:
            async for _ in stream:
                break
            channel = stream._call.channel
            await until_async(lambda: channel._waiting)
            waiting = len(channel._texts)
            rest = [text async for text in stream]
            return waiting, len(rest)

    adapter = make_local("fast")
    waiting, rest = asyncio.run(main())
    assert 32 <= waiting <= 64
    assert rest == 999


def test_many_streams_on_one_loop(make_local):
    """All have begun before one ends."""

    async def read():
        async with adapter.execute_stream_async(REQUEST) as stream:
            async for _ in stream:
                begun.append(stream)
                break
            await until_async(lambda: len(begun) == 64, 60)
        return stream.response.error_code

    async def main():
        return await asyncio.gather(*(read() for _ in range(64)))

    begun = []
    adapter = make_local("once")
    assert asyncio.run(main()) == ["abandoned"] * 64


def test_a_place_is_held_until_the_end(make_local):
    async def main():
        async with adapter.execute_stream_async(REQUEST) as first:
            await soon(first.__anext__())
            second = adapter.execute_stream_async(REQUEST)
            waits = asyncio.ensure_future(second.__anext__())
            await until_async(lambda: adapter._workers.waiting == 1)
            overloaded = adapter.execute_stream_async(REQUEST)
            assert [text async for text in overloaded] == []
            assert overloaded.response.error_code == "overloaded"
        assert await soon(waits)
        await second.aclose()

    adapter = make_local("once", max_concurrency=1, max_pending=1)
    asyncio.run(main())


def test_a_closed_adapter_lets_a_stream_finish_and_ends_what_waits(make_local, talker):
    async def main():
        async with adapter.execute_stream_async(REQUEST) as first, adapter.execute_stream_async(REQUEST) as second:
            await soon(first.__anext__())
            adapter.close()
            assert [text async for text in second] == []
            talker.steps.release()
            assert await soon(first.__anext__()) == "2 "
        return second.response

    adapter = make_local(max_concurrency=1)
    talker.steps.release()
    assert asyncio.run(main()).error_code == "closed"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("total_timeout", [None, 30.0], ids=["no deadline", "a deadline"])
def test_a_childs_copy_of_a_stream_does_not_end_it(make_local, talker, total_timeout):
    adapter = make_local(total_timeout=total_timeout)
    talker.steps.release()
    with adapter.execute_stream(REQUEST) as stream:
        assert next(stream) == "1 "
        pid = os.fork()
        if pid == 0:
            told = False
            try:
                next(stream)
            except RuntimeError as error:
                told = "of the process that forked" in str(error)
            stream.close()
            del stream
            gc.collect()
            os._exit(0 if told else 1)
        assert os.waitpid(pid, 0)[1] == 0
        talker.steps.release()
        assert next(stream) == "2 "


def test_what_ends_a_reading_thread_reaches_the_reader(serve, make_adapter):
    def leave(attempt):
        raise SystemExit(3)

    adapter = make_adapter(endpoint_url=serve(streamed("Hi")).endpoint_url, on_attempt=leave)
    with pytest.raises(SystemExit):
        read_async(adapter, REQUEST)


def test_a_client_of_ones_own_that_gives_events(make_adapter):
    class Client:
        def invoke(self, **arguments):
            raise AssertionError

        def invoke_with_response_stream(self, **arguments):
            assert set(arguments) == {"FunctionName", "Payload"}
            events = [{"PayloadChunk": {"Payload": b"Hi"}}, {"InvokeComplete": {}}]
            return {"StatusCode": 200, "EventStream": iter(events)}

    read = read_sync(make_adapter(client=Client()), REQUEST)
    assert (read.texts, read.response.success) == (["Hi"], True)
