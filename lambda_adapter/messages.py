"""What goes in and what comes out: frozen values without behaviour beyond themselves."""

from typing import Any, Dict, List, Mapping, Optional, Protocol, Sequence, Union

import attrs

from .codes import ErrorCode
from .errors import error_for
from .invocations import Invocation

#: An id as the platform gives it; it is sent to the function as it is.
Id = Union[str, int]

#: Goes out for a community whose name the request does not say.
UNKNOWN_COMMUNITY = "Unknown Community"


def _counted(value: object) -> str:
    """What people type may be private, so a repr says only how much of it there is."""
    return f"<{len(value)} items>" if isinstance(value, (list, tuple, dict)) else f"<{type(value).__name__}>"


class Request(Protocol):
    """What ``execute`` takes: an ExecuteRequest, or any object with these attributes, WaddleBot's own for example."""

    @property
    def command(self) -> str: ...
    @property
    def args(self) -> Sequence[str]: ...
    @property
    def user_id(self) -> Id: ...
    @property
    def entity_id(self) -> Id: ...
    @property
    def community_id(self) -> Id: ...
    @property
    def session_id(self) -> Id: ...
    @property
    def platform(self) -> str: ...
    @property
    def metadata(self) -> Mapping[str, Any]: ...
    @property
    def scopes(self) -> Sequence[str]: ...


@attrs.frozen
class ExecuteRequest:
    """One chat command or event for a module.

    Nothing is checked here: the adapter checks each request and answers ``invalid_request`` with the path to what is
    wrong, so that a bad request becomes a response like any other.
    """

    #: The command's name, without the bot's prefix character.
    command: str
    #: The words after the command.
    args: List[str] = attrs.field(repr=_counted)
    user_id: Id
    entity_id: Id
    community_id: Id
    #: Becomes the payload's ``request_id``: the same in every attempt, so that a function can deduplicate.
    session_id: Id
    #: "discord", "twitch", …
    platform: str
    #: JSON-able; the keys "community", "user", "entity", "is_event", "event_type" and "event_data" reach the function.
    metadata: Dict[str, Any] = attrs.field(factory=dict, repr=_counted)
    #: The permissions that the caller was granted.
    scopes: List[str] = attrs.field(factory=list)


def _known_invocation(invocation: Optional[Invocation]) -> Invocation:
    """A response that was made by hand, in a bot's tests for example, has one as well."""
    return Invocation("") if invocation is None else invocation


@attrs.frozen
class ExecuteResponse:
    """The one answer to a request."""

    success: bool
    message: Optional[str] = None
    #: Every key of the function's answer except ``success`` and ``message``; None when there is none.
    data: Optional[Dict[str, Any]] = None
    #: Why the call failed, on one line; of ``function_failed`` the function's own words, unchanged. None on success.
    error: Optional[str] = None
    #: Where the message should go, one object a target: ``{"type": "discord"}``.
    targets: List[Dict[str, Any]] = attrs.field(factory=list)
    #: A code of lambda_adapter.codes; None on success.
    error_code: Optional[ErrorCode] = None
    #: How the call went.
    invocation: Invocation = attrs.field(default=None, converter=_known_invocation)

    def raise_for_error(self) -> "ExecuteResponse":
        """The response itself when it succeeded.

        Raises:
            LambdaAdapterError: The call failed; its subclass in ``lambda_adapter.errors`` stands for the error code.
        """
        if self.success:
            return self
        raise error_for(self)

    def to_dict(self) -> Dict[str, Any]:
        """The response as plain values, ready for ``json.dumps``; ``data`` and ``targets`` are not copied."""
        response = {field.name: getattr(self, field.name) for field in attrs.fields(ExecuteResponse)}
        response["invocation"] = attrs.asdict(self.invocation)
        return response
