"""Execution: what a bot keeps of a run that it has begun, until it fetches the answer."""

from typing import Any, Dict, Mapping, Optional

import attrs

from .codes import ErrorCode
from .messages import Id


@attrs.frozen
class Execution:
    """One run of a module that ``LambdaAdapter.start`` has begun, or tried to.

    It is a plain value: it can be pickled, and ``to_dict`` fits into JSON, so that a bot keeps it in its data base and
    asks for the answer after a restart. ``result`` also works with ``session_id`` alone.

    Attributes:
        name: What AWS calls the execution; "" when the request had no session_id that could be sent.
        session_id: As in the request; "" when it could not be sent.
        function_name: As the adapter's ``function_name``.
        arn: AWS's ARN; None when AWS did not say.
        error_code: Why it was not begun, or perhaps not: one of the error codes; None when it runs, or has run.
        error: Why it was not begun, for the bot's operator; None when it runs, or has run.
    """

    name: str
    """What AWS calls the execution; "" when the request had no session_id that could be sent."""
    session_id: Id
    """As in the request; "" when it could not be sent."""
    function_name: str
    """As the adapter's ``function_name``."""
    arn: Optional[str] = None
    """AWS's ARN; None when AWS did not say."""
    error_code: Optional[ErrorCode] = None
    """Why it was not begun, or perhaps not: one of the error codes; None when it runs, or has run."""
    error: Optional[str] = None
    """Why it was not begun, for the bot's operator; None when it runs, or has run."""

    def to_dict(self) -> Dict[str, Any]:
        """The execution as plain values, ready for ``json.dumps``."""
        return attrs.asdict(self)

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> "Execution":
        """The execution that ``to_dict`` gave; keys of a later version are passed over.

        Raises:
            ValueError: It is none; the message names the key.
        """
        if not isinstance(kept, Mapping):
            raise ValueError(f"an Execution must be an object, not {type(kept).__name__}")
        for name in ("name", "session_id", "function_name"):
            if name not in kept:
                raise ValueError(f"{name} of an Execution is missing")
        known: Dict[str, Any] = {}
        for field in attrs.fields(cls):
            value = kept.get(field.name)
            kinds = (str, int) if field.name == "session_id" else (str,)
            if isinstance(value, bool) or not (isinstance(value, kinds) or (value is None and field.default is None)):
                raise ValueError(f"{field.name} of an Execution must not be of type {type(value).__name__}")
            known[field.name] = value
        return cls(**known)
