"""OpenTelemetry's botocore instrumentation: a span for each attempt, below the span in which the call was made."""

import asyncio
import json
import threading

import pytest
from opentelemetry import trace
from opentelemetry.instrumentation.botocore import BotocoreInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from lambda_adapter import ExecuteRequest, LocalLambda
from support.calls import GOOD, THROTTLED
from support.durable import cutting, needs_executions, shop_adapter
from support.fault_server import FaultServer, aws_error, function_error
from support.waiting import until_async

LONG_S = 30.0


class Tracing:
    """A caller's own tracer, and all spans that have ended."""

    def __init__(self, provider, exporter):
        self._tracer = provider.get_tracer("the-callers-own")
        self._exporter = exporter

    def span(self, name):
        return self._tracer.start_as_current_span(name)

    def attempts(self):
        """The spans of attempts, in the order in which they ended."""
        return [span for span in self._exporter.get_finished_spans() if span.kind is trace.SpanKind.CLIENT]


@pytest.fixture
def tracing():
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    BotocoreInstrumentor().instrument(tracer_provider=provider)
    yield Tracing(provider, exporter)
    BotocoreInstrumentor().uninstrument()
    provider.shutdown()


def blocking(adapter, request):
    return adapter.execute(request)


def awaited(adapter, request):
    return asyncio.run(adapter.execute_async(request))


def one_of_many(adapter, request):
    ((_, response),) = adapter.execute_many([request])
    return response


ways = pytest.mark.parametrize(
    "call", [blocking, awaited, one_of_many], ids=["execute", "execute_async", "execute_many"]
)


def parent_id(span):
    return span.parent and span.parent.span_id


@ways
def test_a_call_that_is_throttled_twice_has_three_spans_below_its_callers(call, tracing, make_adapter, make_request):
    with FaultServer([THROTTLED, THROTTLED, GOOD]) as server:
        adapter = make_adapter(endpoint_url=server.endpoint_url, initial_retry_delay=0.002)
        with tracing.span("!weather") as caller:
            response = call(adapter, make_request())
            assert trace.get_current_span() is caller
    assert (response.success, response.invocation.attempts) == (True, 3)
    spans = tracing.attempts()
    assert [span.name for span in spans] == ["Lambda.Invoke"] * 3
    assert [span.attributes["http.status_code"] for span in spans] == [429, 429, 200]
    assert [span.attributes["faas.invoked_name"] for span in spans] == ["function"] * 3
    assert [parent_id(span) for span in spans] == [caller.get_span_context().span_id] * 3
    assert {span.context.trace_id for span in spans} == {caller.get_span_context().trace_id}


@ways
def test_without_a_span_around_the_call_each_attempt_begins_a_trace(call, tracing, make_adapter, make_request):
    with FaultServer([THROTTLED, THROTTLED, GOOD]) as server:
        call(make_adapter(endpoint_url=server.endpoint_url, initial_retry_delay=0.002), make_request())
    spans = tracing.attempts()
    assert [span.parent for span in spans] == [None] * 3
    assert len({span.context.trace_id for span in spans}) == 3


def test_callers_at_once_keep_their_traces_apart_though_they_share_threads(tracing, make_adapter, make_request):
    callers = {f"session_{number}": None for number in range(20)}
    seen = {session: [] for session in callers}  # the traces that its attempts told the function of

    def throttle_twice(request):
        event = json.loads(request.body)
        _, trace_id, _, _ = event["headers"]["traceparent"].split("-")
        attempts = seen[event["request_id"]]
        attempts.append(int(trace_id, 16))
        return THROTTLED if len(attempts) < 3 else GOOD

    async def one(adapter, session):
        with tracing.span(session) as span:
            callers[session] = span.get_span_context()
            return await adapter.execute_async(make_request(session_id=session))

    async def main(adapter):
        return await asyncio.gather(*(one(adapter, session) for session in callers))

    with FaultServer(throttle_twice) as server:
        # Two threads: each takes the next attempt of one call while the other calls wait for theirs.
        adapter = make_adapter(endpoint_url=server.endpoint_url, initial_retry_delay=0.01, max_concurrency=2)
        responses = asyncio.run(main(adapter))
    assert all(response.success for response in responses)
    assert seen == {session: [caller.trace_id] * 3 for session, caller in callers.items()}
    spans = tracing.attempts()
    assert sorted((s.context.trace_id, parent_id(s)) for s in spans) == sorted(
        (caller.trace_id, caller.span_id) for caller in callers.values() for _ in range(3)
    )


@pytest.fixture
def let_go():
    """Ends what hangs."""
    event = threading.Event()
    yield event
    event.set()


def test_a_call_cancelled_in_flight_has_one_span_and_leaves_its_thread_without_one(
    tracing, make_adapter, make_request, let_go
):
    def hang_once(request):
        if request.number == 1:
            let_go.wait(LONG_S)
            return THROTTLED
        return GOOD

    async def main(adapter, server):
        with tracing.span("cancelled") as caller:
            call = asyncio.ensure_future(adapter.execute_async(make_request()))
        await until_async(lambda: server.requests)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert tracing.attempts() == []
        let_go.set()
        assert (await adapter.execute_async(make_request())).success
        return caller

    with FaultServer(hang_once) as server:
        # One thread: what the first call leaves behind in it, the second would find.
        adapter = make_adapter(endpoint_url=server.endpoint_url, max_concurrency=1)
        caller = asyncio.run(main(adapter, server))
    cancelled, following = tracing.attempts()
    assert parent_id(cancelled) == caller.get_span_context().span_id
    assert following.parent is None


def test_a_call_cancelled_between_attempts_has_no_further_span(tracing, make_adapter, make_request):
    async def main(adapter):
        with tracing.span("cancelled") as caller:
            call = asyncio.ensure_future(adapter.execute_async(make_request()))
        await until_async(tracing.attempts)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await until_async(lambda: adapter.health.total_requests == 1)
        with tracing.span("following") as following:
            assert (await adapter.execute_async(make_request())).success
        return [span.get_span_context().span_id for span in (caller, following)]

    with FaultServer([THROTTLED, GOOD]) as server:
        adapter = make_adapter(
            endpoint_url=server.endpoint_url, max_concurrency=1, initial_retry_delay=LONG_S, jitter=0.0
        )
        callers = asyncio.run(main(adapter))
    assert [parent_id(span) for span in tracing.attempts()] == callers


def test_an_adapter_made_before_is_traced_from_instrument_to_uninstrument(request, make_adapter, make_request):
    with FaultServer(GOOD) as server:
        adapter = make_adapter(endpoint_url=server.endpoint_url)
        adapter.execute(make_request())
        tracing = request.getfixturevalue("tracing")
        adapter.execute(make_request())
        assert len(tracing.attempts()) == 1
        BotocoreInstrumentor().uninstrument()
        adapter.execute(make_request())
        assert len(tracing.attempts()) == 1


# --- What else the instrumentation does, as USAGE says ---


def test_each_attempt_tells_the_function_and_aws_of_its_span(tracing, make_adapter, make_request):
    with FaultServer([THROTTLED, GOOD]) as server:
        make_adapter(endpoint_url=server.endpoint_url, initial_retry_delay=0.002).execute(make_request())
        first, second = server.requests
    for request, span in zip((first, second), tracing.attempts()):
        span_id = trace.format_span_id(span.context.span_id)
        assert json.loads(request.body)["headers"]["traceparent"].split("-")[2] == span_id
        assert f"Parent={span_id}" in request.headers["x-amzn-trace-id"]
    assert list(json.loads(first.body))[-2:] == ["timestamp", "headers"]
    assert {**json.loads(first.body), "headers": None} == {**json.loads(second.body), "headers": None}


def test_a_payload_of_more_than_a_third_of_the_limit_may_become_too_large(tracing, make_adapter, make_request):
    umlauts = make_request(args=["ü" * 1_100_000])  # 2 bytes each in our JSON, and 6 in the instrumentation's
    with LocalLambda({"function": lambda event, context: {"success": True}}) as local:
        response = make_adapter(endpoint_url=local.endpoint_url).execute(umlauts)
    assert (response.error_code, response.invocation.executed) == ("payload_too_large", "no")


def test_a_failed_attempts_span_quotes_aws_and_the_response_does_not(tracing, make_adapter, make_request):
    with FaultServer(aws_error("ResourceNotFoundException", 404, "no such function: secret")) as server:
        response = make_adapter(endpoint_url=server.endpoint_url).execute(make_request())
    assert "secret" not in response.error
    (span,) = tracing.attempts()
    assert span.status.status_code is trace.StatusCode.ERROR
    assert "secret" in span.status.description


def test_the_span_of_a_function_that_raised_is_no_error(tracing, make_adapter, make_request):
    with FaultServer(function_error()) as server:
        response = make_adapter(endpoint_url=server.endpoint_url).execute(make_request())
    assert response.error_code == "function_error"
    (span,) = tracing.attempts()
    assert span.status.status_code is not trace.StatusCode.ERROR


@needs_executions
def test_a_durable_call_whose_attempts_are_traced_is_run_once(tracing):
    """The instrumentation adds its headers to the payload, so that to AWS each attempt has another one."""
    runs, cuts = [], [True, True]

    def once(event, context):
        runs.append(event["headers"])
        return {"success": True, "message": str(len(runs))}

    with LocalLambda({"shop": once}, durable={"shop"}) as local, cutting(
        local.endpoint_url, lambda: bool(cuts and cuts.pop())
    ) as proxy, shop_adapter(proxy.endpoint_url) as adapter, tracing.span("a command"):
        response = adapter.execute(ExecuteRequest("buy", [], "u", "e", "c", "one", "discord"))
    assert (response.message, response.invocation.attached, len(runs)) == ("1", True, 1)
    assert proxy.cut == 2
