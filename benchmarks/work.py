"""What one client process measures: ``python -m benchmarks.work TASK``, parameters on standard input, a JSON line out.

What a figure covers begins after a warm-up. lambda_adapter, boto3 and aioboto3 are imported where they are
used: none of them is in every environment that this runs in.
"""

import asyncio
import contextlib
import functools
import gc
import io
import json
import math
import sys
import time
import tracemalloc
import unittest.mock
from concurrent.futures import ThreadPoolExecutor
from typing import Any, AsyncIterator, Awaitable, Callable, Dict, List
from urllib.request import urlopen

from .endpoint import TYPICAL, records, text

Json = Dict[str, Any]

#: A chat command as a bot sends it.
COMMAND: Json = {
    "command": "weather",
    "args": ["Berlin", "tomorrow"],
    "user_id": "184093275518271489",
    "entity_id": "1029384756657483920",
    "community_id": 4711,
    "session_id": "3f0c7a52-8a4e-4b64-9d5b-5f6f0a4f2f10",
    "platform": "discord",
    "metadata": {
        "community": {
            "name": "Rainy Day Gamers",
            "is_subscribed": True,
            "subscription_order_id": 90210,
            "seat_count": 25,
        },
        "user": {"username": "drizzle_", "platform_user_id": "184093275518271489"},
        "entity": {"platform_entity_id": "1029384756657483920"},
    },
}

REGION = "us-east-1"


def make_request(event_data: Any = None) -> Any:
    """The chat command, or an event that carries ``event_data``."""
    from lambda_adapter import ExecuteRequest

    if event_data is None:
        return ExecuteRequest(**COMMAND)
    event = {"is_event": True, "event_type": "bulk", "event_data": event_data}
    return ExecuteRequest(**{**COMMAND, "metadata": {**COMMAND["metadata"], **event}})


def make_adapter(url: str, function: str, **settings: Any) -> Any:
    from lambda_adapter import LambdaAdapter

    return LambdaAdapter(function, REGION, "benchmark", endpoint_url=url, **settings)


def make_client(url: str, session: Any = None, **config: Any) -> Any:
    """A boto3 client with its defaults, but for ``config``."""
    import boto3
    from botocore.config import Config

    extra = {"config": Config(**config)} if config else {}
    return (session or boto3).client("lambda", region_name=REGION, endpoint_url=url, **extra)


def expect_success(response: Any) -> None:
    """What a figure counts must have worked."""
    if not (response["success"] if isinstance(response, dict) else response.success):
        raise SystemExit(f"a call failed: {response}")


def invoke(client: Any, function: str, payload: Json) -> None:
    """What people write with boto3: JSON both ways around ``invoke``."""
    response = client.invoke(FunctionName=function, Payload=json.dumps(payload))
    expect_success(json.loads(response["Payload"].read()))


def blocking_call(peer: str, url: str, function: str, payload: Json, event_data: Any = None) -> Callable[[], None]:
    """One call of a peer; ``payload`` is what lambda_adapter sends for the same request."""
    if peer == "lambda_adapter":
        adapter, request = make_adapter(url, function), make_request(event_data)
        return lambda: expect_success(adapter.execute(request))
    if event_data is not None:
        trigger = {
            "type": "event",
            "command": None,
            "context_text": None,
            "event_type": "bulk",
            "event_data": event_data,
        }
        payload = {**payload, "trigger": trigger}
    return functools.partial(invoke, make_client(url), function, payload)


def cpu_us(call: Callable[[], None], calls: int) -> float:
    """This process's CPU time of one call, all of its threads together."""
    for _ in range(max(5, calls // 20)):
        call()
    started = time.process_time()
    for _ in range(calls):
        call()
    return (time.process_time() - started) / calls * 1e6


_STUBBED_BODY = json.dumps(TYPICAL).encode()
_STUBBED_ANSWER: Json = {
    "StatusCode": 200,
    "ExecutedVersion": "$LATEST",
    "ResponseMetadata": {"HTTPStatusCode": 200, "HTTPHeaders": {"content-length": str(len(_STUBBED_BODY))}},
}


class StubbedClient(unittest.mock.MagicMock):
    """Stands in for boto3's client: ``invoke`` answers at once, all else does nothing.

    ``sent`` is the last payload.
    """

    sent = b""

    def invoke(self, **arguments: Any) -> Json:
        self.sent = arguments["Payload"]
        return {**_STUBBED_ANSWER, "Payload": io.BytesIO(_STUBBED_BODY)}


def payload() -> Json:
    """Task: what lambda_adapter sends for the chat command."""
    from lambda_adapter import LambdaAdapter

    client = StubbedClient()
    expect_success(LambdaAdapter("function", REGION, "benchmark", client=client).execute(make_request()))
    return {"payload": json.loads(client.sent)}


def cpu(peer: str, url: str, payload: Json, calls: int) -> Json:
    """Task: CPU time of a call to a function that answers at once."""
    return {"cpu_us": cpu_us(blocking_call(peer, url, "delay-0", payload), calls)}


def own_code(peer: str, url: str, payload: Json, calls: int) -> Json:
    """Task: CPU time of an ``execute`` for which boto3 does nothing."""
    import boto3

    stub = StubbedClient()
    # Not the adapter's parameter ``client``: with that one it would be spared its care for a client of its own.
    with unittest.mock.patch.object(boto3.session.Session, "client", return_value=stub):
        found_us = cpu_us(blocking_call(peer, url, "delay-0", payload), calls)
    if not stub.sent:
        raise SystemExit("the calls went past the stub")
    return {"cpu_us": found_us}


def throughput(peer: str, url: str, payload: Json, in_flight: int, calls: int, warm_up: int) -> Json:
    """Task: calls per second from one event loop, with so many in flight at once."""
    return asyncio.run(_throughput(peer, url, payload, in_flight, calls, warm_up))


async def _throughput(peer: str, url: str, payload: Json, in_flight: int, calls: int, warm_up: int) -> Json:
    async with contextlib.AsyncExitStack() as stack:
        call = await stack.enter_async_context(_awaitable_call(peer, url, payload, in_flight))
        await _keep_in_flight(call, in_flight, warm_up)
        endpoint_started_s = _stats(url)["cpu_s"]
        cpu_started_s, started_s = time.process_time(), time.perf_counter()
        await _keep_in_flight(call, in_flight, calls)
        elapsed_s, cpu_s = time.perf_counter() - started_s, time.process_time() - cpu_started_s
        endpoint_s = _stats(url)["cpu_s"] - endpoint_started_s
    return {
        "calls_per_s": calls / elapsed_s,
        "client_busy": cpu_s / elapsed_s,
        "endpoint_busy": endpoint_s / elapsed_s,
    }


async def _keep_in_flight(call: Callable[[], Awaitable[None]], in_flight: int, calls: int) -> None:
    """``calls`` calls from ``in_flight`` tasks, each of which makes the next call once it has its answer."""
    turns = iter(range(calls))

    async def caller() -> None:
        for _ in turns:
            await call()

    await asyncio.gather(*(caller() for _ in range(in_flight)))


@contextlib.asynccontextmanager
async def _awaitable_call(peer: str, url: str, payload: Json, in_flight: int) -> AsyncIterator[Callable[[], Any]]:
    """A call of a peer, which is set up for as many in flight as are wanted."""
    function = "delay-100"
    if peer == "lambda_adapter":
        request = make_request()
        with make_adapter(url, function, max_concurrency=in_flight) as adapter:

            async def execute() -> None:
                expect_success(await adapter.execute_async(request))

            yield execute
    elif peer == "aioboto3":
        import aioboto3
        from botocore.config import Config

        config = Config(max_pool_connections=in_flight)
        async with aioboto3.Session().client("lambda", region_name=REGION, endpoint_url=url, config=config) as client:

            async def invoke_async() -> None:
                response = await client.invoke(FunctionName=function, Payload=json.dumps(payload))
                expect_success(json.loads(await response["Payload"].read()))

            yield invoke_async
    else:
        run_in_executor = asyncio.get_running_loop().run_in_executor
        if peer == "boto3, own pool":
            pool, client = ThreadPoolExecutor(in_flight), make_client(url, max_pool_connections=in_flight)
        else:
            pool, client = None, make_client(url)
        yield lambda: run_in_executor(pool, invoke, client, function, payload)


def one_more(peer: str, url: str, payload: Json, number: int) -> Json:
    """Task: time and memory of one more adapter or client, beside one with the same settings."""
    import boto3

    session = boto3.session.Session()
    make = functools.partial(make_adapter, url, "delay-0")
    if peer != "lambda_adapter":
        make = functools.partial(make_client, url, session)
    kept = [make()]
    started = time.perf_counter()
    kept += [make() for _ in range(number)]
    elapsed_s = time.perf_counter() - started
    gc.collect()
    tracemalloc.start()
    kept += [make() for _ in range(number)]
    gc.collect()
    allocated_bytes, _ = tracemalloc.get_traced_memory()
    return {"each_us": elapsed_s / number * 1e6, "each_kb": allocated_bytes / number / 1000}


def connections(peer: str, url: str, payload: Json, adapters: int) -> Json:
    """Task: connections that adapters with equal settings, all alive, open for one call each."""
    before = _stats(url)["connections"]
    request = make_request()
    kept = [make_adapter(url, "delay-0") for _ in range(adapters)]
    for adapter in kept:
        expect_success(adapter.execute(request))
    return {"connections": _stats(url)["connections"] - before}


def _stats(url: str) -> Json:
    with urlopen(f"{url}/stats") as answer:
        stats: Json = json.load(answer)
    return stats


def neighbour(peer: str, url: str, payload: Json, throttled_calls: int, unloaded_s: float) -> Json:
    """Task: p95 of one module's calls, alone and while another module's are all being throttled."""
    return asyncio.run(_neighbour(url, throttled_calls, unloaded_s))


async def _neighbour(url: str, throttled_calls: int, unloaded_s: float) -> Json:
    request = make_request()
    with make_adapter(url, "delay-100") as healthy, make_adapter(url, "throttle") as throttled:

        async def latencies_ms(load: "asyncio.Future[Any]") -> List[float]:
            """Four callers, each of which makes one call after another until the load is over."""
            found = []

            async def caller() -> None:
                while not load.done():
                    started = time.perf_counter()
                    expect_success(await healthy.execute_async(request))
                    found.append((time.perf_counter() - started) * 1000)

            await asyncio.gather(*(caller() for _ in range(4)))
            return found

        await latencies_ms(asyncio.ensure_future(asyncio.sleep(0.2)))
        unloaded = await latencies_ms(asyncio.ensure_future(asyncio.sleep(unloaded_s)))
        burst = asyncio.gather(*(throttled.execute_async(request) for _ in range(throttled_calls)))
        loaded = await latencies_ms(burst)
        if {response.error_code for response in burst.result()} != {"throttled"}:
            raise SystemExit("a call was not throttled")
    return {
        "unloaded_p95_ms": p95(unloaded),
        "loaded_p95_ms": p95(loaded),
        "unloaded_max_ms": max(unloaded),
        "loaded_max_ms": max(loaded),
    }


def p95(values: List[float]) -> float:
    """The value that 95 of 100 do not exceed."""
    return sorted(values)[math.ceil(len(values) * 0.95) - 1]


def big(peer: str, url: str, payload: Json, shape: str, size_bytes: int, calls: int) -> Json:
    """Task: time and peak memory of a call that sends and receives much."""
    data = {"text": text, "records": records}[shape](size_bytes)
    blocking_call(peer, url, "delay-0", payload)()
    call = blocking_call(peer, url, f"{shape}-{size_bytes}", payload, data)
    before_mb = peak_rss_mb()
    call()
    peak_mb = peak_rss_mb() - before_mb
    started = time.perf_counter()
    for _ in range(calls):
        call()
    return {"call_ms": (time.perf_counter() - started) / calls * 1000, "peak_mb": peak_mb}


def peak_rss_mb() -> float:
    """The most memory that this process has had. ``getrusage`` would also count its parent's, before the exec."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) / 1000 for line in status if line.startswith("VmHWM:"))


TASKS = (payload, cpu, own_code, throughput, one_more, connections, neighbour, big)


if __name__ == "__main__":
    tasks = {task.__name__: task for task in TASKS}
    print(json.dumps(tasks[sys.argv[1]](**json.load(sys.stdin))))
