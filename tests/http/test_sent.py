"""Whether anything was sent is a fact: what breaks before that is told as what it is, and the function did not run.

Each row breaks something on the way to Lambda, over real sockets, and counts the requests that reach it.
"""

import contextlib
import functools
import gc
import json
import logging
import pathlib
import signal
import socket

import attrs
import boto3
import pytest
from botocore.config import Config
from botocore.credentials import AssumeRoleProvider

from lambda_adapter import CircuitBreaker, ExecuteRequest, LambdaAdapter
from lambda_adapter.errors import ConfigurationError
from support import credential_sources as sources
from support.credential_sources import SECRET, Container, Metadata, Sts, sts_error
from support.fault_server import (
    FaultServer,
    Reaction,
    answer,
    aws_error,
    close_before,
    garbage,
    hang,
    raw,
    redirect,
    reset_before,
    stall_body,
    tls_contexts,
    untyped,
)
from support.tls_servers import (
    INTERNAL_ERROR,
    PROTOCOL_VERSION,
    UNRECOGNIZED_NAME,
    alert,
    foreign_certificate,
    old_protocol,
)

#: urllib3 1.26 leaves a socket behind where a proxy gives no tunnel.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")

REQUEST = ExecuteRequest("weather", ["Oslo"], "u", "e", "c", "session", "discord")
CONFIG, CONNECTION = "configuration_error", "connection_error"
KEYS = {"aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": SECRET}
MAX_RETRIES = 2


class Scene:
    """The set-up of one row: Lambda's stand-in, the environment, and servers that end with the test."""

    def __init__(self, stack, environment, directory: pathlib.Path) -> None:
        self.stack, self.environment, self.directory = stack, environment, directory
        self.function = stack.enter_context(FaultServer(answer({"success": True})))

    def serve(self, *args, **kwargs) -> FaultServer:
        return self.stack.enter_context(FaultServer(*args, **kwargs))


@pytest.fixture
def scene(tmp_path, monkeypatch):
    # A file of its own for each test, so that none shares another's session.
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    with contextlib.ExitStack() as stack:
        yield Scene(stack, monkeypatch, tmp_path)


@attrs.frozen
class Row:
    name: str
    #: Breaks something; returns the adapter's settings, or these and what is to be broken after a first call.
    prepare: object
    error_code: str
    transient: bool
    #: What ``error`` says.
    says: tuple = ()


# -- The way to the endpoint ------------------------------------------------------------------------


def handshake(reaction: Reaction):
    return lambda scene: {"endpoint_url": scene.serve(answer({}), handshake=reaction).endpoint_url}


def certificate(make):
    def prepare(scene):
        context, pem = make(scene.directory)
        scene.environment.setenv("AWS_CA_BUNDLE", pem)
        return {"endpoint_url": scene.serve(answer({}), tls=context).endpoint_url}

    return prepare


def untrusted(scene):
    context, _ = tls_contexts(scene.directory)
    return {"endpoint_url": scene.serve(answer({}), tls=context).endpoint_url}


def proxy(reaction: Reaction):
    """AWS's own endpoint, by way of a proxy that does this when it is asked for a tunnel."""

    def prepare(scene):
        host = scene.serve(reaction).endpoint_url.partition("//")[2]
        scene.environment.setenv("HTTPS_PROXY", f"http://user:{SECRET}@{host}")
        return {}

    return prepare


def proxy_setting(name: str, url: str):
    def prepare(scene):
        scene.environment.setenv(name, url)
        return {}

    return prepare


def refused(scene):
    bound = scene.stack.enter_context(socket.socket())
    bound.bind(("127.0.0.1", 0))
    return {"endpoint_url": f"https://127.0.0.1:{bound.getsockname()[1]}/{SECRET}"}


def ca_file(name: str, content):
    def prepare(scene):
        context, _ = tls_contexts(scene.directory)
        path = scene.directory / f"{SECRET}.pem"
        if content is not None:
            path.write_text(content)
        scene.environment.setenv(name, str(path))
        return {"endpoint_url": scene.serve(answer({}), tls=context).endpoint_url}

    return prepare


LOCAL = ("localhost", "region us-east-1")
AWS = ("lambda.us-east-1.amazonaws.com", "region us-east-1")
IN_TIME = "within connect_timeout"
CONNECTIONS = [
    Row("refused", refused, CONNECTION, True, ("127.0.0.1", "region us-east-1")),
    Row("TLS handshake silent", handshake(hang()), CONNECTION, True, (IN_TIME, *LOCAL)),
    Row("TLS handshake closed", handshake(close_before()), CONNECTION, True, ("no secure connection", *LOCAL)),
    Row("TLS handshake reset", handshake(reset_before()), CONNECTION, True, ("no secure connection", *LOCAL)),
    Row("TLS handshake garbage", handshake(garbage()), CONNECTION, True, ("no secure connection", *LOCAL)),
    *(
        Row(f"TLS alert {n}", handshake(alert(n)), CONNECTION, True, ("no secure connection", *LOCAL))
        for n in (PROTOCOL_VERSION, INTERNAL_ERROR, UNRECOGNIZED_NAME)
    ),
    Row("certificate of another host", certificate(foreign_certificate), CONNECTION, True, LOCAL),
    Row("certificate of an unknown CA", untrusted, CONNECTION, True, LOCAL),
    Row("TLS 1.1 only", certificate(old_protocol), CONNECTION, True, ("no secure connection", *LOCAL)),
    Row("proxy silent", proxy(hang()), CONNECTION, True, ("proxy", IN_TIME, *AWS)),
    Row("proxy closed", proxy(close_before()), CONNECTION, True, ("proxy", *AWS)),
    Row("proxy reset", proxy(reset_before()), CONNECTION, True, ("proxy", *AWS)),
    Row("proxy garbage", proxy(garbage()), CONNECTION, True, ("proxy", *AWS)),
    Row("proxy 407", proxy(untyped(407)), CONNECTION, True, ("proxy", *AWS)),
    Row("proxy 502", proxy(untyped(502)), CONNECTION, True, ("proxy", *AWS)),
    Row("proxy gone", proxy_setting("HTTPS_PROXY", "http://127.0.0.1:1"), CONNECTION, True, ("proxy", *AWS)),
]
NO_PROXIES = [
    "not a url",
    "http://",
    "http://[::1",
    "http://127.0.0.1:99999",
    "http://127.0.0.1:port",
    "http://..:80",
    "socks5://127.0.0.1:1",
    "banana://127.0.0.1:1",
    "://x",
    f"http://{'a' * 64}.example:80",
    f"http://user:{SECRET}@:80",
]
SETTINGS = [
    *(
        Row(f"proxy {url[:24]}", proxy_setting("HTTPS_PROXY", url), CONFIG, False, ("HTTPS_PROXY",))
        for url in NO_PROXIES
    ),
    Row("https_proxy", proxy_setting("https_proxy", "http://[::1"), CONFIG, False, ("https_proxy",)),
    *(
        Row(f"{name} {kind}", ca_file(name, content), CONFIG, False, (name,))
        for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE")
        for kind, content in (("missing", None), ("empty", ""), ("no PEM", "hello"))
    ),
]


# -- Credentials ------------------------------------------------------------------------------------


def web_identity(reaction: Reaction):
    """STS does this when a call is signed."""

    def prepare(scene):
        (scene.directory / "token").write_text(SECRET)
        sources.web_identity(scene.environment, scene.serve(Sts(reaction)), scene.directory / "token")
        return {"endpoint_url": scene.function.endpoint_url, "keys": {}}

    return prepare


def token_file(make):
    def prepare(scene):
        make(scene.directory / "token")
        sources.web_identity(scene.environment, scene.serve(Sts()), scene.directory / "token")
        return {"endpoint_url": scene.function.endpoint_url, "keys": {}}

    return prepare


def container(reaction: Reaction):
    """A container's endpoint that was well for the first call, and does this from then on."""

    def prepare(scene):
        source = Container()
        sources.container(scene.environment, scene.serve(source))
        return {"endpoint_url": scene.function.endpoint_url, "keys": {}, "then": lambda: source.fail(reaction)}

    return prepare


def pod_identity(scene):
    token = scene.directory / "pod-token"
    token.write_text("token")
    sources.container(scene.environment, scene.serve(Container()))
    scene.environment.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(token))
    return {"endpoint_url": scene.function.endpoint_url, "keys": {}, "then": token.unlink}


def metadata_service(scene):
    sources.metadata_service(scene.environment, scene.serve(Metadata(untyped(500))))
    return {"endpoint_url": scene.function.endpoint_url, "keys": {}}


def no_credentials(scene):
    return {"endpoint_url": scene.function.endpoint_url, "keys": {}}


def mfa(scene):
    sources.config(
        scene.environment,
        scene.directory,
        "role_arn = arn:aws:iam::123456789012:role/bot\nsource_profile = base\n"
        "mfa_serial = arn:aws:iam::123456789012:mfa/bot\n"
        f"[profile base]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = {SECRET}",
    )

    def no_terminal(prompt):
        raise EOFError(SECRET)

    make = functools.partialmethod(AssumeRoleProvider.__init__, prompter=no_terminal)
    scene.environment.setattr(AssumeRoleProvider, "__init__", make)
    return {"endpoint_url": scene.function.endpoint_url, "keys": {}}


def ended_login(scene):
    lines = "sso_start_url = https://x\nsso_region = us-east-1\nsso_account_id = 1\nsso_role_name = x"
    sources.config(scene.environment, scene.directory, lines)
    scene.environment.setenv("HOME", str(scene.directory))
    return {"endpoint_url": scene.function.endpoint_url, "keys": {}}


def bad_header(scene):
    for name, value in (
        ("ACCESS_KEY_ID", "AKID"),
        ("SECRET_ACCESS_KEY", "s"),
        ("SESSION_TOKEN", f"{SECRET}\r\nX-Forged: yes"),
    ):
        scene.environment.setenv(f"AWS_{name}", value)
    return {"endpoint_url": scene.function.endpoint_url, "keys": {}}


def with_handler(event: str, error: Exception):
    """A given client whose owner's handler raises at this event."""

    def prepare(scene):
        client = given_client(scene)

        def raises(**_):
            raise error

        client.meta.events.register(event, raises)
        return {"client": client}

    return prepare


def given_client(scene, attempts: int = 1, endpoint_url=None, session=None, **config):
    session = session or boto3.session.Session(**KEYS)
    config = Config(retries={"mode": "standard", "total_max_attempts": attempts}, read_timeout=5, **config)
    client = session.client(
        "lambda", "us-east-1", endpoint_url=endpoint_url or scene.function.endpoint_url, config=config
    )
    scene.stack.callback(client.close)
    return client


def slow_sts(scene):
    """STS does not answer within its client's read_timeout."""
    (scene.directory / "token").write_text(SECRET)
    sources.web_identity(scene.environment, scene.serve(Sts(hang())), scene.directory / "token")
    session = boto3.session.Session()
    session._session.set_default_client_config(Config(read_timeout=0.2, connect_timeout=5))
    return {"client": given_client(scene, session=session)}


class SegmentNotFoundException(Exception):  # noqa: N818
    """As AWS X-Ray's SDK names it."""


NAMED = ("the AWS credentials",)
STS = (*NAMED, "AssumeRoleWithWebIdentity")
CREDENTIALS = [
    Row("none", no_credentials, CONFIG, False, ("no AWS credentials",)),
    Row("metadata service down", metadata_service, CONFIG, True, ("no AWS credentials",)),
    Row("STS silent", slow_sts, CONFIG, True, NAMED),
    Row("STS reset", web_identity(reset_before()), CONFIG, True, NAMED),
    Row("STS closed", web_identity(close_before()), CONFIG, True, NAMED),
    Row("STS 500", web_identity(untyped(500)), CONFIG, True, STS),
    Row("STS 503 typed", web_identity(sts_error("ServiceUnavailable", 503)), CONFIG, True, STS),
    Row("STS Throttling", web_identity(sts_error("Throttling", 400)), CONFIG, True, (*STS, "Throttling")),
    Row("STS IdP", web_identity(sts_error("IDPCommunicationError", 400)), CONFIG, True, STS),
    Row("STS AccessDenied", web_identity(sts_error("AccessDenied", 403)), CONFIG, False, (*STS, "AccessDenied")),
    Row("STS expired", web_identity(sts_error("ExpiredTokenException", 400)), CONFIG, False, STS),
    Row("token missing", token_file(lambda path: None), CONFIG, False, (*NAMED, "web identity token")),
    Row("token a directory", token_file(pathlib.Path.mkdir), CONFIG, False, (*NAMED, "web identity token")),
    Row(
        "token no text",
        token_file(lambda path: path.write_bytes(b"\xff\xfe")),
        CONFIG,
        False,
        (*NAMED, "web identity token"),
    ),
    Row("pod identity token gone", pod_identity, CONFIG, False, (*NAMED, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")),
    *(
        Row(
            f"container endpoint {status}",
            container(sources.container_down(status)),
            CONFIG,
            passes,
            (*NAMED, "container"),
        )
        for status, passes in ((429, True), (500, True), (503, True), (403, False), (404, False))
    ),
    Row("container endpoint closed", container(close_before()), CONFIG, True, NAMED),
    Row(
        "container endpoint garbage",
        container(raw(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}}")),
        CONFIG,
        True,
        NAMED,
    ),
    Row("login that has ended", ended_login, CONFIG, False, (*NAMED, "login")),
    Row("MFA without a terminal", mfa, CONFIG, False, (*NAMED, "MFA")),
    Row("key that no header may hold", bad_header, CONFIG, False, ("credentials",)),
    Row(
        "X-Ray", with_handler("before-call.lambda.Invoke", SegmentNotFoundException(SECRET)), CONFIG, False, ("X-Ray",)
    ),
    Row(
        "an owner's handler",
        with_handler("before-call.lambda.Invoke", KeyError(SECRET)),
        "internal_error",
        False,
        ("KeyError",),
    ),
    Row(
        "an owner's first handler",
        with_handler("before-parameter-build.lambda.Invoke", KeyError(SECRET)),
        "internal_error",
        False,
    ),
    Row(
        "303 to another host",
        lambda scene: {"endpoint_url": scene.serve(redirect(303, "http://other.invalid/")).endpoint_url},
        CONFIG,
        False,
        ("HTTP 303",),
    ),
]


def settings_of(row: Row, scene: Scene, **more):
    settings = dict(row.prepare(scene))
    then, keys = settings.pop("then", None), settings.pop("keys", {} if "client" in settings else KEYS)
    fixed = {"connect_timeout": 0.3 if IN_TIME in row.says else 5, "read_timeout": 20, "max_retries": MAX_RETRIES}
    return then, {**fixed, "initial_retry_delay": 0.001, **keys, **settings, **more}


@pytest.mark.parametrize("idempotent", [True, False], ids=["idempotent", "not idempotent"])
@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in CONNECTIONS + SETTINGS + CREDENTIALS])
def test_what_breaks_before_sending_is_told_as_what_it_is(row, idempotent, scene, network_guard, caplog):
    caplog.set_level(logging.INFO, "lambda_adapter")
    breaker = CircuitBreaker(failure_threshold=1, reset_timeout=60)
    then, settings = settings_of(row, scene, idempotent=idempotent, circuit_breaker=breaker)
    with LambdaAdapter("function", "us-east-1", "module", **settings) as adapter:
        if then:
            assert adapter.execute(REQUEST).success
            then()
        before = len(scene.function.requests)
        response = adapter.execute(REQUEST)
        state = adapter.get_module_info()["circuit_breaker"]["state"]
    assert (response.error_code, response.invocation.executed) == (row.error_code, "no"), response.error
    assert response.invocation.attempts == (1 + MAX_RETRIES if row.transient else 1), response.error
    assert len(scene.function.requests) == before
    for words in row.says:
        assert words in response.error
    assert ("connect_timeout" in response.error) == (IN_TIME in row.says)
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("lambda_adapter")]
    assert SECRET not in f"{response} {ours}"
    assert "://" not in response.error
    assert state == "closed", "nothing was sent"
    assert adapter.health.total_failures == 1
    # Names that do not resolve were looked for; nothing else was.
    network_guard[:] = [host for host in network_guard if "proxy" not in row.name]


@pytest.mark.parametrize("fail", [sources.container_down(429), untyped(500)], ids=["429", "500"])
def test_a_source_of_credentials_that_is_well_again_costs_attempts(fail, scene):
    """botocore asks the endpoint three times in each of our attempts."""
    source = Container()
    sources.container(scene.environment, scene.serve(source))
    settings = {"endpoint_url": scene.function.endpoint_url, "initial_retry_delay": 0.001, "idempotent": False}
    with LambdaAdapter("function", "us-east-1", "module", **settings) as adapter:
        assert adapter.execute(REQUEST).success
        source.fail(fail, times=3)
        response = adapter.execute(REQUEST)
    assert (response.success, response.invocation.attempts) == (True, 2)


# -- What was sent ----------------------------------------------------------------------------------

SENT = [
    ("silent", hang(), "timeout"),
    ("closed", close_before(), "connection_lost"),
    ("reset", reset_before(), "connection_lost"),
]


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize(("reaction", "error_code"), [pytest.param(*row[1:], id=row[0]) for row in SENT])
@pytest.mark.parametrize("given", [False, True], ids=["own client", "given client"])
def test_what_breaks_after_sending_leaves_it_open(reaction, error_code, given, tls, scene):
    context, pem = tls_contexts(scene.directory) if tls else (None, "")
    scene.environment.setenv("AWS_CA_BUNDLE", pem) if tls else None
    server = scene.serve(reaction, tls=context)
    settings = {"endpoint_url": server.endpoint_url, "read_timeout": 0.3, **KEYS}
    if given:
        session = boto3.session.Session(**KEYS)
        config = Config(retries={"total_max_attempts": 1, "mode": "standard"}, read_timeout=0.3)
        settings = {"client": session.client("lambda", "us-east-1", endpoint_url=server.endpoint_url, config=config)}
        scene.stack.callback(settings["client"].close)
    with LambdaAdapter("function", "us-east-1", "module", idempotent=False, **settings) as adapter:
        response = adapter.execute(REQUEST)
    assert (response.error_code, response.invocation.executed) == (error_code, "maybe")
    assert (response.invocation.attempts, len(server.requests)) == (1, 1)


def test_a_failed_connection_that_the_caller_handles_is_not_ours(scene):
    """Python chains to an exception what was being handled when it was raised."""
    server = scene.serve(close_before())
    with LambdaAdapter(
        "function", "us-east-1", "module", endpoint_url=server.endpoint_url, max_retries=0, **KEYS
    ) as ours:

        def connect():
            raise ConnectionRefusedError

        try:
            connect()
        except ConnectionRefusedError:
            response = ours.execute(REQUEST)
    assert (response.error_code, response.invocation.executed) == ("connection_lost", "maybe")


def test_a_handshake_that_fails_while_the_caller_handles_an_exception_is_still_known(scene):
    """botocore raises its exception anew, and Python then replaces what it was chained to."""
    settings = handshake(hang())(scene)
    with LambdaAdapter(
        "function", "us-east-1", "module", connect_timeout=0.3, max_retries=0, **settings, **KEYS
    ) as ours:
        try:
            raise KeyError
        except KeyError:
            response = ours.execute(REQUEST)
    assert (response.error_code, response.invocation.executed) == (CONNECTION, "no")


# -- Clients that are given -------------------------------------------------------------------------


def call_with(client):
    with LambdaAdapter("function", "us-east-1", "module", client=client, max_retries=0) as adapter:
        return adapter.execute(REQUEST)


def test_a_given_clients_own_retries_count(scene):
    """The last of them found nobody, but an earlier one was sent."""
    server = scene.serve(lambda request: close_and_go(server))
    client = given_client(scene, attempts=2, endpoint_url=server.endpoint_url)
    response = call_with(client)
    assert (response.error_code, response.invocation.executed) == ("connection_lost", "maybe")
    assert len(server.requests) == 1


def close_and_go(server: FaultServer) -> Reaction:
    server._listener.shutdown(socket.SHUT_RDWR)
    return reset_before()


def test_a_given_client_that_only_ever_finds_nobody_sent_nothing(scene):
    settings = refused(scene)
    client = given_client(scene, attempts=2, endpoint_url=settings["endpoint_url"])
    response = call_with(client)
    assert (response.error_code, response.invocation.executed) == (CONNECTION, "no")


@pytest.mark.parametrize(
    ("script", "executed"),
    [
        ([aws_error("TooManyRequestsException", 429)], "no"),
        ([untyped(503), aws_error("TooManyRequestsException", 429)], "maybe"),
        ([untyped(503)], "maybe"),
    ],
    ids=["throttled", "503, then throttled", "503"],
)
def test_an_answer_to_a_given_clients_earlier_request_counts_too(script, executed, scene):
    server = scene.serve(script)
    response = call_with(given_client(scene, attempts=2, endpoint_url=server.endpoint_url))
    assert (response.invocation.executed, len(server.requests)) == (executed, 2)


def test_an_owners_handler_that_answers_hides_nothing(scene):
    """moto answers at before-send, and so may anybody."""
    from botocore.exceptions import ReadTimeoutError

    client = given_client(scene)

    def times_out(**_):
        raise ReadTimeoutError(endpoint_url="x")

    client.meta.events.register_first("before-send.lambda.Invoke", times_out)
    response = call_with(client)
    assert (response.error_code, response.invocation.executed) == ("timeout", "maybe")


class Mocked:
    """A client of a user's tests: no events."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def invoke(self, **_):
        raise self.error


def test_a_client_without_events_is_judged_by_the_class():
    from unittest.mock import MagicMock

    from botocore.exceptions import EndpointConnectionError, ReadTimeoutError

    for error, expected in (
        (ReadTimeoutError(endpoint_url="x"), ("timeout", "maybe")),
        (EndpointConnectionError(endpoint_url="x"), (CONNECTION, "no")),
        (ValueError(), ("internal_error", "maybe")),
    ):
        mock = MagicMock()
        mock.invoke.side_effect = error
        for client in (Mocked(error), mock):
            response = call_with(client)
            assert (response.error_code, response.invocation.executed) == expected


def test_a_given_client_is_watched_once_however_many_adapters_have_it(scene):
    client = given_client(scene)
    call_with(client)
    before = len(list(client.meta.events._emitter._handlers.prefix_search("before-send.lambda.Invoke")))
    call_with(client)
    assert len(list(client.meta.events._emitter._handlers.prefix_search("before-send.lambda.Invoke"))) == before


# -- DryRun -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("reaction", [aws_error("NotImplemented", 501), untyped(501)], ids=["sam local", "untyped"])
def test_check_says_that_an_endpoint_knows_no_dry_run(reaction, scene):
    server = scene.serve(reaction)
    with LambdaAdapter("function", "us-east-1", "module", endpoint_url=server.endpoint_url, **KEYS) as adapter:
        response = adapter.check()
    assert (response.success, response.invocation.executed, len(server.requests)) == (False, "no", 1)
    assert "knows no DryRun" in response.error


# -- Signals ----------------------------------------------------------------------------------------


def alarm(reaction: Reaction):
    """Has the alarm go off after the request has come, in whatever the client waits for."""

    def script(request):
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        return reaction

    return lambda scene: {"endpoint_url": scene.serve(script).endpoint_url}


@pytest.mark.parametrize(
    ("prepare", "requests"),
    [(alarm(hang()), 1), (alarm(stall_body()), 1), (handshake(hang()), 0)],
    ids=["no answer", "within the answer", "TLS handshake"],
)
# A handler may raise where urllib3 has a socket that it does not know yet; then it is closed by whoever collects it.
@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")
@pytest.mark.parametrize("error", [TimeoutError, KeyError, socket.timeout])
def test_what_a_signals_handler_raises_is_the_callers_and_no_time_out_of_ours(prepare, requests, error, scene):
    """urllib3 takes a TimeoutError for one of its own, and another attempt would run the function again."""

    def handler(number, frame):
        raise error(SECRET)

    heard = []
    before = signal.signal(signal.SIGALRM, handler)
    try:
        settings = {**KEYS, **prepare(scene), "on_attempt": heard.append}
        with LambdaAdapter("function", "us-east-1", "module", **settings) as adapter:
            if not requests:
                signal.setitimer(signal.ITIMER_REAL, 0.3)  # the handshake has no script
            with pytest.raises(error, match=SECRET):
                adapter.execute(REQUEST)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert heard == []
    assert adapter.health.total_requests == 0
    gc.collect()


# -- Through a proxy, and over several attempts ------------------------------------------------------


@pytest.mark.parametrize("idempotent", [True, False])
def test_what_a_proxy_has_passed_on_may_have_run(idempotent, scene, monkeypatch):
    """urllib3 says of each connection through a proxy that breaks that the proxy cannot be reached."""
    proxy = scene.serve(close_before())
    monkeypatch.setenv("HTTP_PROXY", proxy.endpoint_url)
    settings = {**KEYS, "endpoint_url": "http://emulator.internal:4566", "allow_http": True, "idempotent": idempotent}
    fast = {"max_retries": 2, "initial_retry_delay": 0.001}
    with LambdaAdapter("function", "us-east-1", "module", **settings, **fast) as adapter:
        response = adapter.execute(REQUEST)
    assert (response.error_code, response.invocation.executed) == ("connection_lost", "maybe")
    assert len(proxy.requests) == response.invocation.attempts == (3 if idempotent else 1)


@pytest.mark.parametrize(
    ("reactions", "error_code", "executed"),
    [
        ([close_before(), aws_error("AccessDeniedException", 403)], "access_denied", "maybe"),
        ([untyped(502), aws_error("TooManyRequestsException", 429)], "throttled", "maybe"),
        ([aws_error("TooManyRequestsException", 429), aws_error("AccessDeniedException", 403)], "access_denied", "no"),
        ([close_before(), answer({"success": False})], "function_failed", "yes"),
        ([close_before(), answer({"success": True})], None, "yes"),
    ],
    ids=["lost, denied", "502, throttled", "throttled, denied", "lost, failed", "lost, succeeded"],
)
def test_executed_is_said_of_the_whole_call_and_of_each_attempt(reactions, error_code, executed, scene):
    server, heard = scene.serve(reactions), []
    settings = {**KEYS, "endpoint_url": server.endpoint_url, "max_retries": 1, "initial_retry_delay": 0.001}
    with LambdaAdapter("function", "us-east-1", "module", **settings, on_attempt=heard.append) as adapter:
        response = adapter.execute(REQUEST)
    assert (response.error_code, response.invocation.executed) == (error_code, executed)
    assert len(heard) == len(server.requests) == 2
    assert ("an earlier attempt may have run the function" in (response.error or "")) == (executed == "maybe")
    assert heard[-1].executed == ("no" if executed == "maybe" else executed)


def test_a_process_that_printed_no_text_is_told_and_its_repair_is_noticed(scene, monkeypatch, tmp_path):
    printed = tmp_path / "printed.json"
    printed.write_text(json.dumps({"Version": 1, "AccessKeyId": 5, "SecretAccessKey": SECRET}))
    config = tmp_path / "config"
    config.write_text(f"[default]\ncredential_process = cat {printed}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    server = scene.serve(answer({"success": True}))
    with LambdaAdapter("function", "us-east-1", "module", endpoint_url=server.endpoint_url, max_retries=0) as adapter:
        broken = adapter.execute(REQUEST)
        printed.write_text('{"Version": 1, "AccessKeyId": "AKIAMENDED", "SecretAccessKey": "mended"}')
        mended = adapter.execute(REQUEST)
    assert (broken.error_code, broken.invocation.executed) == ("configuration_error", "no")
    assert "credentials" in broken.error
    assert SECRET not in broken.error
    assert (mended.error_code, len(server.requests)) == (None, 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_DEFAULTS_MODE", "bogus-" + SECRET),
        ("AWS_STS_REGIONAL_ENDPOINTS", "bogus-" + SECRET),
        ("AWS_CA_BUNDLE", ""),
    ],
)
def test_a_setting_that_is_none_is_one_kind_of_error_and_not_repeated(name, value, monkeypatch):
    monkeypatch.setenv(name, value)
    said = []
    with contextlib.suppress(ConfigurationError):  # older botocores do not look at some of them
        try:
            LambdaAdapter("function", "us-east-1", "module", endpoint_url="https://127.0.0.1:9", **KEYS).close()
        except Exception as error:
            said.append(str(error))
            raise
    assert SECRET not in str(said)


@pytest.mark.parametrize("value", ["http://[::1", "nonsense"])
def test_an_endpoint_that_is_no_url_names_the_variable(value, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", value)
    with pytest.raises(ValueError, match="AWS_ENDPOINT_URL must be"):
        LambdaAdapter("function", "us-east-1", "module", **KEYS)


def test_a_proxy_that_asks_for_a_password_is_told_as_the_proxy(scene, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", scene.serve(untyped(407)).endpoint_url)
    settings = {**KEYS, "endpoint_url": "http://emulator.internal:4566", "allow_http": True}
    with LambdaAdapter("function", "us-east-1", "module", **settings) as adapter:
        response = adapter.execute(REQUEST)
    assert (response.error_code, response.invocation.executed) == ("configuration_error", "no")
    assert "the proxy asks for a password" in response.error
