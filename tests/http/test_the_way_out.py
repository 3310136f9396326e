"""The way out: which endpoints are admitted, whoever names them; no proxy for loopback; sockets that work."""

import contextlib
import json
import socket
import threading
import time

import pytest

from lambda_adapter import ExecuteRequest, LambdaAdapter
from lambda_adapter._aws import clients
from support.fault_server import FaultServer, answer, silent_port, tls_contexts

REQUEST = ExecuteRequest("weather", [], "u", "e", "c", "session", "discord")
PASSWORD = "hunter2hunter2"
KEYS = {"aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": "secret"}


@pytest.fixture
def make():
    with contextlib.ExitStack() as stack:
        yield lambda **settings: stack.enter_context(
            LambdaAdapter("function", "us-east-1", "module", **{"max_retries": 0, **KEYS, **settings})
        )


@pytest.fixture
def name_endpoint(tmp_path, monkeypatch):
    """Names an endpoint in each of the ways that there are; returns what the parameter then is."""

    def name(how, url):
        config = tmp_path / "config"
        if how == "parameter":
            return {"endpoint_url": url}
        if how in ("config file", "services section"):
            section = f"services = local\n[services local]\nlambda =\n  endpoint_url = {url}\n"
            config.write_text("[default]\n" + (f"endpoint_url = {url}\n" if how == "config file" else section))
            monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
        else:
            monkeypatch.setenv(how, url)
        return {}

    return name


HOWS = ["parameter", "AWS_ENDPOINT_URL_LAMBDA", "AWS_ENDPOINT_URL", "config file", "services section"]


# -- No proxy for loopback -------------------------------------------------------------------------


@pytest.mark.parametrize("proxy", ["HTTP_PROXY", "http_proxy"])
@pytest.mark.parametrize("scheme", ["http", "HTTP"])
@pytest.mark.parametrize("how", HOWS)
def test_no_proxy_is_asked_for_loopback(how, scheme, proxy, name_endpoint, make, monkeypatch):
    with FaultServer(answer({"success": True})) as server, FaultServer(answer({"success": False})) as between:
        monkeypatch.setenv(proxy, between.endpoint_url)
        given = name_endpoint(how, server.endpoint_url.replace("http", scheme))
        assert make(**given).execute(REQUEST).success
        assert (len(server.requests), between.connections) == (1, 0)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("how", HOWS)
def test_no_proxy_is_asked_for_https_on_loopback(how, host, name_endpoint, make, monkeypatch, tmp_path):
    context, ca = tls_contexts(tmp_path)
    monkeypatch.setenv("AWS_CA_BUNDLE", ca)
    with FaultServer(answer({"success": True}), tls=context) as server, FaultServer(answer({})) as between:
        monkeypatch.setenv("HTTPS_PROXY", between.endpoint_url)
        url = f"https://{host}:{server.endpoint_url.rpartition(':')[2]}"
        assert make(**name_endpoint(how, url)).execute(REQUEST).success
        assert (len(server.requests), between.connections) == (1, 0)


def test_a_proxy_is_asked_for_other_hosts(make, monkeypatch):
    with FaultServer(answer({"success": True})) as between:
        monkeypatch.setenv("HTTP_PROXY", between.endpoint_url)
        assert make(endpoint_url="http://localstack:4566", allow_http=True).execute(REQUEST).success
        assert len(between.requests) == 1


# -- What is admitted ------------------------------------------------------------------------------

REFUSED = [
    "http://host.example",
    f"http://user:{PASSWORD}@127.0.0.1:9",
    f"https://user:{PASSWORD}@host.example",
    f"https://host.example/?key={PASSWORD}",
    f"https://host.example/#{PASSWORD}",
    f"ftp://{PASSWORD}.example",
    f"{PASSWORD}",
    f"https://my_{PASSWORD}:8443",
    f"http://{PASSWORD}.example\\@127.0.0.1",
]


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("url", REFUSED, ids=range(len(REFUSED)))
def test_what_the_parameter_refuses_no_other_setting_lets_through(url, how, name_endpoint, make):
    named = {"parameter": "endpoint_url"}.get(how, how) if " " not in how else "endpoint_url in the AWS config file"
    with pytest.raises(ValueError, match=rf"^{named} must be an https URL") as caught:
        make(**name_endpoint(how, url))
    error = caught.value
    assert PASSWORD not in str(error)
    assert error.__cause__ is None
    assert error.__context__ is None


@pytest.mark.parametrize("ignored_by", ["variable", "config file"])
def test_an_endpoint_that_is_to_be_ignored_is_not_refused(ignored_by, make, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", "http://host.example")
    if ignored_by == "variable":
        monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
    else:
        (tmp_path / "config").write_text("[default]\nignore_configured_endpoint_urls = true\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    make()


def test_the_parameter_goes_before_a_variable(make, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", f"http://{PASSWORD}.example")
    with FaultServer(answer({"success": True})) as server:
        assert make(endpoint_url=server.endpoint_url).execute(REQUEST).success


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("url", ["http://localstack:4566", "http://host.docker.internal:9001", "http://10.0.0.7:3001"])
def test_plain_http_to_a_container_is_admitted_where_it_is_said_outright(url, how, name_endpoint, make):
    given = name_endpoint(how, url)
    assert make(allow_http=True, **given)._lease.get().client.meta.endpoint_url == url
    with pytest.raises(ValueError, match="allow_http=True admits"):
        make(**given)


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize(
    "url",
    [
        "http://lambda.us-east-1.amazonaws.com",
        "http://LAMBDA.us-east-1.AMAZONAWS.com.",
        "http://lambda.cn-north-1.amazonaws.com.cn",
        "http://lambda.us-east-1.api.aws",
        "http://user:password@localstack:4566",
        "ftp://localstack",
    ],
)
def test_allow_http_is_never_for_aws_and_allows_nothing_else(url, how, name_endpoint, make):
    with pytest.raises(ValueError, match="must be an https URL"):
        make(allow_http=True, **name_endpoint(how, url))


@pytest.mark.parametrize("value", [None, 1, "yes", "False"])
def test_allow_http_is_a_flag(value, make):
    with pytest.raises(ValueError, match=r"^allow_http must be True or False"):
        make(allow_http=value)


def test_the_command_line_has_the_option(monkeypatch, capfd):
    from lambda_adapter.cli import main

    for name, value in zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), KEYS.values()):
        monkeypatch.setenv(name, value)
    with FaultServer(answer({"success": True})) as between:
        monkeypatch.setenv("HTTP_PROXY", between.endpoint_url)
        call = ["invoke", "function", "--command", "x", "--region", "us-east-1"]
        call += ["--endpoint-url", "http://localstack:4566"]
        assert main([*call, "--allow-http"]) == 0
        assert main(call) == 2
    assert "--endpoint-url must be an https URL" in capfd.readouterr().err


# -- Sockets ---------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(socket, "TCP_KEEPCNT"), reason="this system has no TCP_KEEPCNT")
def test_a_keepalive_option_that_the_kernel_refuses_costs_the_option(make, monkeypatch):
    monkeypatch.setitem(clients._KEEPALIVE, "TCP_KEEPCNT", 100_000)  # EINVAL: Linux takes 127 at most
    with FaultServer(answer({"success": True})) as server:
        adapter = make(endpoint_url=server.endpoint_url, read_timeout=29.0)
        assert adapter.execute(REQUEST).success
        options = adapter._lease.get().client._endpoint.http_session._socket_options
    names = {option[1] for option in options if option[0] == socket.IPPROTO_TCP}
    assert socket.TCP_KEEPCNT not in names
    assert {socket.TCP_NODELAY, socket.TCP_KEEPIDLE} <= names


class SlowReader:
    """A server that reads nothing of a request for a while; then all of it, and answers."""

    def __init__(self, wait_s, context=None):
        self.wait_s, self.context = wait_s, context
        self.socket = socket.create_server(("127.0.0.1", 0))
        # A buffer as small as the kernel makes it, so that a large request does not fit in.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.thread = threading.Thread(target=self.run)
        self.ended = threading.Event()

    def __enter__(self):
        self.thread.start()
        scheme = "https" if self.context else "http"
        return f"{scheme}://127.0.0.1:{self.socket.getsockname()[1]}"

    def __exit__(self, *_):
        self.ended.set()
        # Wakes the thread that accepts; a close alone would not.
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(30)

    def run(self):
        with contextlib.suppress(OSError):
            connection, _ = self.socket.accept()
            if self.context:
                connection = self.context.wrap_socket(connection, server_side=True)
            with connection:
                self.ended.wait(self.wait_s)
                received = b""
                while b"\r\n\r\n" not in received:
                    data = connection.recv(65_536)
                    if not data:
                        return
                    received += data
                head, _, body = received.partition(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
                missing = length - len(body)
                while missing > 0:
                    data = connection.recv(65_536)
                    if not data:
                        return
                    missing -= len(data)
                told = json.dumps({"success": True, "message": str(length)}).encode()
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(told) + told)


LARGE = ExecuteRequest("weather", ["x" * 6_000_000], "u", "e", "c", "session", "discord")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_upload_is_limited_by_read_timeout_not_by_connect_timeout(scheme, make, monkeypatch, tmp_path):
    context = None
    if scheme == "https":
        context, ca = tls_contexts(tmp_path)
        monkeypatch.setenv("AWS_CA_BUNDLE", ca)
    with SlowReader(1.0, context) as url:
        response = make(endpoint_url=url, connect_timeout=0.3, read_timeout=20.0).execute(LARGE)
    assert response.success, response.error
    assert int(response.message) > 6_000_000


def test_an_upload_that_nobody_reads_ends_within_read_timeout(make):
    with SlowReader(60.0) as url:
        begun = time.monotonic()
        response = make(endpoint_url=url, connect_timeout=0.1, read_timeout=0.5).execute(LARGE)
        took_s = time.monotonic() - begun
    assert (response.success, response.invocation.executed) == (False, "maybe")
    assert 0.4 < took_s < 10


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_making_a_connection_is_still_limited_by_connect_timeout(scheme, make):
    """A TCP connection that nobody accepts; a TLS handshake that nobody answers."""
    begun = time.monotonic()
    if scheme == "http":
        with silent_port() as url:
            response = make(endpoint_url=url, connect_timeout=0.3, read_timeout=60.0).execute(REQUEST)
    else:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"https://127.0.0.1:{silent.getsockname()[1]}"
            response = make(endpoint_url=url, connect_timeout=0.3, read_timeout=60.0).execute(REQUEST)
    assert (response.error_code, response.invocation.executed) == ("connection_error", "no")
    assert time.monotonic() - begun < 20


def test_clients_of_others_keep_their_pools(make):
    import boto3
    from botocore import awsrequest

    make()
    client = boto3.client("lambda", "us-east-1", **KEYS)
    assert client._endpoint.http_session._pool_classes_by_scheme["http"] is awsrequest.AWSHTTPConnectionPool
    client.close()
