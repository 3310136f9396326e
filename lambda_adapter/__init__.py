"""Run a chat bot's modules on AWS Lambda: a request goes in, one response comes out, whatever breaks on the way."""

from .adapter import LambdaAdapter
from .health import Health
from .local import LocalLambda
from .messages import ExecuteRequest, ExecuteResponse, Invocation

__all__ = ["ExecuteRequest", "ExecuteResponse", "Health", "Invocation", "LambdaAdapter", "LocalLambda"]
