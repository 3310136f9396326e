"""What ``start``, ``result`` and ``stop`` do: the calls about one function's durable executions."""

import contextlib
from typing import Any, Callable, Generator, Mapping, Optional, Tuple, Union

from .._aws import failures
from .._aws.failures import Failure
from .._process import forks
from .._process.clock import monotonic_s
from .._wire.arguments import InvokeArguments
from .._wire.payload import EncodedRequest, UnfitRequestError, check_session_id
from ..circuit import Circuit
from ..executions import Execution
from ..health import HealthTracker
from ..messages import ExecuteResponse, Id, Request
from .attempts import Attach
from .deadline import Deadline
from .ending import Ending
from .executions import Executions, Wanted
from .interruptions import check_not_interrupted
from .outcomes import Outcome, Result, failed, to_response
from .steps import Job, Steps

#: Of what runs no function.
_NO_CIRCUIT = Circuit(None)


class DurableCalls:
    """Makes the jobs of one adapter that are about its executions.

    Args:
        arguments: Names the executions.
        total_timeout_s: As the adapter's ``total_timeout``; of ``result`` it begins after the wait.
        is_closed: Whether the adapter is.
        refuse: The response of a call that asks for nothing.
    """

    def __init__(
        self,
        executions: Executions,
        arguments: InvokeArguments,
        health: HealthTracker,
        total_timeout_s: Optional[float],
        is_closed: Callable[[], bool],
        refuse: Callable[[Failure], ExecuteResponse],
    ) -> None:
        self._executions = executions
        self._arguments = arguments
        self._health = health
        self._total_timeout_s = total_timeout_s
        self._is_closed = is_closed
        self._refuse = refuse

    def attach(self, arguments: InvokeArguments) -> Attach:
        """What an Invoker with these arguments does when the execution is there already."""

        def attach(
            encoded: EncodedRequest, refusal: Outcome, deadline: Optional[Deadline]
        ) -> Generator[float, bool, Tuple[Outcome, bool]]:
            name = arguments.execution_name(encoded.session_id)
            waits = arguments.invocation_type != "Event"
            return self._executions.attach(encoded, name, refusal, deadline, waits)

        return attach

    def check(self) -> Outcome:
        """Whether the credentials may do what durable executions need."""
        return self._executions.check("lambda-adapter-check")

    def to_execution(self, request: Request, response: ExecuteResponse) -> Execution:
        """What ``start`` returns for a response."""
        session_id: Id = ""
        name = ""
        with contextlib.suppress(Exception):  # the request's own attributes can raise anything
            session_id = check_session_id(request.session_id)
            name = self._arguments.execution_name(session_id)
        return Execution(
            name=name,
            session_id=session_id,
            function_name=self._arguments.function_name,
            arn=response.invocation.execution_arn,
            error_code=response.error_code,
            error=response.error,
        )

    def result_job(
        self, execution: Union[Execution, Id], wait_s: float, needs_place: bool
    ) -> "Union[ExecuteResponse, Job[ExecuteResponse]]":
        """A call that fetches an answer; or the response to one that asks for nothing."""
        forks.check()
        wanted = self._wanted(execution)
        if isinstance(wanted, Failure):
            return self._refuse(wanted)
        deadline = None if self._total_timeout_s is None else Deadline.after(wait_s + self._total_timeout_s)
        ending = Ending(_NO_CIRCUIT, self._health, self._arguments.function_name, wanted.name, deadline, self._refuse)
        steps = self._result_steps(wanted, wait_s, ending)
        if deadline is None:
            return Job(steps, needs_place=needs_place)
        looked_up_to = deadline  # for mypy: no longer optional

        def late() -> Optional[ExecuteResponse]:
            return ending.finish(_late(looked_up_to, "the execution may still run"))

        return Job(steps, needs_place=needs_place, deadline_s=deadline.at_s, late=late)

    def stop_job(
        self, execution: Union[Execution, Id], needs_place: bool
    ) -> "Union[ExecuteResponse, Job[ExecuteResponse]]":
        """A call that ends an execution; or the response to one that asks for nothing."""
        forks.check()
        wanted = self._wanted(execution)
        if isinstance(wanted, Failure):
            return self._refuse(wanted)
        steps = self._stop_steps(wanted)
        if self._total_timeout_s is None:
            return Job(steps, needs_place=needs_place)
        deadline, function_name = Deadline.after(self._total_timeout_s), self._arguments.function_name

        def late() -> ExecuteResponse:
            return to_response(_late(deadline, "the execution may have been stopped"), function_name)

        return Job(steps, needs_place=needs_place, deadline_s=deadline.at_s, late=late)

    def _wanted(self, execution: Union[Execution, Id]) -> Union[Wanted, Failure]:
        """The execution that is meant, if it can be one of this function."""
        kept = execution if isinstance(execution, Execution) else None
        if isinstance(execution, Mapping):
            what = "an Execution or a session_id, not a dict; Execution.from_dict makes one of what to_dict gave"
            return Failure("invalid_request", f"the execution must be {what}")
        try:
            session_id = check_session_id(execution.session_id if isinstance(execution, Execution) else execution)
        except UnfitRequestError as exc:
            return Failure("invalid_request", str(exc), log_cause=exc.log_text)
        name = self._arguments.execution_name(session_id)
        if kept is None:
            return Wanted(name)
        if kept.name != name:
            return Failure("invalid_request", "the execution is one of another function, or of another session_id")
        foreign = None if kept.arn is None else self._executions.why_foreign(kept.arn, name)
        return Failure("invalid_request", f"the execution has {foreign}") if foreign else Wanted(name, kept.arn)

    def _result_steps(self, wanted: Wanted, wait_s: float, ending: Ending) -> Steps[Any]:
        if self._is_closed():
            return ending.refuse(Failure("closed", "the adapter is closed"))
        if ending.is_too_late(monotonic_s()):
            return ending.refuse_late()
        ending.enter()
        began_s = monotonic_s()
        try:
            try:
                outcome = yield from self._executions.result(wanted, wait_s)
            except Exception as exc:
                check_not_interrupted(exc)
                outcome = failed(failures.internal(exc))
            # Anybody may ask for what nobody has begun: that says nothing about the function.
            counts = outcome.error_code != "not_found"
            return ending.finish(Result(outcome, duration_s=monotonic_s() - began_s), counts)
        finally:
            ending.abandon()

    def _stop_steps(self, wanted: Wanted) -> Steps[ExecuteResponse]:
        if self._is_closed():
            return self._refuse(Failure("closed", "the adapter is closed"))
        outcome = yield from self._executions.stop(wanted)
        return to_response(Result(outcome), self._arguments.function_name)


def _late(deadline: Deadline, cause: str) -> Result:
    """The time is up for a call that makes no attempt."""
    return Result(failed(Failure("timeout", f"{deadline.cause}; {cause}", executed="maybe")))
