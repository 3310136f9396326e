"""LocalLambda's durable executions, read through plain boto3: one run a name, and its outcome for later."""

import threading
import urllib.error
import urllib.request
from urllib.parse import quote

import boto3
import pytest
from botocore.exceptions import ClientError

from lambda_adapter import LocalLambda

lambda_model = boto3.session.Session().client("lambda", region_name="us-east-1").meta.service_model
pytestmark = pytest.mark.skipif(
    "DurableExecutionName" not in lambda_model.operation_model("Invoke").input_shape.members,
    reason="this botocore knows no durable executions",
)

LONG_S = 30.0


class Dice:
    """A handler that counts its runs, and ends when it is let go."""

    def __init__(self):
        self.runs = 0
        self.begun = threading.Event()
        self.let_go = threading.Event()
        self.let_go.set()

    def __call__(self, event, context):
        self.runs += 1
        self.begun.set()
        assert self.let_go.wait(LONG_S)
        if event.get("fail"):
            raise ValueError("the dice fell off the table")
        return {"success": True, "message": f"roll {self.runs}", "version": context.function_version}


@pytest.fixture
def dice():
    handler = Dice()
    yield handler
    handler.let_go.set()


@pytest.fixture
def local(dice):
    with LocalLambda({"dice": dice, "plain": lambda event, context: 1}, durable={"dice"}, timeout=LONG_S) as local:
        yield local


@pytest.fixture
def client(local):
    client = boto3.client(
        "lambda",
        region_name="us-east-1",
        endpoint_url=local.endpoint_url,
        aws_access_key_id="local",
        aws_secret_access_key="local",
    )
    yield client
    client.close()


def invoke(client, name="one", payload=b"{}", function="dice:prod", **more):
    named = {} if name is None else {"DurableExecutionName": name}
    return client.invoke(FunctionName=function, Payload=payload, **named, **more)


def refused(call):
    with pytest.raises(ClientError) as caught:
        call()
    response = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


def test_a_name_runs_once_and_a_second_call_gets_the_stored_outcome(client, dice):
    first, second = invoke(client), invoke(client)
    assert first["DurableExecutionArn"] == second["DurableExecutionArn"]
    assert first["Payload"].read() == second["Payload"].read()
    assert dice.runs == 1


def test_a_stored_failure_comes_back_too(client, dice):
    first, second = (invoke(client, payload=b'{"fail": true}') for _ in range(2))
    assert first["FunctionError"] == second["FunctionError"] == "Unhandled"
    assert first["Payload"].read() == second["Payload"].read()
    assert dice.runs == 1


def test_a_second_call_attaches_while_the_first_runs(client, dice):
    dice.let_go.clear()
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(invoke(client)["Payload"].read())) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert dice.begun.wait(LONG_S)
    dice.let_go.set()
    for thread in threads:
        thread.join(LONG_S)
    assert len(answers) == 4
    assert len(set(answers)) == 1
    assert dice.runs == 1


def test_names_are_apart_and_a_call_without_one_has_a_new_one(client, dice):
    arns = {invoke(client, name)["DurableExecutionArn"] for name in ("one", "two", None, None)}
    assert len(arns) == dice.runs == 4


@pytest.mark.parametrize(
    ("call", "error"),
    [
        pytest.param(
            {"payload": b'{"other": 1}'}, (409, "DurableExecutionAlreadyStartedException"), id="another-payload"
        ),
        pytest.param({"function": "dice", "name": "new"}, (400, "InvalidParameterValueException"), id="unqualified"),
        pytest.param({"function": "dice", "name": None}, (400, "InvalidParameterValueException"), id="no-name-either"),
        pytest.param({"function": "plain:prod"}, (400, "InvalidParameterValueException"), id="a-plain-function"),
        pytest.param({"name": "a b"}, (400, "InvalidParameterValueException"), id="a-name-with-a-space"),
        pytest.param({"name": "x" * 65}, (400, "InvalidParameterValueException"), id="a-name-of-65"),
    ],
)
def test_what_aws_refuses_is_refused_and_runs_nothing(client, dice, call, error):
    invoke(client)
    assert refused(lambda: invoke(client, **call)) == error
    assert dice.runs == 1


def test_an_event_has_an_arn_and_its_outcome_can_be_fetched(client, dice):
    arn = invoke(client, InvocationType="Event", payload=b'{"a": 1}')["DurableExecutionArn"]
    assert invoke(client, InvocationType="Event", payload=b'{"a": 1}')["DurableExecutionArn"] == arn
    assert b"roll 1" in invoke(client, payload=b'{"a": 1}')["Payload"].read()
    got = client.get_durable_execution(DurableExecutionArn=arn)
    assert (got["Status"], got["DurableExecutionName"], got["InputPayload"]) == ("SUCCEEDED", "one", '{"a": 1}')
    assert "roll 1" in got["Result"]
    assert got["EndTimestamp"] >= got["StartTimestamp"]
    assert dice.runs == 1


def test_get_tells_a_failure(client):
    arn = invoke(client, payload=b'{"fail": true}')["DurableExecutionArn"]
    got = client.get_durable_execution(DurableExecutionArn=arn)
    assert got["Status"] == "FAILED"
    assert got["Error"]["ErrorType"] == "ValueError"
    assert got["Error"]["ErrorMessage"] == "the dice fell off the table"
    assert "Result" not in got
    # Python 3.9's newest botocore does not know this one.
    if "IncludeExecutionData" in client.meta.service_model.operation_model("GetDurableExecution").input_shape.members:
        assert "Error" not in client.get_durable_execution(DurableExecutionArn=arn, IncludeExecutionData=False)


def test_list_finds_an_execution_by_its_name(client):
    arns = [invoke(client, name)["DurableExecutionArn"] for name in ("one", "two", "three")]
    listed = client.list_durable_executions_by_function(FunctionName="dice", DurableExecutionName="two")
    assert [found["DurableExecutionArn"] for found in listed["DurableExecutions"]] == [arns[1]]
    pages = client.get_paginator("list_durable_executions_by_function").paginate(
        FunctionName="dice", PaginationConfig={"PageSize": 2}
    )
    assert [found["DurableExecutionArn"] for page in pages for found in page["DurableExecutions"]] == arns
    for more in ({"DurableExecutionName": "none"}, {"Statuses": ["RUNNING"]}, {"Qualifier": "other"}):
        listed = client.list_durable_executions_by_function(FunctionName="dice", **more)
        assert listed["DurableExecutions"] == []


def test_stop_ends_an_execution_and_its_waiter_and_a_late_result_is_dropped(client, dice):
    dice.let_go.clear()
    arn = invoke(client, InvocationType="Event")["DurableExecutionArn"]
    assert client.get_durable_execution(DurableExecutionArn=arn)["Status"] == "RUNNING"
    client.stop_durable_execution(DurableExecutionArn=arn, Error={"ErrorType": "Bored", "ErrorMessage": "no more"})
    answer = invoke(client)
    assert (answer["FunctionError"], b"Bored" in answer["Payload"].read()) == ("Unhandled", True)
    dice.let_go.set()
    client.stop_durable_execution(DurableExecutionArn=arn)
    got = client.get_durable_execution(DurableExecutionArn=arn)
    assert (got["Status"], got["Error"]["ErrorType"]) == ("STOPPED", "Bored")


@pytest.mark.parametrize("operation", ["get_durable_execution", "stop_durable_execution"])
def test_an_execution_that_is_not_there_is_not_found(client, operation):
    arn = "arn:aws:lambda:us-east-1:123456789012:function:dice:1/durable-execution/one/none"
    assert refused(lambda: getattr(client, operation)(DurableExecutionArn=arn)) == (404, "ResourceNotFoundException")


@pytest.mark.parametrize("escape", [True, False])
@pytest.mark.parametrize(
    ("method", "more"),
    [("GET", "/history"), ("GET", "/state?Marker=1"), ("POST", "/checkpoint"), ("POST", ""), ("GET", "/stop")],
)
def test_what_else_could_be_asked_of_an_execution_is_told_what_is_served(client, local, caplog, method, more, escape):
    arn = invoke(client)["DurableExecutionArn"]
    path = f"/2025-12-01/durable-executions/{quote(arn, safe='' if escape else '/')}{more}"
    request = urllib.request.Request(local.endpoint_url + path, method=method, data=b"{}" if method == "POST" else None)
    with pytest.raises(urllib.error.HTTPError) as refusal, urllib.request.urlopen(request):
        pass
    with refusal.value as answer:
        assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (404, "UnknownOperationException")
    [told] = caplog.messages
    assert told.startswith(f"LocalLambda refused a request: cause={method} /2025-12-01/durable-executions/arn")


def test_a_handler_past_its_timeout_is_timed_out_for_good(dice):
    dice.let_go.clear()
    with LocalLambda({"dice": dice}, durable={"dice"}, timeout=0.05) as local:
        client = boto3.client(
            "lambda", "us-east-1", endpoint_url=local.endpoint_url, aws_access_key_id="a", aws_secret_access_key="b"
        )
        first = invoke(client)
        dice.let_go.set()
        second = invoke(client)
        got = client.get_durable_execution(DurableExecutionArn=first["DurableExecutionArn"])
        client.close()
    assert b"Task timed out" in first["Payload"].read()
    assert b"Task timed out" in second["Payload"].read()
    assert got["Status"] == "TIMED_OUT"


@pytest.mark.parametrize(
    "durable",
    [pytest.param("dice", id="a-string"), pytest.param({"other"}, id="no-function"), pytest.param(1, id="a-number")],
)
def test_durable_must_name_functions(durable):
    with pytest.raises(ValueError, match="durable"):
        LocalLambda({"dice": print}, durable=durable)
