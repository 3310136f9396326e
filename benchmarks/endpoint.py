"""An Invoke endpoint that is faster than its clients: fixed bytes after a fixed delay, in a process of its own.

``python -m benchmarks.endpoint [CERTIFICATE]`` prints its ports as JSON, of plain http and, with a certificate and its
key in a PEM file, of https; it serves on loopback until its standard input ends. A function's name says what it does:

delay-MS       a typical answer after MS milliseconds
records-BYTES  many small records of about BYTES bytes together
throttle       429 TooManyRequestsException, at once

and where its answer is asked for as a stream:

stream-N-MS    N texts, the first at once and each further one MS milliseconds later; with 0 all together

GET /stats says how many invocations there were, over how many connections, and this process's CPU time.
"""

import asyncio
import functools
import json
import re
import ssl
import struct
import sys
import time
import zlib
from typing import Any, Dict, Iterator, List, Optional, Tuple

TYPICAL = {
    "success": True,
    "message": "Berlin: 18 °C, light rain until five.",
    "response_type": "text",
    "targets": ["discord"],
    "overlay_data": {"title": "Weather", "temperature_c": 18, "rain": True, "icon": "drizzle"},
    "browser_source_url": None,
}

_PATH = re.compile(rb"\S+ (\S+) HTTP/1\.1\r\n")
_FUNCTION = re.compile(r"/2015-03-31/functions/([^/]+)/invocations")
_STREAM = re.compile(r"/2021-11-15/functions/stream-(\d+)-(\d+)/response-streaming-invocations")
#: What a language model writes at a time, more or less.
_TEXT = "Light rain until five, 18 °C. "
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_HEAD_END = b"\r\n\r\n"


def records(size_bytes: int) -> List[Dict[str, Any]]:
    """Small records, of about 100 bytes of JSON each."""
    return [
        {"id": number, "user": f"user-{number:06}", "text": "Good evening, chat!", "score": 0.5, "roles": ["viewer"]}
        for number in range(size_bytes // 100)
    ]


def http(status: str, body: Any, error: str = "") -> bytes:
    """A whole HTTP answer; a typed AWS error when ``error`` names one."""
    content = json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n"
    head += "x-amzn-RequestId: 7b6f3c1e-5d0a-4c52-9a51-0b6f2f1d9c44\r\n"
    head += f"x-amzn-ErrorType: {error}\r\n" if error else "X-Amz-Executed-Version: $LATEST\r\n"
    return f"{head}\r\n".encode() + content


@functools.lru_cache(maxsize=None)
def behaviour(function: str) -> Tuple[float, bytes]:
    """A function's delay in seconds, and its answer."""
    kind, _, number = function.partition("-")
    if kind == "delay" and number.isdigit():
        return int(number) / 1000, http("200 OK", TYPICAL)
    if kind == "records" and number.isdigit():
        return 0, http("200 OK", {"success": True, "message": "Done.", "records": records(int(number))})
    if function == "throttle":
        body = {
            "Reason": "ReservedFunctionConcurrentInvocationLimitExceeded",
            "Type": "User",
            "message": "Rate Exceeded.",
        }
        return 0, http("429 Too Many Requests", body, "TooManyRequestsException")
    body = {"Type": "User", "Message": f"Function not found: {function}"}
    return 0, http("404 Not Found", body, "ResourceNotFoundException")


@functools.lru_cache(maxsize=None)
def stream(texts: int) -> Tuple[bytes, ...]:
    """A streamed answer of so many texts in pieces: a chunk with a frame each, the head before the first."""
    head = (
        "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.amazon.eventstream\r\nTransfer-Encoding: chunked\r\n"
        "x-amzn-RequestId: 7b6f3c1e-5d0a-4c52-9a51-0b6f2f1d9c44\r\nX-Amz-Executed-Version: $LATEST\r\n\r\n"
    )
    text = _chunk(_frame("PayloadChunk", "application/octet-stream", _TEXT.encode()))
    end = _chunk(_frame("InvokeComplete", "application/json", b"{}")) + _chunk(b"")
    pieces = [text] * texts
    return (head.encode() + pieces[0], *pieces[1:-1], pieces[-1] + end)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _frame(event_type: str, content_type: str, payload: bytes) -> bytes:
    """A frame of application/vnd.amazon.eventstream."""
    headers = b""
    for name, value in ((":event-type", event_type), (":content-type", content_type), (":message-type", "event")):
        headers += struct.pack("!B", len(name)) + name.encode() + struct.pack("!BH", 7, len(value)) + value.encode()
    lengths = struct.pack("!II", 16 + len(headers) + len(payload), len(headers))
    message = lengths + struct.pack("!I", zlib.crc32(lengths)) + headers + payload
    return message + struct.pack("!I", zlib.crc32(message))


class Stats:
    """What GET /stats tells."""

    def __init__(self) -> None:
        self.connections = 0
        self.requests = 0


class Connection(asyncio.Protocol):
    """One client's connection: requests are answered one after another, in their order."""

    def __init__(self, stats: Stats) -> None:
        self._stats = stats
        self._transport: Any = None
        self._unread = b""
        self._body_bytes = 0  # of the request's body, still to come
        self._path: Optional[str] = None  # of the request whose body is still to come
        self._answering = False
        self._invoked = False

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._unread = self._unread + data if self._unread else data
        self._go_on()

    def _go_on(self) -> None:
        """Take from what has arrived, until more must arrive or an answer is due."""
        while not self._answering:
            if self._path is None:
                head, end, rest = self._unread.partition(_HEAD_END)
                if not end:
                    return
                self._unread = rest
                self._begin(head + end)
            # Bodies are counted, not kept: this process must not be what a client of 5 MB waits for.
            taken = min(self._body_bytes, len(self._unread))
            self._body_bytes -= taken
            self._unread = self._unread[taken:]
            if self._body_bytes:
                return
            self._end()

    def _begin(self, head: bytes) -> None:
        path, length = _PATH.match(head), _LENGTH.search(head)
        self._path = path.group(1).decode() if path else ""
        self._body_bytes = int(length.group(1)) if length else 0

    def _end(self) -> None:
        path, self._path = self._path or "", None
        if path == "/stats":
            self._transport.write(http("200 OK", {**vars(self._stats), "cpu_s": time.process_time()}))
            return
        self._stats.requests += 1
        self._stats.connections += not self._invoked
        self._invoked = True
        streamed = _STREAM.fullmatch(path)
        if streamed:
            self._stream(iter(stream(int(streamed.group(1)))), int(streamed.group(2)) / 1000)
            return
        function = _FUNCTION.fullmatch(path)
        delay_s, answer = behaviour(function.group(1) if function else path)
        if not delay_s:
            self._transport.write(answer)
            return
        self._answering = True
        asyncio.get_running_loop().call_later(delay_s, self._answer, answer)

    def _stream(self, pieces: Iterator[bytes], pause_s: float) -> None:
        if not pause_s:
            self._transport.write(b"".join(pieces))
            return
        self._answering = True
        loop = asyncio.get_running_loop()
        due_s = loop.time()

        def write() -> None:
            nonlocal due_s
            piece = next(pieces, None)
            if piece is None:
                self._answer(b"")
            elif not self._transport.is_closing():
                self._transport.write(piece)
                due_s += pause_s
                loop.call_at(due_s, write)

        write()

    def _answer(self, answer: bytes) -> None:
        self._answering = False
        self._transport.write(answer)
        self._go_on()


async def serve(certificate: Optional[str] = None) -> None:
    """Serve until standard input ends: with the process that started this one, whatever became of it."""
    loop = asyncio.get_running_loop()
    stats = Stats()
    contexts: Dict[str, Optional[ssl.SSLContext]] = {"http": None}
    if certificate:
        contexts["https"] = context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    ports = {}
    for scheme, tls in contexts.items():
        server = await loop.create_server(lambda: Connection(stats), "127.0.0.1", 0, ssl=tls, backlog=1024)
        ports[scheme] = server.sockets[0].getsockname()[1]
    print(json.dumps(ports), flush=True)
    ended = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ended.set)
    await ended.wait()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
