"""Many requests, each with a session of its own, and a function that answers with the session."""

import asyncio
import itertools
import json
import threading

from support import fault_server as fs
from support.waiting import SOON_S


class Function:
    """A server's script that answers with the session, holds the ones it is told to, and counts.

    Session "0" is held until ``together`` requests have come.
    """

    def __init__(self, held=(), together=1):
        self._missing = together
        self._complete = threading.Event()
        self.gates = {}
        self.hold(*held)
        self.arrived = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._running = 0
        self.most = 0
        #: In the order in which they came.
        self.sessions = []

    def __call__(self, request):
        session = json.loads(request.body)["request_id"]
        with self._lock:
            self.sessions.append(session)
            self._running += 1
            self._missing -= 1
            self.most = max(self.most, self._running)
        if self._missing <= 0:
            self._complete.set()
        self.arrived.release()
        if session == "0":
            self._complete.wait(SOON_S)
        gate = self.gates.get(session)
        if gate:
            gate.wait(SOON_S)
        with self._lock:
            self._running -= 1
        return fs.answer({"success": True, "message": session})

    def hold(self, *sessions):
        self.gates.update((session, threading.Event()) for session in sessions)

    def let_go(self, *sessions):
        for session in sessions or self.gates:
            self.gates[session].set()

    end = let_go

    def has_begun(self, calls):
        for _ in range(calls):
            assert self.arrived.acquire(timeout=SOON_S)


class Requests:
    """Requests with the sessions "0", "1" and so on, without an end; ``read`` has those that were taken."""

    def __init__(self, make_request):
        self._make = make_request
        self.read = []

    def __iter__(self):
        for number in itertools.count():
            self.read.append(self._make(session_id=str(number)))
            yield self.read[-1]

    def first(self, count):
        return itertools.islice(self, count)


async def aiter_of(requests):
    """The same requests from an asynchronous iterable."""
    for request in requests:
        yield request


async def collect(pairs, each=lambda pair: None):
    """All pairs of an asynchronous iterable."""
    collected = []
    async for pair in pairs:
        each(pair)
        collected.append(pair)
    return collected


def many_blocking(adapter, requests, each=lambda pair: None):
    collected = []
    for pair in adapter.execute_many(requests):
        each(pair)
        collected.append(pair)
    return collected


def many_async(adapter, requests, each=lambda pair: None):
    return asyncio.run(collect(adapter.execute_many_async(requests), each), debug=True)


def many_async_of_async(adapter, requests, each=lambda pair: None):
    return asyncio.run(collect(adapter.execute_many_async(aiter_of(requests)), each), debug=True)


#: The ways of many calls.
MANY = {"blocking": many_blocking, "async": many_async, "async from async": many_async_of_async}
