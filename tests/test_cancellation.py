"""Cancelling execute_async: no further request, one record for each call that had reached an attempt, no noise."""

import asyncio
import contextlib
import itertools
import threading
import time
from typing import Any, Dict, List

import pytest
from fault_server import FaultServer, Request, answer, delay, untyped
from test_fault_matrix import REQUEST, adapter_for

from lambda_adapter import LambdaAdapter

GOOD = answer({"success": True})


async def until(happened: threading.Event) -> None:
    """Waits without holding the loop."""
    assert await asyncio.get_running_loop().run_in_executor(None, happened.wait, 10)


async def cancel_all(tasks: "List[asyncio.Task[Any]]") -> None:
    for task in tasks:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)


def settled(adapter: LambdaAdapter, records: int) -> None:
    """Wait for the records of attempts that were in flight: their threads finish after the loop."""
    deadline = time.monotonic() + 10
    pause = threading.Event()
    while adapter.health.total_requests < records and time.monotonic() < deadline:
        pause.wait(0.005)
    assert adapter.health.total_requests == records


class Gate:
    """A server's script that holds requests until they are let go, and says when enough have arrived."""

    def __init__(self, wanted: int, reaction: Any = GOOD) -> None:
        self.arrived = threading.Event()
        self.let_go = threading.Event()
        self._wanted = wanted
        self._reaction = reaction
        self._count = 0
        self._lock = threading.Lock()

    def __call__(self, _: Request) -> Any:
        with self._lock:
            self._count += 1
            if self._count == self._wanted:
                self.arrived.set()
        self.let_go.wait(10)
        return self._reaction


def test_cancelled_in_queue_and_in_flight() -> None:
    """1,000 calls on 8 places: 8 in flight, 992 in the queue."""
    gate = Gate(wanted=8)
    with FaultServer(gate) as server, adapter_for(server.endpoint_url, max_concurrency=8, read_timeout=10) as adapter:

        async def main() -> None:
            tasks = [asyncio.ensure_future(adapter.execute_async(REQUEST)) for _ in range(1000)]
            await until(gate.arrived)
            await cancel_all(tasks)

        asyncio.run(main(), debug=True)
        assert adapter.health.total_requests == 0
        gate.let_go.set()
        settled(adapter, 8)
        assert adapter.execute(REQUEST).success
        assert len(server.requests) == 9
        assert adapter.health.total_requests == 9


def test_cancelled_in_flight_makes_no_second_attempt() -> None:
    gate = Gate(wanted=20, reaction=untyped(503))
    with FaultServer(gate) as server, adapter_for(server.endpoint_url, read_timeout=10, max_retries=5) as adapter:

        async def main() -> None:
            tasks = [asyncio.ensure_future(adapter.execute_async(REQUEST)) for _ in range(20)]
            await until(gate.arrived)
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
                while adapter._workers.parked < 1000:
                    await asyncio.sleep(0.01)
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
