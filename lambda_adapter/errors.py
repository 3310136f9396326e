"""One exception for each error code, for callers who would rather catch: ``response.raise_for_error()``."""

from typing import Any, ClassVar, Dict, List, Literal, Optional, Protocol, Type, Union

from .codes import ErrorCode
from .invocations import Invocation


class FailedResponse(Protocol):
    """What an exception knows of the ExecuteResponse that it stands for."""

    @property
    def message(self) -> Optional[str]: ...
    @property
    def data(self) -> Optional[Dict[str, Any]]: ...
    @property
    def error(self) -> Optional[str]: ...
    @property
    def targets(self) -> List[Dict[str, Any]]: ...
    @property
    def error_code(self) -> Optional[ErrorCode]: ...
    @property
    def invocation(self) -> Invocation: ...
    def to_dict(self) -> Dict[str, Any]: ...


class LambdaAdapterError(Exception):
    """A call that failed. Its text is ``response.error``.

    Attributes:
        response: The whole ExecuteResponse.
    """

    error_code: ClassVar[Union[ErrorCode, Literal[""]]] = ""
    """The error code that a class stands for; "" for this one, which stands for all."""
    response: FailedResponse
    """The whole ExecuteResponse."""

    def __init__(self, response: FailedResponse) -> None:
        # The one argument is all that pickle needs to make it again.
        super().__init__(response)
        self.response = response

    def __str__(self) -> str:
        return self.response.error or self.response.error_code or "the call failed"


class InvalidRequestError(LambdaAdapterError):
    """The request has a field that cannot be sent."""

    error_code = "invalid_request"


class MissingScopesError(LambdaAdapterError):
    """The caller lacks a permission."""

    error_code = "missing_scopes"


class PayloadTooLargeError(LambdaAdapterError):
    """The payload is over AWS's limit."""

    error_code = "payload_too_large"


class OverloadedError(LambdaAdapterError):
    """Too many calls wait already."""

    error_code = "overloaded"


class CircuitOpenError(LambdaAdapterError):
    """The function has failed too often; it is left alone for a while."""

    error_code = "circuit_open"


class ClosedError(LambdaAdapterError):
    """The adapter is closed."""

    error_code = "closed"


class ThrottledError(LambdaAdapterError):
    """AWS throttled the last attempt."""

    error_code = "throttled"


class ServiceError(LambdaAdapterError):
    """The service could not answer, or the function is not ready yet."""

    error_code = "service_error"


class ConnectionFailedError(LambdaAdapterError):
    """No connection to the endpoint."""

    error_code = "connection_error"


class ConnectionLostError(LambdaAdapterError):
    """The connection broke after the request was sent."""

    error_code = "connection_lost"


class InvocationTimeoutError(LambdaAdapterError):
    """No answer in time."""

    error_code = "timeout"


class FunctionNotFoundError(LambdaAdapterError):
    """There is no such function, version or alias."""

    error_code = "not_found"


class AccessDeniedError(LambdaAdapterError):
    """The credentials may not invoke the function."""

    error_code = "access_denied"


class InvalidParameterError(LambdaAdapterError):
    """AWS refused the request."""

    error_code = "invalid_parameter"


class ConfigurationError(LambdaAdapterError):
    """The function, its resources, the endpoint or the credentials are not set up.

    ``LambdaAdapter`` itself raises it too, where AWS's own settings keep it from making a client.
    """

    error_code = "configuration_error"


class CredentialsError(ConfigurationError):
    """Where AWS credentials come from is set up so that there can never be any; LambdaAdapter raises it."""


class AlreadyStartedError(LambdaAdapterError):
    """A durable execution of this name exists, with another payload."""

    error_code = "already_started"


class PendingError(LambdaAdapterError):
    """A durable execution still runs: its result can be asked for later."""

    error_code = "pending"


class FunctionError(LambdaAdapterError):
    """The function raised, ran out of time or crashed."""

    error_code = "function_error"


class FunctionFailedError(LambdaAdapterError):
    """The function answered ``success: false``, or with an HTTP status of 4xx or 5xx."""

    error_code = "function_failed"


class InvalidResponseError(LambdaAdapterError):
    """The function's answer does not have the form of a module's answer."""

    error_code = "invalid_response"


class AbandonedError(LambdaAdapterError):
    """The stream was left before its end."""

    error_code = "abandoned"


class InternalError(LambdaAdapterError):
    """Anything else; ``error`` names the class of the exception."""

    error_code = "internal_error"


_BY_CODE: Dict[Optional[str], Type[LambdaAdapterError]] = {
    kind.error_code: kind for kind in LambdaAdapterError.__subclasses__()
}


def error_for(response: FailedResponse) -> LambdaAdapterError:
    """The exception that stands for a failed response's code."""
    return _BY_CODE.get(response.error_code, LambdaAdapterError)(response)
