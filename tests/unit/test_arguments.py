"""What an attempt tells the Invoke API beside the payload, and the one clock of a call."""

import base64
import enum
import json
import time

import pytest

from lambda_adapter._call.deadline import Deadline
from lambda_adapter._process.clock import monotonic_s
from lambda_adapter._rules.limits import MAX_CLIENT_CONTEXT_CHARS
from lambda_adapter._wire.arguments import CHECK, InvokeArguments
from lambda_adapter._wire.payload import EncodedRequest, UnfitRequestError
from support.clients import Client


def call(session_id="session_1", community_id="community_1"):
    return EncodedRequest(
        b"{}", request_id=str(session_id), scopes=(), session_id=session_id, community_id=community_id
    )


def custom(arguments):
    context = json.loads(base64.b64decode(arguments["ClientContext"], validate=True))
    assert list(context) == ["custom"]
    return context["custom"]


# -- Deadline -------------------------------------------------------------------------------------


def test_a_deadline_is_the_same_moment_by_both_clocks():
    before_s, before_epoch_s = monotonic_s(), time.time()
    deadline = Deadline.after(2.5)
    after_s, after_epoch_s = monotonic_s(), time.time()
    assert before_s + 2.5 <= deadline.at_s <= after_s + 2.5
    assert before_epoch_s + 2.499 <= deadline.epoch_ms / 1_000 <= after_epoch_s + 2.5
    assert isinstance(deadline.epoch_ms, int)


def test_at_its_very_time_a_deadline_is_up():
    deadline = Deadline(1.0, at_s=100.0, epoch_ms=0)
    assert [deadline.is_up(now_s) for now_s in (99.999, 100.0, 100.001)] == [False, True, True]


@pytest.mark.parametrize(("seconds", "shown"), [(30, "30"), (30.0, "30"), (0.25, "0.25"), (86_400, "86400")])
def test_a_deadline_says_what_was_set(seconds, shown):
    assert Deadline.after(seconds).cause == f"the total_timeout of {shown} s is up"


# -- Arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, {}),
        ({"invocation_type": "Event"}, {"InvocationType": "Event"}),
        ({"qualifier": "prod"}, {"Qualifier": "prod"}),
        ({"log_tail": True}, {"LogType": "Tail"}),
        ({"isolate_communities": True}, {"TenantId": "community_1"}),
    ],
    ids=str,
)
def test_only_what_was_asked_for_is_said(settings, expected):
    arguments = InvokeArguments("function", **settings).of_attempt(call(), 1, 5_000)
    assert arguments == {"FunctionName": "function", "Payload": b"{}", **expected}


def test_what_was_made_for_one_attempt_is_not_the_next_ones():
    arguments = InvokeArguments("function")
    arguments.of_attempt(call(), 1, None)["FunctionName"] = "other"
    assert arguments.of_attempt(call(), 2, None)["FunctionName"] == "function"


def test_a_check_asks_for_the_same_function_without_log_and_context():
    arguments = InvokeArguments(
        "function", "RequestResponse", qualifier="prod", send_client_context=True, log_tail=True
    ).of_check()
    assert arguments.of_attempt(CHECK, 1, None) == {
        "FunctionName": "function",
        "InvocationType": "DryRun",
        "Qualifier": "prod",
        "Payload": b"",
    }


def test_a_check_of_a_function_with_tenants_names_one():
    arguments = InvokeArguments("function", isolate_communities=True).of_check()
    arguments.check(CHECK)
    assert arguments.of_attempt(CHECK, 1, None)["TenantId"] == "check"


# -- Tenants --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("community_id", "tenant"),
    [
        ("a", "a"),
        ("guild:42/channel=7", "guild:42/channel=7"),
        ("._:/=+-@ ", "._:/=+-@ "),
        ("x" * 256, "x" * 256),
        (5, "5"),
        (-5, "-5"),
        (0, "0"),
        (10**255, str(10**255)),
    ],
    ids=ascii,
)
def test_a_community_that_aws_takes_is_the_tenant(community_id, tenant):
    arguments, request = InvokeArguments("function", isolate_communities=True), call(community_id=community_id)
    arguments.check(request)
    assert arguments.of_attempt(request, 1, None)["TenantId"] == tenant


BAD_COMMUNITIES = [
    *(
        "",
        "x" * 257,
        "a\n",
        "\na",
        "a\tb",
        "a\0",
        "naïve",
        "１",
        "天",
        "a#b",
        "a,b",
        "a\\b",
        "a*",
        "<a>",
        "{a}",
        "a\u00a0b",
    ),
    *(10**256, -(10**255)),
]


@pytest.mark.parametrize("community_id", BAD_COMMUNITIES, ids=lambda value: ascii(value)[:20])
def test_a_community_that_aws_refuses_is_refused_here(community_id):
    with pytest.raises(UnfitRequestError, match=r"^community_id must be") as caught:
        InvokeArguments("function", isolate_communities=True).check(call(community_id=community_id))
    assert str(community_id) not in str(caught.value) or community_id == ""


@pytest.mark.parametrize("community_id", BAD_COMMUNITIES, ids=lambda value: ascii(value)[:20])
def test_without_isolation_any_community_is_fine(community_id):
    arguments, sent = InvokeArguments("function"), call(community_id=community_id)
    arguments.check(sent)
    assert "TenantId" not in arguments.of_attempt(sent, 1, None)


# -- Client context -------------------------------------------------------------------------------


@pytest.mark.parametrize("session_id", ["session_1", "", "天気 ☂ \U0001f327", 'a"b\\c\n', 5, -(10**30)], ids=ascii)
@pytest.mark.parametrize("number", [1, 2, 101])
def test_the_context_says_which_request_and_which_attempt(session_id, number):
    arguments = InvokeArguments("function", send_client_context=True)
    assert custom(arguments.of_attempt(call(session_id), number, None)) == {
        "request_id": session_id,
        "attempt": number,
    }


def test_with_a_total_timeout_the_context_says_when_it_is_up():
    arguments, deadline_ms = InvokeArguments("function", send_client_context=True), 1_700_000_000_000
    assert custom(arguments.of_attempt(call(), 3, deadline_ms)) == {
        "request_id": "session_1",
        "attempt": 3,
        "deadline_ms": deadline_ms,
    }


#: What stands around the session id when the other two are as long as they get.
AROUND = len('{"custom":{"request_id":"","attempt":999,"deadline_ms":9999999999999}}')
ROOM = MAX_CLIENT_CONTEXT_CHARS // 4 * 3 - AROUND


@pytest.mark.parametrize(
    ("longest", "longer"),
    [
        ("x" * ROOM, "x" * (ROOM + 1)),
        ("é" * (ROOM // 6), "é" * (ROOM // 6 + 1)),
        ("☂" * (ROOM // 6), "☂" * (ROOM // 6 + 1)),
        ("\U0001f327" * (ROOM // 12), "\U0001f327" * (ROOM // 12 + 1)),
        ('"' * (ROOM // 2), '"' * (ROOM // 2 + 1)),
        (10 ** (ROOM + 1), 10 ** (ROOM + 2)),
    ],
    ids=["ASCII", "two bytes", "three bytes", "four bytes", "escaped", "a number"],
)
def test_the_longest_session_that_fits_is_sent_and_a_longer_one_is_refused(longest, longer):
    """In every attempt: a call that was let in must not become too long on the way."""
    arguments, last_ms = InvokeArguments("function", send_client_context=True), 10**13 - 1
    arguments.check(call(longest))
    sent = arguments.of_attempt(call(longest), 101, last_ms)
    assert MAX_CLIENT_CONTEXT_CHARS - 16 < len(sent["ClientContext"]) <= MAX_CLIENT_CONTEXT_CHARS
    assert custom(sent)["request_id"] == longest
    with pytest.raises(UnfitRequestError, match=r"^session_id is too long for the client context"):
        arguments.check(call(longer))


def test_without_a_context_a_session_may_be_as_long_as_it_likes():
    arguments, sent = InvokeArguments("function"), call("x" * 100_000)
    arguments.check(sent)
    assert "ClientContext" not in arguments.of_attempt(sent, 1, None)


# -- Tenants -------------------------------------------------------------------------------------


class Community(str, enum.Enum):
    ONE = "one"


class Number(enum.IntEnum):
    ONE = 1


class Hostile(str):
    def __str__(self):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("community_id", "tenant"), [(Community.ONE, "one"), (Number.ONE, "1"), (Hostile("one"), "one")]
)
def test_the_tenant_is_the_community_that_the_payload_names(
    make_isolating, shared_client, make_request, community_id, tenant
):
    client = Client()
    client.meta = shared_client.meta
    adapter = make_isolating(client=client)
    assert adapter.execute(make_request(community_id=community_id)).success
    (sent,) = client.calls
    assert sent["TenantId"] == str(json.loads(sent["Payload"])["community"]["id"]) == tenant
