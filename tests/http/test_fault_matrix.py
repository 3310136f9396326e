"""Every fault that the network, a proxy, AWS or a function commits, over real sockets, counted at the server.

The rows are FACTS of the Invoke API as a caller meets them: what goes wrong, the code that the caller sees, whether
the function may have run, and whether another attempt can help. ``transient`` faults whose function may have run are
retried only for an idempotent function.
"""

import contextlib
from typing import Any, Callable, Dict, Iterator, List, Tuple

import attrs
import pytest

from lambda_adapter import ExecuteResponse, LambdaAdapter
from support.calls import MAX_RETRIES, Call, adapter_for, call_async, call_sync
from support.fault_server import (
    FaultServer,
    Reaction,
    answer,
    close_before,
    idle_close,
    raw,
    refused_port,
    reset_before,
    silent_port,
    tls_contexts,
)
from support.faults import FAULTS, NETWORK, RESET_5XX, Fault
from support.waiting import until

GOOD = {"success": True, "message": "fine"}


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
        until(lambda: not server._open)
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
