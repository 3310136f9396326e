"""Requests and responses are frozen values that say nothing private in their repr."""

import json

import attrs
import pytest

from lambda_adapter import ExecuteRequest, ExecuteResponse, Invocation

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
    assert "args=<1 items>, " in text
    assert "metadata=<1 items>" in text


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
