"""The end of a call whose answer is being read: nothing can be read that its response's message lacks."""

from concurrent.futures import Future

import pytest

from lambda_adapter import ExecuteResponse
from lambda_adapter._aws.failures import Failure
from lambda_adapter._call.channel import Channel
from lambda_adapter._call.deadline import Deadline
from lambda_adapter._call.ending import Ending
from lambda_adapter._call.outcomes import Result, failed
from lambda_adapter._call.steps import Job
from lambda_adapter._call.streams import StreamReader
from lambda_adapter.circuit import Circuit
from lambda_adapter.health import HealthTracker
from lambda_adapter.streams import StreamedCall


class Call:
    """A call whose thread reads a text in the moment in which another one ends the call."""

    def __init__(self):
        self.ending = Ending(Circuit(None), HealthTracker(3), "f", "a", Deadline.after(60.0), lambda failure: None)
        self.ending.is_too_late(0.0)
        self.jobs = []
        self.streamed = StreamedCall(
            Job(iter(()), "c", False, 60.0, self.ending.late),
            StreamReader(self.ending.progress),
            self.ending,
            lambda job: self.jobs.append(job) or Future(),
            lambda delay_s: True,
        )
        self.channel = Channel()
        self.streamed.channel = self.channel
        self.read("a")

    def read(self, text):
        self.ending.progress.texts.append(text)
        self.channel.put(text, None)

    def taken(self):
        return list(iter(self.channel.take, None))


ENDS = {
    "deadline": lambda call: call.jobs[0].late(),
    "leave": lambda call: call.streamed.leave(),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_what_comes_while_a_call_is_ended_is_not_read_unless_its_message_has_it(monkeypatch, end, moment):
    call = Call()
    call.streamed.begin()
    seal = call.channel.seal

    def sealing():
        if moment == "before":
            call.read("b")
        seal()
        if moment == "after":
            call.read("b")

    monkeypatch.setattr(call.channel, "seal", sealing)
    ENDS[end](call)
    message = call.channel.response.message
    assert message == "ab"
    if end == "deadline":
        assert call.taken() == (["a", "b"] if moment == "before" else ["a"])


def test_a_call_that_has_ended_is_not_sealed_by_its_deadline():
    call = Call()
    call.ending.finish(Result(failed(Failure("timeout")), 1))
    assert call.ending.late(call.channel.seal) is None
    call.read("b")
    call.channel.end(ExecuteResponse(True))
    assert call.taken() == ["a", "b"]
