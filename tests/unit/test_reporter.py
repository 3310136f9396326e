"""on_attempt hears of each attempt, and nothing that it does harms a call."""

import logging

import attrs
import pytest

from lambda_adapter import Attempt
from lambda_adapter._aws.failures import Failure
from lambda_adapter._call.outcomes import Outcome, failed
from lambda_adapter._call.reporter import AttemptReporter
from lambda_adapter._wire.head import Head

SUCCESS = Outcome("yes", head=Head(status_code=200))


def complaints(caplog):
    return [record for record in caplog.records if record.name == "lambda_adapter"]


def test_an_attempt_is_told_in_full():
    heard = []
    reporter = AttemptReporter(heard.append, "module", "function")
    broken = Failure("service_error", "why", executed="maybe", head=Head(status_code=503))
    reporter.report(1, failed(broken), 0.25, 1.5, None)
    reporter.report(2, SUCCESS, 0.5, None, "succeeded")
    assert heard == [
        Attempt(
            "module", "function", 1, "service_error", "maybe", 503, duration_s=0.25, next_delay_s=1.5, why_ended=None
        ),
        Attempt("module", "function", 2, None, "yes", 200, duration_s=0.5, next_delay_s=None, why_ended="succeeded"),
    ]


def test_an_attempt_without_an_answer_has_no_status():
    heard = []
    AttemptReporter(heard.append, "module", "function").report(
        1, failed(Failure("connection_error", "why")), 0.1, None, "no_attempts_left"
    )
    assert (heard[0].status_code, heard[0].executed) == (None, "no")


def test_an_attempt_is_fixed():
    heard = []
    AttemptReporter(heard.append, "module", "function").report(1, SUCCESS, 0.1, None, "succeeded")
    for field in attrs.fields(Attempt):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(heard[0], field.name, None)


def test_without_on_attempt_nothing_happens(caplog):
    AttemptReporter(None, "module", "function").report(1, SUCCESS, 0.1, None, "succeeded")
    assert complaints(caplog) == []


class HostileMeta(type):
    __name__ = property(lambda cls: "forged\nline")


class HostileError(Exception, metaclass=HostileMeta):
    def __str__(self):
        raise RuntimeError("swordfish")


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (KeyError("swordfish"), "KeyError"),
        (StopIteration("swordfish"), "StopIteration"),
        (RecursionError("swordfish"), "RecursionError"),
        (HostileError("swordfish"), "HostileError"),
    ],
    ids=["KeyError", "StopIteration", "RecursionError", "hostile"],
)
def test_what_it_raises_is_logged_once_without_its_text_and_swallowed(caplog, error, named):
    heard = []

    def on_attempt(attempt):
        heard.append(attempt.number)
        raise error

    reporter = AttemptReporter(on_attempt, "module", "function")
    for number in (1, 2, 3):
        reporter.report(number, SUCCESS, 0.1, None, "succeeded")
    assert heard == [1, 2, 3]
    (complaint,) = complaints(caplog)
    assert (complaint.levelno, complaint.getMessage()) == (
        logging.ERROR,
        f"on_attempt raised {named}: module=module",
    )
    assert complaint.exc_info is None


def test_each_adapters_on_attempt_is_complained_of(caplog):
    for module in ("one", "two"):
        AttemptReporter(lambda attempt: 1 / 0, module, "function").report(1, SUCCESS, 0.1, None, "succeeded")
    assert [complaint.getMessage()[-10:] for complaint in complaints(caplog)] == ["module=one", "module=two"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_passes_through(error, caplog):
    def on_attempt(attempt):
        raise error

    with pytest.raises(error):
        AttemptReporter(on_attempt, "module", "function").report(1, SUCCESS, 0.1, None, "succeeded")
    assert complaints(caplog) == []
