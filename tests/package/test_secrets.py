"""Canaries: what is secret is in nothing that this package writes, and nobody can write lines into its log.

Secret are the credentials, the endpoint's path, the arguments and the metadata. The server is hostile: it commits
every fault of the matrix, and sends parts of the request back wherever an answer has room for text. Only what a
function itself says with ``success`` true or false is passed on as it is.
"""

import contextlib
import io
import json
import logging
import traceback
import warnings
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import attrs
import pytest

from lambda_adapter import ExecuteRequest, ExecuteResponse, LambdaAdapter
from lambda_adapter._aws import clients
from lambda_adapter._aws.clients import ClientSettings
from lambda_adapter._wire.payload import encode_request
from support.calls import CALLS
from support.fault_server import FaultServer, Reaction, Request, answer, function_error, raw, respond, untyped
from support.faults import FAULTS, Fault

KEY_ID = "AKIACANARYKEYID00001"
SECRET = "canarySecret/AccessKey+0002"
TOKEN = "canarySessionToken0003"
ENVIRONMENT_TOKEN = "canaryEnvironmentToken0004"
ENDPOINT_PATH = "canaryEndpointPath0005"
ARGUMENT = "canaryArgument0006"
METADATA = "canaryMetadata0007"
EVENT_DATA = "canaryEventData0008"
CANARIES = [KEY_ID, SECRET, TOKEN, ENVIRONMENT_TOKEN, ENDPOINT_PATH, ARGUMENT, METADATA, EVENT_DATA]

COMMAND = ExecuteRequest(
    "weather",
    ["in", ARGUMENT],
    "u",
    "e",
    "c",
    "session",
    "discord",
    {"user": {"username": METADATA}, "community": {"name": METADATA + "!"}, "anything": [METADATA]},
)
EVENT = attrs.evolve(
    COMMAND,
    metadata={**COMMAND.metadata, "is_event": True, "event_type": "raid", "event_data": {"a": [{"b": EVENT_DATA}]}},
)
REQUESTS = [pytest.param(COMMAND, id="command"), pytest.param(EVENT, id="event")]


def secret_adapter(endpoint_url: str, **settings: Any) -> LambdaAdapter:
    credentials = {
        "aws_access_key_id": KEY_ID,
        "aws_secret_access_key": SECRET,
        "aws_session_token": TOKEN,
    }
    delays = {"max_retries": 1, "initial_retry_delay": 1e-6, "read_timeout": 10.0}
    url = f"{endpoint_url}/{ENDPOINT_PATH}"
    return LambdaAdapter("function", "us-east-1", "module", endpoint_url=url, **{**credentials, **delays, **settings})


@pytest.fixture(autouse=True)
def everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    for name in ["lambda_adapter", *logging.root.manager.loggerDict]:
        if name.partition(".")[0] == "lambda_adapter":
            caplog.set_level(logging.DEBUG, name)


def logged(caplog: pytest.LogCaptureFixture) -> Iterator[str]:
    """All that our records hold, formatted and not."""
    formatter = logging.Formatter("%(name)s %(message)s")
    for record in caplog.records:
        if record.name.partition(".")[0] == "lambda_adapter":
            yield formatter.format(record)
            yield repr({**vars(record), "args": record.args})
            yield str(record.exc_text)


def written(adapter: LambdaAdapter, request: ExecuteRequest, response: ExecuteResponse) -> Iterator[str]:
    """All that a program might print, store or show of a call."""
    for value in (adapter, request, response, response.invocation, adapter.health, adapter._lease, adapter._invoker):
        yield repr(value)
        yield str(value)
    yield repr(encode_request(request))
    yield repr((adapter.get_health_status(), adapter.get_module_info()))
    for maker in clients._registry._makers.values():
        yield repr((maker, maker.source, list(maker._clients)))
    yield str(response.error)
    yield json.dumps(response.to_dict(), ensure_ascii=False)


def leaks(texts: Iterator[str], canaries: Optional[List[str]] = None) -> List[Tuple[str, str]]:
    return [(canary, text) for text in texts for canary in canaries or CANARIES if canary.lower() in text.lower()]


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    """Restarted by each test, so that tests share clients: one takes 10 ms with its first call, a later call 1."""
    with FaultServer(answer({"success": True})) as server, contextlib.ExitStack() as kept:
        for read_timeout in (0.2, 10.0):
            kept.enter_context(secret_adapter(server.endpoint_url, read_timeout=read_timeout))
        yield server


def check_kept(
    server: FaultServer,
    script: Any,
    request: ExecuteRequest,
    caplog: pytest.LogCaptureFixture,
    call: Any = CALLS["execute"],
    **settings: Any,
) -> ExecuteResponse:
    """One call, after which no canary is anywhere; the canaries did reach the server."""
    server.restart(script)
    with secret_adapter(server.endpoint_url, **settings) as adapter:
        response: ExecuteResponse = call(adapter, request)
        assert leaks(written(adapter, request, response)) == []
        assert leaks(logged(caplog)) == []
        sent = " ".join(f"{r.path} {r.headers} {r.body!r}" for r in server.requests)
    for canary in (KEY_ID, ENDPOINT_PATH, METADATA, EVENT_DATA if request is EVENT else ARGUMENT):
        assert canary in sent
    return response


@pytest.mark.parametrize("fault", FAULTS)
def test_no_fault_reveals_a_secret(fault: Fault, server: FaultServer, caplog: pytest.LogCaptureFixture) -> None:
    response = check_kept(server, fault.reaction, COMMAND, caplog, read_timeout=fault.read_timeout)
    assert response.error_code == fault.error_code


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
@pytest.mark.parametrize("request_", REQUESTS)
def test_a_success_reveals_no_secret(
    request_: ExecuteRequest, call: Callable[..., Any], server: FaultServer, caplog: pytest.LogCaptureFixture
) -> None:
    assert check_kept(server, answer({"success": True, "message": "m"}), request_, caplog, call).success


# -- A server that sends the request back ---------------------------------------------------------

Pick = Callable[[Request], str]


def trigger(request: Request) -> Dict[str, Any]:
    found: Dict[str, Any] = json.loads(request.body)["trigger"]
    return found


def argument(request: Request) -> str:
    """The one word, as function code quotes what it cannot parse."""
    return (trigger(request)["context_text"] or trigger(request)["event_data"]["a"][0]["b"]).split()[-1]


PICKS: List[Tuple[str, Pick]] = [
    ("body", lambda request: request.body.decode()),
    ("headers", lambda request: str(request.headers)),
    ("path", lambda request: request.path),
    ("URL", lambda request: f"http://{request.headers['host']}{request.path}"),
    ("authorization", lambda request: request.headers["authorization"]),
    ("token", lambda request: request.headers["x-amz-security-token"]),
    ("key id", lambda request: request.headers["authorization"].partition("Credential=")[2].partition("/")[0]),
    ("argument", argument),
    ("username", lambda request: json.loads(request.body)["user"]["username"]),
]


def typed(code: str, message: str = "", **headers: str) -> Reaction:
    body = json.dumps({"message": message, "Message": message, "Type": "User"}).encode()
    return respond(400, body, {"x-amzn-ErrorType": code, **{k.replace("_", "-"): v for k, v in headers.items()}})


PLACES: List[Tuple[str, Callable[[str], Reaction]]] = [
    ("an HTML page", lambda text: untyped(502, f"<html>{text}</html>".encode())),
    ("an error that is no JSON", lambda text: respond(500, text.encode())),
    ("a typed error's message", lambda text: typed("InvalidSignatureException", text)),
    ("a transient error's message", lambda text: typed("ThrottlingException", text)),
    ("an error code", lambda text: typed(text)),
    ("an error code with a URL", lambda text: typed(f"Code:http://example.com/{text}")),
    ("an error code in the body", lambda text: respond(400, json.dumps({"code": text, "__type": text}).encode())),
    ("an error's other fields", lambda text: respond(429, json.dumps({"Reason": text, "Type": text}).encode())),
    (
        "a throttle's reason",
        lambda text: respond(429, json.dumps({"Reason": text}).encode(), {"x-amzn-ErrorType": "ThrottlingException"}),
    ),
    ("an error's request id", lambda text: typed("ServiceException", x_amzn_RequestId=text)),
    ("a retry-after", lambda text: typed("ThrottlingException", retry_after=text)),
    ("a success's request id", lambda text: respond(200, b'{"success": true}', {"x-amzn-RequestId": text})),
    ("the version", lambda text: respond(200, b'{"success": true}', {"X-Amz-Executed-Version": text})),
    ("the kind of a function error", lambda text: function_error(kind=text)),
    ("a function error's message", lambda text: function_error(message=text)),
    ("a function error's message, quoted", lambda text: function_error(message=f"could not parse {text!r} here")),
    ("a function error's type", lambda text: function_error(error_type=text)),
    ("a function error's stack trace", lambda text: function_error(stackTrace=[text], trace=text, requestId=text)),
    ("a function error that is no JSON", lambda text: respond(200, text.encode(), {"X-Amz-Function-Error": "Handled"})),
    ("an answer that is no JSON", lambda text: respond(200, text.encode())),
    ("an answer that is a string", lambda text: answer(text)),
    ("an answer's success", lambda text: answer({"success": text})),
    ("an answer without success", lambda text: answer({"message": text, text: text})),
    ("an answer's bad base64", lambda text: answer({"statusCode": 200, "body": f"%{text}", "isBase64Encoded": True})),
    ("a content length", lambda text: respond(200, b"{}", {"Content-Length": text}, then="close")),
    ("a chunk's size", lambda text: raw(f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{text}\r\n".encode())),
    ("a reason phrase", lambda text: respond(503, reason=text)),
    ("a status line", lambda text: raw(f"HTTP/1.1 {text}\r\n\r\n".encode())),
    ("no HTTP at all", lambda text: raw(f"{text}\r\n\r\n".encode())),
    ("a header's name", lambda text: respond(503, headers={text.replace(":", ""): text})),
    ("a redirect", lambda text: respond(307, headers={"Location": f"/{text}"})),
]


@pytest.mark.parametrize("pick", [pytest.param(pick, id=name) for name, pick in PICKS])
@pytest.mark.parametrize("place", [pytest.param(place, id=name) for name, place in PLACES])
def test_an_echo_of_the_request_reveals_no_secret(
    place: Callable[[str], Reaction], pick: Pick, server: FaultServer, caplog: pytest.LogCaptureFixture
) -> None:
    for request in (COMMAND, EVENT):
        check_kept(server, lambda received: place(pick(received)), request, caplog)


@pytest.mark.parametrize(
    "spelled",
    [
        pytest.param('{"city":"%s"}', id="JSON"),
        pytest.param("'%s'\\", id="quotes and a backslash"),
        pytest.param("Zürich-%s", id="not ASCII"),
        pytest.param("%s\u2028", id="a line separator"),
        pytest.param("\x1b[31m%s", id="an escape sequence"),
    ],
)
@pytest.mark.parametrize(
    "quote",
    [
        pytest.param(str, id="as it is"),
        pytest.param(repr, id="repr"),
        pytest.param(json.dumps, id="JSON"),
        pytest.param(ascii, id="ascii"),
        pytest.param(lambda text: repr({"event": json.dumps({"text": text})}), id="JSON in a repr"),
        pytest.param(lambda text: "x" * 150 + text, id="late"),
        pytest.param(lambda text: text[:-2], id="cut"),
    ],
)
def test_a_function_error_that_quotes_what_was_typed_is_withheld(
    quote: Callable[[str], str], spelled: str, server: FaultServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A function that fails on an argument names it, in any of the notations that languages have for strings."""
    request = attrs.evolve(COMMAND, args=[spelled % ARGUMENT])

    def script(received: Request) -> Reaction:
        return function_error(message="invalid literal: " + quote(trigger(received)["context_text"]))

    response = check_kept(server, script, request, caplog)
    assert response.error_code == "function_error"


def test_a_function_error_that_quotes_forwarded_metadata_is_withheld(
    server: FaultServer, caplog: pytest.LogCaptureFixture
) -> None:
    note = "canaryForwarded0009"
    request = attrs.evolve(COMMAND, metadata={**COMMAND.metadata, "notes": [{"a": note}]})

    def script(received: Request) -> Reaction:
        assert json.loads(received.body)["metadata"]["notes"] == [{"a": note}]
        return function_error(message=f"cannot read {note}")

    response = check_kept(server, script, request, caplog, forward_metadata=True)
    assert response.error == "function_error: ValueError: its message repeats the request and is withheld"
    assert leaks(logged(caplog), [note]) == []


def test_a_function_error_about_something_else_is_told(server: FaultServer, caplog: pytest.LogCaptureFixture) -> None:
    """The echoes above would be withheld if every message were."""
    response = check_kept(server, function_error("division by zero", "ZeroDivisionError"), COMMAND, caplog)
    assert response.error == "function_error: ZeroDivisionError: division by zero"


@pytest.mark.parametrize("success", [True, False])
def test_what_a_function_answers_is_its_own_affair_but_not_the_logs(
    success: bool, server: FaultServer, caplog: pytest.LogCaptureFixture
) -> None:
    def script(request: Request) -> Reaction:
        said = request.body.decode()
        return answer({"success": success, "message": said, "error": said, "x": said, "targets": [1, said]})

    server.restart(script)
    with secret_adapter(server.endpoint_url) as adapter:
        response = adapter.execute(COMMAND)
    assert ARGUMENT in (response.message or "")
    assert leaks(logged(caplog)) == []


# -- Credentials from elsewhere -------------------------------------------------------------------


@pytest.mark.parametrize("fault", [param for param in FAULTS if param.values[0].error_code != "timeout"][::4])
def test_credentials_of_the_environment_are_kept_too(
    fault: Fault, server: FaultServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", ENVIRONMENT_TOKEN)
    none = {"aws_access_key_id": None, "aws_secret_access_key": None, "aws_session_token": None}
    seen: List[str] = []

    def script(request: Request) -> Reaction:
        seen.append(request.headers["x-amz-security-token"])
        return fault.reaction

    response = check_kept(server, script, COMMAND, caplog, **none)
    assert response.error_code == fault.error_code
    assert set(seen) == {ENVIRONMENT_TOKEN}


@pytest.mark.parametrize("end", ["\r\nX-Forged: yes", "\n", "\x01", "é", "\u2028", " "])
@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"])
def test_malformed_credentials_of_the_environment_are_not_repeated(
    name: str, end: str, server: FaultServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """http.client refuses a header with a line break in it, and quotes the header."""
    values = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_SESSION_TOKEN": ENVIRONMENT_TOKEN}
    for variable, value in values.items():
        monkeypatch.setenv(variable, value + end if variable == name else value)
    none = {"aws_access_key_id": None, "aws_secret_access_key": None, "aws_session_token": None}
    server.restart(answer({"success": True}))
    with secret_adapter(server.endpoint_url, **none) as adapter:
        response = adapter.execute(COMMAND)
        assert leaks(written(adapter, COMMAND, response)) == []
    assert leaks(logged(caplog)) == []


# -- Construction ---------------------------------------------------------------------------------

BAD_ENDPOINTS = [
    "http://user:{0}@127.0.0.1:9/",
    "https://{0}@example.com/",
    "https://user:{0}@example.com/{0}",
    "http://example.com/{0}",
    "https://example.com/?token={0}",
    "https://example.com/#{0}",
    "https://example.com:{0}/",
    "ftp://{0}",
    "https://[{0}/",
    "{0}",
    "https://example.com/{0}\n",
    "https://example.com/\u2028{0}",
]

BAD_SETTINGS: List[Tuple[str, Dict[str, Any]]] = [
    *((f"aws_access_key_id + {end!r}", {"aws_access_key_id": KEY_ID + end}) for end in ("\n", "é", "\x00")),
    *((f"aws_secret_access_key + {end!r}", {"aws_secret_access_key": SECRET + end}) for end in ("\n", "é", "\x00")),
    *((f"aws_session_token + {end!r}", {"aws_session_token": TOKEN + end}) for end in ("\n", "é", "\x00")),
    ("a secret in bytes", {"aws_secret_access_key": SECRET.encode()}),
    ("a secret in a list", {"aws_secret_access_key": [SECRET]}),
    ("a key id alone", {"aws_secret_access_key": None}),
    ("a secret alone", {"aws_access_key_id": None}),
    ("a token alone", {"aws_access_key_id": None, "aws_secret_access_key": None}),
    ("another parameter", {"max_retries": -1}),
    ("a client of one's own", {"client": io.BytesIO()}),
    *((url.format("CANARY"), {"endpoint_url": url.format(ENDPOINT_PATH)}) for url in BAD_ENDPOINTS),
]


@pytest.mark.parametrize("changes", [pytest.param(changes, id=name) for name, changes in BAD_SETTINGS])
def test_a_refused_parameter_is_not_shown(changes: Dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    """Neither in the message nor in what a traceback prints, causes and contexts included."""
    settings = {
        "aws_access_key_id": KEY_ID,
        "aws_secret_access_key": SECRET,
        "aws_session_token": TOKEN,
        "endpoint_url": f"https://example.com/{ENDPOINT_PATH}",
        **changes,
    }
    with pytest.raises(ValueError, match=r"must|goes") as raised, warnings.catch_warnings(record=True) as warned:
        LambdaAdapter("function", "us-east-1", "module", **settings)
    texts = [
        "".join(traceback.format_exception(raised.type, raised.value, raised.tb)),
        repr(raised.value),
        repr(raised.value.args),
        *(str(warning.message) for warning in warned),
    ]
    assert leaks(iter(texts)) == []
    assert leaks(logged(caplog)) == []


def test_settings_and_requests_hide_what_they_hold() -> None:
    settings = ClientSettings("us-east-1", 1.0, 1.0, f"https://example.com/{ENDPOINT_PATH}", KEY_ID, SECRET, TOKEN)
    assert leaks(iter([repr(settings), str(settings)])) == []
    assert leaks(iter([repr(COMMAND), str(EVENT), repr(encode_request(COMMAND)), repr(encode_request(EVENT))])) == []


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param({"a": {METADATA}}, id="a set"),
        pytest.param({"a": METADATA.encode()}, id="bytes"),
        pytest.param({"a": METADATA + "\ud800"}, id="half a surrogate pair"),
        pytest.param({"a": Exception(METADATA)}, id="an object that shows itself"),
        pytest.param({"community": METADATA}, id="a section that is text"),
        pytest.param({"community": {"seat_count": METADATA}}, id="a number that is text"),
        pytest.param({"community": {"is_subscribed": METADATA}}, id="a flag that is text"),
        pytest.param({"is_event": METADATA}, id="an event that is text"),
        pytest.param({"is_event": True, "event_type": [METADATA]}, id="an event's type that is an array"),
        pytest.param({("k", METADATA): 1}, id="a key that is no text"),
        pytest.param({METADATA + "\ud800": 1}, id="a key with half a surrogate pair"),
    ],
)
def test_a_refused_request_is_named_by_its_path_and_shape(
    metadata: Dict[Any, Any], caplog: pytest.LogCaptureFixture
) -> None:
    request = attrs.evolve(COMMAND, metadata=metadata)
    with secret_adapter("http://127.0.0.1:1") as adapter:
        response = adapter.execute(request)
        assert response.error_code == "invalid_request"
        assert leaks(iter([repr(request), str(response), str(response.error), str(response.to_dict())])) == []
    assert leaks(logged(caplog)) == []


# -- Forged lines ---------------------------------------------------------------------------------

FORGED = "INFO lambda_adapter forged=yes"
#: Everything that some reader of logs takes for the end of a line, and what moves a terminal's cursor.
BREAKS = ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]
CONTROLS = [
    "\x00",
    "\x08",
    "\x1b[2K\x1b[1A",
    "\x1b]0;title\x07",
    "\x7f",
    "\x9b31m",
    "\u202e",
    "\u2066",
    "\ufeff",
    "\u200b",
]


class Lines:
    """Our logger's lines as a StreamHandler writes them."""

    def __init__(self) -> None:
        self.stream = io.StringIO()
        self.count = 0

    def __enter__(self) -> "Lines":
        self._handler = logging.StreamHandler(self.stream)
        self._handler.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s"))
        self._handler.addFilter(self._counted)
        logging.getLogger("lambda_adapter").addHandler(self._handler)
        return self

    def _counted(self, _: logging.LogRecord) -> bool:
        self.count += 1
        return True

    def __exit__(self, *_: object) -> None:
        logging.getLogger("lambda_adapter").removeHandler(self._handler)

    def check(self, at_least: int) -> None:
        """As many lines as records, whoever counts; nothing in them moves a cursor."""
        text = self.stream.getvalue()
        assert self.count >= at_least
        assert len(text.splitlines()) == text.count("\n") == self.count
        assert all(line.isprintable() for line in text.split("\n"))
        assert not any(line.startswith(FORGED) for line in text.splitlines())


@contextlib.contextmanager
def lines_of(server: FaultServer, script: Any) -> Iterator[Tuple[LambdaAdapter, Lines]]:
    """An adapter of the server, whose log is read."""
    server.restart(script)
    with Lines() as lines, secret_adapter(server.endpoint_url) as adapter:
        yield adapter, lines


@pytest.mark.parametrize("field", ["session_id", "command", "user_id", "entity_id", "community_id", "platform", "args"])
@pytest.mark.parametrize("evil", BREAKS + CONTROLS, ids=ascii)
def test_a_request_writes_no_line_of_its_own(evil: str, field: str, server: FaultServer) -> None:
    """Blocking, it is retried and answered with false; awaited, it succeeds."""
    text = f"x{evil}{FORGED}{evil}"
    request = attrs.evolve(COMMAND, **{field: [text] if field == "args" else text})
    script = [untyped(503), answer({"success": False, "targets": [1]}), answer({"success": True})]
    with lines_of(server, script) as (adapter, lines):
        for call in CALLS.values():
            call(adapter, request)
    lines.check(at_least=6)


@pytest.mark.parametrize("evil", BREAKS + CONTROLS, ids=ascii)
def test_an_answer_writes_no_line_of_its_own(evil: str, server: FaultServer) -> None:
    text = f"x{evil}{FORGED}{evil}"
    script = [
        function_error(message=text, error_type=text),
        answer({"success": False, "error": text, "message": text, "targets": [{"type": text}, 1]}),
        answer({"success": text}),
        respond(400, json.dumps({"__type": text, "code": text, "message": text, "Reason": text}).encode()),
        untyped(400, text.encode()),
        answer({"success": True, "targets": [1], text: text}),
    ]
    with lines_of(server, script) as (adapter, lines):
        responses = [adapter.execute(COMMAND) for _ in script]
    lines.check(at_least=2 * len(script))
    own_words = responses.pop(1)  # a bot that prints them escapes them
    assert (own_words.error_code, own_words.error) == ("function_failed", text)
    assert all(response.error is None or response.error.isprintable() for response in responses)


@pytest.mark.parametrize("evil", [char for char in BREAKS + CONTROLS if char.isascii() or char < "\xff"], ids=ascii)
@pytest.mark.parametrize(
    "header", ["x-amzn-RequestId", "x-amzn-ErrorType", "X-Amz-Function-Error", "X-Amz-Executed-Version", "Retry-After"]
)
def test_a_header_writes_no_line_of_its_own(header: str, evil: str, server: FaultServer) -> None:
    """A bare CR or LF ends a header where it is read, and starts another."""
    headers = {header: f"x{evil}{FORGED}"}
    script = [respond(429, b"{}", headers), respond(200, b'{"success": true}', headers)]
    with lines_of(server, script) as (adapter, lines):
        response = adapter.execute(COMMAND)
    lines.check(at_least=3)
    assert str(response).isprintable()


def test_a_long_id_is_cut(server: FaultServer) -> None:
    with lines_of(server, answer({"success": True})) as (adapter, lines):
        adapter.execute(attrs.evolve(COMMAND, session_id="x" * 1_000_000))
    lines.check(at_least=3)
    assert all(len(line) < 1_000 for line in lines.stream.getvalue().splitlines())


def test_no_log_line_shows_a_credential_or_the_endpoint(make_adapter, make_request, caplog):
    caplog.set_level(logging.DEBUG, "lambda_adapter")
    with FaultServer(answer({"success": True})) as server:
        adapter = make_adapter(
            endpoint_url=server.endpoint_url,
            aws_access_key_id=f"AKIA{SECRET}",
            aws_secret_access_key=SECRET,
            aws_session_token=SECRET,
        )
        assert adapter.execute(make_request()).success
    text = "\n".join(caplog.messages)
    assert SECRET not in text
    assert "127.0.0.1" not in text
