"""The fault server commits what it says: each fault raises what the installed botocore makes of it."""

import socket
import threading
import time

import boto3
import pytest
import urllib3.exceptions
from botocore import exceptions
from botocore.config import Config

from support import fault_server as fs
from support.fault_server import FaultServer

READ_TIMEOUT_S = 0.3
OK = fs.answer({"success": True})


@pytest.fixture(scope="module")
def session():
    return boto3.session.Session("testing", "testing", region_name="us-east-1")


@pytest.fixture
def connect(session):
    """Makes bare clients of one attempt, closed after the test."""
    clients = []

    def make(endpoint_url, verify=None):
        config = Config(
            retries={"mode": "standard", "total_max_attempts": 1},
            connect_timeout=READ_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            proxies={},
        )
        clients.append(session.client("lambda", endpoint_url=endpoint_url, config=config, verify=verify))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    return fs.tls_contexts(tmp_path_factory.mktemp("tls"))


def call(client, read_size=None):
    """Invokes and reads to the end: ("invoke" | "read", the exception) or ("answered", the body)."""
    try:
        payload = client.invoke(FunctionName="echo", Payload=b"{}")["Payload"]
    except Exception as error:
        return "invoke", error
    with payload:
        try:
            if read_size is None:
                return "answered", payload.read()
            return "answered", b"".join(iter(lambda: payload.read(read_size), b""))
        except Exception as error:
            return "read", error


@pytest.mark.parametrize(
    ("reaction", "where", "error_class"),
    [
        pytest.param(fs.close_before(), "invoke", exceptions.ConnectionClosedError, id="close_before"),
        pytest.param(fs.reset_before(), "invoke", exceptions.ConnectionClosedError, id="reset_before"),
        pytest.param(fs.garbage(), "invoke", exceptions.ConnectionClosedError, id="garbage"),
        pytest.param(fs.bad_status_line(), "invoke", exceptions.ConnectionClosedError, id="bad_status_line"),
        pytest.param(fs.many_headers(), "invoke", exceptions.ConnectionClosedError, id="many_headers"),
        pytest.param(fs.huge_header(), "invoke", exceptions.ConnectionClosedError, id="huge_header"),
        pytest.param(fs.hang(), "invoke", exceptions.ReadTimeoutError, id="hang"),
        pytest.param(fs.delay(60, OK), "invoke", exceptions.ReadTimeoutError, id="delay"),
        pytest.param(fs.stall_body(), "read", exceptions.ReadTimeoutError, id="stall_body"),
        pytest.param(fs.drip([b"{", b"}"], 60), "read", exceptions.ReadTimeoutError, id="drip_too_slow"),
        pytest.param(fs.reset_mid_body(), "read", exceptions.ResponseStreamingError, id="reset_mid_body"),
        pytest.param(fs.short_body(), "read", exceptions.ResponseStreamingError, id="short_body"),
        pytest.param(fs.bad_chunk(), "read", exceptions.ResponseStreamingError, id="bad_chunk"),
        pytest.param(fs.truncated_chunk(), "read", exceptions.ResponseStreamingError, id="truncated_chunk"),
        pytest.param(fs.banana_length(), "read", ValueError, id="banana_length"),
        pytest.param(fs.binary_5xx(), "invoke", UnicodeDecodeError, id="binary_5xx"),
        pytest.param(fs.array_5xx(), "invoke", AttributeError, id="array_5xx"),
        pytest.param(fs.deep_5xx(), "invoke", RecursionError, id="deep_5xx"),
        pytest.param(fs.stalled_5xx(), "invoke", urllib3.exceptions.ReadTimeoutError, id="stalled_5xx"),
        pytest.param(fs.reset_5xx(), "invoke", urllib3.exceptions.ProtocolError, id="reset_5xx"),
    ],
)
def test_a_fault_raises_what_botocore_makes_of_it(connect, reaction, where, error_class):
    with FaultServer(reaction) as server:
        raised_at, error = call(connect(server.endpoint_url))
        assert (raised_at, type(error)) == (where, error_class)
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("reaction", "error_class"),
    [
        pytest.param(fs.short_body(), exceptions.IncompleteReadError, id="short_body"),
        pytest.param(fs.reset_mid_body(), exceptions.ResponseStreamingError, id="reset_mid_body"),
        pytest.param(fs.truncated_chunk(), exceptions.ResponseStreamingError, id="truncated_chunk"),
    ],
)
def test_reading_in_parts_raises_another_class_for_a_short_body(connect, reaction, error_class):
    with FaultServer(reaction) as server:
        raised_at, error = call(connect(server.endpoint_url), read_size=1024)
        assert (raised_at, type(error)) == ("read", error_class)


@pytest.mark.parametrize(
    ("reaction", "class_name", "code"),
    [
        pytest.param(
            fs.aws_error("TooManyRequestsException", 429),
            "TooManyRequestsException",
            "TooManyRequestsException",
            id="429_typed",
        ),
        pytest.param(fs.aws_error("NeverHeardOf", 409), "ClientError", "NeverHeardOf", id="unknown_code"),
        pytest.param(fs.aws_error("", 503, typed=False), "ClientError", "503", id="503_json"),
        pytest.param(fs.untyped(429), "ClientError", "429", id="429_untyped"),
        pytest.param(fs.untyped(502, b"<html>Bad Gateway</html>"), "ClientError", "502", id="502_html"),
        pytest.param(fs.untyped(504), "ClientError", "504", id="504_empty"),
        pytest.param(fs.respond(500, fs.PART, fs.TOO_LONG, then="close"), "ClientError", "500", id="500_cut"),
        pytest.param(fs.redirect(302), "ClientError", "302", id="302"),
        pytest.param(fs.redirect(307), "ClientError", "307", id="307"),
    ],
)
def test_an_error_of_aws_raises_its_code(connect, reaction, class_name, code):
    with FaultServer(reaction) as server:
        raised_at, error = call(connect(server.endpoint_url))
        assert (raised_at, type(error).__name__) == ("invoke", class_name)
        assert error.response["Error"]["Code"] == code
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("reaction", "body"),
    [
        pytest.param(OK, b'{"success": true}', id="answer"),
        pytest.param(fs.delay(0.01, OK), b'{"success": true}', id="delay"),
        pytest.param(fs.short_body_without_length(), fs.PART, id="short_body_without_length"),
        # 0.6 s in all: the read timeout of 0.3 s starts anew with each part.
        pytest.param(fs.drip([b"{", *[b" "] * 10, b"}"], 0.05), b"{          }", id="drip"),
    ],
)
def test_what_botocore_takes_for_an_answer(connect, reaction, body):
    with FaultServer(reaction) as server:
        assert call(connect(server.endpoint_url)) == ("answered", body)


def test_a_function_error_is_an_answer_with_a_header(connect):
    with FaultServer(fs.function_error("boom", "KeyError")) as server:
        response = connect(server.endpoint_url).invoke(FunctionName="echo")
        assert response["FunctionError"] == "Unhandled"
        assert response["Payload"].read() == b'{"errorMessage": "boom", "errorType": "KeyError"}'


def test_a_header_with_a_line_break_sends_nothing(connect):
    with FaultServer(OK) as server:
        client = connect(server.endpoint_url)
        with pytest.raises(exceptions.HTTPClientError, match="Invalid header value"):
            client.invoke(FunctionName="echo", ClientContext="a\r\nb")
    assert (server.requests, server.partial_requests) == ([], 0)


@pytest.mark.parametrize(
    ("port", "error_class"),
    [
        pytest.param(fs.refused_port, exceptions.EndpointConnectionError, id="refused"),
        pytest.param(fs.silent_port, exceptions.ConnectTimeoutError, id="connect_timeout"),
    ],
)
def test_a_port_without_a_server(connect, port, error_class):
    with port() as endpoint_url:
        raised_at, error = call(connect(endpoint_url))
        assert (raised_at, type(error)) == ("invoke", error_class)


def test_an_unknown_host(connect, monkeypatch):
    def fail(*args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    raised_at, error = call(connect("http://nothing.invalid"))
    assert (raised_at, type(error)) == ("invoke", exceptions.EndpointConnectionError)


@pytest.mark.parametrize(
    ("handshake", "error_class"),
    [
        pytest.param(fs.untyped(400, b"plain HTTP"), exceptions.SSLError, id="plain_bytes"),
        pytest.param(fs.close_before(), exceptions.SSLError, id="eof"),
        pytest.param(fs.reset_before(), exceptions.ConnectionClosedError, id="reset"),
        pytest.param(fs.hang(), exceptions.ReadTimeoutError, id="hang"),
    ],
)
def test_a_broken_handshake(connect, tls, handshake, error_class):
    with FaultServer(OK, handshake=handshake) as server:
        raised_at, error = call(connect(server.endpoint_url, verify=tls[1]))
        assert (raised_at, type(error)) == ("invoke", error_class)
        assert (server.requests, server.connections) == ([], 1)


def test_tls_answers_those_who_trust_its_certificate_and_no_others(connect, tls, tmp_path):
    context, ca_pem_path = tls
    _, other_pem_path = fs.tls_contexts(tmp_path)
    with FaultServer([OK, fs.stall_body()], tls=context) as server:
        assert call(connect(server.endpoint_url, verify=ca_pem_path)) == ("answered", b'{"success": true}')
        raised_at, error = call(connect(server.endpoint_url, verify=ca_pem_path))
        assert (raised_at, type(error)) == ("read", exceptions.ReadTimeoutError)
        raised_at, error = call(connect(server.endpoint_url, verify=other_pem_path))
        assert (raised_at, type(error)) == ("invoke", exceptions.SSLError)
        assert len(server.requests) == 2


def test_a_request_is_recorded_as_it_was_sent(connect):
    with FaultServer(OK) as server:
        response = connect(server.endpoint_url).invoke(FunctionName="echo", Payload=b'{"a": 1}', InvocationType="Event")
        response["Payload"].read()
        (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/2015-03-31/functions/echo/invocations")
    assert (request.body, request.headers["x-amz-invocation-type"]) == (b'{"a": 1}', "Event")
    assert (request.connection, request.number) == (1, 1)


def test_a_sequence_repeats_its_last_reaction_on_one_kept_connection(connect):
    with FaultServer([fs.answer(1), fs.answer(2)]) as server:
        client = connect(server.endpoint_url)
        assert [call(client)[1] for _ in range(3)] == [b"1", b"2", b"2"]
        assert [request.connection for request in server.requests] == [1, 1, 1]
        assert server.connections == 1


def test_a_callable_sees_the_request_after_it_was_counted(connect):
    with FaultServer(lambda request: fs.answer([request.number, len(server.requests)])) as server:
        client = connect(server.endpoint_url)
        assert [call(client)[1] for _ in range(2)] == [b"[1, 1]", b"[2, 2]"]


def test_an_idle_close_ends_the_connection_after_the_answer():
    with FaultServer(fs.idle_close()) as server, talk_to(server) as client:
        client.sendall(b"POST / HTTP/1.1\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert answer.endswith(b'\r\n\r\n{"success": true}')
    assert b"connection:" not in answer.lower()


def test_expect_100_continue_is_answered_before_the_body():
    with FaultServer(OK) as server, talk_to(server) as client:
        client.sendall(b"POST / HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert client.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"{}")
        assert client.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
        assert server.requests[0].body == b"{}"


@pytest.mark.parametrize(
    ("sent", "partial_requests"),
    [
        pytest.param(b"", 0, id="nothing"),
        pytest.param(b"POST / HTTP/1.1\r\nContent-", 1, id="half_a_head"),
        pytest.param(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{", 1, id="half_a_body"),
        pytest.param(b"no HTTP\r\n\r\n", 1, id="garbage"),
    ],
)
def test_a_partial_request_is_counted_apart(sent, partial_requests):
    with FaultServer(OK) as server, talk_to(server) as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(65536) == b""
        assert (server.requests, server.partial_requests) == ([], partial_requests)


def test_many_clients_at_once_are_all_counted():
    def send_100():
        with talk_to(server) as client:
            for _ in range(100):
                client.sendall(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}")
                client.recv(65536)

    with FaultServer(OK) as server:
        clients = [threading.Thread(target=send_100) for _ in range(64)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
    assert [request.number for request in server.requests] == list(range(1, 6_401))
    assert (server.connections, server.partial_requests) == (64, 0)


def test_close_wakes_hangs_and_delays_and_leaves_no_thread():
    before = threading.active_count()
    reached = threading.Semaphore(0)
    reactions = iter([fs.hang(), fs.stall_body(), fs.delay(60, OK), fs.drip([b"{}"], 60)])

    def script(request):
        reached.release()
        return next(reactions)

    server = FaultServer(script)
    clients = [talk_to(server) for _ in range(5)]  # the last one stays idle
    for client in clients[:4]:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert reached.acquire(timeout=10)
    started = time.monotonic()
    server.close()
    server.close()
    assert time.monotonic() - started < 1
    assert threading.active_count() == before
    for client in clients:
        client.close()


def talk_to(server):
    port = int(server.endpoint_url.rsplit(":", 1)[1])
    return socket.create_connection(("127.0.0.1", port), timeout=10)
