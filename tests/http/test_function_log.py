"""``log_tail``: what a function logged comes with the response, parsed where it is a report, and shows nowhere else."""

import base64
import json
import logging

import pytest

from lambda_adapter import LocalLambda, Report
from support import fault_server as fs
from support.calls import GOOD


def test_a_cold_and_a_warm_start_are_reported(call, make_adapter, make_request):
    def handler(event, context):
        context.log("hello, 天気\n")
        return {"success": True}

    with LocalLambda({"function": handler}, memory_mb=256) as local:
        adapter = make_adapter(endpoint_url=local.endpoint_url, log_tail=True)
        cold, warm = (call(adapter, make_request()).invocation for _ in range(2))
    for invocation in (cold, warm):
        assert "hello, 天気\n" in invocation.log_tail
        assert f"REPORT RequestId: {invocation.request_id}" in invocation.log_tail
        assert isinstance(invocation.report, Report)
        assert invocation.report.memory_mb == 256
        assert invocation.report.duration_ms <= invocation.report.billed_ms
    assert cold.report.init_ms > 0
    assert warm.report.init_ms is None


def test_a_function_that_fails_has_its_log_too(call, make_adapter, make_request, local):
    adapter = make_adapter(function_identifier="raises", endpoint_url=local.endpoint_url, log_tail=True)
    response = call(adapter, make_request())
    assert response.error_code == "function_error"
    assert "about to fail" in response.invocation.log_tail
    assert response.invocation.report.memory_mb == 128
    assert "about to fail" not in response.error


def test_a_long_log_is_told_from_the_middle_of_a_character(call, make_adapter, make_request, local):
    adapter = make_adapter(function_identifier="logs", endpoint_url=local.endpoint_url, log_tail=True)
    starts = set()
    # Three lengths would do, if the durations in the log always had as many digits.
    for number in range(30):
        invocation = call(adapter, make_request(args=["天" * 3_000 + "x" * number + "\n"])).invocation
        assert invocation.report.memory_mb == 128
        starts.add(invocation.log_tail[0])
    assert starts == {"天", "\ufffd"}


def test_a_report_that_the_function_prints_is_not_the_report(call, make_adapter, make_request, local):
    fake = "REPORT RequestId: 1\tDuration: 1.00 ms\tBilled Duration: 1 ms\tMemory Size: 9 MB\tMax Memory Used: 9 MB\t\n"
    adapter = make_adapter(function_identifier="logs", endpoint_url=local.endpoint_url, log_tail=True)
    invocation = call(adapter, make_request(args=[fake])).invocation
    assert fake in invocation.log_tail
    assert invocation.report.memory_mb == 128


@pytest.mark.parametrize(
    ("header", "log_tail"),
    [
        ("%%%", None),
        ("QUJ", None),
        ("é", None),
        (base64.b64encode(b"no report").decode(), "no report"),
        (base64.b64encode(b"\xa9\xe2\x98\x82").decode(), "\ufffd☂"),
        (base64.b64encode(b"REPORT RequestId: 1 of another shape").decode(), "REPORT RequestId: 1 of another shape"),
        ("", ""),
    ],
    ids=["no base64", "cut base64", "no ASCII", "no report", "cut character", "another shape", "empty"],
)
def test_a_log_that_is_none_is_no_failure(call, make_adapter, make_request, header, log_tail, serve):
    server = serve(fs.answer({"success": True}, X_Amz_Log_Result=header))
    adapter = make_adapter(endpoint_url=server.endpoint_url, log_tail=True)
    response = call(adapter, make_request())
    assert server.requests[0].headers["x-amz-log-type"] == "Tail"
    assert response.success
    assert (response.invocation.log_tail, response.invocation.report) == (log_tail, None)


def test_without_log_tail_none_is_asked_for(call, make_adapter, make_request, serve):
    server = serve(GOOD)
    response = call(make_adapter(endpoint_url=server.endpoint_url), make_request())
    assert "x-amz-log-type" not in server.requests[0].headers
    assert (response.invocation.log_tail, response.invocation.report) == (None, None)


def test_a_log_is_in_no_repr_and_in_no_log_of_ours(call, make_adapter, make_request, local, caplog):
    caplog.set_level(logging.DEBUG, "lambda_adapter")
    adapter = make_adapter(function_identifier="logs", endpoint_url=local.endpoint_url, log_tail=True)
    response = call(adapter, make_request(args=["swordfish"]))
    assert "swordfish" in response.invocation.log_tail
    assert "swordfish" in response.to_dict()["invocation"]["log_tail"]
    assert "swordfish" not in repr(response) + caplog.text
    assert "memory_mb=128" in repr(response)
    json.dumps(response.to_dict())
