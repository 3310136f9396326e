"""Requests and responses: frozen values."""

from typing import Any, Dict, List, Mapping, Optional, Protocol, Sequence, Union

import attrs

from ._text.raised import is_raised, names_raised
from .codes import CODES, ErrorCode
from .errors import error_for
from .invocations import Invocation

#: An id as the platform gives it; it is sent to the function as it is.
Id = Union[str, int]

UserMessages = Mapping[ErrorCode, str]
"""A bot's own sentences for ``ExecuteResponse.user_message``, by error code."""

#: Goes out for a community whose name the request does not say.
UNKNOWN_COMMUNITY = "Unknown Community"

#: The HTTP statuses of an Event and of a DryRun.
_WITHOUT_ANSWER = (202, 204)


def _shown(text: Optional[str]) -> str:
    """A text as it is, "" where there is nothing to see."""
    return text if isinstance(text, str) and not text.isspace() else ""


def _counted(value: object) -> str:
    """What people type may be private, so a repr says only how much of it there is."""
    if not isinstance(value, (list, tuple, dict)):
        return f"<{type(value).__name__}>"
    return f"<{len(value)} item{'' if len(value) == 1 else 's'}>"


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

    Attributes:
        command: The command's name, without the bot's prefix character.
        args: The words after the command.
        user_id: Who typed it. Ids go to the function as they are. Give numbers over 2**53 as strings, Discord's for
            example: a function in JavaScript would round them.
        entity_id: The channel, server or stream in which it was typed; of a direct message the conversation's own
            channel, or the user's id.
        community_id: The community that this belongs to: Discord's guild, Slack's team, Twitch's broadcaster. A direct
            message has none: make one for each user, ``f"dm-{user_id}"``. ``max_concurrency`` gives places, and
            ``isolate_communities`` environments, by it.
        session_id: Becomes the payload's ``request_id``: the same in every attempt, so that a function can
            deduplicate.
        platform: "discord", "twitch", …
        metadata: JSON-able; "community", "user", "entity", "is_event", "event_type" and "event_data" have their places
            in the payload. All other keys reach the function with ``forward_metadata`` only.
        scopes: The permissions that the caller was granted.
    """

    command: str
    """The command's name, without the bot's prefix character."""
    args: List[str] = attrs.field(repr=_counted)
    """The words after the command."""
    user_id: Id
    """Who typed it. Ids go to the function as they are. Give numbers over 2**53 as strings, Discord's for example: a
    function in JavaScript would round them.
    """
    entity_id: Id
    """The channel, server or stream in which it was typed; of a direct message the conversation's own channel, or the
    user's id.
    """
    community_id: Id
    """The community that this belongs to: Discord's guild, Slack's team, Twitch's broadcaster. A direct message has
    none: make one for each user, ``f"dm-{user_id}"``. ``max_concurrency`` gives places, and ``isolate_communities``
    environments, by it.
    """
    session_id: Id
    """Becomes the payload's ``request_id``: the same in every attempt, so that a function can deduplicate."""
    platform: str
    """"discord", "twitch", …"""
    metadata: Dict[str, Any] = attrs.field(factory=dict, repr=_counted)
    """JSON-able; "community", "user", "entity", "is_event", "event_type" and "event_data" have their places in the
    payload. All other keys reach the function with ``forward_metadata`` only.
    """
    scopes: List[str] = attrs.field(factory=list)
    """The permissions that the caller was granted."""


def _check_table(table: UserMessages) -> None:
    if not isinstance(table, Mapping):
        raise ValueError(f"table must be a dict from error code to text, not of type {type(table).__name__}")
    for code, text in table.items():
        if code not in CODES:
            raise ValueError(f"table has the key {code!r}, which is no error code{_meant(code)}")
        if not isinstance(text, str):
            raise ValueError(f"table must have a text for {code}, not one of type {type(text).__name__}")


def _meant(code: object) -> str:
    import difflib  # here, because only a wrong table needs it

    alike = difflib.get_close_matches(str(code).lower().replace("-", "_"), CODES, 1)
    return f"; did you mean {alike[0]!r}?" if alike else f"; they are {', '.join(CODES)}"


def _known_invocation(invocation: Optional[Invocation]) -> Invocation:
    """A response that was made by hand, in a bot's tests for example, has one as well."""
    return Invocation("") if invocation is None else invocation


@attrs.frozen
class ExecuteResponse:
    """The one answer to a request.

    Attributes:
        success: Whether the call succeeded and the function said so.
        message: The function's words for the chat.
        data: Every key of the function's answer except ``success`` and ``message``; None when there is none.
        error: Why the call failed, on one line, for the bot's operator; of ``function_failed`` the function's own
            words, unchanged. None on success.
        targets: Where the message should go, one object for each target: ``{"type": "discord"}``.
        error_code: One of the error codes that LAMBDA_ADAPTER_USAGE.md lists; None on success.
        invocation: How the call went.
    """

    success: bool
    """Whether the call succeeded and the function said so."""
    message: Optional[str] = None
    """The function's words for the chat."""
    data: Optional[Dict[str, Any]] = None
    """Every key of the function's answer except ``success`` and ``message``; None when there is none."""
    error: Optional[str] = None
    """Why the call failed, on one line, for the bot's operator; of ``function_failed`` the function's own words,
    unchanged. None on success.
    """
    targets: List[Dict[str, Any]] = attrs.field(factory=list)
    """Where the message should go, one object for each target: ``{"type": "discord"}``."""
    error_code: Optional[ErrorCode] = None
    """One of the error codes that LAMBDA_ADAPTER_USAGE.md lists; None on success."""
    invocation: Invocation = attrs.field(default=None, converter=_known_invocation)
    """How the call went."""

    @property
    def ok(self) -> bool:
        """``success``, under a shorter name."""
        return self.success

    def user_message(self, table: Optional[UserMessages] = None) -> str:
        """The text for the chat, always fit to be shown: no cause, no exception's words, nothing of AWS's.

        Args:
            table: Sentences of the bot's own by error code, in place of this package's.

        Returns:
            The function's message where it succeeded; "" if it gave none, and of an Event call and a ``check``. Of
            ``function_failed`` the function's message, else its error, unless that is an exception's text or JSON.
            Without them, and for all other codes, a neutral sentence.

        Raises:
            ValueError: ``table`` has a key that is no error code, or a value that is no text; also on success, so that
                a bot's first answer tells.
        """
        if table is not None:
            _check_table(table)
        if self.success:
            # What stands in for the answer that an Event and a DryRun have none of is for the operator.
            return "" if self.invocation.status_code in _WITHOUT_ANSWER else _shown(self.message)
        if self.error_code == "function_failed":
            for own in (_shown(self.message), _shown(self._functions_error())):
                if own and not is_raised(own):
                    return own
        code: ErrorCode = self.error_code or "internal_error"  # a response made by hand may have none
        # A newer version's response, unpickled, may have a code that this one does not know.
        return _shown((table or {}).get(code)) or CODES.get(code, CODES["internal_error"]).chat

    def _functions_error(self) -> Optional[str]:
        """What the function said of its failure, if that is for people.

        What this package says of it begins with the code; what a function has caught may name its hosts and users; and
        JSON is for programs.
        """
        error = self.error
        if not isinstance(error, str) or error.startswith("function_failed: ") or error.lstrip()[:1] in ("{", "["):
            return None
        return None if names_raised(error) else error

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
