"""A batch shares the adapter's places with others: it waits for one with one call, and neither refuses nor starves."""

import asyncio
import threading

import pytest

from support.calls import start
from support.sessions import MANY, Function, Requests, collect
from support.waiting import SOON_S, soon, until, until_async


@pytest.fixture(params=MANY.values(), ids=MANY.keys())
def many(request):
    return request.param


@pytest.fixture
def requests(make_request):
    return Requests(make_request)


class Thread:
    """Does work in a thread, and gives its result."""

    def __init__(self, work):
        self._result = []
        self._thread = threading.Thread(target=lambda: self._result.append(work()), daemon=True)
        self._thread.start()

    @property
    def ended(self):
        return not self._thread.is_alive()

    def result(self):
        self._thread.join(SOON_S)
        return self._result[0]


@pytest.fixture
def crowded(make_adapter, make_request, serve):
    """Makes an adapter in whose places others are held: the sessions "held 0" and so on."""
    others = []

    def make(places=2, **settings):
        sessions = [f"held {number}" for number in range(places)]
        function = Function(held=sessions)
        adapter = make_adapter(endpoint_url=serve(function).endpoint_url, max_concurrency=places, **settings)
        others.append(
            Thread(lambda: list(adapter.execute_many(make_request(session_id=session) for session in sessions)))
        )
        function.has_begun(places)
        return adapter, function

    yield make
    for other in others:
        other.result()


def messages(pairs):
    return [response.message or response.error_code for _, response in pairs]


@pytest.mark.parametrize(
    "limits",
    [
        {},
        {"max_pending": 0},
        {"max_pending": 1},
        {"max_pending_per_community": 0},
        {"max_pending_per_community": 1},
        {"max_pending": 0, "max_pending_per_community": 0},
    ],
    ids=str,
)
def test_where_others_have_all_places_it_waits_and_reads_no_further(many, crowded, requests, limits):
    adapter, function = crowded(**limits)
    batch = Thread(lambda: many(adapter, requests.first(30)))
    until(lambda: adapter._workers.waiting == 1)
    function.let_go("held 0")
    assert sorted(messages(batch.result()), key=int) == [str(number) for number in range(30)]
    function.let_go()


def test_a_batch_that_waits_has_read_one_request(many, crowded, requests):
    adapter, function = crowded(max_pending=0)
    batch = Thread(lambda: many(adapter, requests.first(30)))
    until(lambda: adapter._workers.waiting == 1)
    # A second batch is in line behind it, so that the first has had its time to read on.
    second = Thread(lambda: many(adapter, requests.first(1)))
    until(lambda: adapter._workers.waiting == 2)
    assert len(requests.read) == 2
    assert not batch.ended
    function.let_go()
    assert (len(batch.result()), len(second.result())) == (30, 1)


@pytest.mark.parametrize(
    ("limits", "codes"),
    [
        ({"max_pending": 2}, [None, None, "overloaded"]),
        ({"max_pending_per_community": 2}, [None, None, "overloaded"]),
        ({"max_pending": 0}, ["overloaded"] * 3),
        ({"max_pending_per_community": 0}, ["overloaded"] * 3),
        ({}, [None] * 3),
    ],
    ids=str,
)
def test_a_batch_that_waits_takes_no_part_in_the_limits(many, crowded, make_request, requests, limits, codes):
    adapter, function = crowded(**limits)
    batch = Thread(lambda: many(adapter, requests.first(3)))
    until(lambda: adapter._workers.waiting == 1)

    async def run():
        calls = [start(adapter, make_request()) for _ in codes]
        await asyncio.sleep(0)
        function.let_go()
        return [response.error_code for response in await soon(asyncio.gather(*calls))]

    assert asyncio.run(run()) == codes
    assert len(batch.result()) == 3


def test_a_call_that_comes_later_waits_for_one_request_of_a_batch(many, crowded, make_request, requests):
    """All are of one community, and there is one place."""
    adapter, function = crowded(places=1)
    order = []
    batch = Thread(lambda: many(adapter, requests.first(5), lambda pair: order.append(pair[1].message)))
    until(lambda: adapter._workers.waiting == 1)

    async def run():
        call = start(adapter, make_request(session_id="call"))
        await asyncio.sleep(0)
        function.let_go()
        order.append((await soon(call)).message)

    asyncio.run(run())
    batch.result()
    server_order = [session for session in function.sessions if not session.startswith("held")]
    assert server_order[:2] == ["0", "call"]
    assert sorted(order) == ["0", "1", "2", "3", "4", "call"]


def test_two_batches_share_the_places(many, make_adapter, make_request, serve):
    """The second has one tenth of the first one's requests, and does not end last."""
    function = Function(held=["long 0", "long 1"])
    adapter = make_adapter(endpoint_url=serve(function).endpoint_url, max_concurrency=2, max_pending=0)

    def batch(name, count):
        return Thread(lambda: many(adapter, [make_request(session_id=f"{name} {n}") for n in range(count)]))

    long = batch("long", 100)
    function.has_begun(2)
    short = batch("short", 10)
    until(lambda: adapter._workers.waiting == 1)
    function.let_go()
    assert (len(short.result()), len(long.result())) == (10, 100)
    last_short = max(place for place, session in enumerate(function.sessions) if session.startswith("short"))
    assert last_short < 60


def test_a_batch_within_a_batch_makes_progress(make_adapter, make_request, requests, serve):
    """One place, nobody may wait: both the iterable and the loop's body make calls of their own."""
    adapter = make_adapter(endpoint_url=serve(Function()).endpoint_url, max_concurrency=1, max_pending=0)

    def read():
        for request in requests.first(5):
            assert len(list(adapter.execute_many([make_request()] * 2))) == 2
            yield request

    for request, response in adapter.execute_many(read()):
        assert response.message == request.session_id
        assert [answer.success for _, answer in adapter.execute_many([make_request()] * 2)] == [True] * 2


def test_an_async_batch_within_an_async_batch_makes_progress(make_adapter, make_request, requests, serve):
    adapter = make_adapter(endpoint_url=serve(Function()).endpoint_url, max_concurrency=1, max_pending=0)

    async def read():
        for request in requests.first(5):
            assert len(await collect(adapter.execute_many_async([make_request()] * 2))) == 2
            yield request

    async def run():
        async for request, response in adapter.execute_many_async(read()):
            assert response.message == request.session_id
            pairs = await collect(adapter.execute_many_async([make_request()] * 2))
            assert [answer.success for _, answer in pairs] == [True] * 2

    asyncio.run(asyncio.wait_for(run(), SOON_S), debug=True)


def test_a_batch_that_waited_takes_all_the_places_that_come_free(many, crowded, requests):
    """It hears of its place when it gets it, and not when that call ends."""
    adapter, function = crowded(places=3)
    batch = Thread(lambda: many(adapter, requests.first(6)))
    until(lambda: adapter._workers.waiting == 1)
    function.hold("0", "1", "2")
    function.let_go("held 0", "held 1", "held 2")
    function.has_begun(3)
    assert len(requests.read) == 3
    function.let_go()
    assert len(batch.result()) == 6


def test_closing_the_adapter_ends_a_batch_that_waits(many, crowded, requests):
    adapter, function = crowded(max_pending=0)
    batch = Thread(lambda: many(adapter, requests.first(20)))
    until(lambda: adapter._workers.waiting == 1)
    adapter.close()
    assert messages(batch.result()) == ["closed"] * 20
    function.let_go()


def test_a_call_whose_time_is_up_before_it_has_a_place_has_not_run(many, crowded, requests):
    adapter, function = crowded(max_pending=0, total_timeout=0.3)
    pairs = many(adapter, requests.first(2))
    assert [(response.error_code, response.invocation.executed) for _, response in pairs] == [("timeout", "no")] * 2
    function.let_go()


def test_a_batch_that_was_cancelled_waits_no_more(crowded, requests, make_request):
    adapter, function = crowded(max_pending=0)

    async def run():
        batch = asyncio.ensure_future(collect(adapter.execute_many_async(requests)))
        await until_async(lambda: adapter._workers.waiting == 1)
        batch.cancel()
        with pytest.raises(asyncio.CancelledError):
            await soon(batch)
        assert adapter._workers.waiting == 0
        function.let_go()

    asyncio.run(run(), debug=True)
    assert adapter.execute(make_request(session_id="after")).success
    assert sorted(function.sessions) == ["after", "held 0", "held 1"]
    assert len(requests.read) == 1
