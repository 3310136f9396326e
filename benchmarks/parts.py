"""What is measured, how often, against what, and with which target."""

from typing import Any, Callable, Dict, List, Optional, Tuple

import attrs

from .work import COMMAND, REGION

OURS = "lambda_adapter"
BOTO3 = "boto3"
DEFAULT_EXECUTOR = "boto3, default executor"
OWN_POOL = "boto3, own pool"
AIOBOTO3 = "aioboto3"
#: In the order of the chart's legend.
ASYNC_PEERS = (OURS, AIOBOTO3, OWN_POOL, DEFAULT_EXECUTOR)

Json = Dict[str, Any]
#: Makes a Python script from the endpoint's URL and the payload.
Script = Callable[[str, Json], str]


@attrs.frozen
class Measurement:
    """What one fresh process does, once in each round."""

    peer: str
    task: str
    parameters: Json = attrs.field(factory=dict)
    #: For the progress line, where a peer has several.
    about: str = ""
    #: Runs in the place of work.py's task.
    script: Optional[Script] = None


@attrs.frozen
class Figure:
    """One number of certain samples."""

    peer: str
    key: str
    unit: str
    where: Json = attrs.field(factory=dict)

    def of(self, samples: List[Json]) -> List[float]:
        """Its values, in the order of the rounds."""
        wanted = {"peer": self.peer, **self.where}
        return [
            sample[self.key]
            for sample in samples
            if self.key in sample and all(sample.get(name) == value for name, value in wanted.items())
        ]


@attrs.frozen
class Comparison:
    """A row of the table: our figure over a peer's, or our figure alone, and what that should be."""

    what: str
    ours: Figure
    peer: Optional[Figure] = None
    at_most: Optional[float] = None
    at_least: Optional[float] = None


@attrs.frozen
class Part:
    """What ``python -m benchmarks NAME`` measures."""

    name: str
    #: How its figures are made.
    how: str
    rounds: int
    measurements: List[Measurement]
    comparisons: List[Comparison]


def make_parts(smoke: bool = False) -> Tuple[Part, ...]:
    """All parts: for figures, or with the smallest counts that run every line of them."""

    def count(full: int, tiny: int) -> int:
        return tiny if smoke else full

    rounds = count(5, 1)
    return (
        # A process's own luck, with its place in memory for example, outweighs many calls: many processes instead.
        _cpu(count(21, 1), calls=count(500, 3)),
        _own_code(count(21, 1), calls=count(500, 3)),
        _async(rounds, levels=(1, 2, 3, 4, 5) if smoke else (1, 8, 32, 128, 512), waves=count(8, 1)),
        _adapter(rounds, number=count(100, 2)),
        _connections(adapters=count(1000, 5)),
        _import(rounds=count(20, 1)),
        _startup(rounds=count(10, 1)),
        _neighbour(rounds, throttled_calls=count(200, 5), unloaded_s=3.0 if not smoke else 0.2),
        _big(rounds, calls=count(4, 1)),
    )


def _cpu(rounds: int, calls: int) -> Part:
    return Part(
        "cpu",
        f"CPU time of the client's process over {calls} blocking calls, one after another, to a function that "
        "answers at once. boto3: a default client, `json.dumps`, `invoke`, `json.loads`; its payload is the one "
        "that lambda_adapter really sends for the same chat command.",
        rounds,
        [Measurement(peer, "cpu", {"calls": calls}) for peer in (OURS, BOTO3)],
        [Comparison("CPU of `execute`", Figure(OURS, "cpu_us", "µs"), Figure(BOTO3, "cpu_us", "µs"), at_most=0.85)],
    )


def _own_code(rounds: int, calls: int) -> Part:
    return Part(
        "own_code",
        f"CPU time of `execute` over {calls} calls in a process where boto3 hands out a stub for a client, which "
        "answers at once: all of lambda_adapter's own work, nothing of botocore's. boto3: as in cpu, JSON both ways"
        " included.",
        rounds,
        [Measurement(OURS, "own_code", {"calls": calls}), Measurement(BOTO3, "cpu", {"calls": calls})],
        [
            Comparison(
                "our own code per call", Figure(OURS, "cpu_us", "µs"), Figure(BOTO3, "cpu_us", "µs"), at_most=0.08
            )
        ],
    )


def _async(rounds: int, levels: Tuple[int, ...], waves: int) -> Part:
    def measurement(peer: str, in_flight: int) -> Measurement:
        # Six threads at 10 calls a second each need no more to show their pace, and 9 s for 512 calls.
        slow = peer == DEFAULT_EXECUTOR
        calls = max(in_flight, min(in_flight * waves, 60)) if slow else in_flight * waves
        warm_up = min(in_flight, 12) if slow else in_flight
        return Measurement(
            peer, "throughput", {"in_flight": in_flight, "calls": calls, "warm_up": warm_up}, f"{in_flight} in flight"
        )

    def row(in_flight: int, peer: str, at_least: float) -> Comparison:
        where = {"in_flight": in_flight}
        ours, theirs = (Figure(each, "calls_per_s", "calls/s", where) for each in (OURS, peer))
        return Comparison(f"`execute_async`, 100 ms function, {in_flight} in flight", ours, theirs, at_least=at_least)

    some, many, most = levels[-3:]
    return Part(
        "async",
        "Calls per second to a function that answers after 100 ms, from one event loop in which so many tasks make "
        f"one call after another, {waves} each on average, after a wave that does not count (the default executor, "
        "whose pace is constant: fewer). boto3: a default client in asyncio's default executor; or a pool of as "
        "many threads, and `max_pool_connections`, as are in flight. aioboto3: one client with as many "
        "`max_pool_connections`. lambda_adapter: as much `max_concurrency`.",
        rounds,
        [measurement(peer, in_flight) for in_flight in levels for peer in ASYNC_PEERS],
        [
            row(many, DEFAULT_EXECUTOR, at_least=15),
            row(some, AIOBOTO3, at_least=1),
            row(many, AIOBOTO3, at_least=1),
            row(most, AIOBOTO3, at_least=1),
        ],
    )


def _adapter(rounds: int, number: int) -> Part:
    return Part(
        "adapter",
        f"{number} further adapters with the settings of one that there is, or {number} further boto3 clients of one"
        " session: the time to make them; then, for as many again, the memory that tracemalloc sees. None is "
        "called.",
        rounds,
        [Measurement(peer, "one_more", {"number": number}) for peer in (OURS, BOTO3)],
        [
            Comparison(f"another adapter, {what}", Figure(OURS, key, unit), Figure(BOTO3, key, unit), at_most=0.05)
            for what, key, unit in (("time", "each_us", "µs"), ("memory", "each_kb", "kB"))
        ],
    )


def _connections(adapters: int) -> Part:
    return Part(
        "connections",
        f"{adapters} adapters with equal settings, all alive, make one call each, one after another; the endpoint "
        "counts the connections that these come over.",
        1,
        [Measurement(OURS, "connections", {"adapters": adapters})],
        [
            Comparison(
                f"connections of {adapters:,} adapters with equal settings",
                Figure(OURS, "connections", ""),
                at_most=1,
            )
        ],
    )


def _import(rounds: int) -> Part:
    def timed(package: str, names: str = "") -> Script:
        lines = (
            "import time",
            "started = time.perf_counter()",
            f"import {package}",
            "package_s = time.perf_counter() - started",
            names,
            "names_s = time.perf_counter() - started",
            "import json",
            "print(json.dumps({'package_ms': package_s * 1000, 'names_ms': names_s * 1000}))",
        )
        return lambda _url, _payload: "\n".join(lines)

    names = "from lambda_adapter import LambdaAdapter, ExecuteRequest"
    return Part(
        "import",
        "In a fresh interpreter, the time that `import lambda_adapter`, which brings no module of its own along, and "
        "after it `from lambda_adapter import LambdaAdapter, ExecuteRequest` take, against `import boto3`. Bytecode is "
        "cached.",
        rounds,
        [
            Measurement(OURS, "import", script=timed("lambda_adapter", names)),
            Measurement(BOTO3, "import", script=timed("boto3")),
        ],
        [
            Comparison(
                "`import lambda_adapter`",
                Figure(OURS, "package_ms", "ms"),
                Figure(BOTO3, "package_ms", "ms"),
                at_most=0.4,
            ),
            Comparison(
                "the same and its LambdaAdapter", Figure(OURS, "names_ms", "ms"), Figure(BOTO3, "package_ms", "ms")
            ),
        ],
    )


def _startup(rounds: int) -> Part:
    def ours(url: str, _payload: Json) -> str:
        return f"""
from lambda_adapter import ExecuteRequest, LambdaAdapter
adapter = LambdaAdapter("delay-0", "{REGION}", "benchmark", endpoint_url="{url}")
response = adapter.execute(ExecuteRequest(**{COMMAND!r}))
import json
print(json.dumps({{"success": response.success}}))
"""

    def plain(url: str, payload: Json) -> str:
        return f"""
import json
import boto3
client = boto3.client("lambda", region_name="{REGION}", endpoint_url="{url}")
response = client.invoke(FunctionName="delay-0", Payload=json.dumps({payload!r}))
print(json.dumps({{"success": json.loads(response["Payload"].read())["success"]}}))
"""

    return Part(
        "startup",
        "From the start of a Python process to its end: a script that imports, makes an adapter or a default boto3 "
        "client, and prints the first response of a function that answers at once. Seen from outside, interpreter "
        "included.",
        rounds,
        [Measurement(OURS, "startup", script=ours), Measurement(BOTO3, "startup", script=plain)],
        [
            Comparison(
                "script from start to first response",
                Figure(OURS, "process_ms", "ms"),
                Figure(BOTO3, "process_ms", "ms"),
                at_most=1.1,
            )
        ],
    )


def _neighbour(rounds: int, throttled_calls: int, unloaded_s: float) -> Part:
    return Part(
        "neighbour",
        "Two modules on one event loop. Four callers make one `execute_async` after another to a healthy 100 ms "
        f"function: for {unloaded_s:g} s alone, then from the moment at which another module begins "
        f"{throttled_calls} calls at once until the last of those has ended. All of these are answered 429 at every "
        "attempt, with retries at their defaults.",
        rounds,
        [Measurement(OURS, "neighbour", {"throttled_calls": throttled_calls, "unloaded_s": unloaded_s})],
        [
            Comparison(
                f"{what} of a healthy module, its neighbour throttled",
                Figure(OURS, f"loaded_{key}_ms", "ms"),
                Figure(OURS, f"unloaded_{key}_ms", "ms"),
                at_most=at_most,
            )
            for what, key, at_most in (("p95", "p95", 1.2), ("slowest call", "max", None))
        ],
    )


def _big(rounds: int, calls: int) -> Part:
    def row(shape: str, called: str, what: str, key: str, unit: str) -> Comparison:
        ours, plain = (Figure(peer, key, unit, {"shape": shape}) for peer in (OURS, BOTO3))
        return Comparison(f"5 MB each way, {called}: {what}", ours, plain, at_most=1.05)

    shapes = (("text", "one text"), ("records", "50,000 records"))
    return Part(
        "big",
        f"A blocking call with 5 MB of event data and a 5 MB answer of the same shape. Time: the mean of {calls} "
        "calls. Peak memory: how far the first such call raises the most memory that the process ever held (VmHWM),"
        " over imports, a small call and the data itself. boto3: as in cpu.",
        rounds,
        [
            Measurement(peer, "big", {"shape": shape, "size_bytes": 5_000_000, "calls": calls}, called)
            for shape, called in shapes
            for peer in (OURS, BOTO3)
        ],
        [
            row(shape, called, what, key, unit)
            for shape, called in shapes
            for what, key, unit in (("time", "call_ms", "ms"), ("peak memory", "peak_mb", "MB"))
        ],
    )
