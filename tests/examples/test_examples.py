"""The examples, run as a user runs them: by this Python, in a process of their own, without AWS credentials."""

import re

import pytest

from lambda_adapter import LocalLambda
from support import example_scripts
from support.paths import EXAMPLES

SCRIPT = EXAMPLES / "lambda_adapter_example.py"

#: What each example must print, by its number.
KEY_LINES = {
    1: [r"sent +!roll 2d6", r"message +You rolled \d+\.", r"data +\{'sides': 6\}"],
    2: [r"message +Lambda function queued \(HTTP status 202\)", r"later +the function ran: True"],
    3: [
        r"asked for weather",
        r"invoked +waddlebot-weather",
        r"targets +\[\{'type': 'discord'\}, \{'type': 'twitch'\}\]",
    ],
    4: [r"Retry 1 of 5 .* code=throttled executed=no", r"Retry 2 of 5 .* code=throttled", r"attempts +3 in \d\.\d s"],
    5: [
        r"with metadata +Pingu, Penguin Club has 50 paid seats\.",
        r"without metadata +unknown, Unknown Community has no subscription\.",
    ],
    6: [
        r"call 2 +function_error +healthy, 2 failures in a row, error rate 1\.0",
        r"call 3 +function_error +UNHEALTHY, 3 failures in a row, error rate 1\.0",
        r"call 5 +ACME stands at 101\. +healthy, 0 failures in a row, error rate 0\.8",
    ],
    7: [r"dice +2\.1\.0 +2 +healthy +nothing", r"seats +1\.0\.0 +1 +healthy +community\.read"],
    8: [
        r"the function raises: function_error, executed: yes\n +.*the data base is down",
        r"the function says no: function_failed, executed: yes\n +I know no city called Atlantis\.",
        r"the answer is no object: invalid_response, executed: yes",
        r"no such function: not_found, executed: no",
        r"a request that is not JSON: invalid_request, executed: no\n +.*metadata\.user\.username",
    ],
    9: [r"1 call +\d\.\d\d s", r"20 calls at once +\d\.\d\d s", r"answer +Lisbon: sun, 24 degrees"],
    10: [
        r"Pinga: !weather Berlin +-> Berlin: rain, 12 degrees \[to discord and twitch\]",
        r"Robby: !stocks +-> That did not work, sorry\.",
        r"Pingu: !sing +-> There is no !sing\.",
        r"Robby: !stocks +-> !stocks is having a break\.",
        r"to repair: stocks",
    ],
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Runs the script with these arguments: ``run("3", "7", AWS_REGION="us-east-1")``."""
    home = tmp_path_factory.mktemp("examples")
    return lambda *args, **environment: example_scripts.run("lambda_adapter_example.py", home, *args, **environment)


def sections(output):
    """What each example printed, by its number, in the order in which they ran."""
    _, *parts = re.split(r"^(\d+)\. ", output, flags=re.MULTILINE)
    return dict(zip(map(int, parts[::2]), parts[1::2]))


def check_printed(done, numbers):
    assert (done.returncode, done.stderr) == (0, "")
    printed = sections(done.stdout)
    assert list(printed) == numbers
    for number, text in printed.items():
        for line in KEY_LINES[number]:
            assert re.search(line, text), f"example {number} should print {line!r}:\n{text}"


@pytest.fixture(scope="module")
def all_ten(run):
    return run()


def test_without_arguments_all_ten_run_and_print_what_a_reader_wants_to_see(all_ten):
    check_printed(all_ten, list(range(1, 11)))


def test_those_that_are_named_run_in_the_order_given_and_need_none_before_them(run):
    check_printed(run("10", "8", "7", "3"), [10, 8, 7, 3])


def test_what_the_examples_claim_is_so(all_ten):
    printed = sections(all_ten.stdout)
    assert re.findall(r"Retry (\d) of", printed[4]) == ["1", "2"], "throttled twice, no more"
    alone, together = (float(seconds) for seconds in re.findall(r"(\d+\.\d\d) s", printed[9]))
    assert together < 10 * alone, "twenty calls at once take far less than twenty calls"


def test_help_names_every_example(run):
    done = run("--help")
    assert done.returncode == 0
    assert re.findall(r"^ *(\d+)  \S", done.stdout, re.MULTILINE) == [str(number) for number in range(1, 11)]


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        pytest.param(["0"], "'0' is no example: they are 1 to 10", id="zero"),
        pytest.param(["11"], "'11' is no example", id="eleven"),
        pytest.param(["1", "basic"], "'basic' is no example", id="a-word"),
        pytest.param(["--aws", "my-function"], "--aws and --region go together", id="no-region"),
        pytest.param(["--region", "us-east-1"], "--aws and --region go together", id="no-function"),
        pytest.param(["--aws", "../x", "--region", "us-east-1"], "function_identifier must be", id="no-function-name"),
        pytest.param(["--aws", "x", "--region", "us east"], "region must be", id="no-region-name"),
        pytest.param(["--verbose"], "unrecognized arguments", id="unknown-option"),
    ],
)
def test_a_wrong_command_line_ends_with_2_and_runs_nothing(run, args, complaint):
    done = run(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert complaint in done.stderr


def on_aws(local):
    """Environment variables that put LocalLambda in the place of AWS."""
    return {
        "AWS_ENDPOINT_URL_LAMBDA": local.endpoint_url,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
    }


def test_with_aws_one_function_serves_all_and_what_must_misbehave_is_skipped(run):
    with LocalLambda({"my-bot-hello": lambda event, context: {"success": True, "message": "Hello"}}) as local:
        done = run("--aws", "my-bot-hello", "--region", "us-east-1", **on_aws(local))
        arrived = {call.function_name for call in local.calls}
    assert (done.returncode, done.stderr) == (0, "")
    assert arrived == {"my-bot-hello"}
    printed = sections(done.stdout)
    assert list(printed) == list(range(1, 11))
    assert [number for number, text in printed.items() if "skipped on AWS: it needs" in text] == [4, 6, 8]


def test_with_aws_and_an_arn_the_prefix_is_skipped_too(run):
    with LocalLambda({"hello": lambda event, context: {"success": True}}) as local:
        arn = "arn:aws:lambda:us-east-1:123456789012:function:hello"
        done = run("3", "--aws", arn, "--region", "us-east-1", **on_aws(local))
    assert done.returncode == 0
    assert "skipped on AWS" in done.stdout


def test_an_example_that_fails_is_named_and_the_exit_code_is_1(run):
    with LocalLambda({}) as local:
        done = run("1", "2", "--aws", "not-there", "--region", "us-east-1", **on_aws(local))
    assert (done.returncode, done.stderr) == (1, "\nNot as it should be: 1 2\n")
    assert "not_found: " in done.stdout


def test_without_credentials_aws_is_not_asked_and_the_reason_is_printed(run):
    done = run("1", "--aws", "my-function", "--region", "us-east-1")
    assert done.returncode == 1
    assert "configuration_error: no AWS credentials were found" in done.stdout
