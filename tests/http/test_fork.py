"""gunicorn's pre-fork model: an adapter used before os.fork() works in the child; answers stay in their process."""

import asyncio
import json
import os
import threading
from typing import Any, Dict, Iterator, List

import pytest

from lambda_adapter import ExecuteRequest, LambdaAdapter
from support.calls import adapter_for
from support.fault_server import FaultServer, Request, answer, delay, hang, tls_contexts
from support.forks import in_child

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")


def request(nonce: str) -> ExecuteRequest:
    return ExecuteRequest("echo", [], "u", "e", "c", nonce, "discord")


def echo(received: Request) -> Any:
    return answer({"success": True, "message": json.loads(received.body)["request_id"]})


def nonces_that_came_back(adapter: LambdaAdapter, prefix: str, calls: int) -> bool:
    """Whether every call, half of them blocking and half awaited, got the answer to its own request."""

    async def awaited() -> List[Any]:
        return await asyncio.gather(*(adapter.execute_async(request(f"{prefix}-a{n}")) for n in range(calls // 2)))

    blocking = [adapter.execute(request(f"{prefix}-s{n}")).message for n in range(calls // 2)]
    return blocking == [f"{prefix}-s{n}" for n in range(calls // 2)] and [
        response.message for response in asyncio.run(awaited())
    ] == [f"{prefix}-a{n}" for n in range(calls // 2)]


@pytest.fixture(params=["http", "https"])
def tls(request: pytest.FixtureRequest, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Dict[str, Any]]:
    if request.param == "http":
        yield {}
        return
    context, ca = tls_contexts(tmp_path)
    monkeypatch.setenv("AWS_CA_BUNDLE", ca)
    yield {"tls": context}


@pytest.mark.slow
def test_no_answer_reaches_the_other_process(tls: Dict[str, Any]) -> None:
    """20 forks, with connections in the pool, and both processes calling at once."""
    with FaultServer(echo, **tls) as server, adapter_for(server.endpoint_url, read_timeout=5) as adapter:
        assert nonces_that_came_back(adapter, "before", 16)
        for fork in range(20):
            collect = in_child(lambda fork=fork: nonces_that_came_back(adapter, f"child{fork}", 8), timeout_s=5)  # type: ignore[misc]
            assert nonces_that_came_back(adapter, f"parent{fork}", 8)
            collect()


@pytest.mark.slow
def test_a_fork_amid_calls_in_flight_leaves_the_child_working() -> None:
    """Other threads call without a pause while this one forks, so that locks are held now and then."""
    stop = threading.Event()
    with FaultServer(echo) as server, adapter_for(server.endpoint_url, read_timeout=5, max_retries=0) as adapter:

        def call_on() -> None:
            while not stop.is_set():
                adapter.execute(request("thread"))

        threads = [threading.Thread(target=call_on) for _ in range(8)]
        for thread in threads:
            thread.start()
        try:
            for fork in range(20):
                in_child(lambda fork=fork: nonces_that_came_back(adapter, f"child{fork}", 4), timeout_s=5)()  # type: ignore[misc]
        finally:
            stop.set()
            for thread in threads:
                thread.join()


@pytest.mark.slow
def test_locks_held_at_the_fork_do_not_hang_the_child() -> None:
    """Every lock of the adapter is taken at the moment of the fork; the child must not wait for any of them."""
    with FaultServer(echo) as server, adapter_for(server.endpoint_url, read_timeout=5) as adapter:
        assert nonces_that_came_back(adapter, "before", 4)
        from lambda_adapter._aws import clients

        with adapter._workers._lock, adapter._health._lock, clients._registry._lock:
            collect = in_child(lambda: nonces_that_came_back(adapter, "child", 4), timeout_s=2)
        collect()


def test_calls_parked_and_in_flight_stay_with_the_parent() -> None:
    """A child neither repeats its parent's calls nor waits for them; the parent finishes them."""
    arrived = threading.Event()

    def react(received: Request) -> Any:
        if json.loads(received.body)["request_id"] == "slow":
            arrived.set()
            return delay(0.3, answer({"success": True, "message": "slow"}))
        return echo(received)

    with FaultServer(react) as server, adapter_for(server.endpoint_url, read_timeout=5, max_concurrency=1) as adapter:

        async def main() -> Any:
            slow = asyncio.ensure_future(adapter.execute_async(request("slow")))
            await asyncio.get_running_loop().run_in_executor(None, arrived.wait, 5)
            collect = in_child(lambda: adapter.execute(request("child")).message == "child", timeout_s=2)
            await asyncio.get_running_loop().run_in_executor(None, collect)
            return await slow

        assert asyncio.run(main()).message == "slow"
        ids = [json.loads(received.body)["request_id"] for received in server.requests]
        assert sorted(ids) == ["child", "slow"]


def test_an_adapter_closed_before_the_fork_is_closed_in_the_child() -> None:
    with FaultServer(hang()) as server, adapter_for(server.endpoint_url) as adapter:
        adapter.close()
        in_child(lambda: adapter.execute(request("child")).error_code == "closed", timeout_s=2)()
