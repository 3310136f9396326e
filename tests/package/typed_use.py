"""What a user's code sees through a type checker. ``mypy --strict`` reads this file; nothing runs it.

Each ``type: ignore`` is a mistake that must be found: mypy complains of one that ignores nothing.
"""

import dataclasses
from typing import Any, Dict, List, Optional

from lambda_adapter import (
    Attempt,
    CircuitBreaker,
    ExecuteRequest,
    ExecuteResponse,
    LambdaAdapter,
    LambdaAdapterError,
    LocalLambda,
)
from lambda_adapter.errors import ThrottledError
from lambda_adapter.testing import MockLambda


@dataclasses.dataclass
class OwnRequest:
    """A bot's own class, as WaddleBot has one."""

    command: str
    args: List[str]
    user_id: str
    entity_id: str
    community_id: str
    session_id: str
    platform: str
    metadata: Dict[str, Any] = dataclasses.field(default_factory=dict)
    scopes: List[str] = dataclasses.field(default_factory=list)


def make() -> LambdaAdapter:
    LambdaAdapter("roll", "us-east-1", "dice", None, "Queue")  # type: ignore[arg-type]
    LambdaAdapter("roll", "us-east-1", "dice", max_retries="3")  # type: ignore[arg-type]
    LambdaAdapter("roll", "us-east-1", "dice", max_retry=3)  # type: ignore[call-arg]
    LambdaAdapter("roll", "us-east-1", "dice", client=object())  # type: ignore[arg-type]
    return LambdaAdapter(
        "roll", "us-east-1", "dice", "waddlebot-", "Event", circuit_breaker=CircuitBreaker(3), on_attempt=hear
    )


def hear(attempt: Attempt) -> None:
    delay_s: Optional[float] = attempt.next_delay_s
    if attempt.why_ended == "may_have_run" or attempt.executed == "maybe":
        print(delay_s)
    if attempt.why_ended == "no_atempts_left":  # type: ignore[comparison-overlap]
        print(delay_s)


def call(adapter: LambdaAdapter, request: ExecuteRequest) -> int:
    response = adapter.execute(request)
    adapter.execute(OwnRequest("roll", [], "u", "e", "c", "s", "discord"))
    adapter.execute({"command": "roll"})  # type: ignore[arg-type]
    adapter.execute("roll")  # type: ignore[arg-type]
    if response.error_code == "throttled":
        print(response.invocation.request_id)
    if response.error_code == "throtled":  # type: ignore[comparison-overlap]
        print(response.error)
    response.success = True  # type: ignore[misc]
    return response.invocation.attempts


async def call_async(adapter: LambdaAdapter, request: ExecuteRequest) -> Optional[str]:
    print(adapter.execute_async(request).message)  # type: ignore[attr-defined]
    return (await adapter.execute_async(request)).message


def call_many(adapter: LambdaAdapter, requests: List[OwnRequest]) -> List[str]:
    return [f"{request.platform}: {response.message}" for request, response in adapter.execute_many(requests)]


def catch(response: ExecuteResponse) -> Optional[str]:
    try:
        return response.raise_for_error().message
    except ThrottledError as error:
        return f"{error.response.invocation.attempts} attempts"
    except LambdaAdapterError as error:
        return error.response.error


def serve() -> str:
    with LocalLambda({"roll": lambda event, context: {"success": True}}, timeout=5) as local:
        return local.calls[0].function_name


def test_bot(mock_lambda: MockLambda) -> None:
    mock_lambda.function("roll", {"success": True}).throttles(times=2).fails("ValueError")
    mock_lambda.function("roll").throttle()  # type: ignore[attr-defined]
