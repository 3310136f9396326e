"""Servers that break off and readers that leave, at random, many at once: nothing raises or is left behind."""

import asyncio
import contextlib
import gc
import random
import threading

import pytest

from lambda_adapter import CircuitBreaker
from support import fault_server as fs
from support.calls import REQUEST, THROTTLED
from support.event_streams import HEAD, begun, frames_of, streamed
from support.waiting import until

TEXTS = [f"t{number} " for number in range(12)]
WHOLE = "".join(TEXTS)
#: Held back, and in the message of who breaks off behind it.
HELD = '{"a": 1'
CALLS = 200


def react(request):
    """Half of the answers are whole; each is the same whenever it is asked for."""
    rnd = random.Random(request.number)
    some = TEXTS[: rnd.randint(0, len(TEXTS))]
    kind = rnd.choice(["whole"] * 5 + ["close", "reset", "hang", "held back", "late", "refused"])
    if kind == "whole":
        pieces = [b"%x\r\n%b\r\n" % (len(frame), frame) for frame in frames_of(TEXTS)]
        steps = [step for piece in pieces for step in (piece, rnd.choice((0.0, 0.001, 0.003)))]
        return fs.Reaction((HEAD, *steps, b"0\r\n\r\n"))
    return {
        "held back": begun(HELD, then="close"),
        "late": fs.delay(0.05, streamed(*TEXTS)),
        "refused": THROTTLED,
    }.get(kind) or begun(*some, then=kind)


class Seen:
    """What became of the calls, each of which was read whole or not."""

    def __init__(self):
        self.codes = []

    def judge(self, texts, response, read_on):
        said, message = "".join(texts), response.message or ""
        self.codes.append(response.error_code)
        if response.success:
            assert message == WHOLE
            assert said == WHOLE or not read_on
            return
        assert response.error_code is not None
        assert WHOLE.startswith(said)
        assert message.startswith(said) or (message, said) == (HELD, "")
        if read_on and texts:
            assert WHOLE.startswith(message)


async def read_some(adapter, seen, rnd, dropped):
    """One call of one kind of reader."""
    kind = rnd.choice(["whole", "leave", "cancel", "drop", "script"])
    if kind == "script":
        most = rnd.randint(0, 2 * len(TEXTS))
        await asyncio.get_running_loop().run_in_executor(None, script, adapter, seen, most)
        return
    stream, texts = adapter.execute_stream_async(REQUEST), []

    async def read(most):
        async with stream:
            async for text in stream:
                texts.append(text)
                if len(texts) > most:
                    break

    if kind == "drop":
        with contextlib.suppress(asyncio.TimeoutError, StopAsyncIteration):
            await asyncio.wait_for(stream.__anext__(), rnd.uniform(0.001, 0.05))
        cycle = {"stream": stream}
        cycle["cycle"] = cycle
        dropped.append(stream._call.channel)
    elif kind == "cancel":
        task = asyncio.ensure_future(read(len(TEXTS)))
        await asyncio.wait([task], timeout=rnd.uniform(0.001, 0.05))
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        seen.judge(texts, stream.response, False)
    else:
        most = len(TEXTS) if kind == "whole" else rnd.randint(0, len(TEXTS))
        await read(most)
        seen.judge(texts, stream.response, len(texts) <= most)


def script(adapter, seen, most):
    texts = []
    with adapter.execute_stream(REQUEST) as stream:
        for text in stream:
            texts.append(text)
            if len(texts) > most:
                break
    seen.judge(texts, stream.response, len(texts) <= most)


async def many(adapter, seen, seed, dropped):
    limit = asyncio.Semaphore(64)

    async def one(number):
        async with limit:
            await read_some(adapter, seen, random.Random(seed + number), dropped)

    await asyncio.gather(*(one(number) for number in range(CALLS)))


@pytest.mark.parametrize("total_timeout", [None, 0.04, 60.0], ids=["no deadline", "a short one", "a long one"])
def test_all_at_once_on_two_loops(serve, make_adapter, total_timeout):
    server = serve(react)
    adapter = make_adapter(
        endpoint_url=server.endpoint_url,
        total_timeout=total_timeout,
        read_timeout=0.1,
        max_retries=1,
        initial_retry_delay=0.001,
        max_concurrency=20,
        circuit_breaker=CircuitBreaker(failure_threshold=10**6, reset_timeout=1.0),
    )
    seen, dropped, faults = Seen(), [], []

    def run(seed):
        try:
            asyncio.run(many(adapter, seen, seed, dropped))
        except BaseException as exc:
            faults.append(exc)

    loops = [threading.Thread(target=run, args=(seed,)) for seed in (0, CALLS)]
    for loop in loops:
        loop.start()
    for loop in loops:
        loop.join()
    if faults:
        raise faults[0]
    gc.collect()
    until(lambda: adapter._workers._places.taken == adapter._workers.waiting == adapter._workers.parked == 0)
    assert len(seen.codes) + len(dropped) == 2 * CALLS
    assert set(seen.codes) <= {None, "connection_lost", "timeout", "throttled", "abandoned"}
    until(lambda: all(channel.response for channel in dropped))
    codes = seen.codes + [channel.response.error_code for channel in dropped]
    counted = len(codes) - codes.count("abandoned")
    if total_timeout is None or total_timeout > 1:
        assert adapter.health.total_requests == counted
    else:
        assert adapter.health.total_requests <= counted
