"""Answers that tell of a failure in one of the ways in which AWS, its emulator, runtimes and API Gateway do."""

import base64
import io
import json
import logging

import attrs
import pytest

from lambda_adapter import ExecuteRequest, LambdaAdapter
from lambda_adapter._wire.answer import decode_answer, decode_function_error

REQUEST = ExecuteRequest("weather", ["Oslo"], "u", "e", "c", "session", "discord")


@attrs.frozen
class Client:
    """Answers every call with the same bytes."""

    body: bytes
    fields: dict

    def invoke(self, **_):
        return {"StatusCode": 200, "Payload": io.BytesIO(self.body), **self.fields}


def answered(body, request=REQUEST, **fields):
    """The response to an answer: bytes as they are, anything else as JSON."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    with LambdaAdapter("function", "us-east-1", "module", client=Client(body, fields)) as adapter:
        return adapter.execute(request)


# -- Types of errors, as each runtime names them ----------------------------------------------------

RUST = "&alloc::boxed::Box<dyn core::error::Error + core::marker::Send + core::marker::Sync>"


@pytest.mark.parametrize(
    ("error_type", "shown"),
    [
        pytest.param("KeyError", "KeyError", id="Python"),
        pytest.param("Function<RuntimeError>", "Function<RuntimeError>", id="Ruby"),
        pytest.param("Function<Aws::S3::Errors::NoSuchKey>", "Function<Aws::S3::Errors::NoSuchKey>", id="Ruby, nested"),
        pytest.param(RUST, RUST, id="Rust"),
        pytest.param("java.lang.RuntimeException", "java.lang.RuntimeException", id="Java"),
        pytest.param("com.example.Handler$Inner", "com.example.Handler$Inner", id="Java, inner class"),
        pytest.param("errorString", "errorString", id="Go"),
        pytest.param("*fs.PathError", "*fs.PathError", id="Go, pointer"),
        pytest.param("Exception", "Exception", id=".NET"),
        pytest.param("Failure`1[System.Int32]", "Failure`1[System.Int32]", id=".NET, generic"),
        pytest.param("Sandbox.Timedout", "Sandbox.Timedout", id="the sandbox"),
        pytest.param("Runtime.ExitError", "Runtime.ExitError", id="the runtime"),
        pytest.param("Validation Error", "Validation Error", id="Node, a name of its own"),
        pytest.param("Fehlgrößenfehler", "Fehlgrößenfehler", id="not ASCII"),
        pytest.param("Http404PageNotFoundException", "Http404PageNotFoundException", id="a long name with digits"),
        pytest.param("Error\n\x1b[31m", "Error\\n\\x1b[31m", id="control characters"),
        pytest.param("see https://user:pw@host/", "see <url>", id="a URL"),
        pytest.param("AKIA0123456789ABCDEF", "<...>", id="a key"),
        pytest.param("E" * 500, "E" * 119 + "…", id="long"),
    ],
)
@pytest.mark.parametrize("fields", [{}, {"FunctionError": "Unhandled"}], ids=["emulator", "AWS"])
def test_the_error_type_is_shown_as_the_runtime_names_it(error_type, shown, fields):
    response = answered({"errorType": error_type, "errorMessage": "boom"}, **fields)
    assert (response.error_code, response.error) == ("function_error", f"function_error: {shown}: boom")


@pytest.mark.parametrize("error_type", ["", "  ", None, 5, ["E"]], ids=repr)
def test_what_names_no_type_is_left_out(error_type):
    assert (
        answered({"errorType": error_type, "errorMessage": "boom"}, FunctionError="x").error == "function_error: boom"
    )


# -- Without the header: AWS's emulator in container images ----------------------------------------

TIMED_OUT = "2024-05-01T10:00:00.000Z 4f0c5a52-7a8e-41dc-a9a1-111111111111 Task timed out after 1.00 seconds"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        pytest.param(
            {"errorMessage": "boom", "errorType": "E", "requestId": "1", "stackTrace": []}, "E: boom", id="Python"
        ),
        pytest.param({"errorMessage": "boom", "errorType": "E", "trace": ["x"]}, "E: boom", id="Node"),
        pytest.param({"errorMessage": "boom", "errorType": "E", "cause": {}, "causes": []}, "E: boom", id=".NET"),
        pytest.param({"errorMessage": "boom", "errorType": "E", "code": 5}, "E: boom", id="an attribute of its own"),
        pytest.param({"errorType": "Runtime.ExitError"}, "Runtime.ExitError", id="a type alone"),
        pytest.param({"errorMessage": None, "errorType": "E", "stackTrace": []}, "E", id="without a message"),
        pytest.param(
            {"errorMessage": TIMED_OUT},
            "2024-05-01T10:00:00.000Z <...> Task timed out after 1.00 seconds",
            id="an older time-out",
        ),
        pytest.param(
            b"Task timed out after 3.00 seconds", "Task timed out after 3.00 seconds", id="a time-out's sentence"
        ),
        pytest.param(b"Task timed out after 3 seconds\n", "Task timed out after 3 seconds", id="whole seconds"),
        pytest.param(
            TIMED_OUT.encode(),
            "2024-05-01T10:00:00.000Z <...> Task timed out after 1.00 seconds",
            id="a sentence with date and id",
        ),
    ],
)
def test_an_error_without_the_header_is_a_function_error(body, error):
    response = answered(body)
    assert (response.error_code, response.error) == ("function_error", f"function_error: {error}")
    assert (response.invocation.executed, response.invocation.attempts) == ("yes", 1)
    assert response.invocation.function_error is None  # that is the header's


@pytest.mark.parametrize("success", [True, False])
def test_an_error_beside_success_is_the_modules_own_answer(success):
    response = answered({"success": success, "errorType": "E", "errorMessage": "boom"})
    assert response.error_code == (None if success else "function_failed")
    assert response.data == {"errorType": "E", "errorMessage": "boom"}


@pytest.mark.parametrize(
    "body",
    [
        {"success": "yes", "errorType": "E", "errorMessage": "boom"},
        {"success": None, "errorType": "E", "errorMessage": "boom"},
        {"errorMessage": "boom", "message": "Sunny"},
        {"errorType": "E", "data": {}},
        {"errorMessage": "", "errorType": ""},
        {"errorMessage": 5},
        {"errorMessage": None},
        {"errortype": "E", "errormessage": "boom"},
        {"requestId": "1", "stackTrace": []},
        {"error": "boom"},
        {},
        [{"errorType": "E", "errorMessage": "boom"}],
        "Task timed out after 3.00 seconds",
        None,
    ],
    ids=lambda body: ascii(body)[:40],
)
def test_what_only_resembles_an_error_is_an_invalid_response(body):
    assert answered(body).error_code == "invalid_response"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        pytest.param(b"", "the answer is empty, not JSON: the function's process may have died", id="empty"),
        pytest.param(b" \n", "the answer is empty, not JSON: the function's process may have died", id="blank"),
        pytest.param(b"Internal server error", "the answer is a bare sentence, not JSON", id="a sentence"),
        pytest.param("Größe fehlt.".encode(), "the answer is a bare sentence, not JSON", id="not ASCII"),
        pytest.param(b"They say: Task timed out after 3.00 secondsand so on", "a bare sentence", id="no time-out"),
        pytest.param(
            b"a b c d e f Task timed out after 3.00 seconds", "a bare sentence", id="a long way to a time-out"
        ),
        pytest.param(b"<html>so it is</html>", "the answer is not JSON", id="a page"),
        pytest.param(b"\xff\xfe\xfd", "the answer is not JSON", id="binary"),
        pytest.param(b'{"success": true', "the answer is not JSON", id="half an object"),
        pytest.param(b"OK", "the answer is not JSON", id="a word"),
    ],
)
def test_an_answer_that_is_no_json_is_told_apart_and_not_quoted(body, error):
    response = answered(body)
    assert response.error_code == "invalid_response"
    assert error in response.error


# -- API Gateway's envelope -----------------------------------------------------------------------


def encoded(text):
    return base64.b64encode(text.encode()).decode()


GOOD = json.dumps({"success": True, "message": "m", "x": 1})
BAD = json.dumps({"success": False, "message": "m", "x": 1})


@pytest.mark.parametrize(
    ("written", "status"),
    [(404, 404), ("404", 404), (404.0, 404), (" 503 ", 503), ("500.0", 500), (400, 400), (599, 599)],
    ids=repr,
)
@pytest.mark.parametrize(
    ("body", "message", "data", "more"),
    [
        pytest.param(GOOD, "m", {"x": 1}, ", though with success=true", id="success=true"),
        pytest.param(BAD, "m", {"x": 1}, "", id="success=false"),
        pytest.param('{"message": "m", "error": "e"}', "m", {"error": "e"}, "", id="no success"),
        pytest.param('{"success": "yes", "cause": 1}', None, {"cause": 1}, "", id="success is no boolean"),
        pytest.param("<html>swordfish</html>", None, None, "", id="a page"),
        pytest.param("", None, None, "", id="nothing"),
        pytest.param("[" * 100_000, None, None, "", id="deep"),
        pytest.param(None, None, None, "", id="null"),
    ],
)
def test_a_status_of_400_and_more_is_a_failure_that_names_it(written, status, body, message, data, more):
    response = answered({"statusCode": written, "headers": {}, "body": body})
    assert (response.success, response.error_code) == (False, "function_failed")
    assert response.error == f"function_failed: the function answered with HTTP status {status}{more}"
    assert (response.message, response.data, response.invocation.executed) == (message, data, "yes")


def test_a_failed_status_needs_no_body_and_takes_base64():
    for envelope in ({"statusCode": 500}, {"statusCode": 500, "body": "%", "isBase64Encoded": True}):
        assert answered(envelope).error == "function_failed: the function answered with HTTP status 500"
    response = answered({"statusCode": 500, "body": encoded(BAD), "isBase64Encoded": True})
    assert (response.message, response.data) == ("m", {"x": 1})


def test_beside_success_false_the_functions_own_words_stay():
    response = answered({"statusCode": 404, "body": '{"success": false, "error": "no such city"}'})
    assert (response.error_code, response.error) == ("function_failed", "no such city")


@pytest.mark.parametrize(
    "status", [200, "200", 204.0, 302, 399, 600, 4040, "40x", "", None, True, -500, float("1e300"), [404], {}], ids=repr
)
def test_another_status_takes_nothing_from_the_body(status):
    assert answered({"statusCode": status, "body": GOOD}).success
    assert answered({"statusCode": status, "body": "{}"}).error_code == "invalid_response"
    assert answered({"statusCode": status}).error_code == "invalid_response"


def test_a_status_beside_success_is_the_modules_own():
    response = answered({"success": True, "statusCode": 500, "body": BAD, "cause": "c"})
    assert (response.success, response.data) == (True, {"statusCode": 500, "body": BAD, "cause": "c"})


def test_the_log_tells_of_a_status_and_repeats_nothing_that_the_function_said(caplog):
    caplog.set_level(logging.INFO, "lambda_adapter")
    answered({"statusCode": 404, "body": '{"success": false, "error": "swordfish", "message": "swordfish"}'})
    assert caplog.messages[-1].startswith("The function answered with an HTTP status of 4xx or 5xx: function=")
    assert "swordfish" not in caplog.text


# -- JSON within JSON -----------------------------------------------------------------------------


def stringified(value, times):
    for _ in range(times):
        value = json.dumps(value)
    return value


@pytest.mark.parametrize("times", [0, 1, 2, 3])
def test_a_body_is_read_however_often_it_was_stringified(times):
    body = stringified({"success": True, "message": "m"}, times)
    assert answered({"statusCode": 200, "body": body}).message == "m"
    if times:
        packed = {"statusCode": 200, "body": encoded(body), "isBase64Encoded": True}
        assert answered(packed).message == "m"
    if times < 3:
        assert answered(body).message == "m"
        assert answered(stringified({"statusCode": 200, "body": body}, times)).message == "m"


def test_strings_are_read_to_a_limited_depth():
    body = stringified({"success": True}, 20)
    for answer in (body, {"statusCode": 200, "body": body}):
        assert "not a string" in answered(answer).error


# -- A function's own words -----------------------------------------------------------------------

WORDS = [
    "two\nlines\r\n\tand a tab",
    "\x1b[31mred\x1b[0m \x00 \u202e \ufeff",
    "see https://user@host/path?x=1",
    "key AKIA0123456789ABCDEF0123456789abcdef",
    "Oslo is what you typed",
    " ",
    "x" * 501,
    "é" * 100_000,
]


@pytest.mark.parametrize("words", WORDS, ids=lambda words: ascii(words)[:30])
@pytest.mark.parametrize("envelope", [False, True])
def test_a_functions_own_error_is_passed_on_unchanged(words, envelope, caplog):
    caplog.set_level(logging.DEBUG, "lambda_adapter")
    answer = {"success": False, "error": words}
    response = answered({"statusCode": 200, "body": json.dumps(answer)} if envelope else answer)
    assert (response.error_code, response.error, response.data) == ("function_failed", words, {"error": words})
    assert words == " " or words not in caplog.text


# -- What is withheld -----------------------------------------------------------------------------


def message_to(request, message):
    error = {"errorType": "Error", "errorMessage": message}
    marked, unmarked = (answered(error, request, **fields).error for fields in ({"FunctionError": "Unhandled"}, {}))
    assert marked == unmarked
    return marked[len("function_error: ") :]


def with_metadata(**metadata):
    return attrs.evolve(REQUEST, metadata=metadata)


def event(**metadata):
    return with_metadata(is_event=True, **metadata)


WITHHELD = "Error: its message repeats the request and is withheld"


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        pytest.param(attrs.evolve(REQUEST, args=["swordfish"]), "bad: swordfish", id="an argument"),
        pytest.param(attrs.evolve(REQUEST, args=["the", "SwordFish!"]), "bad: swordfish", id="in capitals"),
        pytest.param(attrs.evolve(REQUEST, args=["community"]), "no such community", id="a word of ours, typed"),
        pytest.param(attrs.evolve(REQUEST, args=["пароль-секретный"]), "bad: секретный", id="in another script"),
        pytest.param(event(event_data={"a": [{"b": "swordfish"}]}), "bad: swordfish", id="within event data"),
        pytest.param(with_metadata(user={"username": "swordfish"}), "swordfish is banned", id="the user's name"),
        pytest.param(with_metadata(community={"name": "Swordfish Club"}), "no swordfish", id="the community's name"),
    ],
)
def test_a_message_that_quotes_what_was_typed_is_withheld(request_, message):
    assert message_to(request_, message) == WITHHELD


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        pytest.param(REQUEST, "the community has no calendar", id="our default for the community"),
        pytest.param(
            with_metadata(community={"name": "Oslo Community"}), "no community found", id="a word of that default"
        ),
        pytest.param(attrs.evolve(REQUEST, platform="mattermost"), "mattermost is down", id="the platform"),
        pytest.param(event(event_type="subscription"), "no handler for subscription", id="the event's type"),
        pytest.param(attrs.evolve(REQUEST, command="leaderboard"), "no table leaderboard", id="the command"),
        pytest.param(event(event_data={"broadcaster": 1}), "'broadcaster'", id="a key of the event's data"),
        pytest.param(REQUEST, "'is_subscribed' 'subscription_order_id' 'timestamp'", id="our keys"),
        pytest.param(REQUEST, "context_text is null, event_data too; platform_user_id", id="more of our keys"),
        pytest.param(attrs.evolve(REQUEST, user_id="user1234567"), "no user user1234567", id="the user's id"),
        pytest.param(attrs.evolve(REQUEST, community_id="community1"), "no community1", id="the community's id"),
        pytest.param(attrs.evolve(REQUEST, args=["sword"]), "bad sword", id="a short word"),
    ],
)
def test_a_message_in_words_of_the_bot_is_told(request_, message):
    assert message_to(request_, message) == f"Error: {message}"


def test_what_was_typed_withholds_a_type_too():
    error = {"errorType": "Invalid<swordfish>", "errorMessage": "boom"}
    assert answered(error, attrs.evolve(REQUEST, args=["swordfish"])).error == "function_error: boom"


@pytest.mark.parametrize("payload", [b"{}", b'{"trigger": null, "user": {}, "community": {"name": null}}'])
def test_a_payload_without_the_usual_sections_withholds_nothing(payload):
    assert decode_function_error('{"errorMessage": "swordfish"}', payload).text == "swordfish"


def test_a_key_named_like_a_field_of_ours_is_data():
    answer = decode_answer('{"success": true, "cause": "c", "dropped_targets": 7}')
    assert (answer.cause, answer.dropped_targets) == (None, 0)
    assert answer.data == {"cause": "c", "dropped_targets": 7}
