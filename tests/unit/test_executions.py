"""Names of executions, and the Execution that a bot keeps."""

import json
import pickle
import re

import pytest

from lambda_adapter import Execution
from lambda_adapter._wire.arguments import InvokeArguments
from lambda_adapter._wire.head import parse_execution_arn

ARN = "arn:aws:lambda:us-east-1:123456789012:function:dice:3/durable-execution/one/0f4e"
KEPT = Execution("one-0f4e", "one", "dice:prod", ARN)
HOSTILE = ["", " ", "ä" * 70, "x" * 1_000, "a/b", "a_b", "a b", "\n", "\0", "../..", "😀", "1", 1, -1, 0, "0", 10**400]


def name(session_id, function="dice:prod"):
    return InvokeArguments(function, durable=True).execution_name(session_id)


def test_a_thousand_hostile_session_ids_have_valid_names_and_each_its_own():
    session_ids = [*HOSTILE, *(f"{char}{n}" for n in range(100) for char in "/_ .é\t\\:😀\r"), *range(2, 1_000)]
    names = [name(session_id) for session_id in session_ids]
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", each) for each in names)
    assert len(set(names)) == len(session_ids) > 1_900


@pytest.mark.parametrize(
    ("session_id", "readable"),
    [
        pytest.param("session_1", "session_1", id="plain"),
        pytest.param("a b/c", "a_b_c", id="other characters"),
        pytest.param("x" * 40, "x" * 31, id="cut"),
        pytest.param(42, "42", id="a number"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_the_beginning_of_a_name_can_be_read(session_id, readable):
    assert re.fullmatch(re.escape(readable) + "-[0-9a-f]{32}", name(session_id))


def test_a_name_is_the_same_for_all_ways_to_name_a_function_and_another_for_another():
    same = [
        "dice:prod",
        "dice:1",
        "123456789012:function:dice:prod",
        "arn:aws:lambda:us-east-1:123456789012:function:dice",
    ]
    assert len({name("one", function) for function in same}) == 1
    assert name("one", "roll:prod") != name("one")


def test_a_name_never_changes():
    """What a bot has kept is found by a later version."""
    assert name("session_1") == "session_1-03721932ed9aa1903f27dddc09fdcb9e"


def test_an_execution_can_be_kept():
    assert Execution.from_dict(json.loads(json.dumps(KEPT.to_dict()))) == KEPT
    assert pickle.loads(pickle.dumps(KEPT)) == KEPT
    assert Execution.from_dict({**KEPT.to_dict(), "of a later version": 1}) == KEPT
    assert Execution.from_dict({"name": "n", "session_id": 1, "function_name": "f"}) == Execution("n", 1, "f")


@pytest.mark.parametrize(
    ("kept", "named"),
    [
        pytest.param([], "an Execution must be an object", id="no object"),
        pytest.param({}, "name of", id="nothing"),
        pytest.param({"name": "n", "session_id": 1}, "function_name", id="no function"),
        pytest.param({**KEPT.to_dict(), "session_id": True}, "session_id", id="a boolean"),
        pytest.param({**KEPT.to_dict(), "arn": 1}, "arn", id="an arn that is a number"),
        pytest.param({**KEPT.to_dict(), "name": None}, "name", id="no name"),
    ],
)
def test_what_is_no_execution_is_refused_by_name(kept, named):
    with pytest.raises(ValueError, match=named):
        Execution.from_dict(kept)


@pytest.mark.parametrize(
    "arn",
    [
        pytest.param(None, id="none"),
        pytest.param("", id="empty"),
        pytest.param(ARN + "\n", id="a line break"),
        pytest.param(ARN.replace(":3/", ":prod/"), id="an alias"),
        pytest.param(ARN.replace("lambda", "s3"), id="another service"),
        pytest.param(ARN + "x" * 1_024, id="too long"),
        pytest.param("arn:aws:lambda:us-east-1:123456789012:function:dice:3", id="a function"),
    ],
)
def test_what_is_no_arn_of_an_execution_is_known(arn):
    assert parse_execution_arn(ARN) is not None
    assert parse_execution_arn(arn) is None
