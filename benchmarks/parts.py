"""What is measured, how often, against what, and with which target."""

from typing import Dict, List, Optional, Tuple

import attrs

from .peers import AIOBOTO3, AIOBOTOCORE, ASYNC_PEERS, BOTO3, DEFAULT_EXECUTOR, OUR_CLIENT, OURS, OWN_POOL, Json

#: The part that needs valgrind.
UNDER_CALLGRIND = "instructions"

#: In the order of tables and chart.
SCHEMES = {"https": "TLS", "http": "plain HTTP"}


@attrs.frozen
class Measurement:
    """What one fresh process does, once in each round."""

    peer: str
    task: str
    parameters: Json = attrs.field(factory=dict)
    #: For the progress line, and for figures to name it.
    about: str = ""
    scheme: str = "http"
    #: How many do the same at once; the sample holds the sum of their calls per second.
    processes: int = 1


@attrs.frozen
class Figure:
    """One number of certain samples."""

    peer: str
    key: str
    unit: str
    about: str = ""

    def of(self, samples: List[Json]) -> List[float]:
        """Its values, in the order of the rounds."""
        wanted = (self.peer, self.about)
        return [
            sample[self.key] for sample in samples if (sample["peer"], sample["about"]) == wanted and self.key in sample
        ]


@attrs.frozen
class Comparison:
    """A row of the table: our figure over a peer's, or our figure alone, and what that should be."""

    what: str
    ours: Figure
    peer: Optional[Figure] = None
    at_most: Optional[float] = None
    at_least: Optional[float] = None
    #: What the peer's column says beside the figure, where that is not the figure's peer.
    beside: str = ""


@attrs.frozen
class Part:
    """What ``python -m benchmarks NAME`` measures."""

    name: str
    #: How its figures are made.
    how: str
    rounds: int
    measurements: List[Measurement]
    comparisons: List[Comparison]


def about(scheme: str, in_flight: int) -> str:
    """What a measurement of ``execute_async`` is called."""
    return f"{SCHEMES[scheme]}, {in_flight} in flight"


def make_parts(smoke: bool = False) -> Tuple[Part, ...]:
    """All parts: for figures, or with the smallest counts that run every line of them."""

    def count(full: int, tiny: int) -> int:
        return tiny if smoke else full

    rounds = count(3, 1)
    return (
        _async(rounds, waves={1: 10, 8: 10, 32: 10, 128: 8, 512: 4} if not smoke else {2: 1}),
        _pinned(rounds, in_flight=count(128, 3), waves=count(12, 1)),
        _instructions(few=count(30, 1), many=count(130, 3)),
        _cpu(count(7, 1), calls=count(50, 2), turns=count(8, 1)),
        _stream(
            count(5, 1), calls=count(200, 3), texts=count(2_000, 3), turns=count(8, 1), in_flight=count(32, 2), waves=2
        ),
        _adapter(rounds, number=count(100, 2)),
        _neighbour(rounds, throttled_calls=count(200, 5), alone_s=0.2 if smoke else 3.0),
        _big(rounds, calls=count(4, 1)),
        _scale(rounds, in_flight=count(128, 3), waves=count(30, 1), places=count(256, 3), queued=count(10_000, 5)),
    )


def _throughput(
    peer: str, scheme: str, in_flight: int, waves: int, pinned: bool = False, processes: int = 1
) -> Measurement:
    calls, warm_up = in_flight * waves, in_flight
    if peer == DEFAULT_EXECUTOR:
        # Its few threads show their constant pace in 2 s, and would take 40 s for 2,048 calls.
        calls, warm_up = min(calls, 120), min(warm_up, 12)
    parameters = {"in_flight": in_flight, "calls": calls, "warm_up": warm_up, "pinned": pinned}
    named = about(scheme, in_flight)
    if pinned:
        named += ", pinned to one core"
    if processes > 1:
        named += f", {processes} processes"
    return Measurement(peer, "throughput", parameters, named, scheme, processes)


def _faster(what: str, named: str, peer: str, at_least: Optional[float]) -> Comparison:
    """A row about our calls per second over a peer's."""
    ours, theirs = (Figure(each, "calls_per_s", "calls/s", named) for each in (OURS, peer))
    return Comparison(what, ours, theirs, at_least=at_least)


def _async(rounds: int, waves: Dict[int, int]) -> Part:
    # For the highest numbers in flight: 32, 128 and 512.
    targets = ((OWN_POOL, (1.05, 1.05, 1.05)), (AIOBOTO3, (1.03, 0.8, None)))
    return Part(
        "async",
        "Calls per second to a function that answers after 100 ms, from one event loop in which so many tasks make "
        f"one call after another ({', '.join(f'{each} at {level}' for level, each in waves.items())} in flight), after "
        "a wave that does not count; nothing is pinned, and client and endpoint share all cores. boto3: a default "
        "client in asyncio's default executor, whose pace is constant (at most 120 calls); or in a pool of as many "
        "threads as calls are in flight. lambda_adapter has as much `max_concurrency`, and every peer but the default "
        "executor as many connections.",
        rounds,
        [
            _throughput(peer, scheme, in_flight, waves[in_flight])
            for scheme in SCHEMES
            for in_flight in waves
            for peer in ASYNC_PEERS
        ],
        [
            _faster(f"`execute_async`, {about(scheme, in_flight)}", about(scheme, in_flight), peer, at_least)
            for peer, least in targets
            for scheme in SCHEMES
            for in_flight, at_least in zip(sorted(waves)[-3:], least)
        ],
    )


def _pinned(rounds: int, in_flight: int, waves: int) -> Part:
    measurements = [_throughput(peer, "http", in_flight, waves, pinned=True) for peer in ASYNC_PEERS]
    named = measurements[0].about
    return Part(
        "pinned",
        f"As in async, {waves} calls a task; each client is pinned to one core, as by `taskset -c 0 python bot.py`, "
        "and the endpoint to none.",
        rounds,
        measurements,
        [
            _faster(f"`execute_async`, {named}", named, peer, at_least)
            for peer, at_least in ((AIOBOTO3, 1.15), (OWN_POOL, None))
        ],
    )


def _instructions(few: int, many: int) -> Part:
    def row(what: str, named: str, peer: str, at_most: Optional[float]) -> Comparison:
        ours, theirs = (Figure(each, "minstructions", "million", named) for each in (OURS, peer))
        return Comparison(f"instructions {what}", ours, theirs, at_most=at_most)

    return Part(
        UNDER_CALLGRIND,
        "User-space instructions that `valgrind --tool=callgrind` counts. Per call: those of a process that makes "
        f"{many} blocking calls, one after another, to a function that answers at once, less those of one that makes "
        f"{few}, by the difference. boto3: a default client, `json.dumps`, `invoke`, `json.loads`; its payload is the "
        "one that lambda_adapter really sends for the same chat command. Our client: the same on the very client that "
        "lambda_adapter makes. First response: a whole script, interpreter included, that imports, makes an adapter or "
        "a default boto3 client, and calls once. Import: a process that does nothing but `import lambda_adapter; "
        "lambda_adapter.LambdaAdapter`, or `import boto3`. A text of a stream: as per call, of a process that reads a "
        f"streamed answer of {50 * many:,} texts less one of {50 * few:,}, all sent at once. One round: the figures "
        "repeat to 1 %.",
        1,
        [
            Measurement(peer, "instructions_per_call", {"few": few, "many": many}, "per call")
            for peer in (OURS, BOTO3, OUR_CLIENT)
        ]
        + [
            Measurement(peer, "instructions_per_text", {"few": 50 * few, "many": 50 * many}, "per text of a stream")
            for peer in (OURS, BOTO3)
        ]
        + [
            Measurement(peer, "instructions_of_script", {"script": script}, script)
            for script in ("first response", "import")
            for peer in (OURS, BOTO3)
        ],
        [
            row("of `execute`", "per call", BOTO3, at_most=0.95),
            row("of `execute`", "per call", OUR_CLIENT, at_most=1.05),
            row("from start to first response", "first response", BOTO3, at_most=1.15),
            row("of the import", "import", BOTO3, at_most=None),
            Comparison(
                "instructions of `execute_stream`, per text",
                *(Figure(peer, "kinstructions", "thousand", "per text of a stream") for peer in (OURS, BOTO3)),
                at_most=1.2,
            ),
        ],
    )


def _cpu(rounds: int, calls: int, turns: int) -> Part:
    def row(key: str, beside: str) -> Comparison:
        ours, theirs = (Figure(OURS, each, "µs", "in turns") for each in ("ours_us", key))
        return Comparison("CPU time of `execute`", ours, theirs, beside=beside)

    script = "first response"
    first, of_boto3 = (Figure(peer, "cpu_ms", "ms", script) for peer in (OURS, BOTO3))
    return Part(
        "cpu",
        "CPU time of the same blocking calls and the same scripts as in instructions. The calls: "
        f"{turns} times {calls} of each peer, in turns in one process. CPU time depends on what else the machine does; "
        "where it and the instructions disagree, the instructions are right about the code.",
        rounds,
        [
            Measurement(OURS, "cpu_in_turns", {"calls": calls, "turns": turns}, "in turns"),
            *(Measurement(peer, "cpu_of_script", {"script": script}, script) for peer in (OURS, BOTO3)),
        ],
        [
            row("boto3_us", BOTO3),
            row("our_client_us", OUR_CLIENT),
            Comparison("CPU time from start to first response", first, of_boto3),
        ],
    )


def _stream(rounds: int, calls: int, texts: int, turns: int, in_flight: int, waves: int) -> Part:
    def in_turns(what: str, ours: str, boto3: str, unit: str, at_most: float) -> Comparison:
        mine, theirs = (Figure(OURS, key, unit, "in turns") for key in (ours, boto3))
        return Comparison(what, mine, theirs, at_most=at_most, beside=BOTO3)

    def about_streams(pause_ms: int) -> str:
        pace = f"{pause_ms} ms apart" if pause_ms else "all at once"
        return f"{in_flight} streams of 100 texts, {pace}"

    of_text = (
        ("`execute_stream`", "ours_text_us"),
        ("`execute_stream` with a total_timeout", "limited_text_us"),
        ("`execute_stream_async`", "async_text_us"),
    )
    return Part(
        "stream",
        "Streamed answers, each text of 31 bytes in a frame and a chunk of its own. First text: the median of "
        f"{calls} calls of each peer, in turns in one process, from the call to the text, all of a short answer being "
        f"sent at once. CPU time of a text: that of the process while it reads {turns} answers of {texts:,} texts, all "
        "sent at once, in turns as well. boto3: a default client, `invoke_with_response_stream`, an incremental "
        f"decoder. Many streams: CPU time of a text while one event loop reads {in_flight} answers of 100 texts side "
        f"by side, {waves} times after one that does not count; the texts come all at once, or one every 10 ms and so "
        "each alone.",
        rounds,
        [
            Measurement(OURS, "stream_in_turns", {"calls": calls, "texts": texts, "turns": turns}, "in turns"),
            *(
                Measurement(
                    peer,
                    "streams",
                    {"in_flight": in_flight, "texts": 100, "pause_ms": pause_ms, "waves": waves},
                    about_streams(pause_ms),
                )
                for pause_ms in (0, 10)
                for peer in (OURS, AIOBOTOCORE)
            ),
        ],
        [
            in_turns("time to the first text of `execute_stream`", "ours_first_ms", "boto3_first_ms", "ms", 1.05),
            *(in_turns(f"CPU time of a text, {what}", key, "boto3_text_us", "µs", 1.2) for what, key in of_text),
            *(
                Comparison(
                    f"CPU time of a text, {about_streams(pause_ms)}",
                    *(Figure(peer, "text_us", "µs", about_streams(pause_ms)) for peer in (OURS, AIOBOTOCORE)),
                )
                for pause_ms in (0, 10)
            ),
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


def _neighbour(rounds: int, throttled_calls: int, alone_s: float) -> Part:
    return Part(
        "neighbour",
        "Two modules on one event loop. Four callers make one `execute_async` after another to a healthy 100 ms "
        f"function: for {alone_s:g} s alone, then from the moment at which another module begins "
        f"{throttled_calls} calls at once until the last of those has ended. All of these are answered 429 at every "
        "attempt, with retries at their defaults.",
        rounds,
        [Measurement(OURS, "neighbour", {"throttled_calls": throttled_calls, "alone_s": alone_s})],
        [
            Comparison(
                "p95 of a healthy module, its neighbour throttled",
                Figure(OURS, "beside_p95_ms", "ms"),
                Figure(OURS, "alone_p95_ms", "ms"),
                at_most=1.2,
                beside="alone",
            )
        ],
    )


def _big(rounds: int, calls: int) -> Part:
    def row(what: str, key: str, unit: str, at_most: float) -> Comparison:
        ours, plain = (Figure(peer, key, unit) for peer in (OURS, BOTO3))
        return Comparison(f"5 MB in 50,000 records each way: {what}", ours, plain, at_most=at_most)

    return Part(
        "big",
        f"A blocking call with 5 MB of event data and a 5 MB answer of the same shape. Time: the mean of {calls} "
        "calls. Peak memory: how far the first such call raises the most memory that the process ever held (VmHWM),"
        " over imports, a small call and the data itself. boto3: as in instructions.",
        rounds,
        [Measurement(peer, "big", {"size_bytes": 5_000_000, "calls": calls}) for peer in (OURS, BOTO3)],
        [row("time", "call_ms", "ms", 1.15), row("peak memory", "peak_mb", "MB", 1.05)],
    )


def _scale(rounds: int, in_flight: int, waves: int, places: int, queued: int) -> Part:
    one, two = (_throughput(OURS, "https", in_flight, waves, processes=processes) for processes in (1, 2))
    of_one, of_two = (Figure(OURS, "calls_per_s", "calls/s", each.about) for each in (one, two))
    figures = (
        ("memory of a process with an adapter", "process_mb", "MB"),
        (f"memory of a thread with its TLS connection, of {places}", "place_kb", "kB"),
        (f"memory of a queued call, of {queued:,}", "queued_kb", "kB"),
    )
    return Part(
        "scale",
        f"`execute_async` over TLS as in async, {waves} calls a task, in one process and in two side by side, each "
        f"with {in_flight} in flight; the endpoint takes its share of the cores. Memory: what Linux counts as resident,"
        f" of a process that has made one call; how far {places} calls in flight at once raise it; and {queued:,} more "
        "calls that wait, each an asyncio task.",
        rounds,
        [one, two, Measurement(OURS, "memory", {"places": places, "queued": queued}, "memory", "https")],
        [
            Comparison("two processes side by side", of_two, of_one, beside="one process"),
            *(Comparison(what, Figure(OURS, key, unit, "memory")) for what, key, unit in figures),
        ],
    )
