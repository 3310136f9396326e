"""mock_lambda: functions that answer and fail as a bot's test tells them, on moto's mocked AWS.

Needs the extra ``lambda-adapter[testing]``. With it pytest has the fixture ``mock_lambda``, the same as a ``with`` of
``lambda_adapter.testing.mock_lambda()``.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .functions import MockFunction
    from .mock import MockLambda, mock_lambda

__all__ = ["MockFunction", "MockLambda", "mock_lambda"]


def __getattr__(name: str) -> Any:
    # Every pytest run imports this package for its plugin, and moto takes half a second.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import mock

    value = globals()[name] = getattr(mock, name)
    return value


def __dir__() -> "list[str]":
    return sorted([*globals(), *__all__])
