"""LambdaAdapter: the one object that users hold."""

import logging
import os
import weakref
from typing import Any, Dict, FrozenSet, Iterable, List, Optional, Union

import attrs

from . import clients, failures, validation
from .backoff import Backoff
from .clients import ClientLease, ClientSettings
from .failures import Failure
from .health import Health, HealthTracker
from .invoker import Invoker
from .messages import ExecuteResponse
from .outcomes import Result, failed, log_result, to_response
from .payload import EncodedRequest, InvalidRequestError, encode_request
from .workers import Steps, Workers, drive

logger = logging.getLogger("lambda_adapter")
logger.addHandler(logging.NullHandler())

_MAX_PAYLOAD_BYTES = {
    "RequestResponse": validation.MAX_REQUEST_RESPONSE_BYTES,
    "Event": validation.MAX_EVENT_BYTES,
}


class _Given:
    """Holds a client that a user gave, in the place of a shared one."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def get(self) -> "_Given":
        return self

    def release(self) -> None:
        """Its owner keeps it."""


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
        read_timeout: Seconds without a byte of the answer, over 0 and up to 960 (a function may run 15 minutes).
        aws_access_key_id: With ``aws_secret_access_key``, else the environment, profile or role decides.
        aws_secret_access_key: With ``aws_access_key_id``.
        module_version: The module's version, for ``get_module_info``.
        required_scopes: The permissions that a request's ``scopes`` must hold.
        aws_session_token: With the other two, for temporary credentials.
        endpoint_url: Another Invoke endpoint: https, or http on loopback.
        client: A ready boto3 Lambda client, used as it is; its owner keeps it, its retries and its forks.
        idempotent: The function may safely run twice. False: a failure that leaves open whether it ran is final.
        jitter: The share of each delay that is random, 0.0 to 1.0.
        max_concurrency: Invocations in flight at once through ``execute_async``, 1 to 1,024.
        enforce_scopes: Refuse requests that lack one of ``required_scopes``.
        unhealthy_threshold: Consecutive failures that make the adapter unhealthy, from 1.

    Raises:
        ValueError: A parameter is not as said above; the message names it.
    """

    function_identifier: str
    region: str = attrs.field(validator=validation.region)
    module_name: str = attrs.field(validator=validation.module_name)
    function_prefix: Optional[str] = attrs.field(default=None, validator=validation.function_prefix)
    invocation_type: str = attrs.field(
        default="RequestResponse", validator=validation.one_of(validation.INVOCATION_TYPES)
    )
    max_retries: int = attrs.field(default=3, validator=validation.integer(least=0, most=validation.MAX_RETRIES))
    initial_retry_delay: float = attrs.field(default=0.5, validator=validation.number(most=validation.MAX_DELAY_S))
    max_retry_delay: float = attrs.field(default=30.0, validator=validation.number(most=validation.MAX_DELAY_S))
    connect_timeout: float = attrs.field(
        default=10.0, validator=validation.number(most=validation.MAX_CONNECT_TIMEOUT_S)
    )
    read_timeout: float = attrs.field(default=30.0, validator=validation.number(most=validation.MAX_READ_TIMEOUT_S))
    aws_access_key_id: Optional[str] = attrs.field(default=None, validator=validation.credential, repr=False)
    aws_secret_access_key: Optional[str] = attrs.field(default=None, validator=validation.credential, repr=False)
    module_version: str = attrs.field(default="1.0.0", validator=validation.module_version)
    required_scopes: List[str] = attrs.field(default=None, converter=validation.to_scopes, validator=validation.scopes)
    aws_session_token: Optional[str] = attrs.field(
        default=None, validator=validation.credential, repr=False, kw_only=True
    )
    endpoint_url: Optional[str] = attrs.field(default=None, validator=validation.endpoint_url, repr=False, kw_only=True)
    client: Any = attrs.field(default=None, repr=False, kw_only=True)
    idempotent: bool = attrs.field(default=True, validator=validation.flag, kw_only=True)
    jitter: float = attrs.field(default=1.0, validator=validation.number(most=1, positive=False), kw_only=True)
    max_concurrency: int = attrs.field(
        default=64, validator=validation.integer(least=1, most=validation.MAX_CONCURRENCY), kw_only=True
    )
    enforce_scopes: bool = attrs.field(default=True, validator=validation.flag, kw_only=True)
    unhealthy_threshold: int = attrs.field(default=3, validator=validation.integer(least=1), kw_only=True)

    #: The name that is invoked: prefix and identifier in one.
    function_name: str = attrs.field(init=False)
    _required: FrozenSet[str] = attrs.field(init=False, repr=False)
    _health: HealthTracker = attrs.field(init=False, repr=False)
    _lease: Union[ClientLease, _Given] = attrs.field(init=False, repr=False)
    _invoker: Invoker = attrs.field(init=False, repr=False)
    _workers: Workers = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        validation.complete_credentials(self.aws_access_key_id, self.aws_secret_access_key, self.aws_session_token)
        validation.own_client(self.client, self.aws_access_key_id, self.endpoint_url)
        function_name = validation.function_name(self.function_identifier, self.function_prefix, self.region)
        lease = self._lease_client()
        invoker = Invoker(
            function_name,
            self.invocation_type,
            lease.get,
            Backoff(self.initial_retry_delay, self.max_retry_delay, self.jitter),
            self.max_retries,
            self.idempotent,
        )
        workers = Workers(f"lambda_adapter-{self.module_name}", self.max_concurrency)
        # The class is frozen for its users; these are its own.
        for name, value in (
            ("function_name", function_name),
            ("_required", frozenset(self.required_scopes)),
            ("_health", HealthTracker(self.unhealthy_threshold)),
            ("_lease", lease),
            ("_invoker", invoker),
            ("_workers", workers),
        ):
            object.__setattr__(self, name, value)
        _live.add(self)
        logger.info(
            "Initialised module=%s function=%s region=%s type=%s retries=%d",
            self.module_name,
            function_name,
            self.region,
            self.invocation_type,
            self.max_retries,
        )

    def _lease_client(self) -> Union[ClientLease, _Given]:
        if self.client is not None:
            return _Given(self.client)
        lease = ClientLease(
            ClientSettings(
                region=self.region,
                connect_timeout_s=float(self.connect_timeout),
                read_timeout_s=float(self.read_timeout),
                endpoint_url=self.endpoint_url,
                access_key_id=self.aws_access_key_id,
                secret_access_key=self.aws_secret_access_key,
                session_token=self.aws_session_token,
            )
        )
        # Now, not in the first call: what is wrong with the set-up is said here, and no request waits for boto3.
        lease.get()
        return lease

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

    def execute(self, request: Any) -> ExecuteResponse:
        """Run the module and wait for its answer, retries and their delays included.

        Args:
            request: An ExecuteRequest, or any object with its attributes.

        Returns:
            The one response, whatever happened; ``error_code`` says what did.
        """
        call = self._prepare(request)
        if isinstance(call, Failure):
            return self._refuse(call)
        return drive(self._steps(call), self._workers.wait)

    async def execute_async(self, request: Any) -> ExecuteResponse:
        """``execute`` for the caller's event loop: the blocking call runs in this adapter's own daemon threads.

        The request is encoded before control is first given up. Cancelling it stops further attempts; one that is in
        flight finishes in its thread.
        """
        import asyncio  # here, so that a script that only calls execute does not take its time

        call = self._prepare(request)
        if isinstance(call, Failure):
            return self._refuse(call)
        try:
            running = asyncio.get_running_loop().run_in_executor(self._workers, self._steps, call)
        except RuntimeError:
            return self._refuse(Failure("overloaded", "the machine has no thread to spare"))
        # Workers runs the steps to their result, which typeshed's Executor cannot know.
        response: ExecuteResponse = await running  # type: ignore[assignment]
        return response

    def _prepare(self, request: Any) -> Union[EncodedRequest, Failure]:
        """Everything that can be decided without an attempt."""
        try:
            call = encode_request(request)
        except InvalidRequestError as exc:
            return Failure("invalid_request", str(exc))
        if self.enforce_scopes and not self.validate_scopes(call.scopes):
            missing = ", ".join(sorted(self._required.difference(call.scopes)))
            return Failure("missing_scopes", f"the caller lacks {missing}")
        most = _MAX_PAYLOAD_BYTES[self.invocation_type]
        if len(call.payload) > most:
            return Failure("payload_too_large", f"{len(call.payload)} bytes, and {self.invocation_type} takes {most}")
        return call

    def _steps(self, call: EncodedRequest) -> Steps[ExecuteResponse]:
        """The blocking call, in steps between which its driver waits."""
        if self._workers.closed:
            return self._refuse(Failure("closed", "the adapter is closed"))
        logger.info("Invoking function=%s request=%s bytes=%d", self.function_name, call.request_id, len(call.payload))
        try:
            result = yield from self._invoker.attempts(call.payload, call.request_id)
        except Exception as exc:
            result = Result(failed(failures.internal(exc)), attempts=1)
        failure = result.outcome.failure
        if failure is None or failure.error_code not in failures.REFUSALS:
            self._health.record(success=failure is None)
        log_result(result, self.function_name, call.request_id)
        return to_response(result, self.function_name)

    def _refuse(self, failure: Failure) -> ExecuteResponse:
        """The answer to a call that makes no attempt."""
        logger.warning("Refused: function=%s code=%s", self.function_name, failure.error_code)
        return to_response(Result(failed(failure)), self.function_name)

    @property
    def health(self) -> Health:
        """This moment's health counters, frozen and consistent."""
        return self._health.health

    def get_health_status(self) -> Dict[str, Any]:
        """The health counters as a dict: is_healthy, last_success, last_failure, consecutive_failures, total_requests,
        total_failures, error_rate.
        """
        return self.health.to_dict()

    def is_healthy(self) -> bool:
        """Whether fewer than ``unhealthy_threshold`` calls failed in a row."""
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
        }

    def validate_scopes(self, granted: Iterable[str]) -> bool:
        """Whether ``granted`` holds all of ``required_scopes``."""
        return self._required.issubset(granted)

    def close(self) -> None:
        """Refuse further calls as ``closed``, end those that wait, and let go of the client.

        Attempts in flight finish in their threads. Closing twice is harmless.
        """
        self._workers.close()
        self._lease.release()

    def __enter__(self) -> "LambdaAdapter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> "LambdaAdapter":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def _reset_after_fork(self) -> None:
        self._health.reset_after_fork()
        self._workers.reset_after_fork()


_live: "weakref.WeakSet[LambdaAdapter]" = weakref.WeakSet()


def _reset_after_fork() -> None:
    """In a child process: the parent's threads are gone, their locks may be held, its connections are not ours."""
    clients.reset_after_fork()
    for adapter in list(_live):
        adapter._reset_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)
