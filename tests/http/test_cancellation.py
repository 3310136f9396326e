"""Cancelling execute_async: no further request, one record for each call that had reached an attempt, no noise."""

import asyncio
import contextlib
import itertools
import time
from typing import Any, Dict, List

import pytest

from lambda_adapter import LambdaAdapter
from support.calls import GOOD, REQUEST, adapter_for
from support.fault_server import FaultServer, Request, delay, untyped
from support.gates import Gate
from support.waiting import until, until_async


async def cancel_all(tasks: "List[asyncio.Task[Any]]") -> None:
    for task in tasks:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)


def settled(adapter: LambdaAdapter, records: int) -> None:
    """Wait for the records of attempts that were in flight: their threads finish after the loop."""
    until(lambda: adapter.health.total_requests >= records, within_s=60)
    assert adapter.health.total_requests == records


def test_cancelled_in_queue_and_in_flight() -> None:
    """1,000 calls on 8 places: 8 in flight, 992 in the queue."""
    gate = Gate(held=range(1, 9))
    with FaultServer(gate) as server, adapter_for(server.endpoint_url, max_concurrency=8, read_timeout=10) as adapter:

        async def main() -> None:
            tasks = [asyncio.ensure_future(adapter.execute_async(REQUEST)) for _ in range(1000)]
            await gate.full()
            await cancel_all(tasks)

        asyncio.run(main(), debug=True)
        assert adapter.health.total_requests == 0
        gate.let_go.set()
        settled(adapter, 8)
        assert adapter.execute(REQUEST).success
        assert len(server.requests) == 9
        assert adapter.health.total_requests == 9


def test_cancelled_in_flight_makes_no_second_attempt() -> None:
    gate = Gate(held=range(1, 21), reactions=[untyped(503)])
    with FaultServer(gate) as server, adapter_for(server.endpoint_url, read_timeout=10, max_retries=5) as adapter:

        async def main() -> None:
            tasks = [asyncio.ensure_future(adapter.execute_async(REQUEST)) for _ in range(20)]
            await gate.full()
            await cancel_all(tasks)
            gate.let_go.set()

        asyncio.run(main())
        settled(adapter, 20)
        assert adapter.health.total_failures == 20
        assert len(server.requests) == 20


def test_cancelled_in_backoff_ends_at_once_with_its_record() -> None:
    """1,000 calls that failed once and wait an hour."""
    with FaultServer(untyped(503)) as server:
        waits: Dict[str, Any] = {"initial_retry_delay": 3600, "max_retry_delay": 3600, "jitter": 0.0}
        with adapter_for(server.endpoint_url, read_timeout=10, **waits) as adapter:

            async def main() -> None:
                tasks = [asyncio.ensure_future(adapter.execute_async(REQUEST)) for _ in range(1000)]
                await until_async(lambda: adapter._workers.parked == 1000, within_s=60)
                await cancel_all(tasks)

            asyncio.run(main(), debug=True)
            # Nothing is in flight: a thread of the adapter's ends and records them, and holds no event loop with it.
            settled(adapter, 1000)
        assert len(server.requests) == 1000
        assert adapter.health.total_failures == 1000


def test_a_timeout_around_a_call_is_a_cancellation() -> None:
    with FaultServer(delay(0.3, untyped(503))) as server, adapter_for(server.endpoint_url, read_timeout=5) as adapter:

        async def main() -> None:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(adapter.execute_async(REQUEST), 0.05)
                pytest.fail("the call should have been given up")

        asyncio.run(main())
        settled(adapter, 1)
        assert len(server.requests) == 1


@pytest.mark.slow
def test_backoff_holds_no_place() -> None:
    """40 calls on 4 places that each fail once and wait 0.5 s: a wait that held its place would take 5 s."""
    requests = itertools.count(1)

    def fail_first(_: Request) -> Any:
        return untyped(503) if next(requests) <= 40 else GOOD

    with FaultServer(fail_first) as server:
        waits: Dict[str, Any] = {"initial_retry_delay": 0.5, "max_retry_delay": 0.5, "jitter": 0.0}
        with adapter_for(server.endpoint_url, max_concurrency=4, read_timeout=5, **waits) as adapter:

            async def main() -> List[Any]:
                return await asyncio.gather(*(adapter.execute_async(REQUEST) for _ in range(40)))

            began = time.monotonic()
            responses = asyncio.run(main())
            took = time.monotonic() - began
        assert all(response.success and response.invocation.attempts == 2 for response in responses)
        assert took < 2
