"""What reaches the function beside the payload: qualifier, tenant and client context."""

import base64
import json
import time

import pytest

from support.calls import FAST, GOOD, THROTTLED, assert_refused

# -- qualifier --------------------------------------------------------------------------------------


@pytest.mark.parametrize("qualifier", ["prod", "7", "$LATEST", "a-b_c", "x" * 128])
def test_the_qualifier_reaches_the_function(call, make_adapter, make_request, local, qualifier):
    adapter = make_adapter(endpoint_url=local.endpoint_url, qualifier=qualifier)
    assert call(adapter, make_request()).success
    assert (local.calls[-1].function_name, local.calls[-1].qualifier) == ("function", qualifier)
    assert adapter.function_name == "function"


def test_a_qualifier_goes_with_a_prefix_and_an_arn(call, make_adapter, make_request, local):
    arn = "arn:aws:lambda:us-east-1:123456789012:function:function"
    for names in ({"function_identifier": arn}, {"function_identifier": "tion", "function_prefix": "func"}):
        adapter = make_adapter(endpoint_url=local.endpoint_url, qualifier="prod", **names)
        assert call(adapter, make_request()).success
        assert (local.calls[-1].function_name, local.calls[-1].qualifier) == ("function", "prod")


# -- isolate_communities ----------------------------------------------------------------------------


@pytest.mark.parametrize(("community_id", "tenant"), [("guild 42", "guild 42"), (42, "42"), ("x" * 256, "x" * 256)])
def test_each_community_is_a_tenant_of_its_own(call, make_isolating, make_request, local, community_id, tenant):
    adapter = make_isolating(endpoint_url=local.endpoint_url)
    response = call(adapter, make_request(community_id=community_id))
    assert (response.success, response.data) == (True, {"tenant": tenant})
    assert local.calls[-1].tenant_id == tenant
    assert local.calls[-1].payload["community"]["id"] == community_id


@pytest.mark.parametrize(
    "community_id", ["", "x" * 257, "a\n", "naïve", "１２", "a#b", 10**300], ids=lambda id_: ascii(id_)[:9]
)
def test_a_community_that_cannot_be_a_tenant_is_refused(call, make_isolating, make_request, local, community_id):
    before = len(local.calls)
    adapter = make_isolating(endpoint_url=local.endpoint_url)
    response = call(adapter, make_request(community_id=community_id))
    assert_refused(response, "invalid_request", adapter)
    assert "community_id must be 1 to 256 letters" in response.error
    assert len(local.calls) == before


def test_without_isolation_no_tenant_is_named(call, make_adapter, make_request, local):
    assert call(make_adapter(endpoint_url=local.endpoint_url), make_request(community_id="naïve")).success
    assert local.calls[-1].tenant_id is None


# -- send_client_context ----------------------------------------------------------------------------


def contexts(server):
    return [json.loads(base64.b64decode(r.headers["x-amz-client-context"]))["custom"] for r in server.requests]


@pytest.mark.parametrize("session_id", ["session_1", 42, "天気 ☂ 🌧"], ids=ascii)
def test_the_function_reads_request_and_attempt(call, make_adapter, make_request, local, session_id):
    adapter = make_adapter(
        function_identifier="reads_context", endpoint_url=local.endpoint_url, send_client_context=True
    )
    response = call(adapter, make_request(session_id=session_id))
    assert response.data["custom"] == {"request_id": session_id, "attempt": 1}
    assert local.calls[-1].payload["request_id"] == session_id


def test_each_attempt_has_its_number_and_all_the_same_deadline(call, make_adapter, make_request, serve):
    server = serve([THROTTLED, THROTTLED, GOOD])
    adapter = make_adapter(endpoint_url=server.endpoint_url, send_client_context=True, total_timeout=30, **FAST)
    before_ms = time.time() * 1_000
    call(adapter, make_request())
    after_ms = time.time() * 1_000
    sent = contexts(server)
    assert [custom["attempt"] for custom in sent] == [1, 2, 3]
    (deadline_ms,) = {custom["deadline_ms"] for custom in sent}
    assert before_ms + 29_999 <= deadline_ms <= after_ms + 30_000
    assert {custom["request_id"] for custom in sent} == {"session_abc123"}


def test_without_a_total_timeout_there_is_no_deadline_to_send(call, make_adapter, make_request, serve):
    server = serve(GOOD)
    call(make_adapter(endpoint_url=server.endpoint_url, send_client_context=True), make_request())
    assert contexts(server) == [{"request_id": "session_abc123", "attempt": 1}]


def test_without_send_client_context_none_is_sent(call, make_adapter, make_request, local):
    call(make_adapter(endpoint_url=local.endpoint_url, total_timeout=30), make_request())
    assert local.calls[-1].client_context is None


@pytest.mark.parametrize(("char", "most"), [("x", 2_615), ("天", 435)], ids=["ASCII", "escaped"])
def test_the_longest_session_arrives_and_a_longer_one_is_refused(call, make_adapter, make_request, local, char, most):
    adapter = make_adapter(
        function_identifier="reads_context", endpoint_url=local.endpoint_url, send_client_context=True
    )
    refused = call(adapter, make_request(session_id=char * (most + 1)))
    assert_refused(refused, "invalid_request", adapter)
    assert "session_id is too long for the client context" in refused.error
    response = call(adapter, make_request(session_id=char * most))
    assert response.data["custom"]["request_id"] == char * most
