"""What one measuring process does: ``python -m benchmarks.tasks TASK``, parameters on standard input, a JSON line out.

What a figure covers begins after a warm-up. lambda_adapter and boto3 are imported where they are used: they are not in
every environment that this runs in.
"""

import asyncio
import functools
import gc
import io
import json
import math
import os
import resource
import statistics
import sys
import time
import tracemalloc
from typing import Any, Callable, Dict, Iterator, List
from unittest import mock
from urllib.request import urlopen

from . import processes
from .endpoint import TYPICAL, records
from .peers import (
    BOTO3,
    OUR_CLIENT,
    OURS,
    AsyncCall,
    Json,
    awaitable_call,
    awaitable_stream,
    blocking_call,
    blocking_stream,
    expect_success,
    make_adapter,
    make_client,
    make_request,
)


def payload() -> Json:
    """Task: what lambda_adapter sends for the chat command."""
    client = mock.MagicMock()
    client.invoke.return_value = {"StatusCode": 200, "Payload": io.BytesIO(json.dumps(TYPICAL).encode())}
    expect_success(make_adapter(None, "function", client=client).execute(make_request()))
    return {"payload": json.loads(client.invoke.call_args.kwargs["Payload"])}


def repeat(peer: str, url: str, payload: Json, calls: int) -> Json:
    """Task: so many blocking calls to a function that answers at once, for callgrind to count."""
    call = blocking_call(peer, url, "delay-0", payload)
    for _ in range(calls):
        call()
    return {}


def cpu_in_turns(peer: str, url: str, payload: Json, calls: int, turns: int) -> Json:
    """Task: CPU time of a blocking call; the peers take turns in this one process."""
    # First the client, while lambda_adapter has yet to make one; all adapters with equal settings share it.
    names = {OUR_CLIENT: "our_client", OURS: "ours", BOTO3: "boto3"}
    peers = {name: blocking_call(each, url, "delay-0", payload) for each, name in names.items()}
    spent_s = dict.fromkeys(peers, 0.0)
    for turn in range(turns + 1):
        for name, call in peers.items():
            started_s = time.process_time()
            for _ in range(calls):
                call()
            # The first turn is for warming up.
            spent_s[name] += time.process_time() - started_s if turn else 0.0
    return {f"{name}_us": each_s / calls / turns * 1e6 for name, each_s in spent_s.items()}


def throughput(
    peer: str, url: str, payload: Json, in_flight: int, calls: int, warm_up: int, pinned: bool = False
) -> Json:
    """Task: calls per second from one event loop, with so many in flight at once."""
    if pinned:
        # Before any thread is there: each inherits it.
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    return asyncio.run(_throughput(peer, url, payload, in_flight, calls, warm_up))


async def _throughput(peer: str, url: str, payload: Json, in_flight: int, calls: int, warm_up: int) -> Json:
    async with awaitable_call(peer, url, payload, in_flight) as call:
        await _keep_in_flight(call, in_flight, warm_up)
        endpoint_started_s = _endpoint_cpu_s(url)
        switches_before = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
        started_s, cpu_started_s = time.perf_counter(), time.process_time()
        await _keep_in_flight(call, in_flight, calls)
        elapsed_s, cpu_s = time.perf_counter() - started_s, time.process_time() - cpu_started_s
        switches = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - switches_before
        endpoint_s = _endpoint_cpu_s(url) - endpoint_started_s
    return {
        "calls_per_s": calls / elapsed_s,
        "cpu_ms": cpu_s / calls * 1000,
        "switches": switches / calls,
        "endpoint_busy": endpoint_s / elapsed_s,
    }


async def _keep_in_flight(call: AsyncCall, in_flight: int, calls: int) -> None:
    """``calls`` calls from ``in_flight`` tasks, each of which makes the next call once it has its answer."""
    turns = iter(range(calls))

    async def caller() -> None:
        for _ in turns:
            await call()

    await asyncio.gather(*(caller() for _ in range(in_flight)))


def _endpoint_cpu_s(url: str) -> float:
    with urlopen(f"{url}/stats") as answer:
        return float(json.load(answer)["cpu_s"])


def stream_in_turns(peer: str, url: str, payload: Json, calls: int, texts: int, turns: int) -> Json:
    """Task: time to a stream's first text, then CPU time of each further one, the peers in turns in this process."""
    first = {name: blocking_stream(each, url, "stream-2-0", payload) for name, each in _STREAMERS.items()}
    first_s: Dict[str, List[float]] = {name: [] for name in first}
    for turn in range(calls + calls // 10):
        for name, read in first.items():
            started_s = time.perf_counter()
            stream = read()
            next(stream)
            # Some turns are for warming up.
            first_s[name] += [time.perf_counter() - started_s] if turn >= calls // 10 else []
            _read_on(stream)
    found = {f"{name}_first_ms": statistics.median(each) * 1000 for name, each in first_s.items()}
    return {**found, **asyncio.run(_cpu_of_texts(url, payload, texts, turns))}


_STREAMERS = {"ours": OURS, "boto3": BOTO3}


async def _cpu_of_texts(url: str, payload: Json, texts: int, turns: int) -> Json:
    function = f"stream-{texts}-0"
    blocking = {name: blocking_stream(each, url, function, payload) for name, each in _STREAMERS.items()}
    blocking["limited"] = blocking_stream(OURS, url, function, payload, total_timeout=_LIMIT_S)
    spent_s = dict.fromkeys([*blocking, "async"], 0.0)
    async with awaitable_stream(OURS, url, function, payload, 1) as read_async:
        for turn in range(turns + 1):
            for name in spent_s:
                started_s = time.process_time()
                read = sum([1 async for _ in read_async()]) if name == "async" else _read_on(blocking[name]())
                # The first turn is for warming up.
                spent_s[name] += time.process_time() - started_s if turn else 0.0
                if read != texts:
                    raise SystemExit(f"{name} gave {read} texts of {texts}")
    return {f"{name}_text_us": each_s / texts / turns * 1e6 for name, each_s in spent_s.items()}


#: A total_timeout that no stream comes near.
_LIMIT_S = 60.0


def _read_on(stream: Iterator[str]) -> int:
    return sum(1 for _ in stream)


def repeat_stream(peer: str, url: str, payload: Json, texts: int) -> Json:
    """Task: a stream of two texts, and one of so many, for callgrind to count."""
    for count in (2, texts):
        _read_on(blocking_stream(peer, url, f"stream-{count}-0", payload)())
    return {}


def streams(peer: str, url: str, payload: Json, in_flight: int, texts: int, pause_ms: int, waves: int) -> Json:
    """Task: CPU time of a text, with so many streams at once on one event loop, one wave of them after another."""
    return asyncio.run(_streams(peer, url, payload, in_flight, texts, pause_ms, waves))


async def _streams(peer: str, url: str, payload: Json, in_flight: int, texts: int, pause_ms: int, waves: int) -> Json:
    async with awaitable_stream(peer, url, f"stream-{texts}-{pause_ms}", payload, in_flight) as read:

        async def count() -> int:
            return sum([1 async for _ in read()])

        # The first wave is for warming up.
        await asyncio.gather(*(count() for _ in range(in_flight)))
        started_s, cpu_started_s = time.perf_counter(), time.process_time()
        found = [await asyncio.gather(*(count() for _ in range(in_flight))) for _ in range(waves)]
        elapsed_s, cpu_s = time.perf_counter() - started_s, time.process_time() - cpu_started_s
    if {texts} != {each for wave in found for each in wave}:
        raise SystemExit("texts are missing")
    all_texts = texts * in_flight * waves
    return {"text_us": cpu_s / all_texts * 1e6, "wave_ms": elapsed_s / waves * 1000}


def one_more(peer: str, url: str, payload: Json, number: int) -> Json:
    """Task: time and memory of one more adapter or client, beside one with the same settings."""
    import boto3

    session = boto3.session.Session()
    make = functools.partial(make_adapter, url, "delay-0")
    if peer != OURS:
        make = functools.partial(make_client, url, session)
    kept = [make()]
    started_s = time.perf_counter()
    kept += [make() for _ in range(number)]
    elapsed_s = time.perf_counter() - started_s
    gc.collect()
    tracemalloc.start()
    kept += [make() for _ in range(number)]
    gc.collect()
    allocated_bytes, _ = tracemalloc.get_traced_memory()
    return {"each_us": elapsed_s / number * 1e6, "each_kb": allocated_bytes / number / 1000}


def neighbour(peer: str, url: str, payload: Json, throttled_calls: int, alone_s: float) -> Json:
    """Task: how long one module's calls take, alone and while another module's are all being throttled."""
    return asyncio.run(_neighbour(url, throttled_calls, alone_s))


async def _neighbour(url: str, throttled_calls: int, alone_s: float) -> Json:
    request = make_request()
    with make_adapter(url, "delay-100") as healthy, make_adapter(url, "throttle") as throttled:

        async def latencies_ms(load: "asyncio.Future[Any]") -> List[float]:
            """Four callers, each of which makes one call after another until the load is over."""
            found = []

            async def caller() -> None:
                while not load.done():
                    started_s = time.perf_counter()
                    expect_success(await healthy.execute_async(request))
                    found.append((time.perf_counter() - started_s) * 1000)

            await asyncio.gather(*(caller() for _ in range(4)))
            return found

        await latencies_ms(asyncio.ensure_future(asyncio.sleep(0.2)))
        alone = await latencies_ms(asyncio.ensure_future(asyncio.sleep(alone_s)))
        burst = asyncio.gather(*(throttled.execute_async(request) for _ in range(throttled_calls)))
        beside = await latencies_ms(burst)
        if {response.error_code for response in burst.result()} != {"throttled"}:
            raise SystemExit("a call was not throttled")
    return {"alone_p95_ms": p95(alone), "beside_p95_ms": p95(beside)}


def p95(values: List[float]) -> float:
    """The value that 95 of 100 do not exceed."""
    return sorted(values)[math.ceil(len(values) * 0.95) - 1]


def big(peer: str, url: str, payload: Json, size_bytes: int, calls: int) -> Json:
    """Task: time and peak memory of a call that sends and receives many records."""
    blocking_call(peer, url, "delay-0", payload)()
    call = blocking_call(peer, url, f"records-{size_bytes}", payload, records(size_bytes))
    before_mb = _memory_mb("VmHWM")
    call()
    peak_mb = _memory_mb("VmHWM") - before_mb
    started_s = time.perf_counter()
    for _ in range(calls):
        call()
    return {"call_ms": (time.perf_counter() - started_s) / calls * 1000, "peak_mb": peak_mb}


def memory(peer: str, url: str, payload: Json, places: int, queued: int) -> Json:
    """Task: memory of a process with an adapter, of a thread with its connection, and of a queued call."""
    return asyncio.run(_memory(url, places, queued))


async def _memory(url: str, places: int, queued: int) -> Json:
    request = make_request()
    with make_adapter(url, "delay-500", max_concurrency=places) as adapter:
        expect_success(await adapter.execute_async(request))
        before_mb = _memory_mb("VmHWM")
        for response in await asyncio.gather(*(adapter.execute_async(request) for _ in range(places))):
            expect_success(response)
        place_mb = (_memory_mb("VmHWM") - before_mb) / places
    with make_adapter(url, "delay-500", max_concurrency=1) as adapter:
        filled_mb = _memory_mb("VmRSS")
        calls = [asyncio.ensure_future(adapter.execute_async(request)) for _ in range(queued)]
        # The loop begins them in their order, and this goes on after the last.
        await asyncio.sleep(0)
        queued_mb = (_memory_mb("VmRSS") - filled_mb) / queued
    await asyncio.gather(*calls)
    return {"process_mb": before_mb, "place_kb": place_mb * 1000, "queued_kb": queued_mb * 1000}


def _memory_mb(name: str) -> float:
    """``VmRSS`` is what this process holds now, ``VmHWM`` the most that it ever held; getrusage counts its parent's."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) / 1000 for line in status if line.startswith(f"{name}:"))


TASKS: List[Callable[..., Json]] = [
    payload,
    repeat,
    cpu_in_turns,
    throughput,
    stream_in_turns,
    repeat_stream,
    streams,
    one_more,
    neighbour,
    big,
    memory,
    processes.instructions_per_call,
    processes.instructions_per_text,
    processes.instructions_of_script,
    processes.cpu_of_script,
]


if __name__ == "__main__":
    tasks = {task.__name__: task for task in TASKS}
    print(json.dumps(tasks[sys.argv[1]](**json.load(sys.stdin))))
