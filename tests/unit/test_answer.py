"""A function's bytes become an answer, or an error that says what was wrong with them."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_adapter._wire.answer import (
    QUEUED,
    FunctionAnswer,
    InvalidAnswerError,
    decode_answer,
    decode_function_error,
    to_text,
)


def decode(obj):
    return decode_answer(json.dumps(obj))


def refusal(body):
    with pytest.raises(InvalidAnswerError) as caught:
        decode_answer(to_text(body))
    return str(caught.value)


def test_the_documented_answer_keeps_everything_but_success_and_message():
    answer = decode(
        {
            "success": True,
            "message": "Operation completed",
            "response_type": "text",
            "overlay_data": None,
            "browser_source_url": None,
            "targets": ["discord", "twitch"],
            "custom_field": "preserved_value",
        }
    )
    assert (answer.success, answer.message, answer.error) == (True, "Operation completed", None)
    assert answer.data == {
        "response_type": "text",
        "overlay_data": None,
        "browser_source_url": None,
        "targets": ["discord", "twitch"],
        "custom_field": "preserved_value",
    }
    assert next(iter(answer.data)) == "response_type"
    assert (answer.targets, answer.dropped_targets) == ([{"type": "discord"}, {"type": "twitch"}], 0)


def test_an_answer_of_success_alone():
    assert decode({"success": True}) == FunctionAnswer(success=True)


def test_a_failure_has_the_functions_own_error():
    answer = decode({"success": False, "message": "Sorry", "error": "no such city"})
    assert (answer.success, answer.message, answer.error) == (False, "Sorry", "no such city")
    assert answer.data == {"error": "no such city"}


def test_an_error_beside_success_is_data_and_no_error():
    answer = decode({"success": True, "error": "none"})
    assert (answer.error, answer.data) == (None, {"error": "none"})


@pytest.mark.parametrize(
    ("message", "text"),
    [("hi", "hi"), ("", ""), (None, None), (5, "5"), (True, "true"), ({"ü": [1]}, '{"ü": [1]}'), ([], "[]")],
    ids=repr,
)
def test_a_message_that_is_no_string_is_told_as_json(message, text):
    assert decode({"success": True, "message": message}).message == text
    assert decode({"success": False, "error": message}).error == text


@pytest.mark.parametrize(
    ("targets", "kept", "dropped"),
    [
        (None, [], 0),
        ([], [], 0),
        ("discord", [{"type": "discord"}], 0),
        ({"type": "discord", "id": 5}, [{"type": "discord", "id": 5}], 0),
        (["a", {"x": 1}, "b"], [{"type": "a"}, {"x": 1}, {"type": "b"}], 0),
        ([1, None, True, ["a"], "b", 2.5], [{"type": "b"}], 5),
        (7, [], 1),
        (False, [], 1),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_targets_are_normalised_and_the_rest_is_counted(targets, kept, dropped):
    answer = decode({"success": True, "targets": targets})
    assert (answer.targets, answer.dropped_targets) == (kept, dropped)
    assert answer.data == {"targets": targets}


# -- Envelopes ------------------------------------------------------------------------------------

INNER = {"success": True, "message": "ü", "x": 1}
TEXT = json.dumps(INNER)
BASE64 = base64.b64encode(TEXT.encode()).decode()


@pytest.mark.parametrize(
    "wrapped",
    [
        pytest.param(INNER, id="bare"),
        pytest.param(TEXT, id="string that holds JSON"),
        pytest.param({"statusCode": 200, "headers": {}, "body": TEXT, "isBase64Encoded": False}, id="gateway"),
        pytest.param({"statusCode": 200, "body": INNER}, id="gateway with an object"),
        pytest.param({"statusCode": 200, "body": BASE64, "isBase64Encoded": True}, id="gateway in base64"),
        pytest.param(json.dumps({"statusCode": 200, "body": TEXT}), id="gateway in a string"),
    ],
)
def test_an_envelope_is_taken_off(wrapped):
    answer = decode(wrapped)
    assert (answer.success, answer.message, answer.data) == (True, "ü", {"x": 1})


def test_an_answer_with_its_own_success_is_no_envelope():
    answer = decode({"success": True, "statusCode": 200, "body": '{"success": false}'})
    assert (answer.success, answer.data) == (True, {"statusCode": 200, "body": '{"success": false}'})


@pytest.mark.parametrize("more", [{}, {"body": "{}"}, {"statusCode": 200}], ids=["nothing", "body", "statusCode"])
def test_half_an_envelope_is_none(more):
    assert "no `success`" in refusal(json.dumps(more).encode())


# -- Bad answers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "not JSON"),
        (b"   ", "not JSON"),
        (b"<html>swordfish</html>", "not JSON"),
        (b'{"success": true', "not JSON"),
        (b'{"success": true} {}', "not JSON"),
        (b"{'success': true}", "not JSON"),
        (b"\xff\xfe\xfd", "not JSON"),
        (b'{"success": true, "message": "\xff"}', "not JSON"),
        (b'{"success": true, "x": NaN}', "not JSON"),
        (b'{"success": true, "x": [-Infinity]}', "not JSON"),
        (b'{"success": true, "x": 1e999}', "not JSON"),
        (b'{"success": true, "x": ' + b"9" * 5_000 + b"}", "not JSON"),
        (b'{"success": true, "x": "\\ud800"}', "half a surrogate pair"),
        (b'{"success": true, "\\udfff": 1}', "half a surrogate pair"),
        (b'"{\\"success\\": true, \\"x\\": \\"\\\\ud800\\"}"', "half a surrogate pair"),
        (b'{"x":' * 100_000, "nested too deep"),
        (b"[" * 100_000 + b"]" * 100_000, "nested too deep"),
        (b"null", "must be a JSON object, not null"),
        (b"true", "must be a JSON object, not a boolean"),
        (b"5", "must be a JSON object, not a number"),
        (b'[{"success": true}]', "must be a JSON object, not an array"),
        (b'"swordfish"', "the answer must be a JSON object, not a string"),
        (json.dumps(json.dumps(json.dumps("{}"))).encode(), "must be a JSON object, not a string"),
        (b"{}", "no `success`"),
        (b'{"Success": true}', "no `success`"),
        (b'{"success": "swordfish"}', "`success` must be true or false, not a string"),
        (b'{"success": 1}', "`success` must be true or false, not a number"),
        (b'{"success": null}', "`success` must be true or false, not null"),
        (b'{"statusCode": 200, "body": "swordfish"}', "not JSON"),
        (b'{"statusCode": 200, "body": null}', "must be a JSON object, not null"),
        (b'{"statusCode": 200, "body": "[]"}', "must be a JSON object, not an array"),
        (b'{"statusCode": 200, "body": "*", "isBase64Encoded": true}', "not base64"),
        ('{"statusCode": 200, "body": "ü", "isBase64Encoded": true}'.encode(), "not base64"),
        (b'{"statusCode": 200, "body": "/w==", "isBase64Encoded": true}', "not JSON"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_a_bad_answer_is_refused_with_what_was_wrong_and_not_quoted(body, expected):
    assert expected in refusal(body)
    assert "swordfish" not in refusal(body)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"success": true, "message": "\xed\xa0\x80"}', id="encoded as three bytes"),
        pytest.param('{"success": true, "message": "\\ud800"}'.encode("utf-16"), id="escaped, in UTF-16"),
    ],
)
def test_half_a_surrogate_pair_is_refused_however_it_is_written(body):
    assert refusal(body)


def test_a_whole_surrogate_pair_is_text():
    assert decode_answer('{"success": true, "message": "\\ud83e\\udd86"}').message == "🦆"


@pytest.mark.parametrize("key", ["message", "error", "targets", "custom"])
@pytest.mark.parametrize("depth", [10, 500, 900, 980, 1_000, 3_000, 20_000])
def test_a_deep_answer_is_read_or_refused(key, depth):
    body = b'{"success": false, "%s": %s1%s}' % (key.encode(), b"[" * depth, b"]" * depth)
    outcome = outcome_of(body)
    assert outcome == "the answer is nested too deep" or (outcome is False and depth < 20_000)


def outcome_of(body):
    """``success``, or the text of the refusal; anything else that is raised fails the test."""
    try:
        return decode_answer(to_text(body)).success
    except InvalidAnswerError as exc:
        return str(exc)


@given(st.binary() | st.text().map(str.encode))
def test_no_bytes_raise_anything_else(body):
    outcome = outcome_of(body)
    assert isinstance(outcome, bool) or outcome.isprintable()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["message", "error", "targets", "body", "x"]) | st.text(), JSON), st.booleans())
def test_any_object_with_success_is_an_answer(obj, success):
    obj["success"] = success
    answer = decode(obj)
    assert answer.success is success
    assert (answer.data or {}) == {key: value for key, value in obj.items() if key not in ("success", "message")}
    assert all(isinstance(target, dict) for target in answer.targets)


def test_the_answer_to_an_event():
    assert FunctionAnswer(success=True, message="Lambda function queued") == QUEUED


# -- Function errors ------------------------------------------------------------------------------


def payload(context_text=None, event_data=None):
    return json.dumps({"trigger": {"context_text": context_text, "event_data": event_data}}).encode()


def told(error, **typed):
    return decode_function_error(json.dumps(error), payload(**typed)).text


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"errorType": "KeyError", "errorMessage": "'city'"}, "KeyError: 'city'"),
        ({"errorMessage": "Task timed out after 3.00 seconds"}, "Task timed out after 3.00 seconds"),
        ({"errorType": "Runtime.ExitError"}, "Runtime.ExitError"),
        ({"errorType": "Error", "errorMessage": "x", "trace": ["secret"]}, "Error: x"),
        ({"errorType": "Error", "errorMessage": "x", "stackTrace": ["secret"], "requestId": "1"}, "Error: x"),
        ({"errorType": "two words", "errorMessage": "x"}, "two words: x"),
        ({"errorType": "E", "errorMessage": "see https://user:pw@host/ now"}, "E: see <url> now"),
        ({"errorType": "E", "errorMessage": "a\n\x1b[31mb"}, "E: a\\n\\x1b[31mb"),
        ({"errorType": "E", "errorMessage": ["no", "text"]}, "E"),
        ({"errorType": 5, "errorMessage": ""}, "without saying why"),
        ({}, "without saying why"),
        ([], "without saying why"),
        (None, "without saying why"),
        ("swordfish", "without saying why"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_a_function_error_tells_type_and_message_on_one_line(error, expected):
    assert told(error) == expected


@pytest.mark.parametrize("body", [b"", b"not JSON", b"[" * 100_000, b"\xff"], ids=["empty", "text", "deep", "binary"])
def test_a_function_error_without_readable_body_is_still_told(body):
    assert decode_function_error(to_text(body), payload()).text == "without saying why"


def test_a_long_message_is_cut():
    assert len(told({"errorMessage": "x" * 10_000})) == 200


@pytest.mark.parametrize(
    "typed",
    [
        pytest.param({"context_text": "my password swordfish"}, id="an argument"),
        pytest.param({"event_data": {"a": [{"b": "swordfish"}]}}, id="within event data"),
        pytest.param({"event_data": "swordfish"}, id="event data"),
    ],
)
def test_a_message_that_repeats_what_was_typed_is_withheld(typed):
    text = told({"errorType": "ValueError", "errorMessage": "bad word: swordfish!"}, **typed)
    assert "swordfish" not in text
    assert text.startswith("ValueError: its message repeats the request")


def test_short_words_of_the_request_do_not_withhold_a_message():
    assert told({"errorMessage": "no city is known"}, context_text="city in no 1234567") == "no city is known"
