"""What an attempt tells the Invoke API beside the payload: which function, for whom, and in what context."""

import base64
import hashlib
import json
import re
from typing import Any, Dict, Optional

import attrs

from .._rules.identifiers import parse_identifier
from .._rules.limits import MAX_CLIENT_CONTEXT_CHARS, MAX_TENANT_ID_CHARS
from ..messages import Id
from .payload import EncodedRequest, UnfitRequestError

#: https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html (TenantId)
_TENANT = re.compile(r"[a-zA-Z0-9._:/=+\-@ ]+", re.ASCII)
#: What a DurableExecutionName may not hold (same page, up to 64 characters).
_NOT_IN_A_NAME = re.compile(r"[^a-zA-Z0-9_-]")
#: How much of a session_id is left readable: 31, a hyphen and 32 digits are 64.
_READABLE_CHARS = 31


@attrs.frozen(eq=False)
class InvokeArguments:
    """The arguments of ``client.invoke`` for one function."""

    function_name: str
    #: "RequestResponse", "Event" or "DryRun".
    invocation_type: str = "RequestResponse"
    qualifier: Optional[str] = None
    isolate_communities: bool = False
    send_client_context: bool = False
    log_tail: bool = False
    #: Whether each session_id names an execution, which runs once.
    durable: bool = False
    #: Whether any JSON is an answer, for a function that is no module.
    takes_any_json: bool = False
    _fixed: Dict[str, Any] = attrs.field(init=False, repr=False)

    @_fixed.default
    def _find_fixed(self) -> Dict[str, Any]:
        fixed = {"FunctionName": self.function_name}
        if self.invocation_type != "RequestResponse":
            # Not said when it is the API's default: a header less to write and sign is 4 % of a call's CPU.
            fixed["InvocationType"] = self.invocation_type
        if self.qualifier is not None:
            fixed["Qualifier"] = self.qualifier
        if self.log_tail:
            fixed["LogType"] = "Tail"
        return fixed

    def of_check(self) -> "InvokeArguments":
        """For a DryRun of the same function, which has no log, takes no context and is no execution."""
        return attrs.evolve(self, invocation_type="DryRun", send_client_context=False, log_tail=False, durable=False)

    def of_any_json(self) -> "InvokeArguments":
        """For the same function, where it is no module."""
        return attrs.evolve(self, takes_any_json=True)

    def of_start(self) -> "InvokeArguments":
        """For an execution of the same function that nobody waits for."""
        return attrs.evolve(self, invocation_type="Event", send_client_context=False, log_tail=False)

    def execution_name(self, session_id: Id) -> str:
        """The name of the one execution that belongs to a session_id; other session_ids have others.

        The digest is of the function's bare name, because AWS does not say clearly whether names are apart for each
        function, and of the session_id as JSON, because the payload tells 1 from "1" too.
        """
        function = parse_identifier(self.function_name)
        named = json.dumps([function.name if function else self.function_name, session_id])
        digest = hashlib.blake2b(named.encode(), digest_size=16).hexdigest()
        return f"{_NOT_IN_A_NAME.sub('_', _plain(session_id)[:_READABLE_CHARS])}-{digest}"

    def check(self, encoded: EncodedRequest) -> None:
        """Raise UnfitRequestError for a request that the arguments cannot hold."""
        if self.durable and encoded.session_id == "":
            raise UnfitRequestError("session_id must not be empty: with durable all such requests would be one run")
        if self.isolate_communities and not _is_tenant(str(encoded.community)):
            raise UnfitRequestError(
                "community_id must be 1 to 256 letters, digits, spaces and . _ : / = + - @ "
                "because isolate_communities is on"
            )
        if self.send_client_context:
            # As long as it can get: attempts have up to three digits, milliseconds thirteen.
            longest = _client_context(encoded, 999, 10**13 - 1)
            if len(longest) > MAX_CLIENT_CONTEXT_CHARS:
                raise UnfitRequestError("session_id is too long for the client context, which holds about 2,500 bytes")

    def of_attempt(self, encoded: EncodedRequest, number: int, deadline_ms: Optional[int]) -> Dict[str, Any]:
        """The arguments of attempt ``number``, from 1; ``deadline_ms`` is since 1970."""
        arguments = {**self._fixed, "Payload": encoded.payload}
        if self.isolate_communities:
            arguments["TenantId"] = str(encoded.community)
        if self.durable:
            arguments["DurableExecutionName"] = self.execution_name(encoded.session_id)
        if self.send_client_context:
            arguments["ClientContext"] = _client_context(encoded, number, deadline_ms)
        return arguments


def _is_tenant(tenant: str) -> bool:
    return len(tenant) <= MAX_TENANT_ID_CHARS and _TENANT.fullmatch(tenant) is not None


def _plain(value: Id) -> str:
    """An id as the payload's JSON has it: str() of an enum's member would be another word."""
    return str.__str__(value) if isinstance(value, str) else int.__repr__(value)


def _client_context(encoded: EncodedRequest, number: int, deadline_ms: Optional[int]) -> str:
    custom: Dict[str, Any] = {"request_id": encoded.session_id, "attempt": number}
    if deadline_ms is not None:
        custom["deadline_ms"] = deadline_ms
    return base64.b64encode(json.dumps({"custom": custom}, separators=(",", ":")).encode()).decode()


#: What a DryRun stands for: nobody's request.
CHECK = EncodedRequest(b"", request_id="check", scopes=(), session_id="check", community_id="check")
