"""LocalLambda itself: which handlers run, for how long, how many at once, and what their callers are answered."""

import contextlib
import threading
import uuid
from collections.abc import Collection as CollectionABC
from typing import Any, Callable, Collection, Dict, Generator, Iterator, List, Mapping, Optional, Set, TypedDict

import attrs

from .._process.clock import monotonic_s
from .._rules.identifiers import FunctionIdentifier, is_name
from .._rules.limits import MAX_FUNCTION_TIMEOUT_S, MAX_MEMORY_MB, MIN_MEMORY_MB
from .._rules.validation import check_integer, check_number, check_region
from .durable import ARN_HEADER, DurableExecution, DurableExecutions
from .environment import end_environment, environment_of, lambda_variables
from .event_loops import EventLoops
from .event_stream import invoke_complete, payload_chunk
from .function_log import end_lines, start_line
from .http_server import Server
from .invoke_api import (
    HttpAnswer,
    LocalCall,
    RefusedError,
    check_is_invoke,
    encode_log_tail,
    function_arn,
    header_choice,
    is_streaming,
    name_of,
    no_such_operation,
    parse_path,
    qualified,
    throttled,
)
from .output import end_output, output_of
from .pipe import Pipe
from .runtime import (
    ClientContext,
    Handler,
    HandlerResult,
    LambdaContext,
    call_handler,
    check_handler,
    client_context_object,
    late_line,
    make_context,
    timed_out,
)

__all__ = ["Handler", "LambdaContext", "LocalCall", "LocalLambda", "LocalSettings"]

#: In ``settings``. Any would do.
ACCESS_KEY_ID = "local"

#: The endpoints of those that serve in this process.
serving: Set[str] = set()


class LocalSettings(TypedDict):
    """What an adapter needs of a LocalLambda in the place of AWS: ``LambdaAdapter("dice", …, **local.settings)``."""

    endpoint_url: str
    """Where it serves, on 127.0.0.1."""
    region: str
    """The region of its functions."""
    aws_access_key_id: str
    """Any would do, but boto3 sends nothing without keys."""
    aws_secret_access_key: str
    """As ``aws_access_key_id``: nobody checks it."""


@attrs.define(eq=False)
class _Invocation:
    """A handler that runs, or ran, for one call."""

    call: LocalCall
    context: LambdaContext
    log: List[str]
    #: Whether the function had not run before.
    cold: bool
    started_s: float
    deadline_s: float
    #: The durable execution that it is the run of.
    execution: Optional[DurableExecution] = None
    #: Takes what the handler yields to a caller who wants it as it comes.
    pipe: Optional[Pipe] = None
    finished: threading.Event = attrs.field(factory=threading.Event)
    result: Optional[HandlerResult] = None


@attrs.frozen
class Observation:
    """How a request went, for whoever watches: its answer, or of an Event that has ended what its handler came to."""

    #: Its name, with the qualifier where the request has one; what was asked for, where that is no name.
    function_name: str
    request_id: str
    duration_s: float
    answer: Optional[HttpAnswer] = None
    result: Optional[HandlerResult] = None
    #: Its answer was a stream. Without a ``result`` the caller has gone before its end.
    streamed: bool = False


class LocalLambda:
    """Serve Python handlers through AWS's Invoke API on 127.0.0.1, over HTTP/1.1 with keep-alive.

    Differences from AWS: every qualifier exists, and an alias means $LATEST; any account id in an ARN will
    do; an Event over the concurrency limit is refused where AWS would queue it; a failed Event is not run
    again; a handler past its timeout is answered for and gives up its place, but its thread, a daemon,
    cannot be killed; all handlers run in this process, at once, with what it has imported; a handler that is
    a generator streams what it yields, which AWS's own Python runtime cannot. LAMBDA_ADAPTER_USAGE.md has a
    table of all differences. What ``durable`` functions do is described, AWS's word apart from ours, in
    ``lambda_adapter.local.durable``.

    Example::

        with LocalLambda({"weather": lambda event, context: {"success": True}}) as local:
            weather = LambdaAdapter("weather", module_name="weather", **local.settings)

    Args:
        functions: Function name (1 to 64 of ``A-Za-z0-9-_.``) -> ``handler(event, context)``.
        port: TCP port; 0 takes a free one.
        region: The region of the functions' ARNs. A full ARN of another region is not found.
        timeout: Seconds that a handler may run, up to 1,800. AWS's default of 3 is too short for answers that come
            later; this one is below the adapter's ``read_timeout``, so that a handler that hangs is always its error.
        memory_mb: What the context and the log say about memory; 128 to 32,768. Not enforced.
        concurrency_limit: Invocations that may run at once, over all functions; one more is throttled (429),
            and 0 throttles all. None means no limit.
        retry_after: Whole seconds in the Retry-After of a 429.
        durable: Names of ``functions`` that were created for durable executions: each name of an execution runs its
            handler once, with the caller's event and without AWS's SDK, and its outcome is kept.

    Raises:
        ValueError: An argument is not as described; the message names it.
    """

    def __init__(
        self,
        functions: Mapping[str, Handler],
        *,
        port: int = 0,
        region: str = "us-east-1",
        timeout: float = 25.0,
        memory_mb: int = 128,
        concurrency_limit: Optional[int] = None,
        retry_after: int = 1,
        durable: Collection[str] = (),
    ) -> None:
        _check_functions(functions)
        _check_durable(durable, functions)
        check_integer("port", port, least=0, most=65_535)
        check_region("region", region)
        check_number("timeout", timeout, most=MAX_FUNCTION_TIMEOUT_S)
        check_integer("memory_mb", memory_mb, least=MIN_MEMORY_MB, most=MAX_MEMORY_MB)
        if concurrency_limit is not None:
            check_integer("concurrency_limit", concurrency_limit, least=0)
        check_integer("retry_after", retry_after, least=0)
        self._functions = dict(functions)
        self._port = port
        self._region = region
        self._timeout_s = timeout
        self._memory_mb = memory_mb
        self._concurrency_limit = concurrency_limit
        self._retry_after_s = retry_after
        self._durable = frozenset(durable)
        self._loops = EventLoops()
        self._executions = DurableExecutions()  # changed under the lock
        self._observe: Optional[Callable[[Observation], None]] = None
        self._environment_id = uuid.uuid4().hex
        self._server: Optional[Server] = None
        self._lock = threading.Lock()  # guards the five below
        self._calls: List[LocalCall] = []
        self._warm: Set[str] = set()
        self._running: Set[_Invocation] = set()
        self._runs: Dict[str, _Invocation] = {}  # by the ARNs of their durable executions
        self._closed = False

    @property
    def endpoint_url(self) -> str:
        """The URL to give to a client as its ``endpoint_url``.

        Raises:
            RuntimeError: It was not started, or is closed.
        """
        if self._server is None or self._closed:
            raise RuntimeError("LocalLambda has no endpoint_url unless it is started and not yet closed")
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def settings(self) -> LocalSettings:
        """The endpoint, its region and two keys, as LambdaAdapter's parameters: it is then called in AWS's place.

        Raises:
            RuntimeError: It was not started, or is closed.
        """
        return {
            "endpoint_url": self.endpoint_url,
            "region": self._region,
            "aws_access_key_id": ACCESS_KEY_ID,
            "aws_secret_access_key": "local",
        }

    @property
    def calls(self) -> List[LocalCall]:
        """Every invocation accepted so far, in order: those answered with 200, 202 or 204 (DryRun).

        A handler that failed or timed out was called, and counts. A refused request (unknown, malformed, too
        large, throttled: 4xx and 5xx) reached no function, and does not.
        """
        with self._lock:
            return list(self._calls)

    def start(self) -> "LocalLambda":
        """Bind the port and begin to serve.

        Returns:
            This object.

        Raises:
            RuntimeError: It was started before. An instance is used once.
            OSError: The port cannot be bound.
        """
        if self._server is not None or self._closed:
            raise RuntimeError("LocalLambda can be started only once")
        self._server = Server(self._port, self._respond, self._read)
        self._server.start()
        serving.add(self.endpoint_url)
        return self

    def close(self) -> None:
        """Drop every connection and free the port, at once. Closing twice is harmless.

        Handlers still running are left to their daemon threads, and their callers lose the connection. In a forked
        child only its own copies of the sockets are closed, and the parent serves on.
        """
        if self._server is not None and self._server.is_inherited:
            self._close_inherited(self._server)
            return
        with self._lock:
            if self._server is not None and not self._closed:
                serving.discard(self.endpoint_url)
            self._closed = True
            abandoned = list(self._running)
            executions = self._executions.all()
        if self._server is None:
            return
        # Connections first: those whose wait is cut short must not have the time to answer.
        self._server.disconnect()
        for invocation in abandoned:
            invocation.finished.set()
            # Their threads run on, and must not hold the process's streams for ever.
            end_environment(invocation.context)
            end_output(invocation.context)
            if invocation.pipe is not None:
                invocation.pipe.abandon()
                invocation.pipe.end()
        for execution in executions:
            execution.abandon()
        self._server.server_close()
        self._loops.close()

    def _close_inherited(self, server: Server) -> None:
        # Without the lock, which a thread of the parent may have held, and nothing else: what the parent shares stays.
        if not self._closed:
            serving.discard(self.endpoint_url)
            self._closed = True
            server.close_copies()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "not started" if self._server is None else f"at {self.endpoint_url}"
        return f"<LocalLambda {', '.join(map(repr, self._functions))} {state}>"

    def __enter__(self) -> "LocalLambda":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _respond(self, path_and_query: str, headers: Mapping[str, str], body: bytes, request_id: str) -> HttpAnswer:
        """Answer a POST, and tell whoever watches of an invocation."""
        stopped = self._answer_about_executions("POST", path_and_query, body)
        if stopped is not None:
            return stopped
        check_is_invoke(path_and_query)
        began_s = monotonic_s()
        try:
            answer = self._invoke(path_and_query, headers, body, request_id)
        except RefusedError as refused:
            answer = refused.answer
        # Of one that is streamed its end is told, when that has come.
        if self._observe is not None and answer.frames is None:
            self._observe(Observation(name_of(path_and_query), request_id, monotonic_s() - began_s, answer))
        return answer

    def _read(self, path_and_query: str) -> HttpAnswer:
        """Answer a GET."""
        answer = self._answer_about_executions("GET", path_and_query, b"")
        if answer is None:
            raise no_such_operation()
        return answer

    def _answer_about_executions(self, method: str, path_and_query: str, body: bytes) -> Optional[HttpAnswer]:
        with self._lock:
            return self._executions.answer(method, path_and_query, body)

    def _invoke(self, path_and_query: str, headers: Mapping[str, str], body: bytes, request_id: str) -> HttpAnswer:
        streams = is_streaming(path_and_query)
        types = ("RequestResponse", "DryRun") if streams else ("RequestResponse", "Event", "DryRun")
        invocation_type = header_choice(headers, "x-amz-invocation-type", types)
        log_type = header_choice(headers, "x-amz-log-type", ("None", "Tail"))
        function = parse_path(path_and_query)
        self._check_exists(function)
        tenant_id = headers.get("x-amz-tenant-id")
        call = LocalCall(function.name, function.qualifier, invocation_type, request_id, tenant_id, body, headers)
        # Both may refuse, so before anything is recorded.
        event, client_context = call.payload, client_context_object(call.client_context)
        # A call is durable or streamed, never both; but unqualified a durable function is never invoked.
        is_durable = call.function_name in self._durable
        execution_name = self._executions.name_of(call, is_durable=is_durable)
        execution_name = None if streams else execution_name
        if invocation_type == "DryRun":
            with self._lock:
                self._record(call)
            return HttpAnswer(204)
        invocation = self._admit(call, event, client_context, execution_name, Pipe() if streams else None)
        if invocation_type == "Event":
            answer = HttpAnswer(202)
        elif streams:
            version = {"X-Amz-Executed-Version": invocation.context.function_version}
            answer = HttpAnswer(200, headers=version, frames=self._frames(invocation, log_tail=log_type == "Tail"))
        else:
            answer = self._answer(invocation, log_tail=log_type == "Tail")
        if invocation.execution is not None:
            answer.headers[ARN_HEADER] = invocation.execution.arn
        return answer

    def _check_exists(self, function: FunctionIdentifier) -> None:
        if function.region not in (None, self._region):
            text = f"Functions from '{function.region}' are not reachable in this region ('{self._region}')"
            raise RefusedError(404, "ResourceNotFoundException", text)
        if function.name not in self._functions:
            text = f"Function not found: {function_arn(self._region, function.name, function.qualifier)}"
            raise RefusedError(404, "ResourceNotFoundException", text)

    def _record(self, call: LocalCall) -> None:
        # Whoever observes asks for no calls, and they hold the payloads. Needs the lock.
        if self._observe is None:
            self._calls.append(call)

    def _admit(
        self,
        call: LocalCall,
        event: object,
        client_context: Optional[ClientContext],
        execution_name: Optional[str] = None,
        pipe: Optional[Pipe] = None,
    ) -> _Invocation:
        """Take a place, start the handler and record the call, in one step; or attach to its execution; or refuse."""
        with self._lock:
            if self._closed:
                raise RefusedError(503, "ServiceException", "LocalLambda is closed")
            attached = execution_name and self._executions.find(execution_name, call)
            if attached:
                self._record(call)
                return self._runs[attached.arn]
            invocation = self._begin(call, event, client_context, execution_name, pipe)
            self._warm.add(call.function_name)
            self._record(call)
            self._running.add(invocation)  # before _run can discard it: that needs the lock
            return invocation

    def _begin(
        self,
        call: LocalCall,
        event: object,
        client_context: Optional[ClientContext],
        execution_name: Optional[str],
        pipe: Optional[Pipe],
    ) -> _Invocation:
        """Start the handler, or refuse. Needs the lock."""
        now_s = monotonic_s()
        # AWS kills what is past its timeout; a thread can only be counted out.
        in_flight = sum(running.deadline_s > now_s for running in self._running)
        if self._concurrency_limit is not None and in_flight >= self._concurrency_limit:
            raise throttled("ConcurrentInvocationLimitExceeded", self._retry_after_s)
        invocation = self._prepare(call, client_context, now_s)
        invocation.pipe = pipe
        name = f"local-lambda-{call.function_name}"
        thread = threading.Thread(target=self._run, args=(invocation, event), name=name, daemon=True)
        if execution_name is not None:
            version = invocation.context.function_version
            execution = DurableExecution(execution_name, call, self._region, version, self._timeout_s)
            invocation.execution = execution
        try:
            thread.start()
        except RuntimeError as error:  # the process has no thread left
            raise RefusedError(500, "ServiceException", "No thread could be started") from error
        if invocation.execution is not None:
            self._executions.keep(invocation.execution)
            self._runs[invocation.execution.arn] = invocation
        return invocation

    def _prepare(self, call: LocalCall, client_context: Optional[ClientContext], now_s: float) -> _Invocation:
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
        log.append(start_line(call.request_id, context.function_version))
        cold = call.function_name not in self._warm
        return _Invocation(call, context, log, cold, started_s=now_s, deadline_s=deadline_s)

    def _run(self, invocation: _Invocation, event: object) -> None:
        """Run one handler in its thread, from beginning to end."""
        try:
            handler = self._functions[invocation.call.function_name]
            emit = invocation.pipe.put if invocation.pipe is not None else None
            trace_id = invocation.call.headers.get("x-amzn-trace-id")
            with as_on_aws(handler, invocation.context, invocation.log, trace_id, self._loops):
                invocation.result = call_handler(handler, event, invocation.context, emit)
        finally:
            # The place first: whoever has the answer may use it at once.
            with self._lock:
                self._running.discard(invocation)
            if invocation.execution is not None and invocation.result is not None:
                invocation.execution.finish(invocation.result)
            invocation.finished.set()
            if invocation.pipe is not None:
                invocation.pipe.end()
        call = invocation.call
        if self._observe is not None and call.invocation_type == "Event":
            # Whoever queued an Event has had the answer long since: its end is told here.
            duration_s = monotonic_s() - invocation.started_s
            self._observe(
                Observation(
                    qualified(call.function_name, call.qualifier), call.request_id, duration_s, result=invocation.result
                )
            )

    def _answer(self, invocation: _Invocation, log_tail: bool) -> HttpAnswer:
        """Wait for the handler, up to its timeout, and say what became of it."""
        result = invocation.execution.wait() if invocation.execution else self._result(invocation)
        if result is None:
            raise RefusedError(503, "ServiceException", "LocalLambda was closed during the invocation")
        answer = result.to_answer(invocation.context.function_version)
        if log_tail:
            answer.headers["X-Amz-Log-Result"] = encode_log_tail(self._log_of(invocation, result))
        return answer

    def _result(self, invocation: _Invocation) -> Optional[HandlerResult]:
        if invocation.finished.wait(invocation.deadline_s - monotonic_s()):
            return invocation.result
        return timed_out(invocation.call.request_id, self._timeout_s)

    def _frames(self, invocation: _Invocation, log_tail: bool) -> Generator[bytes, None, None]:
        """What the handler yields, as it comes, up to its timeout, and then what became of it."""
        pipe = invocation.pipe or Pipe()
        result = None
        try:
            for chunk in iter(lambda: pipe.get(invocation.deadline_s), None):
                yield payload_chunk(chunk)
            result = self._result(invocation)
            if result is not None:
                tail = encode_log_tail(self._log_of(invocation, result)) if log_tail else None
                yield invoke_complete(result if result.failed else None, tail)
        finally:
            pipe.abandon()
            call, duration_s = invocation.call, monotonic_s() - invocation.started_s
            if self._observe is not None:
                self._observe(
                    Observation(
                        qualified(call.function_name, call.qualifier),
                        call.request_id,
                        duration_s,
                        result=result,
                        streamed=True,
                    )
                )

    def _log_of(self, invocation: _Invocation, result: HandlerResult) -> str:
        """Everything that AWS's log would hold of a call that has been answered for."""
        duration_ms = (monotonic_s() - invocation.started_s) * 1_000
        request_id = invocation.call.request_id
        late = late_line(request_id, self._timeout_s) if result == timed_out(request_id, self._timeout_s) else ""
        return "".join(invocation.log) + late + end_lines(request_id, duration_ms, self._memory_mb, invocation.cold)


@contextlib.contextmanager
def as_on_aws(
    handler: Handler, context: LambdaContext, log: List[str], trace_id: Optional[str], loops: EventLoops
) -> Iterator[None]:
    """Lend the process to a handler, as if it were its own: its variables, its streams, its event loop."""
    region = context.invoked_function_arn.split(":")[3]
    variables = lambda_variables(handler, context, region, trace_id)
    with loops.of(context.function_name), environment_of(context, variables), output_of(context, log):
        yield


def _check_functions(functions: object) -> None:
    if not isinstance(functions, Mapping):
        raise ValueError(f"functions must map names to handlers; got {type(functions).__name__}")
    for name, handler in functions.items():
        if not isinstance(name, str) or not is_name(name):
            raise ValueError(f"functions: a name must be 1 to 64 of A-Za-z0-9-_.; got {name!r}")
        check_handler(f"functions: {name!r}", handler)


def _check_durable(durable: object, functions: Mapping[str, Handler]) -> None:
    if isinstance(durable, str) or not isinstance(durable, CollectionABC):
        raise ValueError(f"durable must be names of functions, {{'dice'}} for example; got {type(durable).__name__}")
    for name in durable:
        if name not in functions:
            raise ValueError(f"durable: {name!r} is none of the functions")


def observed(functions: Mapping[str, Handler], observe: Callable[[Observation], None], **settings: Any) -> LocalLambda:
    """A LocalLambda that tells how each request went, and keeps no calls. ``observe`` runs in the request's thread."""
    local = LocalLambda(functions, **settings)
    local._observe = observe
    return local
