"""What a user's code sees through a type checker. ``mypy --strict`` reads this file; nothing runs it.

Each ``type: ignore`` is a mistake that must be found: mypy complains of one that ignores nothing.
"""

import dataclasses
import functools
from typing import Any, AsyncIterable, AsyncIterator, Dict, Iterator, List, Optional, Tuple, TypedDict

from lambda_adapter import (
    Attempt,
    CircuitBreaker,
    ErrorCode,
    ExecuteRequest,
    ExecuteResponse,
    Execution,
    Health,
    LambdaAdapter,
    LambdaAdapterError,
    LocalLambda,
    Report,
    UserMessages,
)
from lambda_adapter.errors import ThrottledError
from lambda_adapter.local import Handler, LambdaContext, LocalCall
from lambda_adapter.testing import MockLambda, mock_lambda


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


@dataclasses.dataclass
class HalfRequest:
    """Seven attributes are missing."""

    command: str
    args: List[str]


class OwnClient:
    """A stand-in for boto3's client, or a wrapper of it."""

    def invoke(self, **arguments: object) -> Dict[str, object]:
        return {"StatusCode": 200, **arguments}


class Settings(TypedDict):
    """What all of a bot's adapters have in common."""

    region: str
    max_retries: int


def make() -> LambdaAdapter:
    LambdaAdapter("roll", "us-east-1", "dice", None, "Queue")  # type: ignore[arg-type]
    LambdaAdapter("roll", "us-east-1", "dice", max_retries="3")  # type: ignore[arg-type]
    LambdaAdapter("roll", "us-east-1", "dice", max_retry=3)  # type: ignore[call-arg]
    LambdaAdapter("roll", "us-east-1", "dice", client=object())  # type: ignore[arg-type]
    return LambdaAdapter(
        "roll", "us-east-1", "dice", "waddlebot-", "Event", circuit_breaker=CircuitBreaker(3), on_attempt=hear
    )


def make_many(settings: Settings) -> List[LambdaAdapter]:
    LambdaAdapter("roll", module_name="dice", read_timeout=5, max_retry=1, **settings)  # type: ignore[call-arg]
    LambdaAdapter("roll", "us-east-1", "dice", on_attempt=make)  # type: ignore[arg-type]
    LambdaAdapter("roll", "us-east-1", "dice", circuit_breaker=3)  # type: ignore[arg-type]
    LambdaAdapter("roll", "us-east-1")  # type: ignore[call-arg]
    make_here = functools.partial(LambdaAdapter, region="us-east-1", endpoint_url="http://127.0.0.1:9001")
    make_here("roll", module_name="dice", read_timeout="5")  # type: ignore[arg-type]
    return [
        LambdaAdapter("roll", module_name="dice", **settings),
        LambdaAdapter("roll", "us-east-1", "dice", client=OwnClient()),
        make_here("roll", module_name="dice", read_timeout=5),
    ]


def hear(attempt: Attempt) -> None:
    delay_s: Optional[float] = attempt.next_delay_s
    if attempt.why_ended == "may_have_run" or attempt.executed == "maybe":
        print(delay_s)
    if attempt.why_ended == "no_atempts_left":  # type: ignore[comparison-overlap]
        print(delay_s)
    if attempt.executed == "perhaps":  # type: ignore[comparison-overlap]
        print(delay_s)
    attempt.number = 2  # type: ignore[misc]
    attempt.next_delay_s + 1  # type: ignore[operator]


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
    print(response.user_message().upper(), response.user_message({"timeout": "Too slow."}))
    sentences: UserMessages = {"timeout": "Too slow.", "timout": "Too slow."}  # type: ignore[dict-item]
    code: ErrorCode = response.error_code or "internal_error"
    print(response.user_message(sentences), sentences.get(code))
    print(response.user_message({"timeuot": "Too slow."}))  # type: ignore[dict-item]
    return response.invocation.attempts


def read(response: ExecuteResponse) -> List[str]:
    response.message.upper()  # type: ignore[union-attr]
    response.data["dice"]  # type: ignore[index]
    print(response.invocation.report.billed_ms)  # type: ignore[union-attr]
    print(response.invocation.atempts)  # type: ignore[attr-defined]
    response.invocation.attempts = 1  # type: ignore[misc]
    report: Optional[Report] = response.invocation.report
    cold = report is not None and report.init_ms is not None
    return [str(cold), *(target["type"] for target in response.targets), *response.to_dict()]


def look(adapter: LambdaAdapter) -> Tuple[Health, bool]:
    adapter.region = "eu-central-1"  # type: ignore[misc]
    adapter.health.total_requests = 0  # type: ignore[misc]
    adapter.validate_scopes(7)  # type: ignore[arg-type]
    checked: ExecuteResponse = adapter.check()
    info: Dict[str, Any] = adapter.get_module_info()
    print(info["health"], adapter.MODULE_NAME, adapter.get_health_status()["is_healthy"])
    return adapter.health, checked.success and adapter.is_healthy()


async def call_async(adapter: LambdaAdapter, request: ExecuteRequest) -> Optional[str]:
    print(adapter.execute_async(request).message)  # type: ignore[attr-defined]
    async with adapter as same:
        return (await same.execute_async(request)).message


def refuse_half(adapter: LambdaAdapter, half: HalfRequest) -> None:
    adapter.execute(half)  # type: ignore[arg-type]
    adapter.execute_async(half)  # type: ignore[arg-type, unused-coroutine]
    adapter.execute_many([half])  # type: ignore[type-var]
    adapter.execute_many_async([half])  # type: ignore[type-var]


def call_many(adapter: LambdaAdapter, requests: List[OwnRequest]) -> List[str]:
    pairs: Iterator[Tuple[OwnRequest, ExecuteResponse]] = adapter.execute_many(request for request in requests)
    return [f"{request.platform}: {response.message}" for request, response in pairs]


async def call_many_async(
    adapter: LambdaAdapter, requests: List[OwnRequest], coming: AsyncIterable[OwnRequest]
) -> List[str]:
    pairs: AsyncIterator[Tuple[OwnRequest, ExecuteResponse]] = adapter.execute_many_async(requests)
    told = [f"{request.platform}: {response.message}" async for request, response in pairs]
    # Both kinds can be closed.
    adapter.execute_many(requests).close()
    as_they_come = adapter.execute_many_async(coming)
    async for request, response in as_they_come:
        told.append(f"{request.nickname}: {response.message}")  # type: ignore[attr-defined]
        told.append(f"{request.platform}: {response.message}")
        break
    await as_they_come.aclose()
    list(adapter.execute_many_async(requests))  # type: ignore[call-overload]
    return told


def catch(response: ExecuteResponse) -> Optional[str]:
    try:
        return response.raise_for_error().message
    except ThrottledError as error:
        return f"{error.response.invocation.attempts} attempts"
    except LambdaAdapterError as error:
        print(error.response.eror)  # type: ignore[attr-defined]
        return error.response.error


def roll(event: Dict[str, Any], context: LambdaContext) -> Dict[str, object]:
    context.memory_limit_in_mb + 1  # type: ignore[operator]
    return {"success": True, "message": f"{context.aws_request_id}, {context.get_remaining_time_in_millis() // 1000} s"}


def no_handler(event: Dict[str, Any]) -> str:
    return "A handler takes two arguments."


def serve() -> str:
    LocalLambda({"roll": no_handler})  # type: ignore[dict-item]
    LocalLambda({"roll": roll}, 9001)  # type: ignore[call-arg]
    handlers: Dict[str, Handler] = {"roll": roll, "deal": lambda event, context: {"success": True}}
    with LocalLambda(handlers, timeout=5) as local:
        LambdaAdapter("roll", module_name="dice", max_retries=0, **local.settings)
        LambdaAdapter("roll", "us-east-1", "dice", **local.settings)  # type: ignore[misc]
        LambdaAdapter("roll", module_name="dice", max_retry=0, **local.settings)  # type: ignore[call-arg]
        call: LocalCall = local.calls[0]
        return call.function_name


def test_bot(mock_lambda: MockLambda) -> None:
    mock_lambda.function("roll", {"success": True}).throttles(times=2).fails("ValueError").answers(roll)
    mock_lambda.function("roll").rejects("AccessDeniedException", 403).times_out(times=1)
    mock_lambda.function("roll").throttle()  # type: ignore[attr-defined]
    mock_lambda.function("roll").throttles(times="2")  # type: ignore[arg-type]
    mock_lambda.function("roll").rejects("AccessDeniedException")  # type: ignore[call-arg]


def without_pytest() -> List[Any]:
    with mock_lambda() as mock:
        mock.function("roll", roll)
        return mock.calls("roll")


async def leaves_and_comes_back(adapter: LambdaAdapter, request: OwnRequest) -> str:
    execution: Execution = await adapter.start_async(request)
    kept: Dict[str, Any] = execution.to_dict()
    response: ExecuteResponse = await adapter.result_async(Execution.from_dict(kept), wait=840)
    if response.error_code == "pending" or adapter.result("session").error_code == "already_started":
        adapter.stop(execution)
    adapter.result(request)  # type: ignore[arg-type]
    if execution.error_code == "pendign":  # type: ignore[comparison-overlap]
        return ""
    arn: Optional[str] = response.invocation.execution_arn
    return arn or ""
