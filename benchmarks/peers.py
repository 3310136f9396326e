"""One call of each peer: blocking, or awaitable with as many in flight as are wanted.

A peer is imported where it is used: none of them is in every environment that this runs in.
"""

import asyncio
import codecs
import contextlib
import functools
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any, AsyncContextManager, AsyncIterator, Awaitable, Callable, Dict, Iterator, List, Optional
from unittest import mock

Json = Dict[str, Any]
AsyncCall = Callable[[], Awaitable[object]]

OURS = "lambda_adapter"
BOTO3 = "boto3"
#: boto3 on the client that lambda_adapter makes for itself.
OUR_CLIENT = "boto3, our client"
OWN_POOL = "boto3, own pool"
DEFAULT_EXECUTOR = "boto3, default executor"
AIOBOTO3 = "aioboto3"
AIOBOTOCORE = "aiobotocore"
AWS_SDK = "aws-sdk-lambda"

#: The function of all awaitable calls.
_FUNCTION = "delay-100"
REGION = "us-east-1"

#: A chat command as a bot sends it.
COMMAND: Json = {
    "command": "weather",
    "args": ["Berlin", "tomorrow"],
    "user_id": "184093275518271489",
    "entity_id": "1029384756657483920",
    "community_id": 4711,
    "session_id": "3f0c7a52-8a4e-4b64-9d5b-5f6f0a4f2f10",
    "platform": "discord",
    "metadata": {
        "community": {
            "name": "Rainy Day Gamers",
            "is_subscribed": True,
            "subscription_order_id": 90210,
            "seat_count": 25,
        },
        "user": {"username": "drizzle_", "platform_user_id": "184093275518271489"},
        "entity": {"platform_entity_id": "1029384756657483920"},
    },
}


def make_request(event_data: Any = None) -> Any:
    """The chat command, or an event that carries ``event_data``."""
    from lambda_adapter import ExecuteRequest

    if event_data is None:
        return ExecuteRequest(**COMMAND)
    event = {"is_event": True, "event_type": "bulk", "event_data": event_data}
    return ExecuteRequest(**{**COMMAND, "metadata": {**COMMAND["metadata"], **event}})


def make_adapter(url: Optional[str], function: str, **settings: Any) -> Any:
    from lambda_adapter import LambdaAdapter

    return LambdaAdapter(function, REGION, "benchmark", endpoint_url=url, **settings)


def make_client(url: str, session: Any = None, **config: Any) -> Any:
    """A boto3 client with its defaults, but for ``config``."""
    import boto3
    from botocore.config import Config

    extra = {"config": Config(**config)} if config else {}
    return (session or boto3).client("lambda", region_name=REGION, endpoint_url=url, **extra)


def expect_success(response: Any) -> None:
    """What a figure counts must have worked."""
    if not (response["success"] if isinstance(response, dict) else response.success):
        raise SystemExit(f"a call failed: {response}")


def invoke(client: Any, function: str, payload: Json) -> None:
    """What people write with boto3: JSON both ways around ``invoke``."""
    response = client.invoke(FunctionName=function, Payload=json.dumps(payload))
    expect_success(json.loads(response["Payload"].read()))


def blocking_call(peer: str, url: str, function: str, payload: Json, event_data: Any = None) -> Callable[[], None]:
    """One call of a peer; ``payload`` is what lambda_adapter sends for the same request."""
    if peer == OURS:
        adapter, request = make_adapter(url, function), make_request(event_data)
        return lambda: expect_success(adapter.execute(request))
    if event_data is not None:
        trigger = {"type": "event", "command": None, "context_text": None, "event_type": "bulk"}
        payload = {**payload, "trigger": {**trigger, "event_data": event_data}}
    client = our_client(url) if peer == OUR_CLIENT else make_client(url)
    return functools.partial(invoke, client, function, payload)


def our_client(url: str) -> Any:
    """The boto3 client that lambda_adapter makes for itself."""
    import boto3

    made: List[Any] = []
    make = boto3.session.Session.client

    def make_and_keep(session: Any, *arguments: Any, **settings: Any) -> Any:
        made.append(make(session, *arguments, **settings))
        return made[-1]

    with mock.patch.object(boto3.session.Session, "client", make_and_keep):
        adapter = make_adapter(url, "delay-0")
        expect_success(adapter.execute(make_request()))
    if len(made) != 1:
        raise SystemExit(f"lambda_adapter made {len(made)} clients with a Session of boto3, where 1 was expected")
    # The adapter closes its client when it goes.
    made[0].benchmarked_adapter = adapter
    return made[0]


def awaitable_call(peer: str, url: str, payload: Json, in_flight: int) -> AsyncContextManager[AsyncCall]:
    """One call of a peer that is set up for so many in flight."""
    return _AWAITABLE[peer](url, payload, in_flight)


@contextlib.asynccontextmanager
async def _ours(url: str, payload: Json, in_flight: int) -> AsyncIterator[AsyncCall]:
    request = make_request()

    async def call() -> None:
        expect_success(await adapter.execute_async(request))

    with make_adapter(url, _FUNCTION, max_concurrency=in_flight) as adapter:
        yield call


@contextlib.asynccontextmanager
async def _own_pool(url: str, payload: Json, in_flight: int) -> AsyncIterator[AsyncCall]:
    client = make_client(url, max_pool_connections=in_flight)
    with ThreadPoolExecutor(in_flight) as pool:
        yield _in_executor(pool, client, payload)


@contextlib.asynccontextmanager
async def _default_executor(url: str, payload: Json, in_flight: int) -> AsyncIterator[AsyncCall]:
    yield _in_executor(None, make_client(url), payload)


def _in_executor(pool: Optional[ThreadPoolExecutor], client: Any, payload: Json) -> AsyncCall:
    return lambda: asyncio.get_running_loop().run_in_executor(pool, invoke, client, _FUNCTION, payload)


@contextlib.asynccontextmanager
async def _aioboto3(url: str, payload: Json, in_flight: int) -> AsyncIterator[AsyncCall]:
    import aioboto3

    async with _aio_client(aioboto3.Session().client, url, in_flight) as client:
        yield _aio_call(client, payload)


@contextlib.asynccontextmanager
async def _aiobotocore(url: str, payload: Json, in_flight: int) -> AsyncIterator[AsyncCall]:
    from aiobotocore.session import get_session

    async with _aio_client(get_session().create_client, url, in_flight) as client:
        yield _aio_call(client, payload)


def _aio_client(make: Callable[..., Any], url: str, in_flight: int) -> Any:
    from botocore.config import Config

    return make("lambda", region_name=REGION, endpoint_url=url, config=Config(max_pool_connections=in_flight))


def _aio_call(client: Any, payload: Json) -> AsyncCall:
    async def call() -> None:
        response = await client.invoke(FunctionName=_FUNCTION, Payload=json.dumps(payload))
        expect_success(json.loads(await response["Payload"].read()))

    return call


def blocking_stream(peer: str, url: str, function: str, payload: Json, **settings: Any) -> Callable[[], Iterator[str]]:
    """One streamed answer of a peer, as text."""
    if peer == OURS:
        adapter, request = make_adapter(url, function, **settings), make_request()

        def read() -> Iterator[str]:
            with adapter.execute_stream(request) as stream:
                yield from stream
            expect_success(stream.response)

        return read
    return functools.partial(_invoke_as_stream, make_client(url), function, payload)


def _invoke_as_stream(client: Any, function: str, payload: Json) -> Iterator[str]:
    """What people write with boto3, if they mind characters that are cut and functions that fail."""
    response = client.invoke_with_response_stream(FunctionName=function, Payload=json.dumps(payload))
    decoder = codecs.getincrementaldecoder("utf-8")()
    for event in response["EventStream"]:
        text = _text_of(event, decoder)
        if text:
            yield text


def _text_of(event: Json, decoder: codecs.IncrementalDecoder) -> str:
    if "PayloadChunk" in event:
        return decoder.decode(event["PayloadChunk"]["Payload"])
    if event["InvokeComplete"].get("ErrorCode"):
        raise SystemExit(f"a stream failed: {event}")
    return ""


def awaitable_stream(
    peer: str, url: str, function: str, payload: Json, in_flight: int
) -> "AsyncContextManager[Callable[[], AsyncIterator[str]]]":
    """One streamed answer of a peer, as text, for an event loop with so many of them."""
    return _STREAMS[peer](url, function, payload, in_flight)


@contextlib.asynccontextmanager
async def _our_streams(
    url: str, function: str, payload: Json, in_flight: int
) -> AsyncIterator[Callable[[], AsyncIterator[str]]]:
    request = make_request()

    async def read() -> AsyncIterator[str]:
        async with adapter.execute_stream_async(request) as stream:
            async for text in stream:
                yield text
        expect_success(stream.response)

    with make_adapter(url, function, max_concurrency=in_flight) as adapter:
        yield read


@contextlib.asynccontextmanager
async def _aiobotocore_streams(
    url: str, function: str, payload: Json, in_flight: int
) -> AsyncIterator[Callable[[], AsyncIterator[str]]]:
    from aiobotocore.session import get_session

    async def read() -> AsyncIterator[str]:
        response = await client.invoke_with_response_stream(FunctionName=function, Payload=json.dumps(payload))
        decoder = codecs.getincrementaldecoder("utf-8")()
        async for event in response["EventStream"]:
            text = _text_of(event, decoder)
            if text:
                yield text

    async with _aio_client(get_session().create_client, url, in_flight) as client:
        yield read


_STREAMS = {OURS: _our_streams, AIOBOTOCORE: _aiobotocore_streams}


@contextlib.asynccontextmanager
async def _aws_sdk(url: str, payload: Json, in_flight: int) -> AsyncIterator[AsyncCall]:
    import aiohttp
    from aws_sdk_lambda.client import AsyncLambdaClient
    from aws_sdk_lambda.config import AsyncLambdaConfig
    from aws_sdk_lambda.models import InvokeInput
    from smithy_http.aio.aiohttp import AIOHTTPClient

    # As its transport makes it, but for the limit: 100 connections, and no setting for more.
    connections = aiohttp.ClientSession(
        auto_decompress=False,
        headers={"Accept-Encoding": "identity"},
        connector=aiohttp.TCPConnector(limit=in_flight),
    )
    config = await AsyncLambdaConfig.resolve(
        region=REGION, endpoint_uri=url, transport=AIOHTTPClient(_session=connections)
    )

    async def call() -> None:
        output = await client.invoke(InvokeInput(function_name=_FUNCTION, payload=json.dumps(payload).encode()))
        expect_success(json.loads(output.payload))

    async with AsyncLambdaClient(config) as client:
        yield call


#: In the order of tables and chart.
_AWAITABLE: Dict[str, Callable[[str, Json, int], AsyncContextManager[AsyncCall]]] = {
    OURS: _ours,
    OWN_POOL: _own_pool,
    DEFAULT_EXECUTOR: _default_executor,
    AIOBOTO3: _aioboto3,
    AIOBOTOCORE: _aiobotocore,
    AWS_SDK: _aws_sdk,
}
ASYNC_PEERS = tuple(_AWAITABLE)
