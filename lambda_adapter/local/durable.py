"""Durable executions as LocalLambda keeps them: one run for each name, and its outcome for whoever asks later.

AWS's word (botocore 1.44's Lambda model, and the developer guide on durable functions): a function must be invoked with
a qualifier; a second Invoke with a name that exists and the same payload starts nothing, attaches while the first run
goes on, and gets its stored outcome afterwards, a failure too; with another payload it is refused with 409
DurableExecutionAlreadyStartedException; the answer carries X-Amz-Durable-Execution-Arn; Get, List and Stop, with their
paths, members and statuses. https://docs.aws.amazon.com/lambda/latest/dg/durable-functions.html

Ours, because AWS does not say or because there is no SDK here: the handler runs once, with the caller's payload as its
event, and what it returns is the outcome; names are kept for each function; payloads are the same when their bytes are;
an outcome is kept until LocalLambda closes; a handler past LocalLambda's timeout makes the execution TIMED_OUT; a
stopped handler's thread goes on, and what it returns is dropped; stopping what has ended changes nothing; how errors
are worded.
"""

import json
import re
import threading
import time
import uuid
from typing import Any, Dict, List, Mapping, Optional, Tuple
from urllib.parse import parse_qs, unquote

import attrs

from .._process.clock import monotonic_s
from .invoke_api import HttpAnswer, LocalCall, RefusedError, function_arn, parse_function
from .runtime import HandlerResult, failed_result, timed_out

#: The answer's header that says which execution it is of.
ARN_HEADER = "X-Amz-Durable-Execution-Arn"
_NAME_HEADER = "x-amz-durable-execution-name"

#: As in botocore 1.44's model.
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}", re.ASCII)
#: An execution's ARN holds slashes, which clients escape, or not.
_ONE = re.compile(r"/2025-12-01/durable-executions/([^/]+|[^/]+/durable-execution/[^/]+/[^/]+)(/stop)?")
_LIST = re.compile(r"/2025-12-01/functions/([^/]+)/durable-executions")
_MAX_LISTED = 1_000


class DurableExecution:
    """One run, and how it ended: once, by its handler, its timeout or a stop, whichever came first."""

    def __init__(self, name: str, call: LocalCall, region: str, version: str, timeout_s: float) -> None:
        self.name = name
        self.call = call
        self.version = version
        function = function_arn(region, call.function_name, version)
        self.arn = f"{function}/durable-execution/{name}/{uuid.uuid4()}"
        self.function_arn = function_arn(region, call.function_name, call.qualifier)
        self.started_at = time.time()
        self._timeout_s = timeout_s
        self._deadline_s = monotonic_s() + timeout_s
        self._over = threading.Event()
        self._lock = threading.Lock()  # guards the three below
        self.status = "RUNNING"
        self.result: Optional[HandlerResult] = None
        self.ended_at: Optional[float] = None

    def end(self, status: str, result: Optional[HandlerResult]) -> None:
        """End it, unless it has ended already."""
        with self._lock:
            if self.status != "RUNNING":
                return
            self.status, self.result, self.ended_at = status, result, time.time()
        self._over.set()

    def finish(self, result: HandlerResult) -> None:
        """End it with what its handler came to, if that was in time."""
        self.end_if_late()
        self.end("FAILED" if result.failed else "SUCCEEDED", result)

    def end_if_late(self) -> None:
        """End it if its handler's time is up."""
        if monotonic_s() >= self._deadline_s:
            self.end("TIMED_OUT", timed_out(self.call.request_id, self._timeout_s))

    def wait(self) -> Optional[HandlerResult]:
        """Its outcome, as soon as there is one; None when it was abandoned."""
        self._over.wait(max(0.0, self._deadline_s - monotonic_s()))
        self.end_if_late()
        return self.result

    def abandon(self) -> None:
        """Let go of those that wait: LocalLambda closes."""
        self._over.set()

    def summary(self) -> Dict[str, Any]:
        """What List says of it."""
        told = {
            "DurableExecutionArn": self.arn,
            "DurableExecutionName": self.name,
            "FunctionArn": self.function_arn,
            "Status": self.status,
            "StartTimestamp": self.started_at,
        }
        return told if self.ended_at is None else {**told, "EndTimestamp": self.ended_at}

    def details(self, with_data: bool) -> Dict[str, Any]:
        """What Get says of it."""
        told = {**self.summary(), "Version": self.version, "ExecutionDataIncluded": with_data}
        if with_data:
            told["InputPayload"] = self.call.raw.decode()
            if self.result is not None:
                told.update(_outcome(self.result))
        return told


def _outcome(result: HandlerResult) -> Dict[str, Any]:
    if not result.failed:
        return {"Result": result.body.decode()}
    error = json.loads(result.body)
    stack = error.get("stackTrace") or []
    return {
        "Error": {"ErrorType": error["errorType"], "ErrorMessage": error["errorMessage"], "StackTrace": stack},
    }


@attrs.define
class DurableExecutions:
    """All executions of one LocalLambda, which guards them with its own lock where it says so."""

    _by_name: Dict[Tuple[str, str], DurableExecution] = attrs.field(factory=dict, init=False)

    @staticmethod
    def name_of(call: LocalCall, is_durable: bool) -> Optional[str]:
        """The name of the execution that a call asks for, a new one where it has none; None for a plain function."""
        name = call.headers.get(_NAME_HEADER)
        if name is not None and not _NAME.fullmatch(name):
            text = "Value at 'durableExecutionName' must be 1 to 64 of a-z, A-Z, 0-9, - and _"
            raise RefusedError(400, "InvalidParameterValueException", text)
        if not is_durable:
            if name is not None:
                text = (
                    "DurableExecutionName needs a durable function, and this one was created without a DurableConfig: "
                    f"LocalLambda(…, durable={{{call.function_name!r}}}), or .durable() for mock_lambda"
                )
                raise RefusedError(400, "InvalidParameterValueException", text)
            return None
        if call.qualifier is None:
            text = "You cannot invoke a durable function using an unqualified ARN"
            raise RefusedError(400, "InvalidParameterValueException", text)
        return name or str(uuid.uuid4())

    def find(self, name: str, call: LocalCall) -> Optional[DurableExecution]:
        """The execution that this name has already. Needs the lock.

        Raises:
            RefusedError: It was started with another payload.
        """
        execution = self._by_name.get((call.function_name, name))
        if execution is not None and execution.call.raw != call.raw:
            text = f"Execution with name {name} already exists with a different payload"
            raise RefusedError(409, "DurableExecutionAlreadyStartedException", text)
        return execution

    def keep(self, execution: DurableExecution) -> None:
        """Let an execution be found. Needs the lock."""
        self._by_name[execution.call.function_name, execution.name] = execution

    def all(self) -> List[DurableExecution]:
        """Every execution, in the order in which they began; each that is late has ended."""
        executions = list(self._by_name.values())
        for execution in executions:
            execution.end_if_late()
        return executions

    def answer(self, method: str, path_and_query: str, body: bytes) -> Optional[HttpAnswer]:
        """The answer to Get, List and Stop; None for any other request."""
        path, _, query = path_and_query.partition("?")
        asked = {name: values[-1] for name, values in parse_qs(query).items()}
        listed = _LIST.fullmatch(path)
        if listed is not None and method == "GET":
            return _json(self._list(unquote(listed[1]), asked, parse_qs(query).get("Statuses", [])))
        one = _ONE.fullmatch(path)
        if one is None or method != ("POST" if one[2] else "GET"):
            return None
        execution = self.get(unquote(one[1]))
        if one[2]:
            return _json({"StopTimestamp": _stop(execution, body)})
        return _json(execution.details(asked.get("IncludeExecutionData") != "false"))

    @staticmethod
    def asked_for(path_and_query: str) -> str:
        """The ARN that a request to Get or to Stop names; "" for any other."""
        one = _ONE.fullmatch(path_and_query.partition("?")[0])
        return unquote(one[1]) if one else ""

    def get(self, arn: str) -> DurableExecution:
        """The execution of this ARN, or it refuses."""
        for execution in self.all():
            if execution.arn == arn:
                return execution
        raise RefusedError(404, "ResourceNotFoundException", f"Durable execution not found: {arn}")

    def _list(self, function: str, asked: Mapping[str, str], statuses: List[str]) -> Dict[str, Any]:
        named = parse_function(function, asked.get("Qualifier"))
        found = [
            execution.summary()
            for execution in self.all()
            if execution.call.function_name == named.name
            and named.qualifier in (None, execution.call.qualifier, execution.version)
            and asked.get("DurableExecutionName") in (None, execution.name)
            and (not statuses or execution.status in statuses)
        ]
        if asked.get("ReverseOrder") == "true":
            found.reverse()
        begin, most = _whole(asked, "Marker", 0), _whole(asked, "MaxItems", 0) or _MAX_LISTED
        page = {"DurableExecutions": found[begin : begin + most]}
        return page if begin + most >= len(found) else {**page, "NextMarker": str(begin + most)}


def _stop(execution: DurableExecution, body: bytes) -> float:
    """End an execution, and say when it ended."""
    try:
        error = json.loads(body or b"{}")
    except ValueError:
        error = None
    if not isinstance(error, dict):
        raise RefusedError(400, "InvalidParameterValueException", "The body must be an ErrorObject")
    kind, text = error.get("ErrorType") or "Execution.Stopped", error.get("ErrorMessage") or "The execution was stopped"
    execution.end("STOPPED", failed_result(str(kind), str(text), execution.call.request_id))
    return execution.ended_at or time.time()


def _whole(asked: Mapping[str, str], name: str, default: int) -> int:
    text = asked.get(name, str(default))
    if not re.fullmatch("[0-9]{1,9}", text):
        raise RefusedError(400, "InvalidParameterValueException", f"{name} must be a whole number")
    return int(text)


def _json(value: Mapping[str, Any]) -> HttpAnswer:
    return HttpAnswer(200, json.dumps(value).encode())
