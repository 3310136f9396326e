"""A loopback HTTP/1.1 server that sends raw bytes, commits network faults and counts what reaches it.

with FaultServer([reset_mid_body(), answer({"success": True})]) as server:
    ...  # call server.endpoint_url: the first request is reset, all later ones are answered
assert len(server.requests) == 2
"""

from __future__ import annotations

import contextlib
import http.client
import json
import pathlib
import socket
import ssl
import struct
import threading
import uuid
from types import TracebackType
from typing import Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple, Type, Union

import attrs

Headers = Union[Mapping[str, str], Iterable[Tuple[str, str]]]

#: The start of a JSON answer, for bodies that end too early.
PART = b'{"success": true, "mess'
#: A Content-Length that PART does not reach.
TOO_LONG = {"Content-Length": "1000"}


@attrs.frozen
class Request:
    """One request as the server read it, head and body complete."""

    method: str
    path: str
    #: Names in lower case.
    headers: Dict[str, str]
    body: bytes
    #: Number of the connection it came on, from 1, in order of accepting.
    connection: int
    #: Number of the request, from 1, in order of completion over all connections.
    number: int


@attrs.frozen
class Reaction:
    """What the server does about one request: its steps in order, then the end."""

    #: Bytes are sent exactly so, numbers are seconds to wait.
    steps: Tuple[Union[bytes, float], ...] = ()
    #: "keep" reads the next request, "close" sends FIN, "reset" RST, "hang" is silent until a side closes.
    then: str = attrs.field(default="keep", validator=attrs.validators.in_(("keep", "close", "reset", "hang")))


Script = Union[Reaction, Sequence[Reaction], Callable[[Request], Reaction]]


# -- Answers --------------------------------------------------------------------------------------


def raw(data: bytes, then: str = "close") -> Reaction:
    """Send `data` exactly, then "keep", "close", "reset" or "hang"."""
    return Reaction((data,) if data else (), then)


def respond(
    status: int = 200,
    body: bytes = b"",
    headers: Headers = (),
    reason: Optional[str] = None,
    then: str = "keep",
) -> Reaction:
    """A well-formed response; `headers` may override Content-Type and Content-Length."""
    fields = {"Content-Type": "application/json", "Content-Length": str(len(body)), **dict(headers)}
    phrase = http.client.responses.get(status, "") if reason is None else reason
    lines = [f"HTTP/1.1 {status} {phrase}", *(": ".join(field) for field in fields.items())]
    return raw("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body, then)


def answer(obj: object, **headers: str) -> Reaction:
    """200 with `obj` as JSON; X_Amz_Executed_Version="3" becomes the header X-Amz-Executed-Version."""
    return respond(200, json.dumps(obj).encode(), {k.replace("_", "-"): v for k, v in headers.items()})


def function_error(
    message: str = "boom", error_type: str = "ValueError", kind: str = "Unhandled", **fields: object
) -> Reaction:
    """200 with X-Amz-Function-Error, as a function that raised is reported."""
    return answer({"errorMessage": message, "errorType": error_type, **fields}, X_Amz_Function_Error=kind)


def aws_error(
    code: str,
    status: int,
    message: str = "committed by the fault server",
    headers: Headers = (),
    typed: bool = True,
    **fields: str,
) -> Reaction:
    """An error of the Lambda API; `fields` join its body (Reason="CallerRateLimitExceeded")."""
    body = {"Type": "User" if status < 500 else "Service", "message": message, "Message": message, **fields}
    error_type = {"x-amzn-ErrorType": code} if typed else {}
    return respond(status, json.dumps(body).encode(), {**error_type, **dict(headers)})


def untyped(status: int, body: bytes = b"", headers: Headers = ()) -> Reaction:
    """An error without an AWS code, as proxies and load balancers send it."""
    return respond(status, body, {"Content-Type": "text/html", **dict(headers)})


def redirect(status: int = 302, location: str = "/elsewhere") -> Reaction:
    """302 or 307; a client that follows it sends a second request to this server."""
    return respond(status, b"", {"Location": location})


def drip(chunks: Sequence[bytes], interval_s: float) -> Reaction:
    """200 whose body arrives chunk by chunk, `interval_s` before each."""
    head = respond(headers={"Content-Length": str(sum(map(len, chunks)))})
    return attrs.evolve(head, steps=head.steps + tuple(step for c in chunks for step in (interval_s, c)))


def delay(seconds: float, reaction: Reaction) -> Reaction:
    """The same reaction, `seconds` later."""
    return attrs.evolve(reaction, steps=(seconds, *reaction.steps))


def idle_close(obj: object = None) -> Reaction:
    """A keep-alive answer, after which the idle connection is closed without a word."""
    return attrs.evolve(answer({"success": True} if obj is None else obj), then="close")


# -- Faults before a response ---------------------------------------------------------------------


def close_before() -> Reaction:
    """FIN instead of a response."""
    return raw(b"", "close")


def reset_before() -> Reaction:
    """RST instead of a response."""
    return raw(b"", "reset")


def hang() -> Reaction:
    """No byte, ever."""
    return raw(b"", "hang")


def garbage() -> Reaction:
    """Bytes that are no HTTP."""
    return raw(b"\x00\xff\xfe no HTTP at all \x00\r\n\r\n")


def bad_status_line() -> Reaction:
    """A status that is no number."""
    return raw(b"HTTP/1.1 OK fine\r\nContent-Length: 0\r\n\r\n")


def many_headers() -> Reaction:
    """More than the 100 headers that http.client accepts."""
    return respond(headers={f"X-Filler-{n}": "x" for n in range(200)})


def huge_header() -> Reaction:
    """A header line over the 64 KB that http.client accepts."""
    return respond(headers={"X-Filler": "x" * 70_000})


# -- Faults in the body ---------------------------------------------------------------------------


def stall_body() -> Reaction:
    """Part of the body, then silence."""
    return respond(200, PART, TOO_LONG, then="hang")


def reset_mid_body() -> Reaction:
    """Part of the body, then RST."""
    return respond(200, PART, TOO_LONG, then="reset")


def short_body() -> Reaction:
    """Part of the body, then FIN."""
    return respond(200, PART, TOO_LONG, then="close")


def short_body_without_length() -> Reaction:
    """Part of the body, then FIN, and no Content-Length that would give it away."""
    return raw(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + PART)


def bad_chunk() -> Reaction:
    """A chunk whose size is no number."""
    return raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nbanana\r\n" + PART + b"\r\n0\r\n\r\n")


def truncated_chunk() -> Reaction:
    """FIN inside a chunk."""
    return raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n" + PART)


def banana_length() -> Reaction:
    """A Content-Length that is no number."""
    return respond(200, b'{"success": true}', {"Content-Length": "banana"}, then="close")


# -- Faults in the body of an error ---------------------------------------------------------------


def binary_5xx(status: int = 502) -> Reaction:
    """An error whose body is no UTF-8."""
    return respond(status, b"\xff\xfe\x00\x9f\x92\x96")


def array_5xx(status: int = 500) -> Reaction:
    """An error whose body is a JSON array."""
    return respond(status, b'["not", "an", "object"]')


def deep_5xx(status: int = 500) -> Reaction:
    """An error whose body is JSON nested 100,000 deep."""
    return respond(status, b'{"a":' * 100_000 + b"1" + b"}" * 100_000)


def stalled_5xx(status: int = 503) -> Reaction:
    """An error whose body stalls."""
    return respond(status, PART, TOO_LONG, then="hang")


def reset_5xx(status: int = 503) -> Reaction:
    """An error whose body is cut by RST."""
    return respond(status, PART, TOO_LONG, then="reset")


# -- Faults before a connection -------------------------------------------------------------------


@contextlib.contextmanager
def refused_port() -> Iterator[str]:
    """An endpoint URL that refuses connections; the port stays bound, so that nobody else listens on it."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@contextlib.contextmanager
def silent_port() -> Iterator[str]:
    """An endpoint URL that neither accepts nor refuses: connecting times out (Linux)."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        # Linux drops every SYN while the queue of connections that nobody accepts is full.
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def tls_contexts(directory: pathlib.Path) -> Tuple[ssl.SSLContext, str]:
    """A server context for localhost and 127.0.0.1, and its CA's PEM file; each call makes its own CA."""
    import trustme  # here, so that plain HTTP needs no trustme

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    pem = directory / f"ca-{uuid.uuid4().hex}.pem"
    authority.cert_pem.write_to_path(str(pem))
    return context, str(pem)


# -- The server -----------------------------------------------------------------------------------


class FaultServer:
    """Serves 127.0.0.1 from construction to `close()`, each connection in its own daemon thread.

    Args:
        script: one Reaction for all requests, a sequence used one per request with the last one repeated, or
            a callable from Request to Reaction, which is called in the connection's thread.
        tls: the server's side of TLS (see `tls_contexts`); None speaks plain HTTP.
        handshake: a Reaction committed when a client's first bytes arrive, in place of a TLS handshake.
    """

    def __init__(
        self, script: Script, *, tls: Optional[ssl.SSLContext] = None, handshake: Optional[Reaction] = None
    ) -> None:
        self._script = _as_callable(script)
        self._tls = tls
        self._handshake = handshake
        self._closing = threading.Event()
        self._lock = threading.Lock()  # guards the five below
        self._requests: List[Request] = []
        self._connections = 0
        self._partial_requests = 0
        self._open: Dict[int, socket.socket] = {}
        self._threads: List[threading.Thread] = []
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(2048)
        self._port: int = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, name="fault-server-accept", daemon=True)
        self._acceptor.start()

    @property
    def endpoint_url(self) -> str:
        """Where clients find this server."""
        if self._tls or self._handshake:
            return f"https://localhost:{self._port}"
        return f"http://127.0.0.1:{self._port}"

    @property
    def requests(self) -> List[Request]:
        """The complete requests so far, as a copy; one is in it before its reaction begins."""
        with self._lock:
            return list(self._requests)

    @property
    def connections(self) -> int:
        """Connections accepted so far."""
        with self._lock:
            return self._connections

    @property
    def partial_requests(self) -> int:
        """Requests of which some bytes, but never all, were read before their connection ended."""
        with self._lock:
            return self._partial_requests

    def restart(self, script: Script) -> None:
        """Go on as a new server would, but at the same address, so that adapters can share one client.

        Ends all connections first: the next request comes over a new one.
        """
        self._end_connections()
        with self._lock:
            self._script = _as_callable(script)
            self._requests.clear()
            self._connections = self._partial_requests = 0

    def close(self) -> None:
        """Wake every wait and hang, close all sockets and join all threads."""
        if self._closing.is_set():
            return
        self._closing.set()
        # A blocked accept() wakes portably only for a connection.
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
        self._acceptor.join()
        self._listener.close()
        self._end_connections()

    def __enter__(self) -> FaultServer:
        return self

    def __exit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()

    def _end_connections(self) -> None:
        with self._lock:
            for connection in self._open.values():
                _shutdown(connection)
            threads = list(self._threads)
        for thread in threads:
            if thread is not threading.current_thread():  # a script may close its own server
                thread.join(1)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # the client left again, or the process is out of file descriptors for now
                if self._closing.wait(0.01):
                    return
                continue
            if self._closing.is_set():
                connection.close()
                return
            self._start(connection)

    def _start(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections += 1
            number = self._connections
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        except OSError:  # reset since it was accepted
            connection.close()
            return
        thread = threading.Thread(
            target=self._serve, args=(connection, number), name=f"fault-server-{number}", daemon=True
        )
        with self._lock:
            self._open[number] = connection
            self._threads = [t for t in self._threads if t.is_alive()]
            thread.start()  # under the lock: close() joins what is listed, and can join only what has started
            self._threads.append(thread)

    def _serve(self, connection: socket.socket, number: int) -> None:
        buffer = bytearray()
        try:
            if not self._greet(connection):
                return
            while True:
                request = self._read_request(connection, number, buffer)
                # What a script raises is not caught: pytest fails a test for an exception in a thread.
                if request is None or not self._commit(connection, self._script(request)):
                    return
        finally:
            with self._lock:  # close() must not shut down a descriptor that is somebody else's by then
                del self._open[number]
                connection.close()

    def _greet(self, connection: socket.socket) -> bool:
        """Whether requests may follow."""
        try:
            if self._handshake:
                # Closing with the ClientHello unread would send RST where FIN is meant.
                connection.recv(65536)
                return self._commit(connection, self._handshake)
            if isinstance(connection, ssl.SSLSocket):
                connection.do_handshake()
            return True
        except OSError:
            return False

    def _read_request(self, connection: socket.socket, number: int, buffer: bytearray) -> Optional[Request]:
        """The next request, recorded; None when the client has left or sends no HTTP."""
        try:
            while b"\r\n\r\n" not in buffer:
                _receive(connection, buffer)
            head = bytes(buffer[: buffer.index(b"\r\n\r\n")])
            request_line, *fields = head.decode("latin-1").split("\r\n")
            method, path, _ = request_line.split(" ")
            headers = {n.lower(): value.strip() for n, _, value in (f.partition(":") for f in fields)}
            start = len(head) + 4
            end = start + int(headers.get("content-length", 0))
            if headers.get("expect", "").lower() == "100-continue":
                connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            while len(buffer) < end:
                _receive(connection, buffer)
        except (OSError, ValueError):
            if buffer:
                with self._lock:
                    self._partial_requests += 1
            return None
        body = bytes(buffer[start:end])
        del buffer[:end]
        with self._lock:
            request = Request(method, path, headers, body, number, len(self._requests) + 1)
            self._requests.append(request)
        return request

    def _commit(self, connection: socket.socket, reaction: Reaction) -> bool:
        """Whether the connection is kept for another request."""
        try:
            for step in reaction.steps:
                if isinstance(step, bytes):
                    connection.sendall(step)
                elif self._closing.wait(step):
                    return False
            if reaction.then == "hang":
                while connection.recv(65536):  # ends when the client closes, or close() shuts the socket down
                    pass
            elif reaction.then == "reset":
                # A linger time of 0 makes close() send RST.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif reaction.then == "close":
                _shutdown(connection)
        except OSError:  # the client left first
            return False
        return reaction.then == "keep"


def _as_callable(script: Script) -> Callable[[Request], Reaction]:
    if isinstance(script, Reaction):
        script = [script]
    if callable(script):
        return script
    reactions = list(script)
    return lambda request: reactions[min(request.number, len(reactions)) - 1]


def _receive(connection: socket.socket, buffer: bytearray) -> None:
    data = connection.recv(65536)
    if not data:
        raise ConnectionError("end of stream")
    buffer += data


def _shutdown(connection: socket.socket) -> None:
    """FIN at once, even where a forked child holds a copy of the socket; wakes a thread that reads."""
    with contextlib.suppress(OSError):
        # Not SSLSocket.shutdown, which would turn TLS off under the thread that uses it.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
