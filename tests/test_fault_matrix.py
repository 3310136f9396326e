"""Every fault that the network, a proxy, AWS or a function commits, over real sockets, counted at the server.

The rows are FACTS of the Invoke API as a caller meets them: what goes wrong, the code that the caller sees, whether
the function may have run, and whether another attempt can help. ``transient`` faults whose function may have run are
retried only for an idempotent function.
"""

import asyncio
import contextlib
import threading
import time
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Tuple

import attrs
import pytest
from fault_server import (
    FaultServer,
    Reaction,
    answer,
    array_5xx,
    aws_error,
    bad_chunk,
    bad_status_line,
    banana_length,
    binary_5xx,
    close_before,
    deep_5xx,
    function_error,
    garbage,
    hang,
    huge_header,
    idle_close,
    many_headers,
    raw,
    redirect,
    refused_port,
    reset_5xx,
    reset_before,
    reset_mid_body,
    respond,
    short_body,
    short_body_without_length,
    silent_port,
    stall_body,
    stalled_5xx,
    tls_contexts,
    truncated_chunk,
    untyped,
)

from lambda_adapter import ExecuteRequest, ExecuteResponse, LambdaAdapter

REQUEST = ExecuteRequest("weather", ["Oslo"], "u", "e", "c", "session", "discord")
GOOD = {"success": True, "message": "fine"}
MAX_RETRIES = 2


class Fault(NamedTuple):
    name: str
    reaction: Reaction
    error_code: str
    executed: str
    transient: bool
    status_code: Any = None

    @property
    def read_timeout(self) -> float:
        """Short only where the fault is a silence: a busy machine must not make a timeout of an answer."""
        return 0.2 if self.error_code == "timeout" else 10.0


RESET_5XX = Fault("5xx whose body is reset", reset_5xx(), "connection_lost", "maybe", True)

NETWORK = [
    Fault("closed before the response", close_before(), "connection_lost", "maybe", True),
    Fault("reset before the response", reset_before(), "connection_lost", "maybe", True),
    Fault("garbage", garbage(), "connection_lost", "maybe", True),
    Fault("bad status line", bad_status_line(), "connection_lost", "maybe", True),
    Fault("over 100 headers", many_headers(), "connection_lost", "maybe", True),
    Fault("over 64 KB of header", huge_header(), "connection_lost", "maybe", True),
    Fault("no headers in time", hang(), "timeout", "maybe", True),
    Fault("body stalls", stall_body(), "timeout", "maybe", True),
    Fault("reset within the body", reset_mid_body(), "connection_lost", "maybe", True),
    Fault("short body", short_body(), "connection_lost", "maybe", True),
    Fault("bad chunk", bad_chunk(), "connection_lost", "maybe", True),
    Fault("truncated chunk", truncated_chunk(), "connection_lost", "maybe", True),
    Fault("Content-Length: banana", banana_length(), "connection_lost", "maybe", True),
    Fault("5xx whose body stalls", stalled_5xx(), "timeout", "maybe", True),
    RESET_5XX,
    Fault("binary 502", binary_5xx(), "service_error", "maybe", True, 502),
    Fault("500 with a JSON array", array_5xx(), "service_error", "maybe", True, 500),
    Fault("500 nested 100,000 deep", deep_5xx(), "service_error", "maybe", True, 500),
    Fault("429 nested 100,000 deep", deep_5xx(429), "throttled", "no", True, 429),
    Fault("403 with a JSON array", array_5xx(403), "access_denied", "no", False, 403),
    Fault("302", redirect(302), "configuration_error", "no", False, 302),
    Fault("307", redirect(307), "configuration_error", "no", False, 307),
    Fault("function error", function_error(), "function_error", "yes", False, 200),
    Fault("handled function error", function_error(kind="Handled"), "function_error", "yes", False, 200),
    Fault("function error of an unknown kind", function_error(kind="Odd"), "function_error", "yes", False, 200),
    Fault("short body without a length", short_body_without_length(), "invalid_response", "yes", False, 200),
    Fault("answer over 6 MB", respond(200, b" " * 6_400_000 + b"{}"), "invalid_response", "yes", False),
    Fault("empty answer", respond(200, b""), "invalid_response", "yes", False, 200),
    Fault("success=false", answer({"success": False}), "function_failed", "yes", False, 200),
    Fault("success is a string", answer({"success": "true"}), "invalid_response", "yes", False, 200),
    Fault(
        "204 in place of an answer", raw(b"HTTP/1.1 204 No Content\r\n\r\n", "keep"), "invalid_response", "yes", False
    ),
]

UNTYPED = [
    *(Fault(f"untyped {n}", untyped(n, b"<html>Bad</html>"), "service_error", "maybe", True, n) for n in (500, 502)),
    *(Fault(f"empty {n}", untyped(n), "service_error", "maybe", True, n) for n in (503, 504)),
    Fault("untyped 500 in JSON", respond(500, b'{"error": "x"}'), "service_error", "maybe", True, 500),
    Fault("untyped 501", untyped(501), "service_error", "maybe", False, 501),
    Fault("untyped 429", untyped(429), "throttled", "no", True, 429),
    Fault("untyped 400", untyped(400), "invalid_parameter", "no", False, 400),
    Fault("untyped 403", untyped(403, b"<html>Forbidden</html>"), "access_denied", "no", False, 403),
    Fault("untyped 404", untyped(404), "not_found", "no", False, 404),
    Fault("untyped 413", untyped(413), "payload_too_large", "no", False, 413),
]


def typed(error_code: str, transient: bool, status: int, *codes: str) -> List[Fault]:
    """Rows for AWS's own codes: each says that the function did not run."""
    return [Fault(code, aws_error(code, status), error_code, "no", transient, status) for code in codes]


TYPED = [
    *typed("throttled", True, 429, "TooManyRequestsException", "ThrottlingException", "Throttling"),
    *typed("throttled", True, 400, "ThrottledException", "RequestThrottled", "RequestThrottledException"),
    *typed("throttled", True, 503, "RequestLimitExceeded", "BandwidthLimitExceeded", "SlowDown"),
    *typed("throttled", True, 502, "EC2ThrottledException"),
    *typed("throttled", True, 400, "ProvisionedThroughputExceededException", "TransactionInProgressException"),
    *typed("throttled", True, 400, "LimitExceededException"),
    *typed("service_error", True, 500, "ServiceException", "InternalFailure", "InternalServerError"),
    *typed("service_error", True, 503, "ServiceUnavailable", "ServiceUnavailableException"),
    *typed("service_error", True, 400, "RequestTimeout", "RequestTimeoutException", "PriorRequestNotComplete"),
    *typed("service_error", True, 502, "ResourceNotReadyException", "ENINotReadyException", "EC2UnexpectedException"),
    *typed("service_error", True, 409, "ResourceConflictException", "SnapStartNotReadyException"),
    *typed("service_error", True, 409, "CodeArtifactUserPendingException"),
    *typed("service_error", True, 408, "SnapStartTimeoutException", "EFSMountTimeoutException"),
    *typed("service_error", True, 408, "EFSMountConnectivityException", "S3FilesMountTimeoutException"),
    *typed("service_error", True, 408, "S3FilesMountConnectivityException"),
    *typed("not_found", False, 404, "ResourceNotFoundException"),
    *typed("access_denied", False, 403, "AccessDeniedException", "ExpiredTokenException", "SignatureDoesNotMatch"),
    *typed("access_denied", False, 403, "UnrecognizedClientException", "InvalidSignatureException"),
    *typed("access_denied", False, 400, "ExpiredTokenException", "IncompleteSignatureException"),
    *typed("invalid_parameter", False, 400, "InvalidParameterValueException", "InvalidRequestContentException"),
    *typed("invalid_parameter", False, 415, "UnsupportedMediaTypeException"),
    *typed("payload_too_large", False, 413, "RequestTooLargeException", "SerializedRequestEntityTooLargeException"),
    *typed("configuration_error", False, 502, "KMSDisabledException", "KMSAccessDeniedException"),
    *typed("configuration_error", False, 502, "KMSInvalidStateException", "KMSNotFoundException"),
    *typed("configuration_error", False, 502, "InvalidRuntimeException", "InvalidZipFileException"),
    *typed("configuration_error", False, 502, "InvalidSubnetIDException", "InvalidSecurityGroupIDException"),
    *typed("configuration_error", False, 502, "EC2AccessDeniedException", "ENILimitReachedException"),
    *typed("configuration_error", False, 502, "SubnetIPAddressLimitReachedException"),
    *typed("configuration_error", False, 410, "EFSIOException"),
    *typed("configuration_error", False, 403, "EFSMountFailureException", "S3FilesMountFailureException"),
    *typed("configuration_error", False, 400, "RecursiveInvocationException", "SnapStartException"),
    *typed("configuration_error", False, 402, "ServiceQuotaExceededException"),
    *typed("configuration_error", False, 409, "RuntimeVersionDeletedException"),
    Fault("NobodyKnowsThisException", aws_error("NobodyKnowsThisException", 500), "service_error", "maybe", True, 500),
    Fault("NobodyKnowsThis 501", aws_error("NobodyKnowsThis", 501), "service_error", "maybe", False, 501),
]

FAULTS = [
    pytest.param(fault, id=f"{fault.name} {fault.status_code or ''}".strip()) for fault in NETWORK + UNTYPED + TYPED
]

Call = Callable[[LambdaAdapter], ExecuteResponse]


def call_sync(adapter: LambdaAdapter) -> ExecuteResponse:
    return adapter.execute(REQUEST)


def call_async(adapter: LambdaAdapter) -> ExecuteResponse:
    return asyncio.run(adapter.execute_async(REQUEST))


@contextlib.contextmanager
def adapter_for(endpoint_url: str, **settings: Any) -> Iterator[LambdaAdapter]:
    given = {
        "aws_access_key_id": "AKIDEXAMPLE",
        "aws_secret_access_key": "secret",
        "endpoint_url": endpoint_url,
        "initial_retry_delay": 0.001,
        "read_timeout": 5.0,
        "max_retries": MAX_RETRIES,
        **settings,
    }
    with LambdaAdapter("function", "us-east-1", "module", **given) as adapter:
        yield adapter


def expected_attempts(fault: Fault, idempotent: bool) -> int:
    return 1 + MAX_RETRIES if fault.transient and (idempotent or fault.executed == "no") else 1


def check(fault: Fault, response: ExecuteResponse, adapter: LambdaAdapter, attempts: int) -> None:
    """One response and at most one record, with the row's verdict."""
    assert response.invocation is not None
    assert (response.error_code, response.invocation.executed) == (fault.error_code, fault.executed)
    assert not response.success
    assert response.error
    assert response.invocation.attempts == attempts
    if fault.status_code:
        assert response.invocation.status_code == fault.status_code
    recorded = 0 if fault.error_code == "payload_too_large" else 1
    assert (adapter.health.total_requests, adapter.health.total_failures) == (recorded, recorded)


@pytest.fixture(scope="module")
def shared_server() -> Iterator[FaultServer]:
    """Restarted by each row, so that rows share clients: one takes 10 ms with its first call, a later call 1."""
    with FaultServer(answer(GOOD)) as server, contextlib.ExitStack() as kept:
        for read_timeout in {fault.read_timeout for fault in NETWORK}:
            kept.enter_context(adapter_for(server.endpoint_url, read_timeout=read_timeout))
        yield server


@pytest.mark.parametrize(
    ("call", "idempotent"),
    [
        pytest.param(call_sync, True, id="sync"),
        pytest.param(call_sync, False, id="sync, not idempotent"),
        pytest.param(call_async, True, id="async"),
    ],
)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_ends_in_its_code_after_the_attempts_it_deserves(
    fault: Fault, call: Call, idempotent: bool, shared_server: FaultServer
) -> None:
    shared_server.restart(fault.reaction)
    settings: Dict[str, Any] = {"idempotent": idempotent, "read_timeout": fault.read_timeout}
    with adapter_for(shared_server.endpoint_url, **settings) as adapter:
        response = call(adapter)
        attempts = expected_attempts(fault, idempotent)
        assert len(shared_server.requests) == attempts
        assert len({request.body for request in shared_server.requests}) == 1
        check(fault, response, adapter, attempts)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Tuple[Any, str]:
    """The server's side of TLS and the CA's file, made once."""
    return tls_contexts(tmp_path_factory.mktemp("tls"))


@pytest.mark.slow
@pytest.mark.parametrize("fault", [pytest.param(fault, id=fault.name) for fault in NETWORK])
def test_a_fault_over_tls_is_the_same_fault(
    fault: Fault, authority: Tuple[Any, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    context, ca = authority
    monkeypatch.setenv("AWS_CA_BUNDLE", ca)
    settings = {"read_timeout": fault.read_timeout}
    with FaultServer(fault.reaction, tls=context) as server, adapter_for(server.endpoint_url, **settings) as adapter:
        response = call_sync(adapter)
        attempts = expected_attempts(fault, idempotent=True)
        assert len(server.requests) == attempts
        if fault is RESET_5XX and response.error_code == "service_error":
            # Over TLS some Pythons take the reset for the end of the body; what is left is a plain 503.
            fault = fault._replace(error_code="service_error")
        check(fault, response, adapter, attempts)


@pytest.mark.parametrize(
    "fault",
    [pytest.param(fault, id=fault.name) for fault in NETWORK if fault.transient],
)
def test_a_transient_fault_followed_by_an_answer_is_a_success(fault: Fault) -> None:
    script, settings = [fault.reaction, answer(GOOD)], {"read_timeout": max(fault.read_timeout, 0.5)}
    with FaultServer(script) as server, adapter_for(server.endpoint_url, **settings) as adapter:
        response = call_sync(adapter)
        assert (response.success, response.message, response.invocation.attempts) == (True, "fine", 2)  # type: ignore[union-attr]
        assert adapter.health.total_failures == 0


def test_a_connection_that_was_closed_while_idle_is_no_failure() -> None:
    """Nothing had been sent on it, so that not even a function that must not run twice is at risk."""
    settings: Dict[str, Any] = {"read_timeout": 10.0, "max_retries": 0, "idempotent": False}
    with FaultServer([idle_close(GOOD), answer(GOOD)]) as server, adapter_for(
        server.endpoint_url, **settings
    ) as adapter:
        assert call_sync(adapter).success
        pause, deadline = threading.Event(), time.monotonic() + 10
        while server._open and time.monotonic() < deadline:
            pause.wait(0.005)
        assert call_sync(adapter).success
        assert (server.connections, len(server.requests)) == (2, 2)


UNREACHED: List[Tuple[str, Callable[[], Any]]] = [("refused", refused_port), ("connect timeout", silent_port)]


@pytest.mark.parametrize("idempotent", [True, False], ids=["idempotent", "not idempotent"])
@pytest.mark.parametrize("endpoint", [pytest.param(make, id=name) for name, make in UNREACHED])
def test_what_never_connected_is_retried_and_did_not_run(endpoint: Any, idempotent: bool) -> None:
    with endpoint() as url, adapter_for(url, idempotent=idempotent, connect_timeout=0.2, max_retries=1) as adapter:
        response = call_sync(adapter)
        assert response.error_code == "connection_error"
        assert response.invocation == attrs.evolve(response.invocation, executed="no", attempts=2)


TLS_FAULTS = [
    ("plain HTTP on a TLS port", raw(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), "connection_error", "no"),
    ("reset in the handshake", reset_before(), "connection_error", "no"),
    ("end in the handshake", close_before(), "connection_error", "no"),
]


@pytest.mark.parametrize(("reaction", "code", "executed"), [pytest.param(*row[1:], id=row[0]) for row in TLS_FAULTS])
def test_a_broken_tls_handshake_is_a_response_too(reaction: Reaction, code: str, executed: str) -> None:
    with FaultServer(answer(GOOD), handshake=reaction) as server, adapter_for(server.endpoint_url) as adapter:
        response = call_sync(adapter)
        assert (response.error_code, response.invocation.executed) == (code, executed)  # type: ignore[union-attr]
        assert server.connections == 1 + MAX_RETRIES


def test_an_untrusted_certificate_is_no_connection(tmp_path: Any) -> None:
    context, _ = tls_contexts(tmp_path)
    with FaultServer(answer(GOOD), tls=context) as server, adapter_for(server.endpoint_url) as adapter:
        response = call_sync(adapter)
        assert (response.error_code, response.invocation.executed) == ("connection_error", "no")  # type: ignore[union-attr]
        assert server.requests == []


def test_a_line_break_in_a_header_is_refused_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token\r\nX-Forged: yes")
    with FaultServer(answer(GOOD)) as server:
        credentials = {"aws_access_key_id": None, "aws_secret_access_key": None}
        with adapter_for(server.endpoint_url, **credentials) as adapter:
            response = call_sync(adapter)
        assert (response.error_code, response.invocation.executed) == ("configuration_error", "no")  # type: ignore[union-attr]
        assert "Forged" not in str(response)
        assert server.requests == []
