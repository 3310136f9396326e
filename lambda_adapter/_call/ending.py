"""How one call ends, once: in the circuit, in health, in the log and with a response."""

from typing import Callable, List, Optional

from .._aws.failures import Failure
from ..circuit import Circuit, effect_of
from ..codes import CODES
from ..health import HealthTracker
from ..messages import ExecuteResponse
from .deadline import Deadline
from .outcomes import Progress, Result, log_end, timed_out, to_response


class Ending:
    """The end of one call, brought about by its steps or by its deadline, whichever comes first.

    A method that ends the call returns its response, or None when the call has ended already. After the deadline the
    attempt in flight still finishes and is reported, but the call is not recorded again.

    Args:
        request_id: As the log shows it.
        refuse: The response of a call that makes no attempt.
    """

    def __init__(
        self,
        circuit: Circuit,
        health: HealthTracker,
        function_name: str,
        request_id: str,
        deadline: Optional[Deadline],
        refuse: Callable[[Failure], ExecuteResponse],
    ) -> None:
        self.progress = Progress()
        self._circuit = circuit
        self._health = health
        self._function_name = function_name
        self._request_id = request_id
        self._deadline = deadline
        self._refuse = refuse
        self._begun = False
        self._era: Optional[int] = None
        #: Whoever takes what is in it ends the call: two threads cannot both take it.
        self._right: List[bool] = [True]

    def is_too_late(self, now_s: float) -> bool:
        """Whether the time is up before the first attempt. After a False ``late`` says "maybe"."""
        # In this order: late, which comes when the time is up, sees the one or this sees the other.
        self._begun = True
        return self._deadline is not None and self._deadline.is_up(now_s)

    def enter(self) -> bool:
        """Let the call into the circuit; False when that is open, or when the call has ended already."""
        self._era = self._circuit.enter()
        if self._era is not None and not self._right:
            self._circuit.leave(self._era, "ignores")  # late may have come too early to do so
            return False
        return self._era is not None

    def refuse(self, failure: Failure) -> Optional[ExecuteResponse]:
        """End a call before its first attempt."""
        return self._refuse(failure) if self._take() else None

    def refuse_late(self) -> Optional[ExecuteResponse]:
        """End a call whose time was up before its first attempt."""
        assert self._deadline is not None
        return self.refuse(Failure("timeout", f"{self._deadline.cause} before the first attempt", executed="no"))

    def finish(self, result: Result, counts: bool = True) -> Optional[ExecuteResponse]:
        """End a call that made attempts, and record it; in health only if it ``counts`` there."""
        return self._record(result, counts) if self._take() else None

    def _record(self, result: Result, counts: bool = True) -> ExecuteResponse:
        code = result.outcome.error_code
        if self._era is not None:
            self._circuit.leave(self._era, "ignores" if result.outcome.is_old else effect_of(code))
        if counts and (code is None or CODES[code].counts):
            self._health.record(success=code is None)
        log_end(result, self._function_name, self._request_id)
        return to_response(result, self._function_name)

    def late(self, seal: Callable[[], object] = lambda: None) -> Optional[ExecuteResponse]:
        """End a call because its time is up; its steps may be in an attempt.

        Args:
            seal: Called before it is looked at what came of the answer: what comes after that shall not be read.
        """
        if not self._begun:
            return self.refuse_late()
        deadline = self._deadline
        assert deadline is not None

        def result() -> Result:
            seal()
            return timed_out(deadline, self.progress)

        return self.leave(result)

    def leave(self, result: Callable[[], Result]) -> Optional[ExecuteResponse]:
        """End a call that nobody waits for any longer; its steps may be in an attempt."""
        return self._record(result()) if self._take() else None

    def describe(self, result: Result) -> ExecuteResponse:
        """The response of a call that was ended without one: by what a signal's handler raised, for example."""
        return to_response(result, self._function_name)

    def abandon(self) -> None:
        """End a call without a record: it was interrupted, and has come to nothing."""
        if self._take() and self._era is not None:
            self._circuit.leave(self._era, "ignores")

    def _take(self) -> bool:
        try:
            return self._right.pop()
        except IndexError:
            return False
