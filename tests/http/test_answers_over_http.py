"""Failures that a function tells in its answer, over HTTP: one request each, and never a second one."""

import asyncio
import json

import pytest

from lambda_adapter.local import LocalLambda

ROWS = {
    "the emulator's error": ({"errorMessage": "boom", "errorType": "E", "trace": []}, "function_error", "E: boom"),
    "the emulator's time-out": (
        {"errorMessage": "Task timed out after 1.00 seconds"},
        "function_error",
        "Task timed out after 1.00 seconds",
    ),
    "an error beside success": ({"success": True, "errorMessage": "boom", "errorType": "E"}, None, None),
    "API Gateway's 503": ({"statusCode": 503, "body": '{"success": true}'}, "function_failed", "HTTP status 503"),
    "API Gateway's 404": ({"statusCode": "404", "body": "<html>"}, "function_failed", "HTTP status 404"),
    "API Gateway's 200": ({"statusCode": 200, "body": json.dumps('{"success": true}')}, None, None),
    "own words": (
        {"success": False, "error": "two\nlines https://host/"},
        "function_failed",
        "two\nlines https://host/",
    ),
    "an answer stringified twice": (json.dumps(json.dumps({"success": True})), None, None),
    "nothing": (None, "invalid_response", "must be a JSON object, not null"),
}


@pytest.mark.parametrize("run_async", [False, True], ids=["execute", "execute_async"])
@pytest.mark.parametrize(("answer", "error_code", "told"), [pytest.param(*row, id=name) for name, row in ROWS.items()])
def test_a_failure_in_an_answer_is_final(make_adapter, make_request, answer, error_code, told, run_async):
    with LocalLambda({"function": lambda event, context: answer}) as local:
        adapter = make_adapter(endpoint_url=local.endpoint_url, initial_retry_delay=0.001)
        request = make_request()
        response = asyncio.run(adapter.execute_async(request)) if run_async else adapter.execute(request)
        assert len(local.calls) == response.invocation.attempts == 1
    assert (response.error_code, response.invocation.executed) == (error_code, "yes")
    assert told in (response.error or "") if told else response.success
    assert adapter.health.total_failures == (not response.success)
