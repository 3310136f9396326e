"""LocalLambda serves Python handlers on loopback through an API like AWS's Invoke."""

from .emulator import LocalLambda, LocalSettings
from .invoke_api import LocalCall
from .runtime import Handler, LambdaContext

__all__ = ["Handler", "LambdaContext", "LocalCall", "LocalLambda", "LocalSettings"]
