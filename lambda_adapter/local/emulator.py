"""LocalLambda: Python handlers behind the real Invoke API on loopback. No account, no Docker, no network."""

import math
import re
import threading
import time
import uuid
from types import SimpleNamespace, TracebackType
from typing import Any, List, Mapping, Optional, Set, Type

from attrs import define, field

from .._rules.validation import check_region
from .http_server import Server
from .invoke_api import Answer, LocalCall, RefusedError, function_arn, log_result, one_of, parse_target, throttled
from .runtime import Handler, LambdaContext, Outcome, call_handler, client_context_object, failure, make_context

__all__ = ["Handler", "LambdaContext", "LocalCall", "LocalLambda"]

#: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html (function timeout, memory)
MAX_TIMEOUT_S = 900.0
MIN_MEMORY_MB, MAX_MEMORY_MB = 128, 10_240

#: REPORT carries these two because AWS's does; nothing here measures them.
_INIT_DURATION_MS = 0.5
_MEMORY_USED_MB = 40


@define(eq=False)
class _Invocation:
    """A handler that runs, or ran, for one call."""

    call: LocalCall
    context: LambdaContext
    log: List[str]
    #: Whether the function had not run before.
    cold: bool
    started_s: float
    deadline_s: float
    finished: threading.Event = field(factory=threading.Event)
    outcome: Optional[Outcome] = None


class LocalLambda:
    """Serves Python handlers through AWS's Invoke API on 127.0.0.1, over HTTP/1.1 with keep-alive.

    Differences from AWS: every qualifier exists, and an alias means $LATEST; any account id in an ARN will
    do; an Event over the concurrency limit is refused where AWS would queue it; a failed Event is not run
    again; a handler past its timeout is answered for and gives up its place, but its thread, a daemon,
    cannot be killed; what handlers print goes where the process prints, not into the log.

    Example::

        with LocalLambda({"weather": lambda event, context: {"success": True}}) as local:
            client = boto3.client("lambda", endpoint_url=local.endpoint_url)

    Args:
        functions: Function name (1 to 64 of `A-Za-z0-9_-`) -> `handler(event, context)`.
        port: TCP port; 0 takes a free one.
        region: The region of the functions' ARNs. A full ARN of another region is not found.
        timeout: Seconds that a handler may run, up to 900.
        memory_mb: What the context and the log say about memory; 128 to 10,240. Not enforced.
        concurrency_limit: Invocations that may run at once, over all functions; one more is throttled (429),
            and 0 throttles all. None means no limit.
        retry_after: Whole seconds in the Retry-After of a 429.

    Raises:
        ValueError: An argument is not as described; the message names it.
    """

    def __init__(
        self,
        functions: Mapping[str, Handler],
        *,
        port: int = 0,
        region: str = "us-east-1",
        timeout: float = 3.0,
        memory_mb: int = 128,
        concurrency_limit: Optional[int] = None,
        retry_after: int = 1,
    ) -> None:
        _check_functions(functions)
        check_whole("port", port, 0, 65_535)
        check_region("region", region)
        _check_seconds("timeout", timeout, MAX_TIMEOUT_S)
        check_whole("memory_mb", memory_mb, MIN_MEMORY_MB, MAX_MEMORY_MB)
        if concurrency_limit is not None:
            check_whole("concurrency_limit", concurrency_limit, 0, None)
        check_whole("retry_after", retry_after, 0, None)
        self._functions = dict(functions)
        self._port = port
        self._region = region
        self._timeout_s = timeout
        self._memory_mb = memory_mb
        self._concurrency_limit = concurrency_limit
        self._retry_after_s = retry_after
        self._environment_id = uuid.uuid4().hex
        self._server: Optional[Server] = None
        self._lock = threading.Lock()  # guards the four below
        self._calls: List[LocalCall] = []
        self._warm: Set[str] = set()
        self._running: Set[_Invocation] = set()
        self._closed = False

    @property
    def endpoint_url(self) -> str:
        """The URL to give to a client as its `endpoint_url`.

        Raises:
            RuntimeError: It was not started, or is closed.
        """
        if self._server is None or self._closed:
            raise RuntimeError("LocalLambda has no endpoint_url unless it is started and not yet closed")
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def calls(self) -> List[LocalCall]:
        """Every invocation accepted so far, in order: those answered with 200, 202 or 204 (DryRun).

        A handler that failed or timed out was called, and counts. A refused request (unknown, malformed, too
        large, throttled: 4xx and 5xx) reached no function, and does not.
        """
        with self._lock:
            return list(self._calls)

    def start(self) -> "LocalLambda":
        """Binds the port and begins to serve; returns itself.

        Raises:
            RuntimeError: It was started before. An instance is used once.
            OSError: The port cannot be bound.
        """
        if self._server is not None or self._closed:
            raise RuntimeError("LocalLambda can be started only once")
        self._server = Server(self._port, self._respond)
        self._server.start()
        return self

    def close(self) -> None:
        """Drops every connection and frees the port, at once; may be called again.

        Handlers still running are left to their daemon threads, and their callers lose the connection.
        """
        with self._lock:
            self._closed = True
            abandoned = list(self._running)
        if self._server is None:
            return
        # Connections first: those whose wait is cut short must not have the time to answer.
        self._server.disconnect()
        for invocation in abandoned:
            invocation.finished.set()
        self._server.server_close()

    def __enter__(self) -> "LocalLambda":
        return self.start()

    def __exit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc: Optional[BaseException],
        tb: Optional[TracebackType],
    ) -> None:
        self.close()

    def _respond(self, target: str, headers: Mapping[str, str], body: bytes, request_id: str) -> Answer:
        """A whole request -> its answer."""
        invocation_type = one_of(headers, "x-amz-invocation-type", ("RequestResponse", "Event", "DryRun"))
        log_type = one_of(headers, "x-amz-log-type", ("None", "Tail"))
        region, name, qualifier = parse_target(target)
        self._check_exists(region, name, qualifier)
        tenant_id = headers.get("x-amz-tenant-id")
        call = LocalCall(name, qualifier, invocation_type, request_id, tenant_id, body, headers)
        # Both may refuse, so before anything is recorded.
        event, client_context = call.payload, client_context_object(call.client_context)
        if invocation_type == "DryRun":
            with self._lock:
                self._calls.append(call)
            return Answer(204)
        invocation = self._admit(call, event, client_context)
        if invocation_type == "Event":
            return Answer(202)
        return self._result(invocation, log_tail=log_type == "Tail")

    def _check_exists(self, region: Optional[str], name: str, qualifier: Optional[str]) -> None:
        if region not in (None, self._region):
            text = f"Functions from '{region}' are not reachable in this region ('{self._region}')"
            raise RefusedError(404, "ResourceNotFoundException", text)
        if name not in self._functions:
            text = f"Function not found: {function_arn(self._region, name, qualifier)}"
            raise RefusedError(404, "ResourceNotFoundException", text)

    def _admit(self, call: LocalCall, event: Any, client_context: Optional[SimpleNamespace]) -> _Invocation:
        """Takes a place, starts the handler and records the call, in one step, or refuses."""
        with self._lock:
            now_s = time.monotonic()
            if self._closed:
                raise RefusedError(503, "ServiceException", "LocalLambda is closed")
            # AWS kills what is past its timeout; a thread can only be counted out.
            in_flight = sum(running.deadline_s > now_s for running in self._running)
            if self._concurrency_limit is not None and in_flight >= self._concurrency_limit:
                raise throttled("ConcurrentInvocationLimitExceeded", self._retry_after_s)
            invocation = self._prepare(call, client_context, now_s)
            name = f"local-lambda-{call.function_name}"
            try:
                threading.Thread(target=self._run, args=(invocation, event), name=name, daemon=True).start()
            except RuntimeError as error:  # the process has no thread left
                raise RefusedError(500, "ServiceException", "No thread could be started") from error
            self._warm.add(call.function_name)
            self._calls.append(call)
            self._running.add(invocation)  # before _run can discard it: that needs the lock
            return invocation

    def _prepare(self, call: LocalCall, client_context: Optional[SimpleNamespace], now_s: float) -> _Invocation:
        deadline_s = now_s + self._timeout_s
        log: List[str] = []
        context = make_context(
            call,
            client_context,
            region=self._region,
            memory_mb=self._memory_mb,
            environment_id=self._environment_id,
            deadline_s=deadline_s,
            log=log,
        )
        log.append(f"START RequestId: {call.request_id} Version: {context.function_version}\n")
        cold = call.function_name not in self._warm
        return _Invocation(call, context, log, cold, started_s=now_s, deadline_s=deadline_s)

    def _run(self, invocation: _Invocation, event: Any) -> None:
        """The life of a handler's thread."""
        try:
            handler = self._functions[invocation.call.function_name]
            invocation.outcome = call_handler(handler, event, invocation.context)
        finally:
            # The place first: whoever has the answer may use it at once.
            with self._lock:
                self._running.discard(invocation)
            invocation.finished.set()

    def _result(self, invocation: _Invocation, log_tail: bool) -> Answer:
        """Waits for the handler, up to its timeout."""
        request_id = invocation.call.request_id
        if not invocation.finished.wait(invocation.deadline_s - time.monotonic()):
            text = f"RequestId: {request_id} Error: Task timed out after {self._timeout_s:.2f} seconds"
            outcome = failure("Sandbox.Timedout", text, request_id)
        elif invocation.outcome is None:
            raise RefusedError(503, "ServiceException", "LocalLambda was closed during the invocation")
        else:
            outcome = invocation.outcome
        duration_ms = (time.monotonic() - invocation.started_s) * 1_000
        answer = outcome.to_answer(invocation.context.function_version)
        if log_tail:
            log = "".join(invocation.log) + self._report(invocation, duration_ms)
            answer.headers["X-Amz-Log-Result"] = log_result(log)
        return answer

    def _report(self, invocation: _Invocation, duration_ms: float) -> str:
        request_id = invocation.call.request_id
        used_mb = min(_MEMORY_USED_MB, self._memory_mb)
        init = f"Init Duration: {_INIT_DURATION_MS:.2f} ms\t" if invocation.cold else ""
        return (
            f"END RequestId: {request_id}\n"
            f"REPORT RequestId: {request_id}\tDuration: {duration_ms:.2f} ms\t"
            f"Billed Duration: {math.ceil(duration_ms)} ms\tMemory Size: {self._memory_mb} MB\t"
            f"Max Memory Used: {used_mb} MB\t{init}\n"
        )


def _check_functions(functions: object) -> None:
    if not isinstance(functions, Mapping):
        raise ValueError(f"functions must map names to handlers, got {type(functions).__name__}")
    for name, handler in functions.items():
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
            raise ValueError(f"functions: a name must be 1 to 64 of A-Za-z0-9_-, got {name!r}")
        if not callable(handler):
            raise ValueError(f"functions: {name!r} must be callable, got {type(handler).__name__}")


def _check_seconds(name: str, value: object, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= high:
        raise ValueError(f"{name} must be seconds above 0, up to {high:g}, got {value!r}")


def check_whole(name: str, value: Any, low: int, high: Optional[int]) -> None:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole or not low <= value <= (value if high is None else high):
        limits = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"{name} must be a whole number {limits}, got {value!r}")
