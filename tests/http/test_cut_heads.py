"""A connection that ends at any byte of an answer is a lost one; half a head is no answer.

http.client takes the end of the connection for the end of the head: the answer would have no body, and half an ARN.
"""

import json

import pytest

from support import fault_server as fs
from support.calls import REQUEST, adapter_for
from support.durable import needs_executions, shop_adapter

ANSWER = fs.answer({"success": True, "message": "whole"}, X_Amz_Executed_Version="3").steps[0]
HEAD = ANSWER.index(b"\r\n\r\n") + 4
#: Within the status line, after it, within headers, between them, before the empty line's last byte, within the body.
PLACES = [3, 11, 12, 16, *range(17, HEAD, 7), HEAD - 2, HEAD - 1, HEAD, len(ANSWER) - 1]


@pytest.mark.parametrize("then", ["close", "reset"])
def test_a_cut_at_any_byte_is_tried_again(then):
    script = [each for place in PLACES for each in (fs.raw(ANSWER[:place], then), fs.raw(ANSWER, "keep"))]
    with fs.FaultServer(script) as server, adapter_for(server.endpoint_url) as adapter:
        for place in PLACES:
            response = adapter.execute(REQUEST)
            assert (response.message, response.invocation.attempts) == ("whole", 2), (place, response)


def test_without_a_retry_it_is_a_lost_connection():
    script = [fs.raw(ANSWER[:place]) for place in PLACES]
    with fs.FaultServer(script) as server, adapter_for(server.endpoint_url, idempotent=False) as adapter:
        for place in PLACES:
            response = adapter.execute(REQUEST)
            told = (response.error_code, response.invocation.executed, response.invocation.executed_version)
            assert told == ("connection_lost", "maybe", "3" if place >= HEAD else None), (place, response)


@pytest.mark.parametrize("ending", [b"\r\n\r\n", b"\n\n"], ids=["CRLF", "LF"])
def test_a_whole_head_may_be_the_end(ending):
    """Without a length an answer ends with its connection."""
    whole = b"HTTP/1.1 200 OK\r\nContent-Type: application/json" + ending + b'{"success": true, "message": "short"}'
    with fs.FaultServer([fs.raw(whole)]) as server, adapter_for(server.endpoint_url, max_retries=0) as adapter:
        assert adapter.execute(REQUEST).message == "short"


@pytest.mark.parametrize("place", [30, -1], ids=["within", "before its end"])
def test_an_event_whose_answer_is_cut_is_not_queued_for_sure(place):
    queued = fs.respond(202).steps[0][:place]
    settings = {"invocation_type": "Event", "max_retries": 0}
    with fs.FaultServer([fs.raw(queued)]) as server, adapter_for(server.endpoint_url, **settings) as adapter:
        assert adapter.execute(REQUEST).error_code == "connection_lost"


def test_a_stream_whose_head_is_cut_is_lost():
    with fs.FaultServer([fs.raw(ANSWER[:40])]) as server, adapter_for(server.endpoint_url, max_retries=0) as adapter:
        stream = adapter.execute_stream(REQUEST)
        with stream:
            assert not list(stream)
    assert stream.response.error_code == "connection_lost"


@needs_executions
@pytest.mark.parametrize("place", [16, 40, 60])
def test_half_a_list_is_not_an_empty_one(place):
    """The execution may well be there, and not_found would say that it is not."""
    listed = fs.respond(200, json.dumps({"DurableExecutions": []}).encode()).steps[0]
    with fs.FaultServer([fs.raw(listed[:place])]) as server, shop_adapter(server.endpoint_url, max_retries=0) as shop:
        assert shop.result("one", wait=0).error_code == "connection_lost"


@needs_executions
@pytest.mark.parametrize(
    ("body", "missing", "code"),
    [
        (b'{"DurableExecutions": []}', 0, "not_found"),
        (b'{"DurableExecutions": []}', 1, "connection_lost"),
        (b'{"DurableExec', 12, "connection_lost"),
        (b"", 25, "connection_lost"),
        (b"", 0, "invalid_response"),
        (b"[]", 0, "invalid_response"),
        (b"<html>", 0, "invalid_response"),
        (b"null", 0, "invalid_response"),
        (b"[" * 100_000, 0, "invalid_response"),
        (b'{"DurableExecutions": "abc"}', 0, "invalid_response"),
        (b'{"DurableExecutions": [null, 5]}', 0, "invalid_response"),
        (b'{"DurableExecutions": [{"StartTimestamp": "zz"}]}', 0, "invalid_response"),
    ],
    ids=[
        "whole",
        "less 1 byte",
        "half",
        "no body",
        "empty",
        "array",
        "page",
        "null",
        "deep",
        "text for a list",
        "a list of no objects",
        "no time",
    ],
)
def test_half_a_list_of_executions_is_no_empty_one(body, missing, code):
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body) + missing}\r\n\r\n"
    server = fs.FaultServer(lambda _: fs.raw(head.encode() + body))
    with server, shop_adapter(server.endpoint_url, max_retries=0) as adapter:
        response = adapter.result("session", wait=0)
    assert (response.error_code, response.invocation.executed) == (code, "maybe")
