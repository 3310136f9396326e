"""LambdaAdapter: the one object that users hold."""

import functools
import logging
import math
import sys
from concurrent.futures import Future
from typing import (
    TYPE_CHECKING,
    Any,
    AsyncGenerator,
    AsyncIterable,
    Awaitable,
    Callable,
    Dict,
    FrozenSet,
    Generator,
    Iterable,
    List,
    Optional,
    Tuple,
    TypeVar,
    Union,
    get_args,
)

import attrs
from attrs.validators import optional

from ._aws import failures
from ._aws.clients import ClientLease, ClientSettings, GivenClient, LambdaClient
from ._aws.failures import Failure
from ._call import many
from ._call.attempts import Invoker
from ._call.backoff import Backoff
from ._call.deadline import Deadline
from ._call.ending import Ending
from ._call.interruptions import check_not_interrupted
from ._call.outcomes import Progress, Result, failed, refuse, refused, timed_out, to_response
from ._call.places import QueueFullError
from ._call.reporter import AttemptReporter
from ._call.steps import Job, Steps, drive
from ._call.threads import NoThreadError
from ._call.workers import Workers
from ._process import forks, loops
from ._process.clock import monotonic_s
from ._rules import limits, validation
from ._rules.identifiers import FunctionIdentifier
from ._rules.validation import checked
from ._text.log_lines import log_line, logger
from ._wire.arguments import CHECK, InvokeArguments
from ._wire.payload import EncodedRequest, UnfitRequestError, encode_request
from .circuit import Circuit, CircuitBreaker
from .codes import InvocationType
from .errors import ClosedError, ConfigurationError, CredentialsError
from .health import Health, HealthTracker
from .invocations import Attempt
from .messages import ExecuteResponse, Id, Request

if TYPE_CHECKING:
    # What scripts do without costs them no time; each is imported where it is made.
    from ._call.durable import DurableCalls
    from ._call.streams import StreamReader
    from .executions import Execution
    from .streams import AsyncTextStream, StreamedCall, TextStream

R = TypeVar("R", bound=Request)
F = TypeVar("F", bound="Union[Future[Any], Awaitable[Any]]")

logger.addHandler(logging.NullHandler())

_MAX_PAYLOAD_BYTES = {
    "RequestResponse": limits.MAX_REQUEST_RESPONSE_BYTES,
    "Event": limits.MAX_EVENT_BYTES,
}


@attrs.frozen(eq=False)
class LambdaAdapter:
    """Runs one of a bot's modules on AWS Lambda.

    ``execute`` and ``execute_async`` answer every request with one ExecuteResponse and raise nothing for what happens
    to a call. One adapter serves any number of threads and event loops. All parameters can be read as attributes and
    are fixed.

    Args:
        function_identifier: The function's name, partial ARN or ARN, with ``:alias`` or ``:version`` if need be.
        region: The function's region, "us-east-1" for example.
        module_name: The module's name in the bot: letters, digits, underscores and hyphens.
        function_prefix: Goes in front of a name, "waddlebot-" for example; not in front of an ARN.
        invocation_type: "RequestResponse" waits for the answer, "Event" queues the call and does not.
        max_retries: Attempts after the first, 0 to 100.
        initial_retry_delay: Seconds before the first retry, over 0 and up to 3,600; doubled for each further one.
        max_retry_delay: The longest wait before a retry in seconds, over 0 and up to 3,600.
        connect_timeout: Seconds to connect within, over 0 and up to 120.
        read_timeout: Seconds without a byte of the answer, over 0 and up to 1,860 (a function may run 30 minutes).
        aws_access_key_id: With ``aws_secret_access_key``, else the environment, profile or role decides.
        aws_secret_access_key: The secret of ``aws_access_key_id``; one goes with the other.
        module_version: The module's version, for ``get_module_info``.
        required_scopes: The permissions that a request's ``scopes`` must hold.
        aws_session_token: The third part of temporary credentials, with key id and secret.
        endpoint_url: Another Invoke endpoint: https, or http on loopback.
        client: A ready boto3 Lambda client, used as it is; its owner keeps it, its retries and its forks.
        qualifier: A version or alias of the function.
        idempotent: The function may safely run twice. False: a failure that leaves open whether it ran is final.
        jitter: The share of each delay that is random, 0.0 to 1.0.
        total_timeout: Seconds until the caller has an answer, over 0 and up to 86,400: queueing, credentials, attempts
            and waits are all within it. An attempt that is in flight then still finishes in its thread.
        durable: Run the function once for each ``session_id``, however often and by whomever it is asked for, by AWS's
            durable executions; ``idempotent`` then forbids no retry. The function must have been created for them, and
            needs a version or an alias.
        max_concurrency: Calls through ``execute_async`` and ``execute_many`` that run at once, 1 to 1,024. Places go
            round the communities that wait.
        max_pending: Further calls that may wait for a place, from 0; one more is refused as ``overloaded``. None: any
            number.
        max_pending_per_community: Calls of one community that may wait for a place, from 0; one more is refused as
            ``overloaded``. None: any number.
        forward_metadata: Send the metadata's other keys to the function too, as ``metadata`` in its event: all but
            "community", "user", "entity", "is_event", "event_type" and "event_data".
        strict_metadata: Refuse a request with an unknown key in "community", "user" or "entity" of its metadata. False:
            the key is not sent, and the log has a line at DEBUG.
        allow_http: Admit plain http to a host that is not loopback, for a container's emulator; never for AWS.
        enforce_scopes: Refuse requests that lack one of ``required_scopes``.
        isolate_communities: Send ``community_id`` as TenantId, so that AWS keeps communities' environments apart; the
            function must have been created with tenant isolation.
        send_client_context: Send request_id, attempt and deadline_ms in the client context's ``custom``.
        log_tail: Ask for the end of the function's log: ``invocation.log_tail`` and ``invocation.report``.
        unhealthy_threshold: Consecutive failures that make the adapter unhealthy, from 1.
        circuit_breaker: When to leave a function that is down alone, and when to try it again.
        on_attempt: Called with an Attempt after each attempt, in the thread that made it. What it raises is logged
            once and changes nothing.

    Raises:
        ValueError: A parameter, or a variable that stands for one, is not as said above; the message names it.
        CredentialsError: Where AWS credentials come from is set up so that there can never be any. One without
            credentials, or whose source is down, is no error: they are looked for again in each call.
    """

    function_identifier: str
    """The function's name, partial ARN or ARN, with ``:alias`` or ``:version`` if need be."""
    region: str = attrs.field(validator=checked(validation.check_region))
    """The function's region, "us-east-1" for example."""
    module_name: str = attrs.field(validator=checked(validation.check_module_name))
    """The module's name in the bot: letters, digits, underscores and hyphens."""
    function_prefix: Optional[str] = attrs.field(default=None, validator=checked(validation.check_function_prefix))
    """Goes in front of a name, "waddlebot-" for example; not in front of an ARN."""
    invocation_type: InvocationType = attrs.field(
        default="RequestResponse", validator=validation.one_of(get_args(InvocationType))
    )
    """"RequestResponse" waits for the answer, "Event" queues the call and does not."""
    max_retries: int = attrs.field(default=3, validator=validation.integer(least=0, most=limits.MAX_RETRIES))
    """Attempts after the first, 0 to 100."""
    initial_retry_delay: float = attrs.field(default=0.5, validator=validation.number(most=limits.MAX_DELAY_S))
    """Seconds before the first retry, over 0 and up to 3,600; doubled for each further one."""
    max_retry_delay: float = attrs.field(default=30.0, validator=validation.number(most=limits.MAX_DELAY_S))
    """The longest wait before a retry in seconds, over 0 and up to 3,600."""
    connect_timeout: float = attrs.field(default=10.0, validator=validation.number(most=limits.MAX_CONNECT_TIMEOUT_S))
    """Seconds to connect within, over 0 and up to 120."""
    read_timeout: float = attrs.field(default=30.0, validator=validation.number(most=limits.MAX_READ_TIMEOUT_S))
    """Seconds without a byte of the answer, over 0 and up to 1,860 (a function may run 30 minutes)."""
    aws_access_key_id: Optional[str] = attrs.field(
        default=None, validator=checked(validation.check_credential), repr=False
    )
    """With ``aws_secret_access_key``, else the environment, profile or role decides."""
    aws_secret_access_key: Optional[str] = attrs.field(
        default=None, validator=checked(validation.check_credential), repr=False
    )
    """The secret of ``aws_access_key_id``; one goes with the other."""
    module_version: str = attrs.field(default="1.0.0", validator=checked(validation.check_module_version))
    """The module's version, for ``get_module_info``."""
    required_scopes: List[str] = attrs.field(
        default=None, converter=validation.to_scopes, validator=checked(validation.check_scopes)
    )
    """The permissions that a request's ``scopes`` must hold."""
    aws_session_token: Optional[str] = attrs.field(
        default=None, validator=checked(validation.check_credential), repr=False, kw_only=True
    )
    """The third part of temporary credentials, with key id and secret."""
    endpoint_url: Optional[str] = attrs.field(default=None, repr=False, kw_only=True)
    """Another Invoke endpoint: https, or http on loopback."""
    client: Optional[LambdaClient] = attrs.field(default=None, repr=False, kw_only=True)
    """A ready boto3 Lambda client, used as it is; its owner keeps it, its retries and its forks."""
    qualifier: Optional[str] = attrs.field(default=None, validator=checked(validation.check_qualifier), kw_only=True)
    """A version or alias of the function."""
    idempotent: bool = attrs.field(default=True, validator=checked(validation.check_flag), kw_only=True)
    """The function may safely run twice. False: a failure that leaves open whether it ran is final."""
    jitter: float = attrs.field(default=1.0, validator=validation.number(most=1, positive=False), kw_only=True)
    """The share of each delay that is random, 0.0 to 1.0."""
    total_timeout: Optional[float] = attrs.field(
        default=None, validator=optional(validation.number(most=limits.MAX_TOTAL_TIMEOUT_S)), kw_only=True
    )
    """Seconds until the caller has an answer, over 0 and up to 86,400: queueing, credentials, attempts and waits are
    all within it. An attempt that is in flight then still finishes in its thread.
    """
    durable: bool = attrs.field(default=False, validator=checked(validation.check_flag), kw_only=True)
    """Run the function once for each ``session_id``, however often and by whomever it is asked for, by AWS's durable
    executions; ``idempotent`` then forbids no retry. The function must have been created for them, and needs a version
    or an alias.
    """
    max_concurrency: int = attrs.field(
        default=64, validator=validation.integer(least=1, most=limits.MAX_CONCURRENCY), kw_only=True
    )
    """Calls through ``execute_async`` and ``execute_many`` that run at once, 1 to 1,024. Places go round the
    communities that wait.
    """
    max_pending: Optional[int] = attrs.field(
        default=None, validator=optional(validation.integer(least=0)), kw_only=True
    )
    """Further calls that may wait for a place, from 0; one more is refused as ``overloaded``. None: any number."""
    max_pending_per_community: Optional[int] = attrs.field(
        default=None, validator=optional(validation.integer(least=0)), kw_only=True
    )
    """Calls of one community that may wait for a place, from 0; one more is refused as ``overloaded``. None: any
    number.
    """
    forward_metadata: bool = attrs.field(default=False, validator=checked(validation.check_flag), kw_only=True)
    """Send the metadata's other keys to the function too, as ``metadata`` in its event: all but "community", "user",
    "entity", "is_event", "event_type" and "event_data".
    """
    strict_metadata: bool = attrs.field(default=False, validator=checked(validation.check_flag), kw_only=True)
    """Refuse a request with an unknown key in "community", "user" or "entity" of its metadata. False: the key is not
    sent, and the log has a line at DEBUG.
    """
    allow_http: bool = attrs.field(default=False, validator=checked(validation.check_flag), kw_only=True)
    """Admit plain http to a host that is not loopback, for a container's emulator; never for AWS."""
    enforce_scopes: bool = attrs.field(default=True, validator=checked(validation.check_flag), kw_only=True)
    """Refuse requests that lack one of ``required_scopes``."""
    isolate_communities: bool = attrs.field(default=False, validator=checked(validation.check_flag), kw_only=True)
    """Send ``community_id`` as TenantId, so that AWS keeps communities' environments apart; the function must have been
    created with tenant isolation.
    """
    send_client_context: bool = attrs.field(default=False, validator=checked(validation.check_flag), kw_only=True)
    """Send request_id, attempt and deadline_ms in the client context's ``custom``."""
    log_tail: bool = attrs.field(default=False, validator=checked(validation.check_flag), kw_only=True)
    """Ask for the end of the function's log: ``invocation.log_tail`` and ``invocation.report``."""
    unhealthy_threshold: int = attrs.field(default=3, validator=validation.integer(least=1), kw_only=True)
    """Consecutive failures that make the adapter unhealthy, from 1."""
    circuit_breaker: Optional[CircuitBreaker] = attrs.field(
        default=None, validator=optional(validation.instance(CircuitBreaker)), kw_only=True
    )
    """When to leave a function that is down alone, and when to try it again."""
    on_attempt: Optional[Callable[[Attempt], object]] = attrs.field(
        default=None, validator=optional(checked(validation.check_plain_function)), repr=False, kw_only=True
    )
    """Called with an Attempt after each attempt, in the thread that made it. What it raises is logged once and changes
    nothing.
    """

    function_name: str = attrs.field(init=False)
    """The name that is invoked: prefix and identifier in one."""
    _required: FrozenSet[str] = attrs.field(init=False, repr=False)
    _encode: Callable[[Request], EncodedRequest] = attrs.field(init=False, repr=False)
    _health: HealthTracker = attrs.field(init=False, repr=False)
    _circuit: Circuit = attrs.field(init=False, repr=False)
    _lease: Union[ClientLease, GivenClient] = attrs.field(init=False, repr=False)
    _arguments: InvokeArguments = attrs.field(init=False, repr=False)
    #: Only with ``durable``.
    _calls: Optional["DurableCalls"] = attrs.field(init=False, repr=False)
    _invoker: Invoker = attrs.field(init=False, repr=False)
    #: For ``start``.
    _starter: Invoker = attrs.field(init=False, repr=False)
    _workers: Workers = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        validation.check_credentials_complete(
            self.aws_access_key_id, self.aws_secret_access_key, self.aws_session_token
        )
        validation.check_own_client(self.client, self.region, self.aws_access_key_id, self.endpoint_url)
        if self.endpoint_url is not None:
            validation.check_endpoint("endpoint_url", self.endpoint_url, self.allow_http)
        function = validation.function(self.function_identifier, self.function_prefix, self.region)
        validation.check_one_qualifier(function, self.qualifier)
        if self.durable:
            validation.check_qualified(function, self.qualifier)
        validation.check_synchronous(
            self.invocation_type, log_tail=self.log_tail, send_client_context=self.send_client_context
        )
        lease = self._lease_client(function.text)
        if self.isolate_communities:
            validation.check_tenants_known(lease.get().client)
        if self.durable:
            validation.check_executions_known(lease.get().client)
        arguments = InvokeArguments(
            function.text,
            invocation_type=self.invocation_type,
            qualifier=self.qualifier,
            isolate_communities=self.isolate_communities,
            send_client_context=self.send_client_context,
            log_tail=self.log_tail,
            durable=self.durable,
        )
        # The class is frozen for its users; these are its own.
        for name, value in (
            ("function_name", function.text),
            ("_required", frozenset(self.required_scopes)),
            ("_encode", self._encoder()),
            ("_health", HealthTracker(self.unhealthy_threshold)),
            ("_circuit", Circuit(self.circuit_breaker)),
            ("_lease", lease),
            ("_arguments", arguments),
            (
                "_workers",
                Workers(
                    f"lambda_adapter-{self.module_name}",
                    self.max_concurrency,
                    self.max_pending,
                    self.max_pending_per_community,
                ),
            ),
        ):
            object.__setattr__(self, name, value)
        calls = self._make_durable_calls(function) if self.durable else None
        object.__setattr__(self, "_calls", calls)
        object.__setattr__(self, "_invoker", self._make_invoker(arguments, self.on_attempt))
        starter = self._make_invoker(arguments.of_start(), self.on_attempt) if self.durable else self._invoker
        object.__setattr__(self, "_starter", starter)
        log_line(
            logging.INFO,
            "Initialised",
            {
                "module_name": self.module_name,
                "function_name": function.text,
                "region": self.region,
                "invocation_type": self.invocation_type,
                "max_retries": self.max_retries,
            },
        )

    def _encoder(self) -> Callable[[Request], EncodedRequest]:
        if not self.forward_metadata and not self.strict_metadata:
            return encode_request
        return functools.partial(
            encode_request, forward_metadata=self.forward_metadata, strict_metadata=self.strict_metadata
        )

    def _lease_client(self, function_name: str) -> Union[ClientLease, GivenClient]:
        if self.client is not None:
            return GivenClient(self.client)
        lease = ClientLease(
            ClientSettings(
                region=self.region,
                connect_timeout_s=float(self.connect_timeout),
                read_timeout_s=float(self.read_timeout),
                endpoint_url=self.endpoint_url,
                access_key_id=self.aws_access_key_id,
                secret_access_key=self.aws_secret_access_key,
                session_token=self.aws_session_token,
                allow_http=self.allow_http,
            )
        )
        # Now, not in the first call: what is wrong with the set-up is said here, and no request waits for boto3.
        try:
            why = lease.why_unusable()
        except (ValueError, ImportError):
            raise
        except Exception as exc:
            raise ConfigurationError(to_response(refused(failures.from_set_up(exc)), function_name)) from None
        if why is not None:
            raise CredentialsError(to_response(refused(Failure("configuration_error", why)), function_name))
        return lease

    def _renew_other(self, stale: object) -> bool:
        """Renew, and say whether that gave another client: a check with the same keys would only say the same later."""
        return self._lease.renew(stale) and self._lease.get() is not stale

    def _make_invoker(
        self,
        arguments: InvokeArguments,
        on_attempt: Optional[Callable[[Attempt], object]],
        renew: Optional[Callable[[object], bool]] = None,
    ) -> Invoker:
        return Invoker(
            arguments,
            self._lease.get,
            Backoff(self.initial_retry_delay, self.max_retry_delay, self.jitter),
            self.max_retries,
            # Whatever is asked for again is the same execution.
            self.idempotent or self.durable,
            AttemptReporter(on_attempt, self.module_name, arguments.function_name),
            renew=renew or self._lease.renew,
            attach=self._calls.attach(arguments) if self._calls and arguments.durable else None,
        )

    def _make_durable_calls(self, function: FunctionIdentifier) -> "DurableCalls":
        from ._call.durable import DurableCalls
        from ._call.executions import Executions

        executions = Executions(
            function,
            self.region,
            self._lease.get,
            Backoff(self.initial_retry_delay, self.max_retry_delay, self.jitter),
            self.max_retries,
            self.read_timeout,
            renew=self._lease.renew,
        )
        workers = self._workers
        # Nothing of it leads back here: an adapter that is dropped ends at once.
        return DurableCalls(
            executions,
            self._arguments,
            self._health,
            self.total_timeout,
            lambda: workers.closed,
            functools.partial(refuse, function_name=self.function_name, module_name=self.module_name),
        )

    @property
    def MODULE_NAME(self) -> str:
        """``module_name``, under WaddleBot's name for it."""
        return self.module_name

    @property
    def MODULE_VERSION(self) -> str:
        """``module_version``, under WaddleBot's name for it."""
        return self.module_version

    @property
    def REQUIRED_SCOPES(self) -> List[str]:
        """``required_scopes``, under WaddleBot's name for it."""
        return list(self.required_scopes)

    def execute(self, request: Request) -> ExecuteResponse:
        """Run the module and wait for its answer, retries and their delays included.

        In a coroutine it blocks the event loop: use ``execute_async``. With asyncio's debug mode on, a RuntimeWarning
        says so.

        Args:
            request: An ExecuteRequest, or any object with its attributes.

        Returns:
            The one response, whatever happened; ``error_code`` says what did.
        """
        loops.warn_of_blocking("execute")
        job = self._job(request, needs_place=False)
        return job if isinstance(job, ExecuteResponse) else self._run(job)

    async def execute_async(self, request: Request) -> ExecuteResponse:
        """``execute`` for the caller's event loop: the blocking call runs in this adapter's own daemon threads.

        The request is encoded before control is first given up. Cancelling it stops further attempts; one that is in
        flight finishes in its thread.

        Raises:
            RuntimeError: No asyncio event loop is running.
        """
        return await self._run_async(self._job(request))

    def execute_many(self, requests: Iterable[R]) -> "Generator[Tuple[R, ExecuteResponse], None, None]":
        """Run the module for each request, ``max_concurrency`` at once, and yield pairs as calls finish.

        ``requests`` may be endless: no more than ``max_concurrency`` of them are read ahead of the pairs, and the next
        one only when the last one has its place. Where other callers have all places a batch waits, with one call that
        neither ``max_pending`` nor ``max_pending_per_community`` refuses or counts.

        To stop early and lose nothing, let ``requests`` end: what is under way is still yielded. Closing the generator
        instead ends calls that wait; attempts in flight finish in their threads.

        Example::

            def until_told(requests, stop):
                for request in requests:
                    yield request
                    if stop.is_set():  # a threading.Event, which a signal handler sets
                        return

            for request, response in adapter.execute_many(until_told(requests, stop)):
                ...

        Args:
            requests: What ``execute`` takes, from any iterable. Answers that come while it makes one wait for its next
                request are yielded after that.

        Yields:
            Each request with its response, in the order in which they finish.

        Raises:
            Exception: ``requests`` raised it; what was under way is yielded first.
        """
        loops.warn_of_blocking("execute_many", "use {}_async")
        return many.pairs(many.Calls(self._begin, self.max_concurrency), requests)

    def execute_many_async(
        self, requests: Union[Iterable[R], AsyncIterable[R]]
    ) -> "AsyncGenerator[Tuple[R, ExecuteResponse], None]":
        """``execute_many`` for the caller's event loop, for plain and for asynchronous iterables.

        A task reads ``requests``, a plain iterable too, in the event loop's thread; so answers are yielded while an
        asynchronous one waits for its next request. It reads on while the loop's body is at work, up to
        ``max_concurrency`` requests ahead.

        Leave it by ``contextlib.aclosing`` (Python 3.10) or ``aclose()``: a bare ``break`` leaves that to the garbage
        collector. Closing it, and cancelling whoever iterates, cancels a wait for the next request and ends calls that
        wait; attempts in flight finish in their threads.

        Example::

            async with contextlib.aclosing(adapter.execute_many_async(requests)) as pairs:
                async for request, response in pairs:
                    ...

        Args:
            requests: What ``execute`` takes, from any iterable or asynchronous iterable. To stop early and lose
                nothing, let it end.

        Yields:
            Each request with its response, in the order in which they finish.

        Raises:
            Exception: ``requests`` raised it; what was under way is yielded first.
        """
        return many.pairs_async(self._begin, self.max_concurrency, requests)

    def execute_stream(self, request: Request) -> "TextStream":
        """Run the module and read its answer as it is written, in the caller's thread.

        Example::

            with adapter.execute_stream(request) as stream:
                for text in stream:
                    print(text, end="", flush=True)
            response = stream.response

        Args:
            request: As for ``execute``; it is read now, and sent with the first text that is asked for.

        Returns:
            An iterator of text. It raises nothing for what happens to the call; its ``response`` says that.

        Raises:
            ValueError: The adapter's ``invocation_type`` is "Event", which has no answer; or the adapter is durable.
        """
        loops.warn_of_blocking("execute_stream", "use {}_async")
        from .streams import TextStream

        return TextStream(self._streamed(request, needs_place=False))

    def execute_stream_async(self, request: Request) -> "AsyncTextStream":
        """``execute_stream`` for the caller's event loop: one of this adapter's own daemon threads reads.

        It takes one place of ``max_concurrency`` until its end. A reader who is slow slows the function.

        Example::

            async with adapter.execute_stream_async(request) as stream:
                async for text in stream:
                    await edit(text)
            response = stream.response

        Args:
            request: As for ``execute``; it is read now, and sent with the ``async with``.

        Returns:
            An asynchronous iterator of text. It raises nothing for what happens to the call.

        Raises:
            ValueError: The adapter's ``invocation_type`` is "Event", which has no answer; or the adapter is durable.
        """
        from .streams import AsyncTextStream

        return AsyncTextStream(self._streamed(request, needs_place=True))

    def _streamed(self, request: Request, needs_place: bool) -> "Union[ExecuteResponse, StreamedCall]":
        """A call whose answer is read as it comes; or the answer to one that makes no attempt."""
        from ._call.streams import StreamReader
        from .streams import StreamedCall

        if self.invocation_type != "RequestResponse":
            raise ValueError(f"a stream needs invocation_type RequestResponse, not {self.invocation_type}")
        if self.durable:
            raise ValueError("a durable adapter cannot stream: a call is durable or streamed")
        deadline = self._deadline()
        encoded = self._prepare(request, self._invoker.arguments)
        if isinstance(encoded, Failure):
            return self._refuse(encoded)
        ending = self._ending(encoded, deadline)
        reader = StreamReader(ending.progress)
        at_s = None if deadline is None else deadline.at_s
        steps = self._steps(self._invoker, encoded, deadline, ending, reader)
        job = Job(steps, encoded.community, needs_place, at_s, ending.late)

        def submit(pumped: "Job[Any]") -> "Union[ExecuteResponse, Future[Any]]":
            return self._submit(lambda: self._workers.submit(lambda: pumped))

        return StreamedCall(job, reader, ending, submit, self._workers.wait)

    def _begin(
        self, request: Request, has_place: Callable[[], object]
    ) -> "Union[ExecuteResponse, Future[ExecuteResponse]]":
        """Hand one call of many to the adapter's own threads; or the answer to one that makes no attempt."""
        job = self._job(request)
        if isinstance(job, ExecuteResponse):
            return job
        job = attrs.evolve(job, steps=many.announced(job.steps, has_place), is_patient=True)
        return self._submit(lambda: self._workers.submit(lambda: job))

    def _run(self, job: "Job[ExecuteResponse]") -> ExecuteResponse:
        """Run a call in the caller's thread, or, where its time is limited, in one that the caller can leave behind."""
        if job.deadline_s is None:
            return drive(job.steps, self._workers.wait)
        running = self._submit(lambda: self._workers.submit(lambda: job))
        if isinstance(running, ExecuteResponse):
            return running
        try:
            response: ExecuteResponse = running.result()
            return response
        except BaseException:
            running.cancel()
            raise

    async def _run_async(self, job: "Union[ExecuteResponse, Job[ExecuteResponse]]") -> ExecuteResponse:
        """Run a call in the adapter's own threads, and await it."""
        import asyncio  # here, so that a script that only calls execute does not take its time

        if isinstance(job, ExecuteResponse):
            return job
        loop = asyncio.get_running_loop()
        running: Any = self._submit(lambda: loop.run_in_executor(self._workers, lambda: job))
        if isinstance(running, ExecuteResponse):
            return running
        response: ExecuteResponse = await running
        return response

    def _submit(self, submit: Callable[[], F]) -> Union[ExecuteResponse, F]:
        try:
            return submit()
        except QueueFullError as exc:
            return self._refuse(Failure("overloaded", str(exc)))
        except NoThreadError as exc:
            at_end = sys.is_finalizing() or "shutdown" in str(exc)
            cause = (
                "no thread can be started at interpreter shutdown" if at_end else "the machine has no thread to spare"
            )
            return self._refuse(Failure("overloaded", cause))

    def start(self, request: Request) -> "Execution":
        """Begin the module's run for this request and do not wait for its answer: ``result`` fetches that later.

        The run is one for each ``session_id``: beginning it again begins nothing. It needs ``durable=True``.

        Args:
            request: As for ``execute``; an Event's payload may have 1 MB.

        Returns:
            What to keep for ``result``; its ``error_code`` says why the run was not begun, or perhaps not.

        Raises:
            ValueError: This adapter is not durable.
        """
        loops.warn_of_blocking("start")
        calls = self._durable_calls("start")
        job = self._job(request, needs_place=False, invoker=self._starter)
        return calls.to_execution(request, job if isinstance(job, ExecuteResponse) else self._run(job))

    async def start_async(self, request: Request) -> "Execution":
        """``start`` for the caller's event loop."""
        calls = self._durable_calls("start_async")
        return calls.to_execution(request, await self._run_async(self._job(request, invoker=self._starter)))

    def result(self, execution: "Union[Execution, Id]", wait: Optional[float] = None) -> ExecuteResponse:
        """Fetch the answer of a run that ``start`` or ``execute`` has begun, in this process or in another.

        It runs nothing, and an open circuit does not refuse it. ``invocation.attempts`` is 0, and ``executed`` is
        "maybe" where AWS did not say that there is such a run.

        Args:
            execution: What ``start`` returned, or the request's ``session_id``.
            wait: Seconds to wait for the answer, from 0 (look once) to 31,622,400; None: ``read_timeout``. A call's
                ``total_timeout`` begins after them.

        Returns:
            The response that ``execute`` would have given; or ``pending`` where the run has not ended.

        Raises:
            ValueError: This adapter is not durable, or ``wait`` is no such number.
        """
        loops.warn_of_blocking("result")
        calls = self._durable_calls("result")
        job = calls.result_job(execution, validation.to_wait(wait, self.read_timeout), needs_place=False)
        return job if isinstance(job, ExecuteResponse) else self._run(job)

    async def result_async(self, execution: "Union[Execution, Id]", wait: Optional[float] = None) -> ExecuteResponse:
        """``result`` for the caller's event loop; between two looks it holds no thread."""
        calls = self._durable_calls("result")
        wait_s = validation.to_wait(wait, self.read_timeout)
        return await self._run_async(calls.result_job(execution, wait_s, needs_place=True))

    def stop(self, execution: "Union[Execution, Id]") -> ExecuteResponse:
        """End a run that ``start`` or ``execute`` has begun; one that has ended stays as it is.

        Health, circuit breaker and ``on_attempt`` know nothing of it.

        Args:
            execution: As for ``result``.

        Returns:
            A response that succeeded when AWS took it.

        Raises:
            ValueError: This adapter is not durable.
        """
        loops.warn_of_blocking("stop")
        job = self._durable_calls("stop").stop_job(execution, needs_place=False)
        return job if isinstance(job, ExecuteResponse) else self._run(job)

    async def stop_async(self, execution: "Union[Execution, Id]") -> ExecuteResponse:
        """``stop`` for the caller's event loop."""
        return await self._run_async(self._durable_calls("stop").stop_job(execution, needs_place=True))

    def check(self) -> ExecuteResponse:
        """Ask AWS whether this adapter could invoke this function, without running it (a DryRun). Blocks like execute.

        Returns:
            A response that succeeded when the function exists and may be invoked, and with ``durable=True`` its
            executions may be listed, read and stopped; else ``error_code`` says what is wrong. The health counters,
            the circuit breaker and ``on_attempt`` know nothing of it.
        """
        loops.warn_of_blocking("check", "run it in a thread")
        forks.check()
        if self._workers.closed:
            return self._refuse(Failure("closed", "the adapter is closed"))
        deadline, progress = self._deadline(), Progress()

        def steps() -> Steps[ExecuteResponse]:
            invoker = self._make_invoker(self._arguments.of_check(), None, self._renew_other)
            result = yield from invoker.attempts(CHECK, deadline, progress)
            if self._calls and result.outcome.failure is None:
                result = attrs.evolve(result, outcome=self._calls.check())
            return to_response(result, self.function_name)

        if deadline is None:
            return drive(steps(), self._workers.wait)
        late = deadline  # for mypy: no longer optional
        return self._run(
            Job(
                steps(),
                needs_place=False,
                deadline_s=deadline.at_s,
                late=lambda: to_response(timed_out(late, progress), self.function_name),
            )
        )

    def _job(
        self, request: Request, needs_place: bool = True, invoker: Optional[Invoker] = None
    ) -> "Union[ExecuteResponse, Job[ExecuteResponse]]":
        """A call, ready to be run; or the answer to one that makes no attempt."""
        invoker = invoker or self._invoker
        deadline = self._deadline()
        return self._to_job(self._prepare(request, invoker.arguments), invoker, deadline, needs_place)

    def _to_job(
        self, encoded: Union[EncodedRequest, Failure], invoker: Invoker, deadline: Optional[Deadline], needs_place: bool
    ) -> "Union[ExecuteResponse, Job[ExecuteResponse]]":
        if isinstance(encoded, Failure):
            return self._refuse(encoded)
        ending = self._ending(encoded, deadline)
        steps = self._steps(invoker, encoded, deadline, ending)
        if deadline is None:
            return Job(steps, encoded.community, needs_place)
        return Job(steps, encoded.community, needs_place, deadline.at_s, ending.late)

    def _invoke_payload(self, encoded: EncodedRequest) -> ExecuteResponse:
        """One call of a function that is no module, for the command line: ``execute`` but for what is sent and taken.

        Returns:
            A response whose ``message`` is the function's answer, as JSON.
        """
        forks.check()
        invoker, deadline = self._make_invoker(self._arguments.of_any_json(), self.on_attempt), self._deadline()
        job = self._to_job(self._admit(encoded, invoker.arguments), invoker, deadline, needs_place=False)
        return job if isinstance(job, ExecuteResponse) else self._run(job)

    def _durable_calls(self, method: str) -> "DurableCalls":
        if self._calls is None:
            raise ValueError(f"durable must be True for {method}")
        return self._calls

    def _ending(self, encoded: EncodedRequest, deadline: Optional[Deadline]) -> Ending:
        return Ending(self._circuit, self._health, self.function_name, encoded.request_id, deadline, self._refuse)

    def _prepare(self, request: Request, arguments: InvokeArguments) -> Union[EncodedRequest, Failure]:
        """Everything that can be decided without an attempt."""
        forks.check()
        try:
            encoded = self._encode(request)
            arguments.check(encoded)
        except UnfitRequestError as exc:
            return Failure("invalid_request", str(exc), log_cause=exc.log_text)
        if self.enforce_scopes and not self.validate_scopes(encoded.scopes):
            missing = ", ".join(sorted(self._required.difference(encoded.scopes)))
            return Failure("missing_scopes", f"the caller lacks {missing}")
        return self._admit(encoded, arguments)

    def _admit(self, encoded: EncodedRequest, arguments: InvokeArguments) -> Union[EncodedRequest, Failure]:
        """A payload that AWS takes, for a function that is not left alone."""
        most = _MAX_PAYLOAD_BYTES[arguments.invocation_type]
        if len(encoded.payload) > most:
            return Failure(
                "payload_too_large", f"{len(encoded.payload)} bytes, and {arguments.invocation_type} takes {most}"
            )
        return encoded if self._circuit.admits() else self._circuit_open()

    def _steps(
        self,
        invoker: Invoker,
        encoded: EncodedRequest,
        deadline: Optional[Deadline],
        ending: Ending,
        reader: "Optional[StreamReader]" = None,
    ) -> Steps[Any]:
        """The blocking call, in steps between which its driver waits. None when it was ended from outside.

        With a ``reader`` the steps yield the text of the answer as well.
        """
        if self._workers.closed:
            return ending.refuse(Failure("closed", "the adapter is closed"))
        if ending.is_too_late(monotonic_s()):
            return ending.refuse_late()
        if not ending.enter():
            return ending.refuse(self._circuit_open())
        try:
            if logger.isEnabledFor(logging.INFO):
                self._log_invoking(encoded)
            try:
                result = yield from invoker.attempts(encoded, deadline, ending.progress, reader)
            except Exception as exc:
                check_not_interrupted(exc)
                result = Result(failed(failures.internal(exc)), attempts=1, why_ended="permanent")
            return ending.finish(result)
        finally:
            ending.abandon()

    def _log_invoking(self, encoded: EncodedRequest) -> None:
        fields: Dict[str, object] = {"function_name": self.function_name, "session_id": encoded.request_id}
        log_line(logging.INFO, "Invoking", {**fields, "payload_bytes": len(encoded.payload)})

    def _deadline(self) -> Optional[Deadline]:
        return None if self.total_timeout is None else Deadline.after(self.total_timeout)

    def _circuit_open(self) -> Failure:
        wait_s = self._circuit.wait_s()
        when = f"is tried again in {math.ceil(wait_s)} s" if wait_s else "is being tried"
        return Failure("circuit_open", f"the function has failed too often and {when}")

    def _refuse(self, failure: Failure) -> ExecuteResponse:
        """The answer to a call that makes no attempt."""
        return refuse(failure, self.function_name, self.module_name)

    @property
    def health(self) -> Health:
        """This moment's health counters, frozen and consistent."""
        health = self._health.health
        return health if self._circuit.is_closed else attrs.evolve(health, circuit_is_closed=False)

    def get_health_status(self) -> Dict[str, Any]:
        """The health counters as a dict: is_healthy, last_success, last_failure, consecutive_failures, total_requests,
        total_failures, error_rate.
        """
        return self.health.to_dict()

    def is_healthy(self) -> bool:
        """Whether fewer than ``unhealthy_threshold`` calls failed in a row, and the circuit is closed."""
        return self.health.is_healthy

    def get_module_info(self) -> Dict[str, Any]:
        """What a bot's module list shows: the module, its function and settings, and its health."""
        return {
            "name": self.module_name,
            "version": self.module_version,
            "required_scopes": self.REQUIRED_SCOPES,
            "type": "lambda_adapter",
            "function_name": self.function_name,
            "region": self.region,
            "invocation_type": self.invocation_type,
            "max_retries": self.max_retries,
            "connect_timeout": self.connect_timeout,
            "read_timeout": self.read_timeout,
            "health": self.get_health_status(),
            "circuit_breaker": self._circuit.to_dict(),
        }

    def validate_scopes(self, granted: Iterable[str]) -> bool:
        """Whether ``granted`` holds all of ``required_scopes``."""
        return self._required.issubset(granted)

    def close(self) -> None:
        """Refuse further calls as ``closed``, end those that wait, and let go of the client.

        Attempts in flight finish in their threads. Closing twice is harmless.
        """
        forks.check()
        self._workers.close()
        self._lease.release()

    def __repr__(self) -> str:
        # With defaults: a debugger may show one whose constructor has raised.
        name, region, module = (getattr(self, name, "?") for name in ("function_name", "region", "module_name"))
        workers = getattr(self, "_workers", None)
        closed = ", closed" if workers is not None and workers.closed else ""
        return f"<LambdaAdapter module_name={module!r} function_name={name!r} region={region!r}{closed}>"

    def __enter__(self) -> "LambdaAdapter":
        self._check_open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> "LambdaAdapter":
        self._check_open()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def _check_open(self) -> None:
        """Raise ClosedError where each call would be refused."""
        if self._workers.closed:
            failure = Failure("closed", "the adapter is closed, and cannot be opened again: make another")
            raise ClosedError(to_response(refused(failure), self.function_name))
