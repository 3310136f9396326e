"""The HTTP/1.1 server on loopback under LocalLambda: whole requests in, answers out."""

import contextlib
import logging
import os
import re
import socket
import socketserver
import threading
import uuid
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from types import MappingProxyType
from typing import Any, Callable, List, Mapping, Optional, Tuple

from .._rules.limits import MAX_EVENT_BYTES, MAX_REQUEST_RESPONSE_BYTES
from .._rules.validation import is_loopback_url
from .._text.log_lines import log_line
from .._text.redaction import shown
from .event_stream import CONTENT_TYPE, chunked
from .invoke_api import HttpAnswer, RefusedError, no_such_operation
from .request_body import read_body

_POLL_S = 0.02  # how long disconnect() may wait for the accepting thread to look up; costs 0.5 % of a core
_LINGER_S = 1.0  # how long a silent client may keep a connection that has had its last answer

#: Refusals of which the log tells, because a caller may not look for what they say.
_NEWS = ("AccessDeniedException", "UnknownOperationException")
#: Names of this machine: what containers call the one that they run on, and all under localhost (RFC 6761, 6.3).
_OWN_NAMES = re.compile(
    r"((host|gateway)\.docker\.internal|host\.containers\.internal|([a-z0-9-]{1,63}\.){1,8}localhost)(:[0-9]*)?",
    re.ASCII | re.IGNORECASE,
)

#: respond(path and query, headers with names in lower case, body, request id) -> the answer, or it raises RefusedError.
Respond = Callable[[str, Mapping[str, str], bytes, str], HttpAnswer]
#: read(path and query) -> the answer to a GET, or it raises RefusedError.
Read = Callable[[str], HttpAnswer]


class Server(socketserver.TCPServer):
    """Serve each connection in a daemon thread; all of them end before ``server_close`` returns.

    ``socketserver.ThreadingTCPServer`` joins only threads that are not daemons, and those would keep a script that
    forgets close() from exiting.
    """

    allow_reuse_address = True
    request_queue_size = 1_024

    def __init__(self, port: int, respond: Respond, read: Read) -> None:
        self.respond = respond
        self.read = read
        self._pid = os.getpid()
        self._connections: List[Tuple[threading.Thread, socket.socket]] = []
        # Without it shutdown() might hit a descriptor that was closed and given away meanwhile.
        self._closing = threading.Lock()
        self._acceptor = threading.Thread(target=self.serve_forever, args=(_POLL_S,), name="local-lambda", daemon=True)
        super().__init__(("127.0.0.1", port), _Connection)

    def start(self) -> None:
        """Begin to accept connections, in a thread of its own."""
        self._acceptor.start()

    def process_request(self, request: Any, client_address: Tuple[str, int]) -> None:
        thread = threading.Thread(
            target=self._serve, args=(request, client_address), name="local-lambda-connection", daemon=True
        )
        thread.start()
        alive = [connection for connection in self._connections if connection[0].is_alive()]
        self._connections = [*alive, (thread, request)]

    def _serve(self, request: Any, client_address: Tuple[str, int]) -> None:
        try:
            self.finish_request(request, client_address)
        finally:
            with self._closing:
                self.shutdown_request(request)

    def disconnect(self) -> None:
        """Accept nothing more, and cut every connection; ``server_close`` must follow."""
        self.shutdown()
        self._acceptor.join()
        for _, connection in self._connections:
            with self._closing, contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    @property
    def is_inherited(self) -> bool:
        """Whether this is a forked child's copy: it has the sockets, but none of the threads."""
        return os.getpid() != self._pid

    def close_copies(self) -> None:
        """Close a forked child's copies of the sockets; the parent's connections stay as they are.

        Takes no lock: a thread that the child does not have may have held it.
        """
        self.socket.close()
        for _, connection in self._connections:
            with contextlib.suppress(OSError):
                os.close(connection.detach())  # close() would wait for its files to be closed too

    def server_close(self) -> None:
        super().server_close()
        for thread, _ in self._connections:
            thread.join()


class _Connection(BaseHTTPRequestHandler):
    """One connection. It knows HTTP alone: requests in, answers out."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server
    raw_requestline: bytes

    def handle(self) -> None:
        # OSError: the client is gone, and nobody is left to answer.
        with contextlib.suppress(OSError):
            super().handle()
            self._linger()

    def _linger(self) -> None:
        """Read what is left: closing on unread bytes resets the connection and loses the last answer."""
        self.connection.shutdown(socket.SHUT_WR)
        self.connection.settimeout(_LINGER_S)
        while self.connection.recv(65_536):
            pass

    def parse_request(self) -> bool:
        """Refuse two things that the base class lets pass: a blank request line, and a line that is no header."""
        if not self.raw_requestline.decode("iso-8859-1").split():
            self.send_error(400, "Bad request syntax: blank line")
            return False
        if not super().parse_request():
            return False
        if self.headers.defects:
            self.send_error(400, "Bad header line")
            return False
        return True

    def do_POST(self) -> None:
        request_id = str(uuid.uuid4())
        try:
            self._check_sender()
            headers = MappingProxyType({name.lower(): value for name, value in self.headers.items()})
            answer = self.server.respond(self.path, headers, self._body(), request_id)
        except RefusedError as refused:
            answer = self._refused(refused)
        self._send(answer, request_id)

    def do_GET(self) -> None:
        try:
            self._check_sender()
            answer = self.server.read(self.path)
        except RefusedError as refused:
            answer = self._refused(refused)
        if self.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in self.headers:
            self.close_connection = True  # what stands in its body is not read
        self._send(answer, str(uuid.uuid4()))

    def _check_sender(self) -> None:
        """Refuse what a page in a browser sends: its Origin says so, or the name that it has led here."""
        host = self.headers.get("Host", "localhost")
        if "Origin" in self.headers or not _leads_here(host):
            self.close_connection = True  # its body is not read
            text = "Requests of a browser, or to another host than loopback, are refused"
            raise RefusedError(403, "AccessDeniedException", text)

    def _refused(self, refused: RefusedError) -> HttpAnswer:
        if refused.answer.headers.get("x-amzn-ErrorType") not in _NEWS:
            return refused.answer  # AWS would say the same
        asked = f"{self.command} {shown(self.path.partition('?')[0], 100)}"
        log_line(logging.WARNING, "LocalLambda refused a request:", {"cause": f"{asked}: {refused}"})
        return refused.answer

    def _body(self) -> bytes:
        """Read the request's body. Until it is read, no other request can follow on this connection."""
        keep_alive, self.close_connection = not self.close_connection, True
        is_event = self.headers.get("X-Amz-Invocation-Type") == "Event"
        limit = MAX_EVENT_BYTES if is_event else MAX_REQUEST_RESPONSE_BYTES
        body = read_body(self.headers, self.rfile, limit, self._let_it_send)
        self.close_connection = not keep_alive
        return body

    def handle_expect_100(self) -> bool:
        """Say nothing yet: a body that is refused need not be sent."""
        return True

    def _let_it_send(self) -> None:
        if self.headers.get("Expect", "").lower() == "100-continue" and self.request_version >= "HTTP/1.1":
            super().handle_expect_100()

    def send_error(self, code: int, message: Optional[str] = None, explain: Optional[str] = None) -> None:
        """Say in AWS's shape what the base class finds wrong; it says 501 of any method but GET and POST."""
        self.close_connection = True
        if code == HTTPStatus.NOT_IMPLEMENTED:
            answer = self._refused(no_such_operation())
        else:
            answer = RefusedError(code, "InvalidRequestException", message or HTTPStatus(code).phrase).answer
        self._send(answer, str(uuid.uuid4()))

    def _send(self, answer: HttpAnswer, request_id: str) -> None:
        """Write an answer in one piece: in two, Nagle and the client's delayed ACK may cost 40 ms."""
        headers = {"Date": self.date_time_string(), "x-amzn-RequestId": request_id, **answer.headers}
        if answer.frames is not None:
            headers["Content-Type"] = CONTENT_TYPE
            headers["Transfer-Encoding"] = "chunked"
        elif answer.status != HTTPStatus.NO_CONTENT:
            headers["Content-Type"] = "application/json"
            headers["Content-Length"] = str(len(answer.body))
        if self.close_connection:
            headers["Connection"] = "close"
        lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.wfile.write("\r\n".join([*lines, "", ""]).encode("ascii") + answer.body)
        if answer.frames is not None:
            # Closed in any case: who has gone in the middle of it ends it with an OSError.
            with contextlib.closing(answer.frames):
                for chunk in chunked(answer.frames):
                    self.wfile.write(chunk)


def _leads_here(host: str) -> bool:
    """Whether a ``Host`` header names this machine."""
    if _OWN_NAMES.fullmatch(host):
        return True
    try:
        return is_loopback_url(f"http://{host}")
    except ValueError:  # "[", for example, is no host
        return False
