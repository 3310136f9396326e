"""mock_lambda's durable executions: one run for each name, seen running as often as the test says."""

import threading
from typing import Callable, Dict, Optional, Tuple, Union

import attrs

from ..local.durable import DurableExecution, DurableExecutions
from ..local.invoke_api import HttpAnswer
from ..local.runtime import HandlerResult
from .functions import BreaksOff, Fault, MockFunction, Run

#: Runs one call's handler; what became of it, and its log.
_Run = Callable[[], Tuple[HandlerResult, str]]


@attrs.frozen
class Claim:
    """What a call of a durable function meets."""

    execution: DurableExecution
    #: What the function does now; None where it runs already, has run, or is kept from it.
    run: Optional[Run]
    #: What keeps the call from an answer.
    fault: Union[Fault, BreaksOff, None]


class MockRuns:
    """The runs of one mock_lambda, and what they came to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the three below
        self._executions = DurableExecutions()
        #: Of runs that are over and still to be seen running: how often, and what they came to; by their ARNs.
        self._unseen: Dict[str, Tuple[int, HandlerResult]] = {}
        #: What the runs wrote, by their ARNs.
        self._logs: Dict[str, str] = {}

    def claim(self, mocked: MockFunction, new: DurableExecution) -> Claim:
        """The execution of a name, and what the call has to do for it.

        Args:
            new: What becomes of the name where there is none yet.
        """
        with self._lock:
            found = self._executions.find(new.name, new.call)
            if found is not None:
                return Claim(found, None, mocked.next_fault())
            step = mocked.next_step(new.call.invocation_type)
            if isinstance(step, Fault):
                return Claim(new, None, step)
            self._executions.keep(new)
            if isinstance(step, BreaksOff):
                return Claim(new, mocked.next_run(), step)
            return Claim(new, step, None)

    def run(self, execution: DurableExecution, handler: _Run, polls: int) -> None:
        """Run a handler in this thread, and keep what it comes to, and its log."""
        try:
            result, log = handler()
        except BaseException:
            execution.abandon()
            raise
        with self._lock:
            self._logs[execution.arn] = log
            if polls:
                self._unseen[execution.arn] = (polls, result)
            else:
                execution.finish(result)

    def wait(self, execution: DurableExecution) -> Optional[HandlerResult]:
        """What a call gets that waits for the outcome, and so need not be told that there is none yet."""
        with self._lock:
            if execution.arn in self._unseen:
                execution.finish(self._unseen.pop(execution.arn)[1])
        return execution.wait()

    def log(self, execution: DurableExecution) -> str:
        """What a run wrote; "" until it is over."""
        with self._lock:
            return self._logs.get(execution.arn, "")

    def answer(self, method: str, path_and_query: str, body: bytes) -> Optional[HttpAnswer]:
        """The answer to Get, List and Stop."""
        with self._lock:
            answer = self._executions.answer(method, path_and_query, body)
            seen = self._executions.asked_for(path_and_query) if method == "GET" else None
            if seen in self._unseen:
                polls, result = self._unseen[seen]
                self._unseen[seen] = (polls - 1, result)
                if polls == 1:
                    self._executions.get(seen).finish(self._unseen.pop(seen)[1])
            return answer
