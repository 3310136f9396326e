"""Holding a server's requests until a test lets them go."""

import threading

from support.calls import GOOD
from support.waiting import SOON_S, in_thread


class Gate:
    """Holds requests, by number, until they are let go; the others, and those, get their reactions."""

    def __init__(self, held=(1,), reactions=(GOOD,)):
        self.held = held
        self.reactions = reactions
        self.arrived = threading.Semaphore(0)
        self.let_go = threading.Event()

    def __call__(self, request):
        if request.number in self.held:
            self.arrived.release()
            assert self.let_go.wait(SOON_S)
        return self.reactions[min(request.number, len(self.reactions)) - 1]

    def end(self):
        self.let_go.set()

    async def full(self):
        """Waits until all the held requests are here, without holding the loop."""
        for _ in self.held:
            assert await in_thread(self.arrived.acquire, True, SOON_S)
