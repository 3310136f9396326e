"""A community's raid holds up its own calls, and no other community's."""

import asyncio
import enum
import threading
import time

import pytest

from support import fault_server as fs

SOON_S = 10
GOOD = fs.answer({"success": True})


class Community(str, enum.Enum):
    RAIDED = "raided"


class Number(enum.IntEnum):
    FIVE = 5


class Held:
    """Holds requests until they are let go."""

    def __init__(self):
        self.arrived = threading.Semaphore(0)
        self.let_go = threading.Event()

    def __call__(self, request):
        self.arrived.release()
        assert self.let_go.wait(SOON_S)
        return GOOD

    def end(self):
        self.let_go.set()


async def in_thread(function, *args):
    return await asyncio.get_running_loop().run_in_executor(None, function, *args)


async def raided(adapter, held, make_request, calls, community_id="raided"):
    """``calls`` of one community, of which as many as there are places have begun."""
    tasks = [
        asyncio.ensure_future(adapter.execute_async(make_request(community_id=community_id))) for _ in range(calls)
    ]
    for _ in range(min(calls, adapter.max_concurrency)):
        assert await in_thread(held.arrived.acquire, True, SOON_S)
    return tasks


def test_a_call_of_another_community_does_not_wait_for_a_raid(make_adapter, make_request, serve):
    """400 calls of 100 ms on 8 places take 5 s; another community's call has the next place that is free."""
    server = serve(fs.delay(0.1, GOOD))
    adapter = make_adapter(endpoint_url=server.endpoint_url, max_concurrency=8)

    async def run():
        raid = [asyncio.ensure_future(adapter.execute_async(make_request(community_id="raided"))) for _ in range(400)]
        await asyncio.sleep(0)
        began = time.monotonic()
        responses = [await adapter.execute_async(make_request(community_id="quiet")) for _ in range(2)]
        took_s = time.monotonic() - began
        assert adapter._workers.waiting > 300
        for task in raid:
            task.cancel()
        return responses, took_s / 2

    responses, took_s = asyncio.run(run())
    assert all(response.success for response in responses)
    assert took_s < 0.5  # 0.2 where nothing else runs


def test_within_a_community_it_is_first_come_first_served(make_adapter, make_request, serve):
    held, order = Held(), []
    adapter = make_adapter(endpoint_url=serve(held).endpoint_url, max_concurrency=1)

    async def run():
        async def call(name, community_id):
            await adapter.execute_async(make_request(community_id=community_id))
            order.append(name)

        first = await raided(adapter, held, make_request, 1, "a")
        names = ["a1", "a2", "b1", "a3", "b2", "c1"]
        calls = [asyncio.ensure_future(call(name, name[0])) for name in names]
        await asyncio.sleep(0)
        held.let_go.set()
        await asyncio.gather(*first, *calls)

    asyncio.run(run())
    assert order == ["a1", "b1", "c1", "a2", "b2", "a3"]


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_calls_beyond_the_communitys_share_are_refused_and_others_are_not(make_adapter, make_request, serve, limit):
    held = Held()
    adapter = make_adapter(endpoint_url=serve(held).endpoint_url, max_concurrency=2, max_pending_per_community=limit)

    async def run():
        let_in = await raided(adapter, held, make_request, 2)
        let_in += [
            asyncio.ensure_future(adapter.execute_async(make_request(community_id="raided"))) for _ in range(limit)
        ]
        await asyncio.sleep(0)
        refused = [await adapter.execute_async(make_request(community_id="raided")) for _ in range(3)]
        if limit:  # a community's share of none leaves nobody to wait
            let_in.append(asyncio.ensure_future(adapter.execute_async(make_request(community_id="quiet"))))
        await asyncio.sleep(0)
        assert adapter._workers.waiting == limit + (limit > 0)
        held.let_go.set()
        return refused, await asyncio.gather(*let_in)

    refused, let_in = asyncio.run(run())
    assert all(response.success for response in let_in)
    for response in refused:
        assert (response.error_code, response.invocation.executed) == ("overloaded", "no")
        assert response.error == (
            f"overloaded: max_pending_per_community allows {limit} of this community's calls to wait, and so many do"
        )
    assert adapter.health.total_failures == 0


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [("5", "5", True), (5, 5, True), (5, "5", False), (Community.RAIDED, "raided", True), (Number.FIVE, 5, True)],
    ids=["texts", "numbers", "a number and a text", "an enum's member", "a number's member"],
)
def test_a_community_is_the_one_that_the_payload_names(make_adapter, make_request, serve, first, second, same):
    held = Held()
    adapter = make_adapter(endpoint_url=serve(held).endpoint_url, max_concurrency=1, max_pending_per_community=1)

    async def run():
        tasks = await raided(adapter, held, make_request, 1)
        for community_id in (first, second):
            tasks.append(asyncio.ensure_future(adapter.execute_async(make_request(community_id=community_id))))
        await asyncio.sleep(0)
        held.let_go.set()
        return (await asyncio.gather(*tasks))[-1]

    assert (asyncio.run(run()).error_code == "overloaded") is same
