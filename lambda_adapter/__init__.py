"""Run a chat bot's modules on AWS Lambda: a request goes in, one response comes out, whatever breaks on the way."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .adapter import LambdaAdapter
    from .circuit import CircuitBreaker
    from .codes import ErrorCode
    from .errors import LambdaAdapterError
    from .executions import Execution
    from .health import Health
    from .invocations import Attempt, Invocation, Report
    from .local import LocalLambda
    from .messages import ExecuteRequest, ExecuteResponse, UserMessages
    from .streams import AsyncTextStream, TextStream

__all__ = [
    "AsyncTextStream",
    "Attempt",
    "CircuitBreaker",
    "ErrorCode",
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
    "UserMessages",
]

#: Also the version of the distribution, in setup.cfg; a test holds them together.
__version__ = "1.0.0"

#: Where each public name is at home. It is fetched when it is first asked for: importing the package costs next to
#: nothing, so that pytest can load its plugin, and a command line its parser, for free.
_HOMES = {
    "AsyncTextStream": "streams",
    "Attempt": "invocations",
    "CircuitBreaker": "circuit",
    "ErrorCode": "codes",
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
    "UserMessages": "messages",
}

#: Public modules that are there without an import of their own; ``testing`` needs moto.
_MODULES = ("errors", "local")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    return value


def __dir__() -> "list[str]":
    """What users may use: neither this module's own imports nor the parts that an import has brought in."""
    return sorted([*__all__, *_MODULES, *(name for name in globals() if name.startswith("__"))])
