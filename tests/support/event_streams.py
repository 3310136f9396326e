"""Answers as event streams, for the fault server, and both ways to read them."""

import asyncio
from typing import Any, Iterable, List, NamedTuple, Tuple

from lambda_adapter import ExecuteResponse, LambdaAdapter
from lambda_adapter.local.event_stream import CONTENT_TYPE, chunked, invoke_complete, payload_chunk
from support import fault_server as fs

HEAD = (
    "HTTP/1.1 200 OK\r\nx-amzn-RequestId: 0f4e0d1c-ab12-4c3d-9e8f-0123456789ab\r\nX-Amz-Executed-Version: 7\r\n"
    f"Content-Type: {CONTENT_TYPE}\r\nTransfer-Encoding: chunked\r\n\r\n"
).encode()

#: Characters of one to four bytes.
TEXTS = ("Grüße, ", "世界 ", "🎲!")


def frames_of(texts: Iterable[Any]) -> List[bytes]:
    """The frames of an answer that ends well."""
    payloads = (text if isinstance(text, bytes) else text.encode() for text in texts)
    return [*map(payload_chunk, payloads), invoke_complete()]


def body_of(frames: Iterable[bytes]) -> bytes:
    """A whole HTTP answer, a chunk for each frame."""
    return HEAD + b"".join(chunked(frames))


def streamed(*texts: Any, then: str = "keep") -> fs.Reaction:
    """An answer that ends well."""
    return fs.raw(body_of(frames_of(texts)), then)


def begun(*texts: Any, then: str = "hang", steps: Tuple[Any, ...] = ()) -> fs.Reaction:
    """An answer that has begun with these texts, and then ``steps``."""
    payloads = (text if isinstance(text, bytes) else text.encode() for text in texts)
    pieces = list(chunked(map(payload_chunk, payloads)))[:-1]
    return fs.Reaction((HEAD + b"".join(pieces), *steps), then)


class Read(NamedTuple):
    """What came of a stream."""

    texts: List[str]
    response: ExecuteResponse


def read_sync(adapter: LambdaAdapter, request: Any) -> Read:
    with adapter.execute_stream(request) as stream:
        texts = list(stream)
    return Read(texts, stream.response)


def read_async(adapter: LambdaAdapter, request: Any) -> Read:
    return asyncio.run(_read(adapter, request))


async def _read(adapter: LambdaAdapter, request: Any) -> Read:
    async with adapter.execute_stream_async(request) as stream:
        texts = [text async for text in stream]
    return Read(texts, stream.response)


#: The two ways of one stream.
READS = {"execute_stream": read_sync, "execute_stream_async": read_async}
