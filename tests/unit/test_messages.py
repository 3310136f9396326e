"""Requests and responses are frozen values that say nothing private in their repr."""

import ast
import inspect
import json
import re
import textwrap
import types

import attrs
import pytest

from lambda_adapter import (
    Attempt,
    CircuitBreaker,
    ExecuteRequest,
    ExecuteResponse,
    Execution,
    Health,
    Invocation,
    LambdaAdapter,
    Report,
)
from lambda_adapter.codes import CODES

SEED_FIELDS = ["command", "args", "user_id", "entity_id", "community_id", "session_id", "platform"]


def test_a_request_takes_the_seeds_fields_in_the_seeds_order():
    request = ExecuteRequest("process", ["data"], "user", "entity", "community", "session", "discord")
    assert [field.name for field in attrs.fields(ExecuteRequest)] == [*SEED_FIELDS, "metadata", "scopes"]
    assert (request.command, request.args, request.platform) == ("process", ["data"], "discord")
    assert (request.metadata, request.scopes) == ({}, [])


def test_two_requests_share_no_default(make_request):
    first, second = make_request(), make_request()
    first.metadata["is_event"] = True
    first.scopes.append("admin")
    assert (second.metadata, second.scopes) == ({}, [])


@pytest.mark.parametrize(
    ("value", "name"),
    [
        pytest.param(ExecuteRequest("c", [], 1, 2, 3, 4, "p"), "command", id="request"),
        pytest.param(ExecuteResponse(success=True), "success", id="response"),
        pytest.param(Invocation("function"), "attempts", id="invocation"),
    ],
)
def test_a_value_cannot_be_changed(value, name):
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(value, name, "changed")
    with pytest.raises(AttributeError):
        value.something_new = 1


def test_a_requests_repr_counts_what_people_typed_and_does_not_show_it(make_request):
    text = repr(make_request(args=["my password is swordfish"], metadata={"user": {"username": "jane.doe"}}))
    assert "swordfish" not in text
    assert "jane.doe" not in text
    assert "args=<1 item>, " in text
    assert "metadata=<1 item>" in text


@pytest.mark.parametrize("value", [None, 5, "swordfish", object()], ids=["null", "number", "string", "object"])
def test_a_bad_requests_repr_works_and_shows_its_type_only(make_request, value):
    text = repr(make_request(args=value))
    assert f"args=<{type(value).__name__}>" in text
    assert "swordfish" not in text


def test_a_response_has_the_seeds_fields_and_defaults():
    response = ExecuteResponse(success=True)
    assert [field.name for field in attrs.fields(ExecuteResponse)] == [
        "success",
        "message",
        "data",
        "error",
        "targets",
        "error_code",
        "invocation",
    ]
    assert attrs.astuple(response, recurse=False) == (True, None, None, None, [], None, Invocation(""))


def test_to_dict_is_plain_json_with_the_invocation_in_it():
    response = ExecuteResponse(
        success=False,
        data={"a": [1]},
        error="timeout: no answer",
        targets=[{"type": "discord"}],
        error_code="timeout",
        invocation=Invocation("function", attempts=4, executed="maybe", duration_s=1.5),
    )
    assert json.loads(json.dumps(response.to_dict())) == {
        "success": False,
        "message": None,
        "data": {"a": [1]},
        "error": "timeout: no answer",
        "targets": [{"type": "discord"}],
        "error_code": "timeout",
        "invocation": {
            "function_name": "function",
            "attempts": 4,
            "executed": "maybe",
            "status_code": None,
            "request_id": None,
            "executed_version": None,
            "function_error": None,
            "duration_s": 1.5,
            "log_tail": None,
            "report": None,
            "why_ended": None,
            "execution_arn": None,
            "attached": False,
            "first_text_s": None,
        },
    }


def test_a_response_made_by_hand_has_an_invocation_too():
    assert ExecuteResponse(success=True).to_dict()["invocation"]["attempts"] == 0
    assert ExecuteResponse(True, invocation=None).invocation == Invocation("")


def test_to_dict_copies_neither_data_nor_targets():
    response = ExecuteResponse(success=True, data={"a": 1}, targets=[{"type": "discord"}])
    assert response.to_dict()["data"] is response.data
    assert response.to_dict()["targets"] is response.targets


def failed(code, **said):
    return ExecuteResponse(success=False, error_code=code, **said)


#: A bot's own sentences, for some of the codes.
GERMAN = {"timeout": "Das hat zu lange gedauert.", "function_failed": "Das ging nicht.", "throttled": ""}
INTERNALS = "RuntimeError: /var/task/dice.py has no key AKIA"


@pytest.mark.parametrize(
    ("response", "table", "text"),
    [
        pytest.param(ExecuteResponse(True, "You rolled 4."), None, "You rolled 4.", id="success"),
        pytest.param(ExecuteResponse(True, "You rolled 4."), GERMAN, "You rolled 4.", id="success, table"),
        pytest.param(ExecuteResponse(True), None, "", id="success without a message"),
        pytest.param(failed("function_failed", message="No dice.", error="dice"), None, "No dice.", id="message"),
        pytest.param(failed("function_failed", message="No dice."), GERMAN, "No dice.", id="message, table"),
        pytest.param(failed("function_failed", error="No dice left."), None, "No dice left.", id="its error"),
        pytest.param(failed("function_failed", error="No dice left."), GERMAN, "No dice left.", id="its error, table"),
        pytest.param(failed("function_failed", message="", error="No dice left."), None, "No dice left.", id="empty"),
        pytest.param(failed("function_failed", message=" \n", error=" "), None, "That did not work.", id="blank"),
        pytest.param(failed("function_failed"), None, "That did not work.", id="no word of its own"),
        pytest.param(
            failed("function_failed", error="function_failed: the function answered with HTTP status 503"),
            None,
            "That did not work.",
            id="our word for the operator",
        ),
        pytest.param(
            failed("function_failed", error="function_failed: the function answered success=false"),
            GERMAN,
            "Das ging nicht.",
            id="our word for the operator, table",
        ),
        pytest.param(failed("timeout", error="timeout: a"), GERMAN, "Das hat zu lange gedauert.", id="table"),
        pytest.param(failed("throttled", error="throttled: a"), GERMAN, CODES["throttled"].chat, id="empty in table"),
        pytest.param(failed("closed", error="closed: a"), GERMAN, CODES["closed"].chat, id="not in table"),
        pytest.param(failed(None, error=INTERNALS), None, CODES["internal_error"].chat, id="no code"),
        pytest.param(failed("timeout", message="half"), None, CODES["timeout"].chat, id="message of another failure"),
    ],
)
def test_what_a_user_is_told(response, table, text):
    assert response.user_message(table) == text


#: As runtimes, libraries and people write what was raised: for none of these a chat is the place.
RAISED = [
    "ConnectionError: could not connect to server db-17.corp:5432 user=admin",
    "psycopg2.OperationalError: connection refused",
    "(psycopg2.OperationalError) could not connect to server: db-17",
    "psycopg2.errors.UniqueViolation: duplicate key",
    "requests.exceptions.ConnectTimeout: HTTPSConnectionPool(host='db-17')",
    "socket.timeout: timed out",
    "java.lang.IllegalStateException: no dice",
    "System.Exception: x",
    "  ValueError(5)",
    "KeyError",
    "Exception: x",
    "StopIteration",
    "KeyboardInterrupt",
    "ExceptionGroup: two (2 sub-exceptions)",
    "HTTPError 503: db-17",
    "Function<RuntimeError>: x",
    "<class 'KeyError'>: x",
    "ERROR: ValueError: x",
    "Failed: ValueError: bad host db-17",
    "Caused by: java.net.ConnectException: x",
    'Exception in thread "main" java.lang.NullPointerException: x',
    "Unhandled exception. System.Exception: x",
    "Uncaught Error: x",
    "Error: connect ECONNREFUSED 10.0.0.5:5432",
    "PHP Fatal error:  Uncaught PDOException: x",
    "SQLSTATE[HY000] [2002] Connection refused",
    "panic: runtime error: index out of range",
    "goroutine 1 [running]:",
    "thread 'main' panicked at src/main.rs:3",
    "[Errno 111] Connection refused",
    "[WinError 10061] no connection could be made",
    "An error occurred (AccessDeniedException) when calling the GetItem operation: User: arn:aws:iam",
    "Got: An error occurred (AccessDenied) when calling the Invoke operation",
    "\x1b[31mValueError: x",
    "\ufeffValueError: x",
    "Failed.\nTraceback (most recent call last):\n  File",
    "boom\n    at f (/var/task/index.js:3:9)",
    "boom\n\tat com.foo.Bar.baz(Bar.java:12)",
    'File "/var/task/app.py", line 3',
    '{"errorType": "Boom", "errorMessage": "db-17"}',
    '["ValueError: db-17"]',
]
#: What a module may well say, and how long it may take to see that.
SENTENCES = [
    "Error: I know no such city.",
    "Errors: 5",
    "Error",
    "Exception granted!",
    "An error occurred, sorry.",
    "YouTube: no such video",
    "twitch.tv: nobody is live",
    "Meet at noon (UTC): bring dice:5",
    "See you\n  at 5 pm: the square",
    "Game over: 3:2",
    "Timeout! You have 5 minutes.",
    "Iteration 5 done",
    "FooExceptions: 3",
    "x." * 100_000,
    "_" * 100_000,
    "a:" * 100_000,
    "!" + " " * 100_000,
    "!" + "\n" * 100_000,
    "Error " * 30_000,
    "\n at x" * 30_000,
    "\x1b[" * 50_000,
]


@pytest.mark.parametrize("text", RAISED)
def test_an_exceptions_text_is_no_functions_word_for_the_chat(text):
    assert failed("function_failed", error=text).user_message() == "That did not work."
    assert failed("function_failed", error=text, message="No dice.").user_message() == "No dice."


@pytest.mark.parametrize("text", [text for text in RAISED if "NoMethodError" not in text])
def test_neither_is_a_message_that_is_one(text):
    assert failed("function_failed", message=text).user_message() == "That did not work."
    assert failed("function_failed", message=text, error="No dice.").user_message() == "No dice."


@pytest.mark.parametrize("text", SENTENCES, ids=lambda text: text[:20])
def test_a_sentence_is_shown(text):
    assert failed("function_failed", error=text).user_message() == text
    assert failed("function_failed", message=text).user_message() == text


@pytest.mark.parametrize(
    "error",
    ["undefined method `x' for nil (NoMethodError)", "I know no ValueError: what is it?", '{"code": 5}', " [1]"],
)
def test_an_error_that_may_be_an_exceptions_is_not_shown_and_a_message_is(error):
    assert failed("function_failed", error=error).user_message() == "That did not work."
    assert failed("function_failed", message=error).user_message() == error


@pytest.mark.parametrize("status", [202, 204])
def test_an_event_and_a_check_have_nothing_for_the_chat(status):
    invocation = Invocation(function_name="f", attempts=1, executed="maybe", status_code=status)
    assert ExecuteResponse(True, "Lambda function queued", invocation=invocation).user_message() == ""


@pytest.mark.parametrize("blank", ["", " ", "\n"])
def test_what_shows_nothing_is_none(blank):
    assert ExecuteResponse(True, blank).user_message() == ""
    assert failed("timeout").user_message({"timeout": blank}) == CODES["timeout"].chat


def test_a_code_of_a_newer_version_has_a_sentence():
    assert failed("melted").user_message() == CODES["internal_error"].chat


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"timout": "x"}, "table has the key 'timout', which is no error code; did you mean 'timeout'?"),
        ({**GERMAN, "Not-Found": "x"}, "table has the key 'Not-Found', .* did you mean 'not_found'?"),
        ({"zzz": "x"}, "table has the key 'zzz', which is no error code; they are invalid_request, missing_scopes, "),
        ({None: "x"}, "table has the key None, which is no error code"),
        ({"timeout": 5}, "table must have a text for timeout, not one of type int"),
        ([("timeout", "x")], "table must be a dict from error code to text, not of type list"),
        ("timeout", "table must be a dict from error code to text, not of type str"),
    ],
    ids=["misspelt", "spelt otherwise", "unlike any", "None", "no text", "list", "string"],
)
@pytest.mark.parametrize("response", [ExecuteResponse(True, "m"), failed("closed")], ids=["success", "failure"])
def test_a_wrong_table_is_told_whatever_the_response(response, table, told):
    with pytest.raises(ValueError, match=told):
        response.user_message(table)


@pytest.mark.parametrize("table", [{}, GERMAN, types.MappingProxyType(GERMAN), dict.fromkeys(CODES, "x")], ids=range(4))
def test_a_right_table_is_taken(table):
    assert ExecuteResponse(True, "m").user_message(table) == "m"


@pytest.mark.parametrize("code", [code for code in CODES if code != "function_failed"])
def test_no_cause_and_no_exception_is_told_to_a_user(code):
    text = failed(code, error=f"{code}: {INTERNALS}", message=INTERNALS).user_message()
    assert re.fullmatch(r"[A-Z][a-z ,.A-Z]+\.", text)
    assert not re.search(r"AWS|Lambda|function|RuntimeError|_", text)


@pytest.mark.parametrize("success", [True, False])
def test_ok_is_success(success):
    assert ExecuteResponse(success).ok is success


@pytest.mark.parametrize(
    "kind",
    [ExecuteRequest, ExecuteResponse, Execution, Invocation, Report, Attempt, Health],
    ids=lambda kind: kind.__name__,
)
def test_help_explains_each_field_in_its_order(kind):
    _, _, section = inspect.getdoc(kind).partition("\nAttributes:\n")
    assert re.findall(r"^    (\w+): .", section, re.MULTILINE) == [field.name for field in attrs.fields(kind)]


def words_at_fields(kind):
    """The string below each field, which editors show: field -> words."""
    (body,) = [node.body for node in ast.parse(textwrap.dedent(inspect.getsource(kind))).body]
    for field, below in zip(body, body[1:]):
        if isinstance(field, ast.AnnAssign) and not field.target.id.startswith("_"):
            told = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and below.value.value
            yield field.target.id, " ".join(str(told or "").split())


def words_of_docstring(kind):
    told = inspect.getdoc(kind).partition("\nRaises:\n")[0]
    entries = re.findall(r"^    (\w+): (.*(?:\n        .*)*)", told, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


@pytest.mark.parametrize(
    "kind",
    [ExecuteRequest, ExecuteResponse, Execution, Invocation, Report, Attempt, Health, CircuitBreaker, LambdaAdapter],
    ids=lambda kind: kind.__name__,
)
def test_an_editor_shows_the_same_words_at_a_field_as_help(kind):
    at_fields = dict(words_at_fields(kind))
    if kind is LambdaAdapter:
        assert at_fields.pop("function_name")  # no parameter
    assert at_fields == words_of_docstring(kind)
    assert all(at_fields.values())
