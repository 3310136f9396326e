"""An adapter under moto's mock_aws, without Docker, as a user's own tests would have it."""

import asyncio
import io
import json
import zipfile

import boto3
import pytest
import requests
from moto import mock_aws

from lambda_adapter import LambdaAdapter, LocalLambda

ANSWERS = "http://motoapi.amazonaws.com/moto-api/static/lambda-simple/response"


@pytest.fixture
def mocked():
    """moto's AWS with the function "weather", which answers from a queue, or echoes the request."""
    with mock_aws(config={"lambda": {"use_docker": False}}):
        role = boto3.client("iam", "us-east-1").create_role(RoleName="role", AssumeRolePolicyDocument="{}")
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w") as archive:
            archive.writestr("app.py", "def handler(event, context): ...")
        boto3.client("lambda", "us-east-1").create_function(
            FunctionName="weather",
            Runtime="python3.11",
            Role=role["Role"]["Arn"],
            Handler="app.handler",
            Code={"ZipFile": code.getvalue()},
        )
        yield


@pytest.fixture
def queue(mocked):
    """Queues what the function answers next."""

    def put(*answers):
        results = [answer if isinstance(answer, str) else json.dumps(answer) for answer in answers]
        assert requests.post(ANSWERS, json={"results": results, "region": "us-east-1"}, timeout=5).status_code == 201

    return put


@pytest.fixture
def adapter(mocked):
    with LambdaAdapter("weather", "us-east-1", "weather_module", initial_retry_delay=0.001) as made:
        yield made


def test_a_queued_answer_becomes_the_response(adapter, queue, make_request):
    queue({"success": True, "message": "Sunny", "targets": ["discord"]}, {"success": False, "error": "no such city"})
    first, second = adapter.execute(make_request()), adapter.execute(make_request())
    assert (first.success, first.message, first.targets) == (True, "Sunny", [{"type": "discord"}])
    assert (first.invocation.status_code, first.invocation.attempts) == (200, 1)
    assert (second.success, second.error_code, second.error) == (False, "function_failed", "no such city")
    assert (adapter.health.total_requests, adapter.health.total_failures) == (2, 1)


def test_an_awaited_call_is_under_the_mock_too(adapter, queue, make_request):
    queue({"success": True, "message": "Sunny"})
    assert asyncio.run(adapter.execute_async(make_request())).message == "Sunny"


def test_without_a_queued_answer_moto_echoes_the_request(adapter, make_request):
    """An echo has no `success`, so what was sent can be seen to have arrived, and is no answer."""
    response = adapter.execute(make_request())
    assert response.error_code == "invalid_response"
    assert "no `success`" in response.error


def test_an_answer_that_is_no_json_is_an_invalid_response(adapter, queue, make_request):
    queue("not JSON")
    assert adapter.execute(make_request()).error_code == "invalid_response"


def test_a_function_that_was_never_created_is_not_found(make_request):
    """moto answers for any name without Docker; with it, it looks the name up before it starts a container."""
    with mock_aws(), LambdaAdapter("nothing", "us-east-1", "module") as adapter:
        response = adapter.execute(make_request())
    assert (response.error_code, response.invocation.attempts) == ("not_found", 1)
    assert response.invocation.executed == "no"
    assert response.invocation.status_code == 404


def test_an_event_is_queued(mocked, make_request):
    with LambdaAdapter("weather", "us-east-1", "module", invocation_type="Event") as adapter:
        response = adapter.execute(make_request())
    assert (response.success, response.message) == (True, "Lambda function queued")
    assert response.invocation.status_code == 202


def test_a_prefix_and_an_arn_find_the_function(queue, make_request):
    queue({"success": True}, {"success": True})
    for identifier, prefix in (("ther", "wea"), ("arn:aws:lambda:us-east-1:123456789012:function:weather", None)):
        with LambdaAdapter(identifier, "us-east-1", "module", function_prefix=prefix) as adapter:
            assert adapter.execute(make_request()).success


def test_a_client_of_the_users_own_serves_as_well(queue, make_request):
    queue({"success": True, "message": "Sunny"})
    with LambdaAdapter("weather", "us-east-1", "module", client=boto3.client("lambda", "us-east-1")) as adapter:
        assert adapter.execute(make_request()).message == "Sunny"


@pytest.mark.parametrize("config", [{}, {"core": {"mock_credentials": False}}], ids=["", "real credentials"])
def test_an_adapter_made_before_the_mock_is_mocked_within_it(make_adapter, make_request, config):
    """And one that was made within it does not take the mock along."""
    with LocalLambda({"function": lambda event, context: {"success": True, "message": "local"}}) as local:
        before = make_adapter(endpoint_url=local.endpoint_url, max_retries=0)
        assert before.execute(make_request()).message == "local"
        aws = make_adapter(max_retries=0)
        with mock_aws(config={"lambda": {"use_docker": False}, **config}):
            # moto mocks AWS's own hosts: an endpoint of another is still itself.
            assert before.execute(make_request()).message == "local"
            assert "no `success`" in aws.execute(make_request()).error
            within = make_adapter(endpoint_url=local.endpoint_url, max_retries=0)
        assert within.execute(make_request()).message == "local"


def test_after_the_mock_calls_are_on_their_way_to_aws_again(make_adapter, make_request, network_guard):
    adapter = make_adapter(max_retries=0)
    with mock_aws(config={"lambda": {"use_docker": False}}):
        assert adapter.execute(make_request()).error_code == "invalid_response"  # moto's echo
        assert network_guard == []
    assert adapter.execute(make_request()).error_code == "connection_error"
    assert network_guard == ["lambda.us-east-1.amazonaws.com"]
    network_guard.clear()  # as it was meant to be
