"""Adapters of a server on loopback, and calls of them by ``execute`` and by ``execute_async``."""

import asyncio
import contextlib
from typing import Any, Callable, Iterator

from lambda_adapter import ExecuteRequest, ExecuteResponse, LambdaAdapter
from support import fault_server as fs

#: No account has these.
CREDENTIALS = {"aws_access_key_id": "AKIATESTING", "aws_secret_access_key": "secret-of-the-tests"}
REQUEST = ExecuteRequest("weather", ["Oslo"], "u", "e", "c", "session", "discord")

#: Waits between attempts that take no time.
FAST = {"initial_retry_delay": 0.001, "max_retry_delay": 0.002}
#: Waits that no test sits out.
FOREVER = {"initial_retry_delay": 3_000, "max_retry_delay": 3_000, "jitter": 0.0}
#: A wait that does not fit in, and that a test can sit out if it is begun nevertheless.
TOO_LONG = {"total_timeout": 1, "initial_retry_delay": 1.5, "max_retry_delay": 1.5, "jitter": 0.0}
#: A total_timeout that is up before anything can begin.
AT_ONCE = 5e-324
#: Of ``adapter_for``.
MAX_RETRIES = 2

GOOD = fs.answer({"success": True})
THROTTLED = fs.aws_error("TooManyRequestsException", 429)
DOWN = fs.function_error()

#: The two ways of one call.
CALLS = {
    "execute": lambda adapter, request: adapter.execute(request),
    "execute_async": lambda adapter, request: asyncio.run(adapter.execute_async(request)),
}

Call = Callable[[LambdaAdapter], ExecuteResponse]


def call_sync(adapter: LambdaAdapter) -> ExecuteResponse:
    return adapter.execute(REQUEST)


def call_async(adapter: LambdaAdapter) -> ExecuteResponse:
    return asyncio.run(adapter.execute_async(REQUEST))


@contextlib.contextmanager
def adapter_for(endpoint_url: str, **settings: Any) -> Iterator[LambdaAdapter]:
    given = {
        "aws_access_key_id": "AKIDEXAMPLE",
        "aws_secret_access_key": "secret",
        "endpoint_url": endpoint_url,
        "initial_retry_delay": 0.001,
        "read_timeout": 5.0,
        "max_retries": MAX_RETRIES,
        **settings,
    }
    with LambdaAdapter("function", "us-east-1", "module", **given) as adapter:
        yield adapter


def start(adapter: LambdaAdapter, request: ExecuteRequest) -> "asyncio.Future[ExecuteResponse]":
    """Begin a call with the event loop's next turn."""
    return asyncio.ensure_future(adapter.execute_async(request))


def state(adapter: LambdaAdapter) -> str:
    """Of the circuit breaker."""
    return adapter.get_module_info()["circuit_breaker"]["state"]


def assert_refused(response: ExecuteResponse, error_code: str, adapter: LambdaAdapter) -> None:
    """Nothing was attempted, and nobody's health suffers."""
    assert (response.success, response.error_code) == (False, error_code)
    assert (response.invocation.attempts, response.invocation.executed) == (0, "no")
    assert response.error.startswith(f"{error_code}: ")
    assert response.error.isprintable()
    assert adapter.health.total_requests == 0
