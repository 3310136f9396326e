"""Data that nobody meant well: any bytes from a function, any Python objects from a caller, one typed response each.

The two properties run twice: quickly with a few hundred examples, and as ``slow`` tests with 10,000. Of these,
hypothesis draws every fourth, because it takes longer to draw one than to try four.
"""

import asyncio
import base64
import datetime
import decimal
import enum
import io
import json
import random
import socket
import threading
import time
import uuid
from types import TracebackType
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple, Type
from unittest import mock

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lambda_adapter import ExecuteRequest, ExecuteResponse, LambdaAdapter
from lambda_adapter._rules.limits import MAX_ANSWER_BYTES
from support.calls import REQUEST, adapter_for, call_async, call_sync

ERROR_CODES = {"function_error", "function_failed", "invalid_response"}

#: The quick run finds the same examples every time, the slow one looks for new ones.
QUICK = settings(max_examples=300, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
FULL = settings(max_examples=2_500, database=None, deadline=None, suppress_health_check=list(HealthCheck))


@attrs.define
class StubClient:
    """Stands in for boto3's client: answers with one body, and keeps what it was sent."""

    body: bytes = b'{"success": true}'
    #: Joins the response, FunctionError for example.
    fields: Dict[str, Any] = attrs.field(factory=dict)
    sent: List[bytes] = attrs.field(factory=list)

    def invoke(self, **arguments: Any) -> Dict[str, Any]:
        self.sent.append(arguments["Payload"])
        return {"StatusCode": 200, "Payload": io.BytesIO(self.body), **self.fields}


def adapter_with(client: Any, **given_settings: Any) -> LambdaAdapter:
    return LambdaAdapter("function", "us-east-1", "module", client=client, **given_settings)


def check_typed(response: ExecuteResponse) -> None:
    """Each field is of its declared type, and the whole can be stored and sent as JSON."""
    assert type(response) is ExecuteResponse
    assert type(response.success) is bool
    assert response.success is (response.error_code is None)
    assert (response.error is None) is response.success
    assert response.message is None or type(response.message) is str
    assert response.data is None or type(response.data) is dict
    assert type(response.targets) is list
    assert all(type(target) is dict for target in response.targets)
    assert response.invocation is not None
    if response.error is not None and response.error_code != "function_failed":  # whose own words are passed on
        assert response.error.isprintable()
    check_writable(response)


def check_writable(response: ExecuteResponse) -> None:
    """JSON that any reader takes, with and without escapes; bytes that any file and socket takes."""
    for ensure_ascii in (True, False):
        text = json.dumps(response.to_dict(), ensure_ascii=ensure_ascii, allow_nan=False)
        assert json.loads(text.encode()) == response.to_dict()
    assert repr(response)


def answered(body: bytes, **fields: Any) -> ExecuteResponse:
    """What a function's answer becomes; one attempt and one health record are made of it."""
    client = StubClient(body, fields)
    with adapter_with(client) as adapter:
        response = adapter.execute(REQUEST)
        assert len(client.sent) == 1
        assert adapter.health.total_requests == 1
        assert adapter.health.total_failures == (not response.success)
    return response


# -- A function's answers -------------------------------------------------------------------------

VALID: List[bytes] = [
    json.dumps(answer).encode()
    for answer in (
        {"success": True},
        {"success": False, "error": "no such city", "error_code": 7},
        {
            "success": True,
            "message": "Sunny \u2600 \U0001f600",
            "response_type": "general",
            "targets": ["discord", {"type": "twitch", "channel": "c"}, 1, None],
            "overlay_data": {"html": "<b>1</b>", "n": [1, 2.5, -3e-7, None, True]},
            "browser_source_url": "https://overlay.example/x",
        },
        {"statusCode": 200, "headers": {}, "body": '{"success": true, "message": "m"}', "isBase64Encoded": False},
        {
            "statusCode": 200,
            "body": base64.b64encode(b'{"success": true, "targets": "discord"}').decode(),
            "isBase64Encoded": True,
        },
        json.dumps({"success": True, "message": "twice"}),
        {"errorMessage": "boom", "errorType": "ValueError", "stackTrace": ["a", "b"]},
    )
]

ODD_TEXT = st.text(max_size=20) | st.sampled_from(
    ["\ud800", "\udfff", "\x00", "\u2028", "\x1b[31m", "\u202e", "https://user:pass@host/", "", "true", "NaN"]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(10**17, 10**400)
    | st.floats(allow_nan=True, allow_infinity=True)
    | ODD_TEXT
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ODD_TEXT, inner, max_size=4), max_leaves=12
)
KNOWN_KEYS = st.sampled_from(
    ["success", "message", "error", "data", "targets", "statusCode", "body", "isBase64Encoded", "errorMessage"]
)
#: Objects with the keys that are read, and anything for their values.
OBJECTS = st.dictionaries(KNOWN_KEYS, JSON, max_size=6) | st.fixed_dictionaries(
    {"success": st.booleans()}, optional={"message": JSON, "error": JSON, "targets": JSON, "body": JSON}
)
FRAGMENTS = [
    *(bytes([char]) for char in b'{}[]",:\\-\x00'),
    *(b"\\u", b"\\ud800", b"NaN", b"Infinity", b"1e999", b"null", b"9" * 50),
    *(b"\xef\xbb\xbf", b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\x80"),
    *(b'"success":', b'"success": "true",'),
]
ACCIDENTS = ["flip", "cut", "drop", "double", "splice", "insert", "quote", "envelope", "string", "recode"]


def as_json(value: Any, escaped: bool = True) -> bytes:
    """Python's idea of JSON, NaN and halves of surrogate pairs included."""
    return json.dumps(value, ensure_ascii=escaped).encode("utf-8", "surrogatepass")


def envelope(body: bytes, encoded: bool) -> bytes:
    """API Gateway's, around any bytes."""
    text = base64.b64encode(body).decode() if encoded else body.decode("utf-8", "surrogateescape")
    return as_json({"statusCode": 200, "body": text, "isBase64Encoded": encoded})


def recoded(body: bytes, encoding: str) -> bytes:
    return body.decode("utf-8", "replace").encode(encoding, "replace")


@st.composite
def mutated(draw: Callable[..., Any], bodies: "st.SearchStrategy[bytes]") -> bytes:
    """A body after up to three accidents."""
    body = draw(bodies)
    for _ in range(draw(st.integers(0, 3))):
        at, until = sorted((draw(st.integers(0, len(body))), draw(st.integers(0, len(body)))))
        accident = draw(st.sampled_from(ACCIDENTS))
        if accident == "flip" and at < len(body):
            body = body[:at] + bytes([body[at] ^ 1 << draw(st.integers(0, 7))]) + body[at + 1 :]
        elif accident == "cut":
            body = body[:until]
        elif accident == "drop":
            body = body[:at] + body[until:]
        elif accident == "double":
            body = body[:until] + body[at:]
        elif accident == "splice":
            body = body[:at] + as_json(draw(JSON)) + body[until:]
        elif accident == "insert":
            body = body[:at] + draw(st.sampled_from(FRAGMENTS)) + body[at:]
        elif accident == "quote":
            at = body.find(b'"', at) + 1
            body = body[:at] + draw(st.sampled_from(FRAGMENTS)) + body[at:]
        elif accident == "envelope":
            body = envelope(body, draw(st.booleans()))
        elif accident == "string":
            body = as_json(body.decode("utf-8", "surrogateescape"))
        elif accident == "recode":
            body = recoded(body, draw(st.sampled_from(["utf-16", "utf-32", "utf-8-sig", "latin-1"])))
    return body


ENCODED = st.builds(as_json, OBJECTS, st.booleans())
BODIES = st.one_of(
    mutated(st.sampled_from(VALID)),
    mutated(st.sampled_from(VALID)),
    mutated(ENCODED),
    ENCODED,
    st.builds(as_json, JSON, st.booleans()),
    st.binary(max_size=60),
)
FUNCTION_ERRORS = st.sampled_from([{}, {}, {}, {"FunctionError": "Unhandled"}, {"FunctionError": "\x1b[31m"}])


def any_answer_is_a_typed_response(body: bytes, fields: Dict[str, Any]) -> None:
    response = answered(body, **fields)
    check_typed(response)
    assert response.success or response.error_code in ERROR_CODES
    assert not (fields and response.success)


@QUICK
@given(BODIES, FUNCTION_ERRORS)
def test_any_answer_is_a_typed_response(body: bytes, fields: Dict[str, Any]) -> None:
    any_answer_is_a_typed_response(body, fields)


def damaged(body: bytes, chance: random.Random) -> bytes:
    """A body after one of ``mutated``'s accidents, drawn without hypothesis."""
    at, until = sorted((chance.randint(0, len(body)), chance.randint(0, len(body))))
    fragment = chance.choice([b"", bytes([chance.randrange(256)]), chance.choice(FRAGMENTS), body[at:until]])
    return body[:at] + fragment + body[chance.choice([at, at + 1, until]) :]


@pytest.mark.slow
@FULL
@given(BODIES, FUNCTION_ERRORS, st.integers(0, 2**32))
def test_any_of_ten_thousand_answers_is_a_typed_response(body: bytes, fields: Dict[str, Any], seed: int) -> None:
    """2,500, each as it was drawn and after one, two and three accidents more."""
    chance = random.Random(seed)
    for _ in range(4):
        any_answer_is_a_typed_response(body, fields)
        body = damaged(body, chance)


DEEP = 100_000

ANSWERS: List[Tuple[str, bytes, Optional[str]]] = [
    ("valid", b'{"success": true}', None),
    ("objects 100,000 deep", b'{"success":true,"a":' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}", "invalid_response"),
    ("arrays 100,000 deep", b'{"success":true,"a":' + b"[" * DEEP + b"]" * DEEP + b"}", "invalid_response"),
    ("100,000 deep and never closed", b"[" * DEEP, "invalid_response"),
    ("arrays 100,000 deep in a string", json.dumps("[" * DEEP + "]" * DEEP).encode(), "invalid_response"),
    ("arrays 100,000 deep in an envelope", envelope(b"[" * DEEP + b"]" * DEEP, True), "invalid_response"),
    ("6 MB of digits", b'{"success": true, "n": ' + b"9" * 6_000_000 + b"}", "invalid_response"),
    ("6 MB of digits in a message", b'{"success": true, "message": "' + b"9" * 6_000_000 + b'"}', None),
    ("6 MB of digits after a point", b'{"success": true, "n": 0.' + b"9" * 6_000_000 + b"}", None),
    ("6 MB of spaces", b'{"success": true' + b" " * 6_000_000 + b"}", None),
    ("100,000 keys", json.dumps({"success": True, **dict.fromkeys(map(str, range(100_000)))}).encode(), None),
    ("duplicate keys that agree", b'{"success": true, "success": true}', None),
    ("duplicate keys, the last is false", b'{"success": true, "success": false}', "function_failed"),
    ("duplicate keys, the last is no bool", b'{"success": true, "success": "x"}', "invalid_response"),
    ("half a surrogate pair", b'{"success": true, "message": "\\ud800"}', "invalid_response"),
    ("halves in the wrong order", b'{"success": true, "message": "\\ude00\\ud83d"}', "invalid_response"),
    ("half a surrogate pair in a key", b'{"success": true, "\\udfff": 1}', "invalid_response"),
    ("half a surrogate pair in a string", json.dumps('{"success": true, "a": "\\ud800"}').encode(), "invalid_response"),
    ("half a surrogate pair as bytes", b'{"success": true, "message": "\xed\xa0\x80"}', "invalid_response"),
    ("half a surrogate pair as bytes in a key", b'{"success": true, "\xed\xbf\xbf": 1}', "invalid_response"),
    ("half a surrogate pair in UTF-16", '{"success": true, "message": "\\ud800"}'.encode("utf-16"), "invalid_response"),
    ("half a surrogate pair in UTF-32", '{"success": true, "message": "\\ud800"}'.encode("utf-32"), "invalid_response"),
    ("half a surrogate pair in base64", envelope(b'{"success": true, "a": "\xed\xa0\x80"}', True), "invalid_response"),
    ("both halves", b'{"success": true, "message": "\\ud83d\\ude00"}', None),
    ("NaN", b'{"success": true, "n": NaN}', "invalid_response"),
    ("Infinity", b'{"success": true, "n": -Infinity}', "invalid_response"),
    ("1e999", b'{"success": true, "n": 1e999}', "invalid_response"),
    ("-1e999 in an envelope", envelope(b'{"success": true, "n": -1e999}', False), "invalid_response"),
    ("NaN in a string", json.dumps('{"success": true, "n": NaN}').encode(), "invalid_response"),
    ("UTF-16 with a BOM", '{"success": true}'.encode("utf-16"), None),
    ("UTF-16 without a BOM", '{"success": true}'.encode("utf-16-le"), None),
    ("half a UTF-16 character", '{"success": true}'.encode("utf-16")[:-1], "invalid_response"),
    ("UTF-8 with a BOM", b'\xef\xbb\xbf{"success": true}', None),
    ("two BOMs", b'\xef\xbb\xbf\xef\xbb\xbf{"success": true}', "invalid_response"),
    ("no UTF-8", b'{"success": true, "message": "\xff"}', "invalid_response"),
    ("an overlong NUL", b'{"success": true, "message": "\xc0\x80"}', "invalid_response"),
    ("NULs only", b"\x00" * 1_000, "invalid_response"),
    ("NULs after the object", b'{"success": true}\x00\x00', "invalid_response"),
    ("a NUL as it is in a string", b'{"success": true, "message": "\x00"}', "invalid_response"),
    ("an escaped NUL in a string", b'{"success": true, "message": "\\u0000"}', None),
    ("two objects", b'{"success": true}{"success": true}', "invalid_response"),
    ("empty", b"", "invalid_response"),
    ("spaces", b"   ", "invalid_response"),
    ("null", b"null", "invalid_response"),
    ("true", b"true", "invalid_response"),
    ("an array of an answer", b'[{"success": true}]', "invalid_response"),
    ("no success", b'{"message": "m"}', "invalid_response"),
    *(
        (f"success is {value.decode()}", b'{"success": ' + value + b"}", "invalid_response")
        for value in (b'"true"', b'"false"', b"1", b"0", b"null", b"[]", b"{}", b"1.0", b'""', b"[true]")
    ),
    ("a string in a string in a string", json.dumps(json.dumps(json.dumps("{}"))).encode(), "invalid_response"),
    ("no base64", b'{"statusCode": 200, "body": "%%%", "isBase64Encoded": true}', "invalid_response"),
    ("no ASCII in base64", '{"statusCode": 200, "body": "é", "isBase64Encoded": true}'.encode(), "invalid_response"),
    ("an envelope in an envelope", envelope(envelope(b'{"success": true}', True), True), "invalid_response"),
    ("an envelope around null", b'{"statusCode": 200, "body": null}', "invalid_response"),
]


@pytest.mark.parametrize(("body", "error_code"), [pytest.param(*row[1:], id=row[0]) for row in ANSWERS])
def test_a_hostile_answer_has_one_verdict(body: bytes, error_code: Optional[str]) -> None:
    response = answered(body)
    assert response.error_code == error_code
    check_typed(response)


@pytest.mark.parametrize("body", [pytest.param(row[1], id=row[0]) for row in ANSWERS])
def test_a_hostile_answer_of_a_failed_function_is_a_function_error(body: bytes) -> None:
    response = answered(body, FunctionError="Unhandled")
    assert response.error_code == "function_error"
    check_typed(response)


def nested(depth: int) -> bytes:
    deep_array = b"[" * depth + b"]" * depth
    return b'{"success":true,"message":{"m":' + deep_array + b'},"x":' + deep_array + b"}"


def below(frames: int, check: Callable[[], None]) -> None:
    """Runs ``check`` with this much of the interpreter's stack in use, as it is within a framework."""
    if frames:
        below(frames - 1, check)
    else:
        check()


@pytest.mark.parametrize("depth", [*range(100, 800, 100), *range(800, 1000, 10)])
def test_what_could_be_read_can_be_written_from_deeper_in_the_stack(depth: int) -> None:
    """execute_async reads an answer in a thread with an empty stack; the caller who writes it is somewhere else."""
    client = StubClient(nested(depth))
    with adapter_with(client) as adapter:
        response = asyncio.run(adapter.execute_async(REQUEST))
    assert response.error_code in (None, "invalid_response")
    below(200, lambda: check_writable(response))


# -- Answers without an end -----------------------------------------------------------------------


class EndlessStream:
    """A Payload that never ends, within reason: a reader without a cap would stop at 256 MB, and be caught."""

    def __init__(self) -> None:
        self.read_bytes = 0
        self.closed = False

    def read(self, amount: int = 2**28) -> bytes:
        size = min(amount, 2**28 - self.read_bytes)
        self.read_bytes += size
        return b" " * size

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="without a length"),
        pytest.param({"content-length": str(2**28)}, id="256 MB"),
        pytest.param({"content-length": str(MAX_ANSWER_BYTES + 1)}, id="a byte over the cap"),
        pytest.param({"content-length": "-1"}, id="negative length"),
        pytest.param({"content-length": "banana"}, id="banana"),
        pytest.param({"content-length": "9" * 5_000}, id="5,000 digits"),
        pytest.param({"content-length": "\u0663"}, id="digits of another script"),
    ],
)
def test_an_answer_over_the_cap_is_read_no_further(headers: Dict[str, str]) -> None:
    stream = EndlessStream()
    client = mock.Mock(spec=["invoke"])
    client.invoke.return_value = {
        "StatusCode": 200,
        "Payload": stream,
        "ResponseMetadata": {"HTTPHeaders": headers, "HTTPStatusCode": 200},
    }
    with adapter_with(client) as adapter:
        response = adapter.execute(REQUEST)
    assert response.error_code == "invalid_response"
    assert MAX_ANSWER_BYTES < stream.read_bytes <= MAX_ANSWER_BYTES + 65_536
    assert stream.closed


@pytest.mark.parametrize("size", [MAX_ANSWER_BYTES, MAX_ANSWER_BYTES - 1])
def test_an_answer_up_to_the_cap_is_read_whole(size: int) -> None:
    start, end = b'{"success": true, "message": "', b'"}'
    response = answered(start + b"x" * (size - len(start) - len(end)) + end)
    assert response.success
    assert len(response.message or "") == size - len(start) - len(end)


class Flood:
    """A server that sends ``head``, then ``piece`` until the client leaves or 256 MB are gone, and counts the bytes."""

    LIMIT = 2**28

    def __init__(self, head: bytes, piece: bytes) -> None:
        self.sent = 0
        self._head = head
        self._piece = piece
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            # What nobody reads must not pile up here unseen: the kernel would take some MB.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
            request = b""
            while b"\r\n\r\n" not in request:
                request += connection.recv(65_536)
            try:
                connection.sendall(self._head)
                while self.sent < self.LIMIT:
                    connection.sendall(self._piece)
                    self.sent += len(self._piece)
            except OSError:
                pass  # the client has had enough

    def __enter__(self) -> "Flood":
        return self

    def __exit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self._thread.join(30)
        self._listener.close()
        assert not self._thread.is_alive()


PIECE = b" " * 65_536
CHUNK = b"10000\r\n" + PIECE + b"\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"


@pytest.mark.parametrize("call", [call_sync, call_async])
@pytest.mark.parametrize(
    ("head", "piece"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 268435456\r\n\r\n", PIECE, id="256 MB"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n", PIECE, id="no length"),
        pytest.param(CHUNKED + b"\r\n", CHUNK, id="chunked"),
        pytest.param(CHUNKED + b"Content-Length: 10\r\n\r\n", CHUNK, id="chunked, short length"),
        pytest.param(CHUNKED + b"X-Amz-Function-Error: Unhandled\r\n\r\n", CHUNK, id="function error"),
    ],
)
def test_an_endless_answer_is_hung_up_on(head: bytes, piece: bytes, call: Any) -> None:
    """Counted at the server; beyond the cap it may have filled the sockets' buffers, which is some MB."""
    with Flood(head, piece) as server, adapter_for(server.endpoint_url, read_timeout=30.0, max_retries=0) as adapter:
        response = call(adapter)
        assert adapter.health.total_requests == 1
    assert response.error_code == "invalid_response"
    assert server.sent < MAX_ANSWER_BYTES + 16 * 2**20


# -- A caller's requests --------------------------------------------------------------------------


class Evil(Exception):  # noqa: N818 - an error in name only
    """What hostile objects raise."""


def raising(*_: Any, **__: Any) -> Any:
    raise Evil("raised on purpose")


#: Methods that a reader of an object might call. A class body's own __class__ and __init__ stay as they are.
SPECIAL_METHODS = [
    *("__str__", "__repr__", "__len__", "__iter__", "__getitem__", "__contains__", "__bool__", "__eq__", "__hash__"),
    *("__format__", "__int__", "__float__", "__index__", "__lt__", "__gt__", "__add__", "__getattribute__"),
    *("items", "keys", "values", "get", "encode", "isascii", "split", "join", "__reduce__", "__copy__", "__deepcopy__"),
]
BASES: List[Tuple[type, Tuple[Any, ...]]] = [
    (object, ()),
    (str, ("text",)),
    (str, ("\ud800",)),
    (int, (7,)),
    (int, (10**5_000,)),
    (float, (1.5,)),
    (float, (float("nan"),)),
    (dict, ({"user": {"username": "n"}, "event_data": {"a": {1}}},)),
    (list, (["a", float("nan")],)),
    (tuple, (["a", {1}],)),
    (bytes, (b"b",)),
    (set, ([1],)),
]


#: What an evil method does instead: raise, or answer with something that nobody expects.
DEEDS: List[Callable[..., Any]] = [
    raising,
    *(
        (lambda *_, value=value, **__: value)
        for value in (None, True, False, -1, 2**70, "x", "\ud800\n", [], [{1}], {}, {"a": {1}}, object(), b"")
    ),
    lambda *_, **__: iter([{1}, float("nan")]),
    lambda *_, **__: iter([("key", {1}), (1, 2)]),
]


class Liar:
    """Says that it is a dict."""

    __class__ = dict  # type: ignore[assignment]


class ClassRaises:
    @property
    def __class__(self) -> Any:
        raise Evil


class FickleList(list):  # type: ignore[type-arg]
    """Well-behaved at the first reading, and itself at any later one."""

    def __iter__(self) -> Iterator[Any]:
        if vars(self).setdefault("read", False):
            return super().__iter__()
        self.read = True
        return iter(["scope"])


class EqualToAll(str):
    """Comparable, and so, for Python, not hashable any more."""

    def __eq__(self, other: object) -> bool:
        return True


class FickleDict(dict):  # type: ignore[type-arg]
    def items(self) -> Any:
        if vars(self).setdefault("read", False):
            return [(1, {2}), ("\ud800", float("nan"))]
        self.read = True
        return []


class NamelessType(type):
    """A class that has no name to show."""

    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise Evil


class NamelessError(Exception, metaclass=NamelessType):
    pass


class Colour(str, enum.Enum):
    RED = "red"


class Number(enum.IntEnum):
    ONE = 1


def circular_dict() -> Any:
    value: Dict[str, Any] = {}
    value["a"] = {"b": value}
    return value


def circular_list() -> Any:
    value: List[Any] = []
    value.append([value])
    return value


def deep(depth: int, of: Callable[[Any], Any]) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = of(value)
    return value


def generator() -> Iterator[str]:
    yield "a"
    raise Evil


#: Each call makes a new one: generators end, fickle objects remember.
MAKERS: List[Callable[[], Any]] = [
    lambda: {1, 2},
    lambda: frozenset("ab"),
    lambda: b"bytes",
    lambda: bytearray(b"bytes"),
    lambda: memoryview(b"bytes"),
    lambda: datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc),
    lambda: datetime.date(2024, 1, 1),
    lambda: decimal.Decimal("1.5"),
    lambda: decimal.Decimal("sNaN"),
    lambda: uuid.UUID(int=1),
    lambda: 1j,
    lambda: float("nan"),
    lambda: float("-inf"),
    lambda: 10**400,
    lambda: 10**5_000,
    lambda: -(10**5_000),
    lambda: "\ud800",
    lambda: {"\udfff": 1},
    lambda: {1: "int key", "1": "twin"},
    lambda: {None: 1, True: 2, 1.5: 3, ("t",): 4, b"b": 5},
    circular_dict,
    circular_list,
    lambda: deep(150, lambda value: [value]),
    lambda: deep(10_000, lambda value: [value]),
    lambda: deep(10_000, lambda value: {"a": value}),
    lambda: deep(300, lambda value: ({"k" * 50: value},)),
    generator,
    lambda: iter(["a"]),
    lambda: range(3),
    lambda: map(str, [1]),
    lambda: {"a": 1}.items(),
    lambda: object,
    lambda: object(),
    lambda: Ellipsis,
    lambda: NotImplemented,
    lambda: raising,
    lambda: threading.Lock(),
    lambda: json,
    lambda: Evil("as a value"),
    lambda: mock.Mock(),
    lambda: mock.MagicMock(),
    lambda: mock.MagicMock(spec=dict),
    lambda: mock.MagicMock(spec=str),
    lambda: mock.MagicMock(spec=list),
    Liar,
    ClassRaises,
    lambda: FickleList([float("nan")]),
    lambda: FickleList(["\ud800"]),
    lambda: FickleList([{1}, None]),
    lambda: FickleDict(user={}),
    lambda: EqualToAll("scope"),
    lambda: [EqualToAll("scope")],
    lambda: ("a", EqualToAll("b")),
    lambda: Colour.RED,
    lambda: Number.ONE,
    lambda: StubClient(),
    lambda: REQUEST,
    lambda: "x" * 1_100_000,
]


@attrs.frozen
class Made:
    """Stands for a hostile object, which hypothesis itself could neither hold nor show."""

    number: int

    def make(self) -> Any:
        return MAKERS[self.number]()


@attrs.frozen
class Odd:
    """Stands for an instance of a subclass whose ``methods`` do something else than they should."""

    base: int
    methods: List[str]
    deed: int

    def make(self) -> Any:
        kind, arguments = BASES[self.base]
        return type("Odd", (kind,), dict.fromkeys(self.methods, DEEDS[self.deed]))(*arguments)


def built(plan: Any) -> Any:
    """The structure that a plan describes."""
    if isinstance(plan, (Made, Odd)):
        return plan.make()
    if isinstance(plan, dict):
        return {key: built(value) for key, value in plan.items()}
    return type(plan)(map(built, plan)) if isinstance(plan, (list, tuple)) else plan


EVIL = st.builds(Made, st.integers(0, len(MAKERS) - 1)) | st.builds(
    Odd,
    st.integers(0, len(BASES) - 1),
    st.lists(st.sampled_from(SPECIAL_METHODS), min_size=1, max_size=4),
    st.integers(0, len(DEEDS) - 1),
)
#: Of the right kind at first sight.
EVIL_TEXTS = st.lists(
    st.text(max_size=5)
    | st.builds(
        Odd, st.just(1), st.lists(st.sampled_from(SPECIAL_METHODS), max_size=4), st.integers(0, len(DEEDS) - 1)
    ),
    min_size=1,
    max_size=3,
)
GOOD_VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.floats(allow_nan=False)
ANY_KEYS = st.text(max_size=5) | st.integers() | st.none() | st.booleans() | st.binary(max_size=3)
ANYTHING = st.recursive(
    GOOD_VALUES | SCALARS | EVIL,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
        | st.dictionaries(ANY_KEYS, inner, max_size=3)
    ),
    max_leaves=5,
)
SECTION_KEYS = "name is_subscribed subscription_order_id seat_count username platform_user_id platform_entity_id other"
SECTIONS = st.fixed_dictionaries({}, optional=dict.fromkeys(SECTION_KEYS.split(), ANYTHING))
METADATA = st.fixed_dictionaries(
    {},
    optional={
        "community": SECTIONS | ANYTHING,
        "user": SECTIONS | ANYTHING,
        "entity": SECTIONS | ANYTHING,
        "is_event": st.booleans() | ANYTHING,
        "event_type": st.text(max_size=5) | ANYTHING,
        "event_data": ANYTHING,
    },
)
#: Mostly right, so that what is wrong elsewhere is reached.
SOUND = {
    "command": st.just("weather"),
    "args": st.lists(st.text(max_size=5), max_size=3),
    "user_id": st.just("u") | st.integers(),
    "entity_id": st.just("e"),
    "community_id": st.just("c"),
    "session_id": st.just("session"),
    "platform": st.just("discord"),
    "metadata": st.just({}) | st.fixed_dictionaries({"user": st.just({"username": "n"})}),
    "scopes": st.just([]),
}


HOSTILE = {**dict.fromkeys(SOUND, ANYTHING | EVIL_TEXTS), "metadata": METADATA | METADATA | ANYTHING}
#: One or two fields hold anything, the metadata in half of the requests.
REQUESTS = st.sets(st.sampled_from([*SOUND, *["metadata"] * 5]), min_size=1, max_size=2).flatmap(
    lambda hostile: st.fixed_dictionaries({**SOUND, **{name: HOSTILE[name] for name in sorted(hostile)}})
)


def refuse_constant(name: str) -> None:
    raise AssertionError(f"{name} was sent, which is not JSON")


def check_sent(sent: List[bytes]) -> None:
    """Strict JSON in UTF-8, of the payload's shape."""
    for payload in sent:
        assert type(payload) is bytes
        assert len(payload) <= 6_291_456
        sent_object = json.loads(payload.decode(), parse_constant=refuse_constant)
        assert list(sent_object) == ["community", "trigger", "user", "entity", "request_id", "timestamp"]


def any_request_is_a_typed_response(request: Any, async_too: bool = False) -> ExecuteResponse:
    client = StubClient()
    with adapter_with(client, required_scopes=[]) as adapter:
        response = asyncio.run(adapter.execute_async(request)) if async_too else adapter.execute(request)
        assert response.error_code in (None, "invalid_request")
        check_typed(response)
        check_sent(client.sent)
        assert adapter.health.total_requests == len(client.sent) == response.success
    return response


@QUICK
@given(REQUESTS)
def test_any_request_is_a_typed_response(fields: Dict[str, Any]) -> None:
    any_request_is_a_typed_response(ExecuteRequest(**built(fields)))


@pytest.mark.slow
@FULL
@given(REQUESTS, ANYTHING)
def test_any_of_ten_thousand_requests_is_a_typed_response(fields: Dict[str, Any], anything: Any) -> None:
    """2,500 requests as they were drawn, and as many things in three places of the metadata each."""
    any_request_is_a_typed_response(ExecuteRequest(**built(fields)))
    for metadata in (
        {"is_event": True, "event_type": "raid", "event_data": anything},
        {"user": {"username": anything}, "community": {"seat_count": anything}},
        {"other": [anything, {"key": anything}]},
    ):
        any_request_is_a_typed_response(attrs.evolve(REQUEST, metadata=built(metadata)))


@QUICK
@given(EVIL)
def test_any_object_in_a_requests_place_is_a_typed_response(plan: Any) -> None:
    any_request_is_a_typed_response(built(plan))


@pytest.mark.parametrize("field", sorted(SOUND))
@pytest.mark.parametrize("number", range(len(MAKERS)))
def test_each_hostile_object_in_each_field_is_a_typed_response(number: int, field: str) -> None:
    any_request_is_a_typed_response(attrs.evolve(REQUEST, **{field: MAKERS[number]()}))


@pytest.mark.parametrize("place", ["event_data", "event_type", "is_event", "community", "user", "entity"])
@pytest.mark.parametrize("number", range(len(MAKERS)))
def test_each_hostile_object_in_the_metadata_is_a_typed_response(number: int, place: str) -> None:
    metadata = {"is_event": True, place: MAKERS[number]()}
    any_request_is_a_typed_response(attrs.evolve(REQUEST, metadata=metadata), async_too=number % 8 == 0)


class RaisingRequest:
    """A request, one of whose attributes cannot be read."""

    def __init__(self, name: str, error: BaseException) -> None:
        self._name = name
        self._error = error

    def __getattr__(self, name: str) -> Any:
        if name == self._name:
            raise self._error
        return getattr(REQUEST, name)


FIELDS = [field.name for field in attrs.fields(ExecuteRequest)]
ERRORS = [
    AttributeError(),
    ValueError("secret"),
    RecursionError(),
    MemoryError(),
    StopIteration(1),
    StopAsyncIteration(),
    UnicodeError(),
    OSError(5, "x"),
]


@pytest.mark.parametrize("run_async", [False, True], ids=["execute", "execute_async"])
@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("error", [pytest.param(error, id=type(error).__name__) for error in ERRORS])
def test_an_attribute_that_raises_is_an_invalid_request(error: Exception, field: str, run_async: bool) -> None:
    response = any_request_is_a_typed_response(RaisingRequest(field, error), run_async)
    assert response.error_code == "invalid_request"
    assert "secret" not in str(response)


class Nameless:
    """Raises, for any attribute, what pytest itself could not report."""

    def __getattr__(self, name: str) -> Any:
        raise NamelessError


def test_an_exception_without_a_name_is_an_invalid_request() -> None:
    escaped = False
    with adapter_with(StubClient()) as adapter:
        try:
            response = adapter.execute(Nameless())
        except Exception:
            escaped = True
    assert not escaped
    assert response.error_code == "invalid_request"


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError])
def test_what_is_no_exception_passes_through(error: Type[BaseException], field: str) -> None:
    """Ctrl-C that arrives while a request is read ends the program, not the request."""
    client = StubClient()
    with adapter_with(client) as adapter:
        with pytest.raises(error):
            adapter.execute(RaisingRequest(field, error()))
        coroutine = adapter.execute_async(RaisingRequest(field, error()))
        with pytest.raises(error):
            coroutine.send(None)
        assert (client.sent, adapter.health.total_requests) == ([], 0)


@pytest.mark.parametrize("required", [[], ["scope"]])
@pytest.mark.parametrize("enforced", [True, False])
@pytest.mark.parametrize(
    "scopes",
    [
        pytest.param(lambda: [EqualToAll("scope")], id="text that cannot be hashed"),
        pytest.param(lambda: [type("Scope", (str,), {"__hash__": raising})("scope")], id="text whose hash raises"),
        pytest.param(lambda: [type("Scope", (str,), {"__eq__": raising})("scope")], id="text whose comparison raises"),
        pytest.param(lambda: FickleList([{1}, None]), id="a list that changes"),
    ],
)
def test_hostile_scopes_are_a_typed_response(scopes: Callable[[], Any], enforced: bool, required: List[str]) -> None:
    client = StubClient()
    with adapter_with(client, required_scopes=required, enforce_scopes=enforced) as adapter:
        response = adapter.execute(attrs.evolve(REQUEST, scopes=scopes()))
        assert response.error_code in (None, "invalid_request", "missing_scopes")
        check_typed(response)


def test_an_error_about_a_deep_path_is_short_enough_for_a_chat() -> None:
    metadata = deep(150, lambda value: {"k" * 40: value if value != 1 else {1}})
    response = any_request_is_a_typed_response(attrs.evolve(REQUEST, metadata=metadata))
    assert response.error_code == "invalid_request"
    assert len(response.error or "") <= 1_000


@pytest.mark.parametrize("nest", [lambda value: [value], lambda value: {"a": value}], ids=["arrays", "objects"])
@pytest.mark.parametrize(("depth", "error_code"), [(150, None), (201, "invalid_request"), (100_000, "invalid_request")])
def test_metadata_is_as_deep_as_a_function_can_read(
    depth: int, error_code: Optional[str], nest: Callable[[Any], Any]
) -> None:
    request = attrs.evolve(REQUEST, metadata={"is_event": True, "event_data": deep(depth, nest)})
    assert any_request_is_a_typed_response(request).error_code == error_code


@pytest.mark.parametrize("number_of_digits", [4_300, 5_000, 100_000])
def test_a_huge_id_takes_no_time(number_of_digits: int) -> None:
    """Turning a number into digits takes time by the square of their count, where Python does not refuse it."""
    started = time.monotonic()
    any_request_is_a_typed_response(attrs.evolve(REQUEST, user_id=1 << (number_of_digits * 10 // 3)))
    assert time.monotonic() - started < 2
