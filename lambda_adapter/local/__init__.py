"""LocalLambda: Python handlers behind the real Invoke API on loopback. No account, no Docker, no network."""

from .emulator import LocalLambda
from .invoke_api import LocalCall
from .runtime import Handler, LambdaContext

__all__ = ["Handler", "LambdaContext", "LocalCall", "LocalLambda"]
