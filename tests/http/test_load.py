"""10,000 calls from 64 threads, one in five of them faulty: none lost, counted twice or given to somebody else."""

import asyncio
import collections
import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, Counter, Dict, List, NamedTuple, Optional

import pytest

from lambda_adapter import ExecuteRequest, ExecuteResponse, LambdaAdapter
from support.calls import adapter_for
from support.fault_server import (
    FaultServer,
    Reaction,
    Request,
    answer,
    aws_error,
    bad_chunk,
    close_before,
    function_error,
    reset_before,
    reset_mid_body,
    respond,
    short_body,
    untyped,
)

CALLS = 10_000
THREADS = 64
MAX_RETRIES = 3
ALWAYS = 1 + MAX_RETRIES


class Trouble(NamedTuple):
    """What happens to a call: its first ``attempts`` fail, and how it ends where all of them do."""

    reaction: Reaction
    attempts: int
    #: None where a later attempt succeeds.
    error_code: Optional[str] = None


THROTTLED = aws_error("TooManyRequestsException", 429, headers={"Retry-After": "0"})

#: The faulty fifth of the calls, in turn: some get over it, some do not, some must not be tried again.
TROUBLES = [
    Trouble(close_before(), 1),
    Trouble(reset_before(), 2),
    Trouble(THROTTLED, MAX_RETRIES),
    Trouble(untyped(503), 1),
    Trouble(short_body(), 1),
    Trouble(reset_mid_body(), 1),
    Trouble(bad_chunk(), 1),
    Trouble(close_before(), ALWAYS, "connection_lost"),
    Trouble(THROTTLED, ALWAYS, "throttled"),
    Trouble(untyped(503), ALWAYS, "service_error"),
    Trouble(function_error(), 1, "function_error"),
    Trouble(answer({"success": False}), 1, "function_failed"),
    Trouble(respond(200, b'{"success": tr'), 1, "invalid_response"),
    Trouble(aws_error("ResourceNotFoundException", 404), 1, "not_found"),
]


def trouble_of(nonce: int) -> Optional[Trouble]:
    """The fate of a call, from nothing but its nonce."""
    return TROUBLES[nonce // 5 % len(TROUBLES)] if nonce % 5 == 0 else None


class Echo:
    """A server's script: answers with the request's own nonce, after the trouble that the nonce is in for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.attempts: Counter[int] = collections.Counter()

    def __call__(self, request: Request) -> Reaction:
        nonce = json.loads(request.body)["request_id"]
        with self._lock:
            self.attempts[nonce] += 1
            attempt = self.attempts[nonce]
        trouble = trouble_of(nonce)
        if trouble is not None and attempt <= trouble.attempts:
            return trouble.reaction
        return answer({"success": True, "message": str(nonce), "attempt": attempt})


def request_for(nonce: int) -> ExecuteRequest:
    return ExecuteRequest("echo", [str(nonce)], "u", "e", "c", nonce, "discord")


def call_from_threads(adapter: LambdaAdapter) -> List[ExecuteResponse]:
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(lambda nonce: adapter.execute(request_for(nonce)), range(CALLS)))


def call_from_a_loop(adapter: LambdaAdapter) -> List[ExecuteResponse]:
    async def gather() -> List[ExecuteResponse]:
        return await asyncio.gather(*(adapter.execute_async(request_for(nonce)) for nonce in range(CALLS)))

    return asyncio.run(gather())


def check_fate(nonce: int, response: ExecuteResponse) -> int:
    """The attempts of a call that ended as its nonce said it would."""
    trouble = trouble_of(nonce)
    expected = trouble.error_code if trouble else None
    assert (nonce, response.error_code, response.success) == (nonce, expected, expected is None)
    assert response.invocation is not None
    attempts = response.invocation.attempts
    assert (nonce, attempts) == (nonce, trouble.attempts + (expected is None) if trouble else 1)
    if response.success:
        assert (response.message, response.data) == (str(nonce), {"attempt": attempts})
    return attempts


@pytest.mark.slow
@pytest.mark.parametrize(
    "call", [pytest.param(call_from_threads, id="64 threads"), pytest.param(call_from_a_loop, id="one event loop")]
)
def test_ten_thousand_calls_with_faults_end_in_as_many_answers_of_their_own(
    call: Callable[[LambdaAdapter], List[ExecuteResponse]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "lambda_adapter")
    caplog.set_level(logging.WARNING, "urllib3.connectionpool")  # last: caplog itself lets through what the last did
    echo = Echo()
    settings = {
        "max_retries": MAX_RETRIES,
        "initial_retry_delay": 1e-6,
        "max_retry_delay": 1e-6,
        "read_timeout": 60.0,
        "max_concurrency": THREADS,
    }
    with FaultServer(echo) as server, adapter_for(server.endpoint_url, **settings) as adapter:
        responses = call(adapter)
        health = adapter.health
        at_the_server: Dict[int, int] = dict(echo.attempts)
        requests = len(server.requests)

    assert len(responses) == CALLS
    attempts = [check_fate(nonce, response) for nonce, response in enumerate(responses)]
    assert at_the_server == dict(enumerate(attempts))
    assert sum(attempts) == requests
    failures = sum(not response.success for response in responses)
    assert (health.total_requests, health.total_failures) == (CALLS, failures)
    assert [record.getMessage() for record in caplog.records if "pool is full" in record.getMessage()] == []
