"""``max_concurrency`` and ``max_pending``: so many calls are under way, so many wait, one more is refused at once."""

import asyncio
import threading

import pytest

from support.calls import FOREVER, GOOD, THROTTLED, assert_refused, start
from support.gates import Gate
from support.waiting import SOON_S, in_thread, soon, until_async


def overloaded(response):
    return response.error_code == "overloaded"


def threads_of(adapter):
    return [
        thread for thread in threading.enumerate() if thread.name.startswith(f"lambda_adapter-{adapter.module_name}")
    ]


@pytest.mark.parametrize("max_pending", [0, 1, 3])
def test_as_many_calls_as_allowed_wait_and_one_more_is_refused(make_adapter, make_request, max_pending, serve):
    gate = Gate(held=(1, 2))
    server = serve(gate)
    adapter = make_adapter(endpoint_url=server.endpoint_url, max_concurrency=2, max_pending=max_pending)

    async def run():
        let_in = [start(adapter, make_request()) for _ in range(2 + max_pending)]
        await asyncio.sleep(0)
        refused = [await soon(adapter.execute_async(make_request())) for _ in range(3)]
        for response in refused:
            assert_refused(response, "overloaded", adapter)
            assert response.error == f"overloaded: 2 calls are under way and {max_pending} wait"
        assert not any(task.done() for task in let_in)
        gate.let_go.set()
        return await soon(asyncio.gather(*let_in))

    responses = asyncio.run(run(), debug=True)
    assert len(server.requests) == 2 + max_pending
    assert all(response.success for response in responses)


def test_a_refused_call_costs_no_thread_and_no_time(make_adapter, make_request, serve):
    gate = Gate(held=(1, 2))
    server = serve(gate)
    adapter = make_adapter(endpoint_url=server.endpoint_url, max_concurrency=2, max_pending=0, module_name="raid")

    async def run():
        busy = [start(adapter, make_request()) for _ in range(2)]
        await soon(gate.full())
        before = threading.active_count()
        refused = [await adapter.execute_async(make_request()) for _ in range(200)]
        assert all(map(overloaded, refused))
        assert threading.active_count() == before
        assert len(threads_of(adapter)) == 2
        gate.let_go.set()
        await soon(asyncio.gather(*busy))

    asyncio.run(run())
    assert len(server.requests) == server.connections == 2


def test_the_callers_own_thread_is_never_overloaded(make_adapter, make_request, serve):
    """execute brings its own thread, and waits for nobody's place."""
    gate = Gate()
    server = serve(gate)
    adapter = make_adapter(endpoint_url=server.endpoint_url, max_concurrency=1, max_pending=0)

    async def run():
        busy = start(adapter, make_request())
        await soon(gate.full())
        assert adapter.execute(make_request()).success
        gate.let_go.set()
        await soon(busy)

    asyncio.run(run())


def test_places_are_counted_over_all_event_loops(make_adapter, make_request, serve):
    gate, loops, together, codes = Gate(), 4, threading.Barrier(4), []
    server = serve(gate)
    adapter = make_adapter(endpoint_url=server.endpoint_url, max_concurrency=1, max_pending=5)

    def run_loop():
        async def run():
            together.wait(SOON_S)
            tasks = [start(adapter, make_request()) for _ in range(5)]
            await asyncio.sleep(0)  # all are handed over, or refused
            await in_thread(together.wait, SOON_S)
            gate.let_go.set()
            return await soon(asyncio.gather(*tasks))

        codes.extend(response.error_code for response in asyncio.run(run()))

    threads = [threading.Thread(target=run_loop) for _ in range(loops)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(server.requests) == 6
    assert sorted(codes, key=str) == [None] * 6 + ["overloaded"] * 14


def test_a_call_in_backoff_holds_no_place(make_adapter, make_request, serve):
    gate = Gate(held=(), reactions=(*[THROTTLED] * 3, GOOD))
    server = serve(gate)
    adapter = make_adapter(endpoint_url=server.endpoint_url, max_concurrency=1, max_pending=2, **FOREVER)

    async def run():
        parked = [start(adapter, make_request()) for _ in range(3)]
        await until_async(lambda: adapter._workers.parked == 3)
        response = await soon(adapter.execute_async(make_request()))
        assert not any(task.done() for task in parked)
        adapter.close()
        await soon(asyncio.gather(*parked))
        return response

    assert asyncio.run(run()).success
    assert len(server.requests) == 4


def test_when_the_queue_has_drained_calls_are_let_in_again(make_adapter, make_request, serve):
    gate = Gate()
    server = serve(gate)
    adapter = make_adapter(endpoint_url=server.endpoint_url, max_concurrency=1, max_pending=1)

    async def run():
        for _ in range(2):
            full = [start(adapter, make_request()) for _ in range(2)]
            await asyncio.sleep(0)
            assert overloaded(await soon(adapter.execute_async(make_request())))
            gate.let_go.set()
            assert all(response.success for response in await soon(asyncio.gather(*full)))
            gate.held = (len(server.requests) + 2,)
            gate.let_go.clear()
            assert (await soon(adapter.execute_async(make_request()))).success

    asyncio.run(run())


@pytest.mark.parametrize("max_pending", [0, 2])
def test_closing_while_it_is_full_ends_the_queue_as_closed(make_adapter, make_request, serve, max_pending):
    gate = Gate()
    server = serve(gate)
    adapter = make_adapter(endpoint_url=server.endpoint_url, max_concurrency=1, max_pending=max_pending)

    async def run():
        busy = start(adapter, make_request())
        await soon(gate.full())
        queued = [start(adapter, make_request()) for _ in range(max_pending)]
        await asyncio.sleep(0)
        adapter.close()
        queued.append(start(adapter, make_request()))
        for response in await soon(asyncio.gather(*queued)):
            assert_refused(response, "closed", adapter)
        gate.let_go.set()
        assert (await soon(busy)).success

    asyncio.run(run())
    assert len(server.requests) == 1
