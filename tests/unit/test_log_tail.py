"""The log tail that an answer carries, and its REPORT line: what is not as AWS writes it is None, never a failure."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_adapter import Invocation, Report
from lambda_adapter._wire.log_tail import decode_log_tail, parse_report

ID = "8f507cfc-xmpl-4697-b07a-ac58fc914c95"
WARM = (
    f"REPORT RequestId: {ID}\tDuration: 79.67 ms\tBilled Duration: 80 ms\tMemory Size: 128 MB\tMax Memory Used: 73 MB\t"
)


def encoded(text):
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


# -- Decoding -------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "one line", "two\nlines\n", "Grüße, 天気\n", "\0\x1b[31m"], ids=ascii)
def test_a_tail_is_told_as_the_function_wrote_it(text):
    assert decode_log_tail(encoded(text)) == text


@pytest.mark.parametrize(
    "header",
    [None, "%%%", "QUJD\n!", "abc", "QQ=Q", "é" * 4, "QUJD ", "QU JD", 5, b"QUJD", ["QUJD"], {}, True],
    ids=ascii,
)
def test_what_is_no_base64_is_no_tail(header):
    assert decode_log_tail(header) is None


def test_a_tail_that_begins_in_the_middle_of_a_character_is_told_from_there():
    tail = decode_log_tail(encoded(f"天気\n{WARM}".encode()[1:]))
    assert tail.startswith("\ufffd")
    assert tail.endswith(f"気\n{WARM}")
    assert parse_report(tail).billed_ms == 80


def test_bytes_that_are_no_text_are_replaced():
    assert decode_log_tail(encoded(b"\xff\xfe ok")) == "\ufffd\ufffd ok"


# -- REPORT ---------------------------------------------------------------------------------------

WARM_REPORT = Report(duration_ms=79.67, billed_ms=80, memory_mb=128, max_memory_mb=73)
REPORTS = {
    "warm": (WARM, WARM_REPORT),
    "cold": (f"{WARM}Init Duration: 130.76 ms\t", Report(79.67, 80, 128, 73, init_ms=130.76)),
    "cold, in whole milliseconds": (f"{WARM}Init Duration: 131 ms\t", Report(79.67, 80, 128, 73, init_ms=131.0)),
    "a line break after it": (WARM + "\n", WARM_REPORT),
    "a Windows line break": (WARM + "\r\n", WARM_REPORT),
    "spaces for tabs": (WARM.replace("\t", "  "), WARM_REPORT),
    "traced": (
        f"{WARM}\nXRAY TraceId: 1-5e34a614-10bdxmplf1fb44f07bc535a1\tSegmentId: 07f5\tSampled: true\n",
        WARM_REPORT,
    ),
    "timed out": (WARM + "Status: timeout\n", WARM_REPORT),
    "restored": (WARM + "Restore Duration: 300.12 ms\tBilled Restore Duration: 1 ms\t\n", WARM_REPORT),
    "the whole log": (f"START RequestId: {ID} Version: $LATEST\nhello\nEND RequestId: {ID}\n{WARM}\n", WARM_REPORT),
    "15 minutes and 10 GB": (
        f"REPORT RequestId: {ID}\tDuration: 900000.00 ms\tBilled Duration: 900000 ms\tMemory Size: 10240 MB\t"
        "Max Memory Used: 10240 MB\t",
        Report(900_000.0, 900_000, 10_240, 10_240),
    ),
}
FAKE = WARM.replace("79.67", "1.00").replace("80 ms", "1 ms").replace("73 MB", "999 MB")
FAKED = {
    "on a line of its own": f"{FAKE}Init Duration: 5.00 ms\n{WARM}\n",
    "many times": f"{FAKE}\n" * 50 + WARM,
    "without a line break": f"{FAKE}{WARM}",
    "cut off": f"{FAKE[:60]}\n{WARM}",
    "only its beginning": f"REPORT RequestId: \n{WARM}",
}


@pytest.mark.parametrize(("tail", "expected"), REPORTS.values(), ids=REPORTS.keys())
def test_a_report_is_read_as_aws_writes_it(tail, expected):
    assert parse_report(tail) == expected


@pytest.mark.parametrize("tail", FAKED.values(), ids=FAKED.keys())
def test_a_report_that_the_function_printed_itself_is_not_believed(tail):
    assert parse_report(tail) == WARM_REPORT


def test_a_warm_start_has_no_init_duration_and_its_types_are_plain():
    report = parse_report(WARM)
    assert report.init_ms is None
    assert [type(value) for value in (report.duration_ms, report.billed_ms, report.memory_mb)] == [float, int, int]


OTHER_SHAPES = {
    "no tail": None,
    "empty": "",
    "no report": "START RequestId: 1\nhello\n",
    "only its beginning": "REPORT RequestId: ",
    "cut off": WARM[:-12],
    "in lower case": WARM.lower(),
    "as JSON": '{"type":"platform.report","record":{"metrics":{"durationMs":79.67,"billedDurationMs":80}}}',
    "another order": f"REPORT RequestId: {ID}\tBilled Duration: 80 ms\tDuration: 79.67 ms\tMemory Size: 128 MB\t",
    "seconds": WARM.replace("79.67 ms", "0.08 s"),
    "negative": WARM.replace("79.67", "-79.67"),
    "no number": WARM.replace("79.67", "nan"),
    "infinite": WARM.replace("79.67", "inf"),
    "an exponent": WARM.replace("79.67", "1e5"),
    "full-width digits": WARM.replace("128", "１２８"),
    "a number of 5,000 digits": WARM.replace("128", "9" * 5_000),
    "no id": WARM.replace(ID, ""),
    "a report of another shape comes last": f"{WARM}\nREPORT RequestId: {ID}\tsomething else\n",
}


@pytest.mark.parametrize("tail", OTHER_SHAPES.values(), ids=OTHER_SHAPES.keys())
def test_a_report_of_another_shape_is_none(tail):
    assert parse_report(tail) is None


def test_an_init_duration_of_another_shape_leaves_the_rest():
    assert parse_report(f"{WARM}Init Duration: ages\t") == WARM_REPORT


PIECES = st.sampled_from(
    ["REPORT RequestId: ", ID, "\tDuration: ", "79.67 ms", "\tBilled ", "\n", "\t", " ", "9" * 13, WARM]
)


@given(st.lists(PIECES | st.text(max_size=5), max_size=20).map("".join))
def test_any_tail_is_a_report_or_none(text):
    report = parse_report(decode_log_tail(encoded(text.encode(errors="replace"))))
    assert report is None or isinstance(report, Report)


@given(st.text(max_size=30) | st.binary(max_size=30).map(lambda data: data.decode("latin-1")))
def test_any_header_is_a_text_or_none(header):
    assert isinstance(decode_log_tail(header), (str, type(None)))


def test_a_megabyte_of_beginnings_is_read_in_no_time():
    """A function that would like its caller to hang cannot have it."""
    assert parse_report("REPORT RequestId: " + "x" * 500_000 + " " * 500_000) is None
    assert parse_report("REPORT RequestId: x " * 50_000) is None


def test_the_repr_of_an_invocation_does_not_show_the_log():
    invocation = Invocation("function", log_tail="swordfish", report=WARM_REPORT)
    assert "swordfish" not in repr(invocation)
    assert "79.67" in repr(invocation)
