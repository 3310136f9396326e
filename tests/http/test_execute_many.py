"""execute_many: pairs as calls finish, from any iterable, read no faster than calls end; nothing is left behind."""

import gc
import threading
import types
import weakref
from collections import deque

import pytest

from lambda_adapter import LocalLambda
from support import fault_server as fs
from support.calls import FOREVER, GOOD, THROTTLED, TOO_LONG
from support.clients import Client
from support.sessions import Function, Requests
from support.waiting import SOON_S, until


@pytest.fixture
def requests(make_request):
    return Requests(make_request)


# -- Pairs ----------------------------------------------------------------------------------------


def test_each_request_comes_with_its_own_response(make_adapter, requests, serve):
    function = Function()
    adapter = make_adapter(endpoint_url=serve(function).endpoint_url, max_concurrency=4)
    pairs = list(adapter.execute_many(requests.first(50)))
    assert sorted(int(request.session_id) for request, _ in pairs) == list(range(50))
    for request, response in pairs:
        assert (response.success, response.message) == (True, request.session_id)
        assert any(request is given for given in requests.read)
    assert function.most <= 4
    assert (adapter.health.total_requests, adapter.health.total_failures) == (50, 0)


def test_pairs_come_in_the_order_in_which_calls_finish(make_adapter, requests, serve):
    function = Function(held=["0", "2"])
    adapter = make_adapter(endpoint_url=serve(function).endpoint_url, max_concurrency=2)
    pairs = adapter.execute_many(requests.first(4))
    order = [next(pairs)[0].session_id]  # 0 and 1 are under way; 1 ends
    function.let_go("0")
    order.append(next(pairs)[0].session_id)  # 2 has come in; 0 ends
    order.append(next(pairs)[0].session_id)  # 3 has come in, and ends while 2 is held
    function.let_go("2")
    order += [request.session_id for request, _ in pairs]
    assert order == ["1", "0", "3", "2"]


def test_max_concurrency_of_one_keeps_the_order(make_adapter, requests, serve):
    adapter = make_adapter(endpoint_url=serve(Function()).endpoint_url, max_concurrency=1)
    pairs = adapter.execute_many(requests.first(10))
    assert [request.session_id for request, _ in pairs] == [str(number) for number in range(10)]


def test_of_no_requests_there_are_no_pairs(make_adapter):
    assert list(make_adapter().execute_many([])) == []


@pytest.mark.parametrize("make", [list, tuple, iter, deque], ids=lambda make: make.__name__)
def test_any_iterable_will_do(make_adapter, make_request, serve, make):
    adapter = make_adapter(endpoint_url=serve(Function()).endpoint_url)
    given = make([make_request(session_id=str(number)) for number in range(3)])
    assert {response.message for _, response in adapter.execute_many(given)} == {"0", "1", "2"}


def test_equal_requests_are_calls_of_their_own(make_adapter, make_request, serve):
    adapter = make_adapter(endpoint_url=serve(Function()).endpoint_url, max_concurrency=3)
    request = make_request()
    pairs = list(adapter.execute_many([request] * 7))
    assert [given is request and response.success for given, response in pairs] == [True] * 7


def test_it_works_on_local_lambda_too(make_adapter, requests):
    with LocalLambda({"function": lambda event, context: {"success": True, "message": event["request_id"]}}) as local:
        adapter = make_adapter(endpoint_url=local.endpoint_url, max_concurrency=8)
        pairs = list(adapter.execute_many(requests.first(20)))
        assert len(local.calls) == 20
    assert all(response.message == request.session_id for request, response in pairs)


# -- Failures -------------------------------------------------------------------------------------


def test_bad_requests_are_answered_amid_the_good_ones(make_adapter, make_request, serve):
    server = serve(Function())
    adapter = make_adapter(endpoint_url=server.endpoint_url, max_concurrency=2)
    bad = [None, 5, "text", make_request(args="text"), make_request(metadata={"x": {1}}), make_request(user_id=None)]
    given = [item for odd in bad for item in (odd, make_request(session_id="good"))]
    pairs = list(adapter.execute_many(given))
    assert len(server.requests) == len(bad)
    assert len(pairs) == len(given)
    for request, response in pairs:
        assert response.error_code == ("invalid_request" if any(request is odd for odd in bad) else None)
    assert (adapter.health.total_requests, adapter.health.total_failures) == (len(bad), 0)


def test_failures_are_responses_like_any_other(make_adapter, requests, serve):
    server = serve([fs.function_error(), GOOD, fs.aws_error("AccessDeniedException", 403), GOOD])
    adapter = make_adapter(endpoint_url=server.endpoint_url, max_concurrency=1)
    codes = [response.error_code for _, response in adapter.execute_many(requests.first(4))]
    assert codes == ["function_error", None, "access_denied", None]


def test_a_closed_adapter_answers_each_as_closed(make_adapter, requests, serve):
    server = serve(GOOD)
    adapter = make_adapter(endpoint_url=server.endpoint_url, max_concurrency=2)
    adapter.close()
    pairs = list(adapter.execute_many(requests.first(5)))
    assert [response.error_code for _, response in pairs] == ["closed"] * 5
    assert (server.connections, adapter.health.total_requests) == (0, 0)


def test_closing_the_adapter_amid_it_ends_the_rest_as_closed(make_adapter, requests, serve):
    function = Function(held=["1"], together=2)
    adapter = make_adapter(endpoint_url=serve(function).endpoint_url, max_concurrency=2)
    pairs = adapter.execute_many(requests.first(20))
    assert next(pairs)[1].success
    function.let_go()
    until(lambda: adapter.health.total_requests == 2)
    adapter.close()
    codes = [response.error_code for _, response in pairs]
    assert codes == [None] + ["closed"] * 18


def test_closing_the_adapter_ends_what_waits_for_a_retry(make_adapter, requests, serve):
    adapter = make_adapter(endpoint_url=serve(THROTTLED).endpoint_url, max_concurrency=3, **FOREVER)
    codes = []
    thread = threading.Thread(
        target=lambda: codes.extend(response.error_code for _, response in adapter.execute_many(requests.first(3)))
    )
    thread.start()
    until(lambda: adapter._workers.parked == 3)
    adapter.close()
    thread.join(SOON_S)
    assert codes == ["throttled"] * 3


def test_total_timeout_holds_for_each_call_and_not_for_all_of_them(make_adapter, requests, serve):
    adapter = make_adapter(endpoint_url=serve(THROTTLED).endpoint_url, max_concurrency=2, **TOO_LONG)
    responses = [response for _, response in adapter.execute_many(requests.first(6))]
    assert len(responses) == 6
    assert all(response.error.endswith("; the total_timeout of 1 s is up") for response in responses)


# -- Lazy -----------------------------------------------------------------------------------------


def test_nothing_is_read_before_the_first_pair_is_wanted(make_adapter, requests, serve):
    server = serve(GOOD)
    pairs = make_adapter(endpoint_url=server.endpoint_url).execute_many(requests)
    assert isinstance(pairs, types.GeneratorType)
    assert (requests.read, server.requests) == ([], [])
    pairs.close()
    assert (requests.read, server.requests) == ([], [])


@pytest.mark.parametrize("max_concurrency", [1, 3])
def test_it_reads_no_further_ahead_than_max_concurrency(make_adapter, requests, serve, max_concurrency):
    server = serve(Function())
    adapter = make_adapter(endpoint_url=server.endpoint_url, max_concurrency=max_concurrency)
    pairs = adapter.execute_many(requests)
    for done in range(1, 20):
        next(pairs)
        assert len(requests.read) <= done - 1 + max_concurrency
    pairs.close()
    assert len(server.requests) <= 19 - 1 + max_concurrency


def test_while_all_places_are_taken_nothing_more_is_read(make_adapter, requests, serve):
    function = Function(held=["0", "1", "2"])
    adapter = make_adapter(endpoint_url=serve(function).endpoint_url, max_concurrency=3)
    first = []
    thread = threading.Thread(target=lambda: first.append(next(adapter.execute_many(requests))))
    thread.start()
    function.has_begun(3)
    assert (len(requests.read), first) == (3, [])
    function.let_go("1")
    thread.join(SOON_S)
    assert [(request.session_id, response.message) for request, response in first] == [("1", "1")]
    assert len(requests.read) == 3


def test_of_an_endless_iterable_what_is_done_is_let_go(make_adapter, serve):
    """Memory holds what is under way, and nothing of what has been."""

    class Request:
        command, args, metadata, scopes = "roll", [], {}, []
        user_id = entity_id = community_id = session_id = platform = "x"

    alive, most = weakref.WeakSet(), 0

    def endless():
        while True:
            request = Request()
            alive.add(request)
            yield request
            del request

    adapter = make_adapter(endpoint_url=serve(Function()).endpoint_url, max_concurrency=2)
    pairs = adapter.execute_many(endless())
    for number, pair in enumerate(pairs):
        assert pair[1].success
        del pair
        if number % 40 == 0:
            gc.collect()
            most = max(most, len(alive))
        if number == 120:
            break
    pairs.close()
    assert most <= 6


# -- Ending early ---------------------------------------------------------------------------------


class BrokenError(Exception):
    pass


def test_what_is_in_flight_comes_before_what_the_iterable_raised(make_adapter, requests, serve):
    function = Function(held=["0", "1", "2"])
    adapter = make_adapter(endpoint_url=serve(function).endpoint_url, max_concurrency=5)
    failure = BrokenError("line 4")

    def broken():
        yield from requests.first(3)
        function.has_begun(3)
        function.let_go()
        raise failure

    pairs, seen = adapter.execute_many(broken()), []
    with pytest.raises(BrokenError) as raised:
        seen.extend(response.message for _, response in pairs)
    assert raised.value is failure
    assert sorted(seen) == ["0", "1", "2"]
    assert list(pairs) == []


@pytest.mark.parametrize("exception", [KeyboardInterrupt, SystemExit], ids=lambda kind: kind.__name__)
def test_who_wants_to_leave_does_not_wait_for_what_is_in_flight(make_adapter, requests, serve, exception):
    function = Function(held=["0", "1"])
    adapter = make_adapter(endpoint_url=serve(function).endpoint_url, max_concurrency=5)

    def interrupted():
        yield from requests.first(2)
        function.has_begun(2)
        raise exception

    pairs = adapter.execute_many(interrupted())
    with pytest.raises(exception):
        next(pairs)
    assert adapter.health.total_requests == 0, "both are still held"


def test_closing_it_amid_what_a_broken_iterable_left_raises_nothing(make_adapter, requests):
    adapter = make_adapter(client=Client(), max_concurrency=5)

    def broken():
        yield from requests.first(3)
        raise BrokenError

    pairs = adapter.execute_many(broken())
    next(pairs)
    pairs.close()
    assert list(pairs) == []


def test_to_stop_and_lose_nothing_the_iterable_ends(make_adapter, requests, serve):
    function = Function(held=["1", "2", "3"], together=4)
    adapter = make_adapter(endpoint_url=serve(function).endpoint_url, max_concurrency=4)
    stop, seen = threading.Event(), []

    def until_told():
        for request in requests:
            yield request
            if stop.is_set():
                return

    for _, response in adapter.execute_many(until_told()):
        seen.append(response.message)
        stop.set()
        function.let_go()
    assert sorted(seen) == ["0", "1", "2", "3"]
    assert len(requests.read) == 4


@pytest.mark.parametrize("given", [None, 5, object()], ids=["None", "a number", "an object"])
def test_what_is_no_iterable_is_a_type_error(make_adapter, given):
    with pytest.raises(TypeError, match="not iterable"):
        next(make_adapter().execute_many(given))


def test_closing_it_ends_what_waits_and_lets_what_is_in_flight_finish(make_adapter, requests, serve):
    function = Function(held=["1", "2"], together=3)
    server = serve(function)
    adapter = make_adapter(endpoint_url=server.endpoint_url, max_concurrency=3)
    pairs = adapter.execute_many(requests)
    assert next(pairs)[0].session_id == "0"
    pairs.close()
    assert len(requests.read) == 3
    assert adapter.health.total_requests == 1
    function.let_go()
    until(lambda: adapter.health.total_requests == 3)
    assert (len(server.requests), adapter.health.total_failures) == (3, 0)


def test_closing_it_ends_what_waits_for_a_retry(make_adapter, requests, serve):
    server = serve(lambda request: GOOD if request.number == 3 else THROTTLED)
    adapter = make_adapter(endpoint_url=server.endpoint_url, max_concurrency=3, **FOREVER)
    pairs = adapter.execute_many(requests)
    assert next(pairs)[1].success
    until(lambda: adapter._workers.parked == 2)
    pairs.close()
    assert (adapter.health.total_requests, adapter.health.total_failures) == (3, 2)
    assert len(server.requests) == 3


def test_dropping_it_is_closing_it(make_adapter, requests, serve):
    server = serve(lambda request: GOOD if request.number == 2 else THROTTLED)
    adapter = make_adapter(endpoint_url=server.endpoint_url, max_concurrency=2, **FOREVER)
    for _, response in adapter.execute_many(requests):
        assert response.success
        until(lambda: adapter._workers.parked == 1)
        break
    gc.collect()
    assert (adapter.health.total_requests, len(server.requests)) == (2, 2)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_within_on_attempt_reaches_the_caller(make_adapter, requests, serve, error):
    def on_attempt(attempt):
        raise error

    adapter = make_adapter(endpoint_url=serve(GOOD).endpoint_url, max_concurrency=1, on_attempt=on_attempt)
    with pytest.raises(error):
        next(adapter.execute_many(requests))


def test_two_at_once_share_the_places(make_adapter, make_request, serve):
    function = Function()
    adapter = make_adapter(endpoint_url=serve(function).endpoint_url, max_concurrency=3)
    messages = {}

    def run(name):
        given = (make_request(session_id=f"{name}{number}") for number in range(20))
        messages[name] = sorted(response.message for _, response in adapter.execute_many(given))

    threads = [threading.Thread(target=run, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON_S)
    assert messages == {name: sorted(f"{name}{number}" for number in range(20)) for name in "ab"}
    assert function.most <= 3


def test_what_has_finished_comes_before_another_request_is_read(make_adapter, make_request):
    """A slow source, a chat for example, does not hold back the answers that are there."""
    order, answered = [], threading.Event()
    adapter = make_adapter(client=Client(), max_concurrency=64, on_attempt=lambda _: answered.set())

    def slow():
        for number in range(3):
            order.append(f"read {number}")
            yield make_request(session_id=str(number))
            assert answered.wait(SOON_S)
            answered.clear()
            until(lambda: adapter._workers.idle)

    for request, _ in adapter.execute_many(slow()):
        order.append(f"got {request.session_id}")
    assert order == ["read 0", "read 1", "got 0", "read 2", "got 1", "got 2"]
