"""Run a chat bot's modules on AWS Lambda: a request goes in, one response comes out, whatever breaks on the way."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .adapter import LambdaAdapter
    from .circuit import CircuitBreaker
    from .errors import LambdaAdapterError
    from .executions import Execution
    from .health import Health
    from .invocations import Attempt, Invocation, Report
    from .local import LocalLambda
    from .messages import ExecuteRequest, ExecuteResponse
    from .streams import AsyncTextStream, TextStream

__all__ = [
    "AsyncTextStream",
    "Attempt",
    "CircuitBreaker",
    "ExecuteRequest",
    "ExecuteResponse",
    "Execution",
    "Health",
    "Invocation",
    "LambdaAdapter",
    "LambdaAdapterError",
    "LocalLambda",
    "Report",
    "TextStream",
]

#: Where each public name is at home. It is fetched when it is first asked for: importing the package costs next to
#: nothing, so that pytest can load its plugin, and a command line its parser, for free.
_HOMES = {
    "AsyncTextStream": "streams",
    "Attempt": "invocations",
    "CircuitBreaker": "circuit",
    "ExecuteRequest": "messages",
    "ExecuteResponse": "messages",
    "Execution": "executions",
    "Health": "health",
    "Invocation": "invocations",
    "LambdaAdapter": "adapter",
    "LambdaAdapterError": "errors",
    "LocalLambda": "local",
    "Report": "invocations",
    "TextStream": "streams",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    return value


def __dir__() -> "list[str]":
    return sorted([*globals(), *__all__])
