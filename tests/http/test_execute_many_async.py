"""execute_many_async: pairs as calls finish, for plain and asynchronous iterables; no task is left behind."""

import asyncio
import gc
import os
import threading
import types

import pytest

from support.calls import FOREVER, GOOD, THROTTLED, TOO_LONG, start
from support.clients import Client
from support.forks import in_child
from support.sessions import Function, Requests, aiter_of, collect
from support.waiting import SOON_S, in_thread, soon, until, until_async

#: What both kinds of iterables make of the same requests.
KINDS = {"plain": lambda requests: requests, "async": aiter_of}


@pytest.fixture(params=KINDS.values(), ids=KINDS.keys())
def kind(request):
    return request.param


@pytest.fixture
def requests(make_request):
    return Requests(make_request)


class BrokenError(Exception):
    pass


def run(main):
    """Run ``main()`` in debug mode; it leaves no task behind, and nothing is told to the loop's exception handler."""

    async def watched():
        told = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: told.append(context))
        result = await soon(main())
        gc.collect()
        await until_async(lambda: asyncio.all_tasks() == {asyncio.current_task()})
        gc.collect()
        await asyncio.sleep(0)
        assert told == []
        return result

    return asyncio.run(watched(), debug=True)


def sessions(pairs):
    return [request.session_id for request, _ in pairs]


# -- Pairs ----------------------------------------------------------------------------------------


def test_each_request_comes_with_its_own_response(make_adapter, requests, serve, kind):
    function = Function()
    adapter = make_adapter(endpoint_url=serve(function).endpoint_url, max_concurrency=4)
    pairs = run(lambda: collect(adapter.execute_many_async(kind(requests.first(50)))))
    assert sorted(int(session) for session in sessions(pairs)) == list(range(50))
    for request, response in pairs:
        assert (response.success, response.message) == (True, request.session_id)
        assert any(request is given for given in requests.read)
    assert function.most <= 4
    assert (adapter.health.total_requests, adapter.health.total_failures) == (50, 0)


def test_pairs_come_in_the_order_in_which_calls_finish(make_adapter, requests, serve, kind):
    function = Function(held=["0", "2"])
    adapter = make_adapter(endpoint_url=serve(function).endpoint_url, max_concurrency=2)

    async def main():
        pairs, order = adapter.execute_many_async(kind(requests.first(4))), []
        order += sessions([await pairs.__anext__()])  # 0 and 1 are under way; 1 ends
        await in_thread(function.has_begun, 3)
        function.let_go("0")
        order += sessions([await pairs.__anext__()])
        order += sessions([await pairs.__anext__()])  # 3 ends while 2 is held
        function.let_go("2")
        return order + sessions(await collect(pairs))

    assert run(main) == ["1", "0", "3", "2"]


def test_of_no_requests_there_are_no_pairs(make_adapter, kind):
    assert run(lambda: collect(make_adapter().execute_many_async(kind([])))) == []


def test_bad_requests_are_answered_at_once_while_others_are_in_flight(make_adapter, requests, serve, kind):
    function = Function(held=["0"])
    adapter = make_adapter(endpoint_url=serve(function).endpoint_url, max_concurrency=3)

    async def main():
        pairs = adapter.execute_many_async(kind([*requests.first(1), None, 5]))
        codes = [(await pairs.__anext__())[1].error_code for _ in range(2)]
        function.let_go()
        return codes + [response.error_code for _, response in await collect(pairs)]

    assert run(main) == ["invalid_request", "invalid_request", None]


def test_total_timeout_holds_for_each_call_and_not_for_all_of_them(make_adapter, requests, serve, kind):
    adapter = make_adapter(endpoint_url=serve(THROTTLED).endpoint_url, max_concurrency=2, **TOO_LONG)
    pairs = run(lambda: collect(adapter.execute_many_async(kind(requests.first(6)))))
    assert len(pairs) == 6
    assert all(response.error.endswith("; the total_timeout of 1 s is up") for _, response in pairs)


def test_closing_the_adapter_amid_it_ends_the_rest_as_closed(make_adapter, requests, serve, kind):
    function = Function(held=["1"], together=2)
    adapter = make_adapter(endpoint_url=serve(function).endpoint_url, max_concurrency=2)

    async def main():
        pairs = adapter.execute_many_async(kind(requests.first(20)))
        assert (await pairs.__anext__())[0].session_id == "0"
        adapter.close()
        function.let_go()
        return [response.error_code for _, response in await collect(pairs)]

    codes = run(main)
    assert len(codes) == 19
    # What was in flight by then finishes: 1, and perhaps 2.
    assert set(codes) == {None, "closed"}
    assert codes.count("closed") >= 17


def test_closing_the_adapter_ends_what_waits_for_a_retry(make_adapter, requests, serve, kind):
    adapter = make_adapter(endpoint_url=serve(THROTTLED).endpoint_url, max_concurrency=3, **FOREVER)

    async def main():
        batch = asyncio.ensure_future(collect(adapter.execute_many_async(kind(requests.first(3)))))
        await until_async(lambda: adapter._workers.parked == 3)
        adapter.close()
        return [response.error_code for _, response in await batch]

    assert run(main) == ["throttled"] * 3


# -- Lazy -----------------------------------------------------------------------------------------


def test_nothing_is_read_before_the_first_pair_is_wanted(make_adapter, requests, serve):
    server = serve(GOOD)

    async def main():
        pairs = make_adapter(endpoint_url=server.endpoint_url).execute_many_async(requests)
        assert isinstance(pairs, types.AsyncGeneratorType)
        await asyncio.sleep(0)
        await pairs.aclose()

    run(main)
    assert (requests.read, server.requests) == ([], [])


@pytest.mark.parametrize("max_concurrency", [1, 3])
def test_a_slow_reader_of_pairs_has_no_more_read_ahead_than_max_concurrency(
    make_adapter, requests, serve, kind, max_concurrency
):
    server = serve(Function())
    adapter = make_adapter(endpoint_url=server.endpoint_url, max_concurrency=max_concurrency)

    async def main():
        pairs = adapter.execute_many_async(kind(requests))
        for done in range(1, 8):
            await pairs.__anext__()
            # It reads on, although nobody asks for the next pair, and then no more.
            await until_async(lambda done=done: adapter.health.total_requests == done + max_concurrency)
            for _ in range(10):
                await asyncio.sleep(0)
            assert len(requests.read) == done + max_concurrency
        await pairs.aclose()

    run(main)


def test_while_all_places_are_taken_nothing_more_is_read(make_adapter, requests, serve, kind):
    function = Function(held=["0", "1", "2"])
    adapter = make_adapter(endpoint_url=serve(function).endpoint_url, max_concurrency=3)

    async def main():
        pairs = adapter.execute_many_async(kind(requests))
        first = asyncio.ensure_future(pairs.__anext__())
        await in_thread(function.has_begun, 3)
        assert (len(requests.read), first.done()) == (3, False)
        function.let_go("1")
        assert (await first)[0].session_id == "1"
        function.let_go()
        await pairs.aclose()

    run(main)


def test_a_plain_iterable_is_read_in_the_loops_thread(make_adapter, requests):
    threads = set()

    def read():
        for request in requests.first(5):
            threads.add(threading.get_ident())
            yield request

    run(lambda: collect(make_adapter(client=Client()).execute_many_async(read())))
    assert threads == {threading.get_ident()}


def test_others_have_their_turn_between_two_requests(make_adapter, requests, kind):
    """Though neither the iterable nor a place lets the reader wait."""
    adapter = make_adapter(client=Client(), max_concurrency=1_024)
    turns = []

    async def take_turns():
        while True:
            turns.append(len(requests.read))
            await asyncio.sleep(0)

    async def main():
        other = asyncio.ensure_future(take_turns())
        await collect(adapter.execute_many_async(kind(requests.first(50))))
        other.cancel()

    run(main)
    assert set(range(1, 51)) <= set(turns)


def test_answers_come_while_an_async_iterable_has_no_next_request(make_adapter, requests, serve):
    adapter = make_adapter(endpoint_url=serve(Function()).endpoint_url, max_concurrency=8)

    async def main():
        answered = asyncio.Queue()

        async def slow():
            for request in requests.first(3):
                yield request
                assert await answered.get() == request.session_id

        async for request, _ in adapter.execute_many_async(slow()):
            answered.put_nowait(request.session_id)

    run(main)


# -- An iterable that raises ----------------------------------------------------------------------


def raising(requests, failure, function):
    """Three requests that are in flight, and then ``failure``."""
    yield from requests.first(3)
    function.has_begun(3)
    function.let_go()
    raise failure


async def raising_async(requests, failure, function):
    for request in requests.first(3):
        yield request
    await in_thread(function.has_begun, 3)
    function.let_go()
    raise failure


@pytest.mark.parametrize("broken", [raising, raising_async], ids=["plain", "async"])
def test_what_is_in_flight_comes_before_what_the_iterable_raised(make_adapter, requests, serve, broken):
    function = Function(held=["0", "1", "2"])
    adapter = make_adapter(endpoint_url=serve(function).endpoint_url, max_concurrency=5)
    failure, seen = BrokenError("line 4"), []

    async def main():
        with pytest.raises(BrokenError) as raised:
            await collect(adapter.execute_many_async(broken(requests, failure, function)), seen.append)
        assert raised.value is failure

    run(main)
    assert sorted(sessions(seen)) == ["0", "1", "2"]


def test_leaving_amid_what_a_broken_iterable_left_raises_nothing(make_adapter, requests, kind):
    adapter = make_adapter(client=Client(), max_concurrency=5)

    def broken():
        yield from requests.first(3)
        raise BrokenError

    async def main():
        pairs = adapter.execute_many_async(kind(broken()))
        await pairs.__anext__()
        await until_async(lambda: adapter.health.total_requests == 3)
        await pairs.aclose()
        assert await collect(pairs) == []

    run(main)


@pytest.mark.parametrize("given", [None, 5, object()], ids=["None", "a number", "an object"])
def test_what_is_no_iterable_is_a_type_error(make_adapter, given):
    with pytest.raises(TypeError, match="not iterable"):
        run(lambda: make_adapter().execute_many_async(given).__anext__())


# -- Ending early ---------------------------------------------------------------------------------


def test_to_stop_and_lose_nothing_the_iterable_ends(make_adapter, requests, serve):
    function = Function(held=["1", "2", "3"], together=4)
    adapter = make_adapter(endpoint_url=serve(function).endpoint_url, max_concurrency=4)

    async def main():
        feed, seen = asyncio.Queue(), []
        for request in requests.first(4):
            feed.put_nowait(request)

        async def until_none():
            request = await feed.get()
            while request is not None:
                yield request
                request = await feed.get()

        async for _, response in adapter.execute_many_async(until_none()):
            seen.append(response.message)
            feed.put_nowait(None)
            function.let_go()
        return seen

    assert sorted(run(main)) == ["0", "1", "2", "3"]


class Waiting:
    """An asynchronous iterable that has some requests, and then waits until it is cancelled."""

    def __init__(self, requests):
        self._requests = requests
        self.waits = False
        self.cancelled = False

    async def __aiter__(self):
        for request in self._requests:
            yield request
        self.waits = True
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


async def close(batch, pairs):
    await pairs.aclose()


async def cancel(batch, pairs):
    waits = asyncio.ensure_future(pairs.__anext__())
    await asyncio.sleep(0)
    waits.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waits


@pytest.mark.parametrize("leave", [close, cancel], ids=["aclose", "cancelling the consumer"])
def test_leaving_cancels_the_wait_for_a_request_and_lets_what_is_in_flight_finish(make_adapter, requests, serve, leave):
    function = Function(held=["1", "2"], together=3)
    server = serve(function)
    adapter = make_adapter(endpoint_url=server.endpoint_url, max_concurrency=8)

    async def main():
        source = Waiting(requests.first(3))
        pairs = adapter.execute_many_async(source)
        assert (await pairs.__anext__())[0].session_id == "0"
        assert source.waits
        await leave(None, pairs)
        assert source.cancelled
        assert adapter.health.total_requests == 1
        function.let_go()
        await until_async(lambda: adapter.health.total_requests == 3)

    run(main)
    assert (len(server.requests), adapter.health.total_failures) == (3, 0)


@pytest.mark.parametrize("leave", [close, cancel], ids=["aclose", "cancelling the consumer"])
def test_leaving_ends_what_waits_for_a_retry(make_adapter, requests, serve, leave, kind):
    server = serve(lambda request: GOOD if request.number == 3 else THROTTLED)
    adapter = make_adapter(endpoint_url=server.endpoint_url, max_concurrency=3, **FOREVER)

    async def main():
        pairs = adapter.execute_many_async(kind(requests.first(3)))
        assert (await pairs.__anext__())[1].success
        await until_async(lambda: adapter._workers.parked == 2)
        await leave(None, pairs)
        # A thread of the adapter's ends them, shortly after.
        await until_async(lambda: adapter.health.total_requests == 3)

    run(main)
    assert (adapter._workers.parked, adapter.health.total_failures) == (0, 2)


def test_a_bare_break_leaves_nothing_behind_either(make_adapter, requests, serve, kind):
    adapter = make_adapter(endpoint_url=serve(Function()).endpoint_url, max_concurrency=3)

    async def main():
        async for _ in adapter.execute_many_async(kind(requests)):
            break

    run(main)
    assert len(requests.read) <= 1 + 3
    assert adapter._workers.waiting == 0


def test_a_loop_that_ends_amid_a_batch_is_told_nothing(make_adapter, requests, serve, kind, caplog):
    """As when the main task returns, or fails, while another iterates."""
    function = Function(held=["1"])
    adapter = make_adapter(endpoint_url=serve(function).endpoint_url, max_concurrency=3)

    async def main():
        asyncio.get_running_loop().slow_callback_duration = SOON_S  # else a busy machine is told of, too
        batch = asyncio.ensure_future(collect(adapter.execute_many_async(kind(requests))))
        await in_thread(function.has_begun, 2)
        assert not batch.done()

    asyncio.run(main(), debug=True)
    function.let_go()
    until(lambda: adapter.health.total_requests == len(function.sessions))
    assert adapter._workers.waiting == 0
    gc.collect()
    assert [record for record in caplog.records if record.name in ("asyncio", "concurrent.futures")] == []


# -- Several --------------------------------------------------------------------------------------


def test_several_on_one_loop_share_the_adapter(make_adapter, make_request, serve, kind):
    function = Function()
    adapter = make_adapter(endpoint_url=serve(function).endpoint_url, max_concurrency=3, max_pending=0)

    async def main():
        batches = [
            collect(
                adapter.execute_many_async(kind([make_request(session_id=f"{name}{number}") for number in range(20)]))
            )
            for name in "abc"
        ]
        return await asyncio.gather(*batches)

    for name, pairs in zip("abc", run(main)):
        assert sorted(response.message for _, response in pairs) == sorted(f"{name}{number}" for number in range(20))
    assert function.most <= 3


def test_two_loops_share_the_adapter(make_adapter, make_request, serve, kind):
    adapter = make_adapter(endpoint_url=serve(Function()).endpoint_url, max_concurrency=2, max_pending=0)
    messages = {}

    def batch(name):
        given = [make_request(session_id=f"{name}{number}") for number in range(20)]
        pairs = asyncio.run(collect(adapter.execute_many_async(kind(given))), debug=True)
        messages[name] = sorted(response.message for _, response in pairs)

    threads = [threading.Thread(target=batch, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON_S)
    assert messages == {name: sorted(f"{name}{number}" for number in range(20)) for name in "ab"}


def test_single_calls_go_on_beside_it(make_adapter, make_request, requests, serve, kind):
    adapter = make_adapter(endpoint_url=serve(Function()).endpoint_url, max_concurrency=2)

    async def main():
        call = start(adapter, make_request(session_id="single"))
        pairs = await collect(adapter.execute_many_async(kind(requests.first(20))))
        return len(pairs), (await call).message

    assert run(main) == (20, "single")


# -- Fork -----------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.parametrize("leaves", [False, True], ids=["goes on", "leaves"])
def test_a_child_has_no_part_in_the_batch_of_its_parent(make_adapter, make_request, requests, serve, leaves):
    function = Function(held=["1", "2"], together=3)
    server = serve(function)
    adapter = make_adapter(endpoint_url=server.endpoint_url, max_concurrency=3)
    pairs = adapter.execute_many(requests.first(3))
    assert next(pairs)[0].session_id == "0"

    def in_the_child():
        if leaves:
            pairs.close()
        else:
            with pytest.raises(RuntimeError, match="begin anew in this one"):
                next(pairs)
        own = asyncio.run(collect(adapter.execute_many_async([make_request(session_id="child")])))
        return own[0][1].message == "child"

    in_child(in_the_child, SOON_S)()
    function.let_go()
    assert sorted(sessions(pairs)) == ["1", "2"]
    assert sorted(function.sessions) == ["0", "1", "2", "child"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_child_that_leaves_ends_no_call_of_its_parent(make_adapter, requests, serve):
    server = serve(lambda request: GOOD if request.number == 2 else THROTTLED)
    adapter = make_adapter(endpoint_url=server.endpoint_url, max_concurrency=2, **FOREVER)
    pairs = adapter.execute_many(requests.first(2))
    assert next(pairs)[1].success
    until(lambda: adapter._workers.parked == 1)

    def in_the_child():
        pairs.close()
        return adapter.health.total_requests == 1

    in_child(in_the_child, SOON_S)()
    assert adapter._workers.parked == 1
    pairs.close()
