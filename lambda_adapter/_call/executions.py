"""Durable executions of one function: found by their names, read, waited for and stopped.

What waits here waits as an attempt loop does: it yields the seconds, and whoever runs it sleeps in its own way, so that
a poll holds a thread for as long as its request takes.
"""

import json
import re
from datetime import datetime
from typing import Any, Callable, Dict, Generator, List, Mapping, Optional, Tuple, Union

import attrs

from .._aws import failures
from .._aws.failures import Failure
from .._aws.sending import Sending
from .._process.clock import monotonic_s
from .._rules.identifiers import FunctionIdentifier
from .._wire.answer import PERMITTED, QUEUED, STOPPED, InvalidAnswerError, ToldError, decode_function_error
from .._wire.head import Head, known_execution_arn, known_request_id, known_version, parse_execution_arn
from .._wire.payload import EncodedRequest
from ..codes import CODES
from .backoff import Backoff
from .deadline import Deadline
from .interruptions import check_not_interrupted
from .outcomes import Outcome, failed, judge_answer, of_function

#: Seconds between looks: doubled each time, without chance, for nothing is relieved by it.
POLLS = Backoff(0.25, 5.0, jitter=0.0)

#: In a partial or whole ARN.
_ACCOUNT = re.compile(r"(?:^|:)([0-9]{12}):")
#: Pages of a list that may be empty before the one that holds the execution.
_MAX_PAGES = 100
#: Keys of a payload that may differ between two calls that mean the same: the time of the call, and what
#: OpenTelemetry's instrumentation adds to each attempt.
_OF_THE_CALL = ("timestamp", "headers")

#: A request in steps, or several: what came of it.
_Asking = Generator[float, bool, Union[Mapping[str, Any], Failure]]


class _EndedError(Exception):
    """Whoever drives the steps has ended them."""


class _Patience:
    """How long to go on looking: by the clock, and by the waits, over which a test kit takes no time."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._begun_s = clock()
        self._waited_s = 0.0
        self._polls = 0

    def next_delay_s(self) -> Optional[float]:
        """Seconds until the next look; None when the last one was the last."""
        left_s = self._seconds - max(self._clock() - self._begun_s, self._waited_s)
        if left_s <= 0:
            return None
        delay_s = min(POLLS.delay_s(self._polls), left_s)
        self._polls += 1
        self._waited_s += delay_s
        return delay_s


@attrs.frozen
class Wanted:
    """An execution to look for."""

    name: str
    #: None: it is looked for by its name.
    arn: Optional[str] = None


class Executions:
    """Reads and stops the durable executions of one function.

    Args:
        client: As for Invoker.
        backoff: The waits after a look that failed and may succeed later.
        max_retries: How often in a row it may fail where nobody has the patience to wait.
        answer_timeout_s: How long an attempt waits that attaches to an execution, as for an answer.
        renew: As for Invoker.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        function: FunctionIdentifier,
        region: str,
        client: Callable[[], Any],
        backoff: Backoff,
        max_retries: int,
        answer_timeout_s: float,
        renew: Callable[[object], bool] = lambda client: False,
        clock: Callable[[], float] = monotonic_s,
    ) -> None:
        self._function = function
        self._region = region
        self._client = client
        self._backoff = backoff
        self._max_retries = max_retries
        self._answer_timeout_s = answer_timeout_s
        self._renew = renew
        self._clock = clock

    def why_foreign(self, arn: object, name: str) -> Optional[str]:
        """Why an ARN can be no execution of this function's and name; None when it can."""
        parts = parse_execution_arn(arn)
        if parts is None:
            return "an arn that is none of a durable execution"
        account = _ACCOUNT.search(self._function.text)
        if (parts.region, parts.function) != (self._region, self._function.name) or (
            account is not None and parts.account != account[1]
        ):
            return "the arn of another function's execution"
        return None if parts.name == name else "the arn of another session_id's execution"

    def attach(
        self, encoded: EncodedRequest, name: str, refusal: Outcome, deadline: Optional[Deadline], waits: bool
    ) -> Generator[float, bool, Tuple[Outcome, bool]]:
        """What becomes of an attempt whose execution is there already, and whether its driver goes on.

        Args:
            refusal: What AWS answered.
            waits: For the outcome; without it, it is enough that the execution is the same.
        """
        try:
            outcome = yield from self._attach(encoded, name, refusal, deadline, waits)
        except _EndedError:
            is_late = deadline is not None and deadline.is_up(self._clock())
            ended = failed(_late(deadline) if is_late else _ENDED_CALL, refusal.head)
            return attrs.evolve(ended, attached=True), is_late
        return outcome, True

    def _attach(
        self, encoded: EncodedRequest, name: str, refusal: Outcome, deadline: Optional[Deadline], waits: bool
    ) -> Generator[float, bool, Outcome]:
        left_s = self._answer_timeout_s
        if deadline is not None:
            left_s = min(left_s, deadline.at_s - self._clock())
        patience, wanted, is_same, is_first = _Patience(left_s, self._clock), Wanted(name), False, True
        while True:
            reply = yield from self._look(wanted, patience)
            if isinstance(reply, Failure):
                # It is there, whatever keeps it from being read.
                return failed(attrs.evolve(reply, executed="yes"), refusal.head)
            wanted = attrs.evolve(wanted, arn=reply.get("DurableExecutionArn", wanted.arn))
            if wanted.arn is not None and not is_same:
                if not _means_the_same(reply.get("InputPayload"), encoded.payload):
                    return attrs.evolve(refusal, head=_head(reply))
                is_same = True
                if not waits:
                    return Outcome(executed="yes", answer=QUEUED, head=_head(reply), attached=True)
            outcome = _outcome(reply, encoded.payload)
            if outcome is not None:
                return attrs.evolve(outcome, attached=True, is_old=is_first)
            is_first = False
            delay_s = patience.next_delay_s()
            if delay_s is None:
                return attrs.evolve(failed(_late(deadline), _head(reply)), attached=True)
            yield from _wait(delay_s)

    def result(self, wanted: Wanted, wait_s: float) -> Generator[float, bool, Outcome]:
        """The outcome of an execution, as soon as there is one; ``pending`` when there is none after ``wait_s``."""
        patience = _Patience(wait_s, self._clock)
        reply: Union[Mapping[str, Any], Failure] = {}
        try:
            while True:
                reply = yield from self._look(wanted, patience)
                if isinstance(reply, Failure):
                    return failed(reply)
                if "DurableExecutionArn" not in reply:
                    return _not_found()
                wanted = attrs.evolve(wanted, arn=reply["DurableExecutionArn"])
                outcome = _outcome(reply, str(reply.get("InputPayload", "")).encode(errors="replace"))
                if outcome is not None:
                    return outcome
                delay_s = patience.next_delay_s()
                if delay_s is None:
                    return failed(Failure("pending", f"{CODES['pending'].cause} after {wait_s:g} s"), _head(reply))
                yield from _wait(delay_s)
        except _EndedError:
            head = Head() if isinstance(reply, Failure) else _head(reply)
            return failed(Failure("pending", "the wait for the execution was ended"), head)

    def stop(self, wanted: Wanted) -> Generator[float, bool, Outcome]:
        """End an execution; what has ended stays as it is."""
        patience = _Patience(0.0, self._clock)
        try:
            if wanted.arn is None:
                found = yield from self._persistently(lambda: self._find(wanted.name), patience)
                if isinstance(found, Failure):
                    return failed(found)
                if found.get("DurableExecutionArn") is None:
                    return _not_found()
                wanted = attrs.evolve(wanted, arn=found["DurableExecutionArn"])
            reply = yield from self._persistently(
                lambda: self._ask("StopDurableExecution", DurableExecutionArn=wanted.arn), patience
            )
        except _EndedError:
            return failed(Failure("closed", "the adapter is closed"))
        if isinstance(reply, Failure):
            return failed(reply)
        head = attrs.evolve(_head(reply), execution_arn=known_execution_arn(wanted.arn))
        return Outcome(executed="yes", answer=STOPPED, head=head)

    def check(self, name: str) -> Outcome:
        """Whether the credentials may do what durable executions need, without touching one.

        Get and Stop are asked about an execution that does not exist, which tells who may from who may not. This needs
        the account, so that they are left out where neither the function's ARN nor one of its executions says it.
        """
        found = self._find(name, any_name=True)
        arn = self._made_up_arn(found, name)
        asked = [("ListDurableExecutionsByFunction", found)]
        if arn is not None:
            asked += [(each, self._ask(each, DurableExecutionArn=arn)) for each in _OF_ONE]
        denied = []
        for operation, reply in asked:
            if isinstance(reply, Failure) and reply.error_code == "access_denied":
                denied.append(f"lambda:{operation}")
            elif isinstance(reply, Failure) and (arn is None or reply.error_code not in _KNOWS_NONE):
                return failed(attrs.evolve(reply, executed="no"))
        if denied:
            text = f"the credentials may not {', '.join(denied)}, which durable=True needs"
            return failed(Failure("access_denied", text))
        return Outcome(executed="no", answer=PERMITTED)

    def _made_up_arn(self, found: Union[Mapping[str, Any], Failure], name: str) -> Optional[str]:
        account = _ACCOUNT.search(self._function.text)
        known = None if isinstance(found, Failure) else parse_execution_arn(found.get("DurableExecutionArn"))
        owner = account[1] if account else known.account if known else None
        if owner is None:
            return None
        partition = "aws-cn" if self._region.startswith("cn-") else "aws"
        partition = "aws-us-gov" if self._region.startswith("us-gov-") else partition
        function = f"arn:{partition}:lambda:{self._region}:{owner}:function:{self._function.name}"
        return f"{function}:$LATEST/durable-execution/{name}/00000000-0000-0000-0000-000000000000"

    def _look(self, wanted: Wanted, patience: _Patience) -> _Asking:
        """What Get says, or an empty reply where there is no execution of this name."""
        arn = wanted.arn
        if arn is None:
            found = yield from self._persistently(lambda: self._find(wanted.name), patience)
            if isinstance(found, Failure) or found.get("DurableExecutionArn") is None:
                return found
            arn = found["DurableExecutionArn"]
        reply = yield from self._persistently(
            lambda: self._ask("GetDurableExecution", DurableExecutionArn=arn), patience
        )
        return reply if isinstance(reply, Failure) else {**reply, "DurableExecutionArn": arn}

    def _persistently(self, ask: Callable[[], Union[Mapping[str, Any], Failure]], patience: _Patience) -> _Asking:
        """``ask``, again where that may help: as often as there are retries, and as long as there is patience."""
        failures_in_a_row, renewed = 0, False
        while True:
            reply = ask()
            if not isinstance(reply, Failure):
                return reply
            if reply.renewed and not renewed:
                renewed = True
                continue
            if not reply.transient:
                return reply
            failures_in_a_row += 1
            delay_s = self._backoff.delay_s(failures_in_a_row - 1, reply.retry_after_s)
            if failures_in_a_row > self._max_retries:
                least_s = patience.next_delay_s()
                if least_s is None:
                    return reply
                delay_s = max(least_s, min(delay_s, POLLS.max_delay_s))
            yield from _wait(delay_s)

    def _find(self, name: str, any_name: bool = False) -> Union[Mapping[str, Any], Failure]:
        """What List says of the newest execution of this name, in all versions of the function; empty for none.

        Without a qualifier, because an alias may have moved since.
        """
        found: List[Mapping[str, Any]] = []
        more: Dict[str, Any] = {}
        for _ in range(_MAX_PAGES):
            reply = self._ask(
                "ListDurableExecutionsByFunction",
                FunctionName=self._function.unqualified,
                **({} if any_name else {"DurableExecutionName": name}),
                **more,
            )
            if isinstance(reply, Failure):
                return reply
            listed = reply.get("DurableExecutions") or []
            if not isinstance(listed, list) or not all(isinstance(each, Mapping) for each in listed):
                return _odd("a list of executions that is none")
            found += [each for each in listed if any_name or each.get("DurableExecutionName", name) == name]
            if any_name or not reply.get("NextMarker"):
                break
            more = {"Marker": reply["NextMarker"]}
        else:
            return _odd(f"a list of executions that does not end within {_MAX_PAGES} pages")
        newest = max(found, key=_started_s, default={})
        foreign = None if any_name or not newest else self.why_foreign(newest.get("DurableExecutionArn"), name)
        return _odd(foreign) if foreign else newest

    def _ask(self, operation: str, **arguments: Any) -> Union[Mapping[str, Any], Failure]:
        """One request and its answer. Raises nothing that is an Exception."""
        try:
            shared = self._client()
        except Exception as exc:
            check_not_interrupted(exc)
            return failures.from_set_up(exc)
        client, sending = shared.client, Sending()
        try:
            with sending:
                reply: Mapping[str, Any] = getattr(client, _METHODS[operation])(**arguments)
                return reply
        except Exception as exc:
            check_not_interrupted(exc)
            failure = failures.from_exception(exc, sending, client)
        if failure.stale_credentials:
            failure = attrs.evolve(failure, renewed=self._renews(shared))
        return _of_reading(failure, operation)

    def _renews(self, shared: object) -> bool:
        try:
            return self._renew(shared)
        except Exception:
            return False


_METHODS = {
    "GetDurableExecution": "get_durable_execution",
    "ListDurableExecutionsByFunction": "list_durable_executions_by_function",
    "StopDurableExecution": "stop_durable_execution",
}


#: Those that are about one execution.
_OF_ONE = ("GetDurableExecution", "StopDurableExecution")
#: What AWS may say of an execution that there is not.
_KNOWS_NONE = ("not_found", "invalid_parameter")


def _wait(delay_s: float) -> Generator[float, bool, None]:
    if not (yield delay_s):
        raise _EndedError


_ENDED_CALL = Failure("pending", "the execution still runs, and the call was ended")


def _late(deadline: Optional[Deadline]) -> Failure:
    """The time is up for a call that is attached."""
    cause = "the execution to which the call is attached gave no answer in time"
    return Failure("timeout", cause if deadline is not None else f"{cause}: within read_timeout", executed="yes")


def _of_reading(failure: Failure, operation: str) -> Failure:
    """What a failure means that says nothing of the function: whether it ran is as open as before."""
    cause = failure.cause
    if failure.error_code == "access_denied":
        cause = f"the credentials may not lambda:{operation}, or are not valid: {cause}"
    elif failure.error_code == "not_found":
        cause = f"{CODES['not_found'].cause}, or no such execution, or none any more: {cause}"
    else:
        cause = f"{operation}: {cause}"
    return attrs.evolve(failure, cause=cause, executed="maybe")


def _odd(what: str) -> Failure:
    """An answer of which nothing can be known, least of all that there is no execution."""
    return Failure("invalid_response", f"the endpoint gave {what}", executed="maybe")


def _not_found() -> Outcome:
    cause = "the function has no execution for this session_id, or none any more"
    return failed(Failure("not_found", cause, executed="maybe"))


def _started_s(execution: Mapping[str, Any]) -> float:
    started = execution.get("StartTimestamp")
    return float(started.timestamp()) if isinstance(started, datetime) else 0.0


def _means_the_same(one: object, payload: bytes) -> bool:
    """Whether two payloads are one request but for what differs between its calls."""
    try:
        return isinstance(one, str) and _words(json.loads(one)) == _words(json.loads(payload))
    except (ValueError, RecursionError):
        return False


def _words(payload: Any) -> str:
    if isinstance(payload, dict):
        payload = {key: value for key, value in payload.items() if key not in _OF_THE_CALL}
    # As text: to Python 1, 1.0 and True are the same.
    return json.dumps(payload, sort_keys=True)


def _outcome(reply: Mapping[str, Any], payload: bytes) -> Optional[Outcome]:
    """How an execution has ended; None while it has not."""
    status, head = reply.get("Status"), _head(reply)
    if status == "DELETING":
        return failed(Failure("not_found", "the execution is being deleted", executed="yes"), head)
    if status == "SUCCEEDED":
        result = reply.get("Result")
        try:
            return judge_answer(result if isinstance(result, str) else "", payload, head)
        except InvalidAnswerError as exc:
            return failed(Failure("invalid_response", str(exc)), head)
    if status not in _ENDED:
        return None
    return failed(of_function(_told_error(reply.get("Error"), payload), ended=_ENDED[status]), head)


#: How an execution can end without a result, and what goes in front of what the function says of it.
_ENDED = {"FAILED": "", "TIMED_OUT": "the execution timed out: ", "STOPPED": "stopped: "}


def _told_error(error: object, payload: bytes) -> ToldError:
    """An execution's error, told as an answer's is."""
    error = error if isinstance(error, Mapping) else {}
    told = {"errorType": error.get("ErrorType"), "errorMessage": error.get("ErrorMessage")}
    if not _is_a_modules(payload):
        # Nobody can tell what the user typed, and so whether the message repeats it.
        told, payload = {"errorType": error.get("ErrorType")}, b"{}"
    return decode_function_error(json.dumps(told), payload)


def _is_a_modules(payload: bytes) -> bool:
    """Whether it is a payload of this package's, and not somebody else's input."""
    try:
        sent = json.loads(payload)
    except (ValueError, RecursionError):
        return False
    return isinstance(sent, dict) and all(isinstance(sent.get(key), dict) for key in ("trigger", "user", "community"))


def _head(reply: Mapping[str, Any]) -> Head:
    metadata = reply.get("ResponseMetadata") or {}
    return Head(
        status_code=metadata.get("HTTPStatusCode"),
        request_id=known_request_id(metadata),
        executed_version=known_version(reply.get("Version")),
        execution_arn=known_execution_arn(reply.get("DurableExecutionArn")),
    )
