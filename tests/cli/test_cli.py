"""The command line: what it sends, prints and exits with; what it refuses; what it never shows."""

import io
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import textwrap
import threading

import attrs
import pytest

import lambda_adapter
from lambda_adapter import ExecuteRequest, LambdaAdapter, LocalLambda
from lambda_adapter.cli import main
from lambda_adapter.cli.handler_files import default_name
from lambda_adapter.cli.options import NOT_OPTIONS, make_adapter, settings, to_option
from lambda_adapter.cli.output import print_json, to_json
from lambda_adapter.cli.parser import parse
from support.commands import on_terminal, start, wait_until
from support.fault_server import FaultServer, answer, aws_error, hang, untyped
from support.parameters import PARAMETERS
from support.paths import PACKAGES

KEY_ID, SECRET, TOKEN = "AKIAHUSHHUSH", "hush-secret-key", "hush-session-token"

HANDLERS = """
def handler(event, context):
    if event["trigger"]["context_text"] == "boom":
        raise ZeroDivisionError("no such city")
    return {"success": True, "message": event["trigger"]["context_text"]}

class Bot:
    def play(event, context):
        return {"success": True, "message": "la la"}

text = "no handler"
"""


@pytest.fixture(autouse=True)
def _credentials(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    monkeypatch.setenv("AWS_REGION", "us-east-1")


@pytest.fixture
def bot(tmp_path, monkeypatch):
    """The present directory, with a module of handlers that no other test has imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    name = f"bot_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(HANDLERS)
    yield name
    for module in [name, *(path.stem for path in tmp_path.glob("*.py"))]:
        sys.modules.pop(module, None)


@pytest.fixture
def local():
    """Two functions; the present calls of the first are in ``local.calls``."""
    succeeds = {"success": True, "message": "Rain, 12 °C"}
    with LocalLambda({"weather": lambda *_: succeeds, "down": lambda *_: 1 / 0}) as served:
        yield served


@pytest.fixture
def run(capsys):
    """Runs a command in this process: its exit code, stdout and stderr."""

    def run(*argv):
        code = main([str(argument) for argument in argv])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


# -- invoke: the request ---------------------------------------------------------------------------


def test_invoke_prints_the_response_on_one_line_and_how_it_went_on_stderr(run, local):
    code, out, err = run("invoke", "weather", "--command", "weather", "--endpoint-url", local.endpoint_url)
    assert code == 0
    assert out.count("\n") == 1
    response = json.loads(out)
    assert (response["success"], response["message"]) == (True, "Rain, 12 °C")
    assert response["invocation"]["function_name"] == "weather"
    assert re.fullmatch(r"ok \(weather, 1 attempt, \d+\.\d{3} s\)\n", err)


def test_a_failed_call_exits_with_1_and_is_printed_like_any_other(run, local):
    code, out, err = run("invoke", "down", "--command", "weather", "--endpoint-url", local.endpoint_url)
    assert code == 1
    assert json.loads(out)["error_code"] == "function_error"
    assert err.startswith("failed: function_error (down, 1 attempt, ")


def test_every_field_of_a_request_has_an_option(run, local):
    given = {"user_id": "u", "entity_id": "e", "community_id": "c", "session_id": "s", "platform": "irc"}
    options = [text for name, value in given.items() for text in (to_option(name), value)]
    metadata = '{"user": {"username": "ann"}}'
    code, _, _ = run(
        *(
            "invoke",
            "weather",
            "--endpoint-url",
            local.endpoint_url,
            "--required-scopes",
            "a",
            "--required-scopes",
            "b",
        ),
        *("--scope", "a", "--scope", "b", "--metadata", metadata, *options, "--command", "weather", "Oslo", "-3"),
    )
    assert code == 0
    payload = local.calls[0].payload
    assert payload["trigger"]["command"] == "weather"
    assert payload["trigger"]["context_text"] == "Oslo -3"
    assert (payload["user"]["id"], payload["user"]["username"], payload["user"]["platform"]) == ("u", "ann", "irc")
    assert (payload["entity"]["id"], payload["community"]["id"], payload["request_id"]) == ("e", "c", "s")
    covered = {*given, "command", "args", "metadata", "scopes"}
    assert covered == {field.name for field in attrs.fields(ExecuteRequest)}


def test_what_nobody_said_is_cli_and_each_call_has_a_session_of_its_own(run, local):
    for _ in range(2):
        run("invoke", "weather", "--endpoint-url", local.endpoint_url, "--command", "weather")
    first, second = (call.payload for call in local.calls)
    assert (first["user"]["id"], first["entity"]["id"], first["community"]["id"]) == ("cli", "cli", "cli")
    assert first["user"]["platform"] == "cli"
    assert first["request_id"] != second["request_id"]


def test_what_follows_two_dashes_is_arguments(run, local):
    run("invoke", "weather", "--endpoint-url", local.endpoint_url, "--command", "roll", "3", "--", "--max", "-x", "--")
    assert local.calls[0].payload["trigger"]["context_text"] == "3 --max -x --"


@pytest.mark.parametrize("how", ["text", "file", "stdin"])
def test_metadata_comes_from_the_argument_a_file_or_stdin(how, run, local, tmp_path, monkeypatch):
    text = '{"community": {"name": "Bücher"}}'
    (tmp_path / "metadata.json").write_text(text, encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode()), "ascii"))
    source = {"text": text, "file": tmp_path / "metadata.json", "stdin": "-"}[how]
    code, _, _ = run("invoke", "weather", "--endpoint-url", local.endpoint_url, "--command", "x", "--metadata", source)
    assert code == 0
    assert local.calls[0].payload["community"]["name"] == "Bücher"


@pytest.mark.parametrize(
    ("options", "event_type", "event_data"),
    [
        (["--event"], None, None),
        (["--event-type", "follow"], "follow", None),
        (["--event-data", "[1, 2]"], None, [1, 2]),
        (["--event", "--event-type", "raid", "--event-data", '{"size": 3}'], "raid", {"size": 3}),
        (["--metadata", '{"is_event": true, "event_type": "join"}'], "join", None),
    ],
)
def test_an_event_needs_no_command(options, event_type, event_data, run, local):
    code, _, _ = run("invoke", "weather", "--endpoint-url", local.endpoint_url, *options)
    assert code == 0
    trigger = local.calls[0].payload["trigger"]
    assert trigger == {
        "type": "event",
        "command": None,
        "context_text": None,
        "event_type": event_type,
        "event_data": event_data,
    }


# -- invoke: the adapter's settings ----------------------------------------------------------------


def test_every_parameter_of_the_adapter_is_an_option_or_left_out_on_purpose():
    parameters = {field.name for field in attrs.fields(LambdaAdapter) if field.init}
    assert {*settings(), *NOT_OPTIONS} == parameters
    assert len(settings()) + len(NOT_OPTIONS) == len(parameters)


GIVEN = {parameter.name: parameter.option for parameter in PARAMETERS if parameter.option is not None}


def as_options(given):
    for name, value in given.items():
        if isinstance(value, bool):
            yield to_option(name if value else f"no_{name}")
        else:
            for one in value if isinstance(value, list) else [value]:
                yield from (to_option(name), str(one))


#: Change nothing where there is one call.
OF_MANY_CALLS = {"max_concurrency", "max_pending", "max_pending_per_community", "unhealthy_threshold"}


@pytest.mark.parametrize(
    ("command", "left_out"),
    [(["invoke", "f", "--command", "x"], OF_MANY_CALLS), (["batch", "f", "in", "-o", "out"], set())],
    ids=["invoke", "batch"],
)
def test_every_setting_that_a_command_offers_reaches_the_adapter(command, left_out):
    assert list(GIVEN) == settings()
    offered = {name: value for name, value in GIVEN.items() if name not in left_out}
    args = parse([*command, *as_options(offered)])
    assert {name: getattr(args, name) for name in offered} == offered
    # An old botocore knows no tenants and no executions, and no adapter has them with it.
    old = {"isolate_communities": False, "durable": False}
    given = {**offered, **old}
    with make_adapter(args, **old) as adapter:
        assert {name: getattr(adapter, name) for name in given} == given


def test_what_is_not_given_is_as_in_the_constructor():
    with make_adapter(parse(["invoke", "f", "--command", "x"])) as adapter, LambdaAdapter(
        "f", "us-east-1", "cli"
    ) as plain:
        assert {name: getattr(adapter, name) for name in settings()} == {
            name: getattr(plain, name) for name in settings()
        }


def test_invocation_type_event_queues_the_call(run, local):
    options = ["--endpoint-url", local.endpoint_url, "--invocation-type", "Event"]
    code, out, _ = run("invoke", "weather", "--command", "weather", *options)
    assert (code, json.loads(out)["message"]) == (0, "Lambda function queued")
    assert local.calls[0].invocation_type == "Event"
    assert local.calls[0].payload["trigger"]["type"] == "command"


# -- Bad usage -------------------------------------------------------------------------------------

CALL = ["invoke", "weather", "--command", "x"]

BAD_USAGE = {
    "no command": ([], "COMMAND"),
    "unknown command": (["dance"], "'dance'"),
    "no function": (["invoke", "--region", "us-east-1"], "FUNCTION"),
    "no chat command": (["invoke", "weather"], "--command is missing"),
    "an event with a command": ([*CALL, "--event"], "an event has no command"),
    "an unknown option": ([*CALL, "--dance", "now"], "invoke has no option --dance"),
    "an abbreviation": ([*CALL, "--max-ret", "1"], "invoke has no option --max-ret"),
    "no number": ([*CALL, "--max-retries", "many"], "--max-retries"),
    "a number beyond its limits": ([*CALL, "--max-retries", "101"], "--max-retries must be a whole number from 0"),
    "not a number": ([*CALL, "--read-timeout", "nan"], "--read-timeout must be a number over 0"),
    "an impossible name": (["invoke", "a b", "--command", "x"], "FUNCTION must be a function's name"),
    "an impossible region": ([*CALL, "--region", "us east"], "--region must be an AWS region"),
    "two that disagree": (
        [*CALL, "--log-tail", "--invocation-type", "Event"],
        "--log-tail must be False with --invocation-type 'Event'",
    ),
    "another region's ARN": (
        ["invoke", "arn:aws:lambda:eu-west-1:123456789012:function:f", "--command", "x"],
        "FUNCTION is in eu-west-1 and --region is us-east-1",
    ),
    "http beyond loopback": ([*CALL, "--endpoint-url", "http://u:hush@example.com"], "--endpoint-url must be"),
    "metadata that is not there": ([*CALL, "--metadata", "nowhere.json"], "nowhere.json cannot be read: No such file"),
    "metadata that is no JSON": ([*CALL, "--metadata", '{"a": hush}'], "--metadata is not JSON: Expecting value"),
    "event data that is no JSON": (["invoke", "f", "--event-data", "[hush"], "--event-data is not JSON"),
    "local with an endpoint": (
        [*CALL, "--local", "a:b", "--endpoint-url", "http://127.0.0.1:9"],
        "--local goes without --endpoint-url",
    ),
    "local with an impossible name": (["invoke", "a b", "--command", "x", "--local", "json:loads"], "FUNCTION must be"),
    "doctor of nothing": (["doctor"], "FUNCTION"),
    "doctor of one bad name": (["doctor", "weather", "a b"], "FUNCTION must be a function's name"),
    "doctor after --": (["doctor", "weather", "--", "x"], "doctor takes nothing after --"),
    "a port beyond its limits": (["serve", "json:loads", "--port", "70000"], "--port must be a whole number from 0"),
    # The port, so that nothing serves for ever if the names are let through.
    "a name for two": (["serve", "json:loads", "pickle:loads", "--port", "-1"], "two functions are called loads"),
    "an impossible name to serve": (["serve", "a b=json:loads", "--port", "-1"], "a name must be 1 to 64"),
}


@pytest.mark.parametrize("case", BAD_USAGE)
def test_bad_usage_is_one_line_on_stderr_and_exits_with_2(case, run):
    argv, told = BAD_USAGE[case]
    code, out, err = run(*argv)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert told in err
    assert "hush" not in err


def test_a_region_is_needed_from_an_option_or_the_environment(run, monkeypatch):
    monkeypatch.delenv("AWS_REGION")
    assert run(*CALL)[::2] == (
        2,
        "lambda-adapter: --region is missing, and AWS_REGION and AWS_DEFAULT_REGION are not set\n",
    )
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    assert parse(CALL).region == "eu-west-1"
    assert parse([*CALL, "--region", "eu-west-2"]).region == "eu-west-2"


@pytest.mark.parametrize(
    "argv",
    [
        ["--aws-secret-access-key", "hush", *CALL],
        [*CALL, "--aws-secret-access-key", "hush"],
        [*CALL, "--aws-secret-access-key=hush"],
        [*CALL, "--aws_access_key_id=hush"],
        [*CALL, "--secret-access-key=hush"],
        [*CALL, "--aws-session-token", "hush"],
        ["serve", "--aws-session-token", "hush", "a:b"],
    ],
)
def test_no_secret_is_taken_as_an_argument_or_repeated(argv, run):
    code, out, err = run(*argv)
    assert (code, out) == (2, "")
    assert "credentials come from the environment, a profile or a role" in err
    assert "hush" not in err


def test_the_value_of_an_unknown_option_is_not_repeated(run):
    assert run(*CALL, "--password=hush")[2].startswith("lambda-adapter: invoke has no option --password;")
    assert "hush" not in run("invoke", "weather", "hush", "--command", "x")[2]


def test_a_profile_that_does_not_exist_is_said_in_one_line(run, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    code, _, err = run(*CALL)
    assert (code, err) == (
        2,
        "lambda-adapter: AWS is not set up: The config profile (nobody) could not be found\n",
    )


# -- --local and the handlers ----------------------------------------------------------------------


@pytest.mark.parametrize("place", ["{}:handler", "{}.py:handler", "{}:Bot.play"])
def test_local_runs_a_handler_without_account_and_region(place, bot, run, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION"):
        monkeypatch.delenv(name)
    code, out, _ = run("invoke", "weather:live", "--local", place.format(bot), "--command", "weather", "Oslo")
    assert code == 0
    assert json.loads(out)["message"] == ("la la" if "play" in place else "Oslo")
    assert json.loads(out)["invocation"]["function_name"] == "weather:live"


def test_a_local_handler_that_raises_is_a_failed_call(bot, run):
    code, out, _ = run("invoke", "weather", "--local", f"{bot}:handler", "--command", "weather", "boom")
    assert (code, json.loads(out)["error"]) == (1, "function_error: ZeroDivisionError: no such city")


def test_a_handlers_file_can_import_what_stands_beside_it_and_is_run_once(bot, run, tmp_path):
    place = tmp_path / "elsewhere"
    place.mkdir()
    (place / "beside.py").write_text("runs = []")
    (place / "main.py").write_text(
        textwrap.dedent(
            """
            import dataclasses, beside
            beside.runs.append(1)

            @dataclasses.dataclass
            class Answer:
                success: "bool"

            def handler(event, context):
                return {**dataclasses.asdict(Answer(True)), "runs": len(beside.runs)}
            """
        )
    )
    for _ in range(2):
        code, out, _ = run("invoke", "f", "--local", f"{place / 'main.py'}:handler", "--command", "x")
        assert (code, json.loads(out)["data"]) == (0, {"runs": 1})


BAD_HANDLERS = {
    "module_of_nobody:handler": "module_of_nobody does not import: ModuleNotFoundError: No module named",
    "nowhere.py:handler": "nowhere.py does not import: FileNotFoundError",
    "broken.py:handler": "broken.py does not import: SyntaxError",
    "raises.py:handler": "raises.py does not import: ValueError: two\\nlines",
    "exits.py:handler": "exits.py does not import: SystemExit: 3",
    "{bot}:nothing": "has no nothing",
    "{bot}:text": "is str, and no function",
    "{bot}": "is no handler; it must be module:handler or path.py:handler",
    "{bot}:": "is no handler",
    ":handler": "is no handler",
}


@pytest.mark.parametrize(
    "command", [["serve", "--port", "-1"], ["invoke", "f", "--command", "x", "--local"]], ids=["serve", "invoke"]
)
@pytest.mark.parametrize("spec", BAD_HANDLERS)
def test_a_handler_that_cannot_be_had_is_said_in_one_line(spec, command, bot, run, tmp_path):
    (tmp_path / "broken.py").write_text("def handler(:")
    (tmp_path / "raises.py").write_text("raise ValueError('two\\nlines')")
    (tmp_path / "exits.py").write_text("import sys; sys.exit(3)")
    code, out, err = run(*command, spec.format(bot=bot))
    assert (code, out) == (2, "")
    assert BAD_HANDLERS[spec] in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("weather.py:handler", "weather"),
        ("bots/weather.py:lambda_handler", "weather"),
        ("bot.modules.weather:handler", "weather"),
        ("bot.modules:play", "play"),
        ("bot:Music.play", "play"),
    ],
)
def test_a_served_function_is_called_after_its_handler_or_its_module(spec, name):
    assert default_name(spec) == name


# -- Output ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("indent", [None, 2])
def test_json_holds_nothing_that_moves_a_cursor_or_breaks_a_line(indent):
    value = {"message": "\x1b[2J \x9b31m \u2028 \u202e \ud800 é \U0001f427 \n", "list": ["\u2029"]}
    text = to_json(value, indent)
    assert json.loads(text) == value
    assert "é \U0001f427" in text
    assert all(char.isprintable() or (indent and char == "\n") for char in text)


def test_json_is_escaped_for_a_stream_that_cannot_hold_it(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    print_json({"message": "12 °C \U0001f427"})
    stream.flush()
    assert json.loads(stream.buffer.getvalue().decode("ascii")) == {"message": "12 °C \U0001f427"}


def test_on_a_terminal_the_response_is_indented(local):
    code, shown = on_terminal("invoke", "weather", "--command", "x", "--endpoint-url", local.endpoint_url)
    assert code == 0
    assert '{\r\n  "success": true,\r\n  "message": "Rain, 12 °C",\r\n' in shown


@pytest.mark.parametrize("command", ["", "invoke", "doctor", "serve", "batch"])
def test_help_fits_a_terminal_and_has_examples(command, run, capsys):
    with pytest.raises(SystemExit) as exit_:
        main([*command.split(), "--help"])
    assert exit_.value.code == 0
    out = capsys.readouterr().out
    assert "examples" in out
    assert max(len(line) for line in out.splitlines() if not line.startswith(("  lambda-adapter", "  AWS_"))) <= 110


def test_help_says_of_each_setting_what_the_constructor_says(capsys):
    with pytest.raises(SystemExit):
        main(["invoke", "--help"])
    out = " ".join(capsys.readouterr().out.split())
    assert "--max-retries N Attempts after the first, 0 to 100. Default: 3." in out
    assert "--no-idempotent The function must not run twice: a call is retried only if it certainly did not run." in out


@pytest.mark.parametrize("name", sorted(OF_MANY_CALLS))
def test_what_needs_many_calls_is_an_option_of_batch_and_not_of_invoke(name, run):
    assert getattr(parse(["batch", "f", "in", "-o", "out", to_option(name), "2"]), name) == 2
    code, _, err = run("invoke", "f", "--command", "x", to_option(name), "2")
    assert (code, f"invoke has no option {to_option(name)}" in err) == (2, True)


def test_help_tells_what_an_option_that_is_left_out_means_and_never_says_none(capsys):
    with pytest.raises(SystemExit):
        main(["batch", "--help"])
    out = " ".join(capsys.readouterr().out.split())
    assert "one more is refused as overloaded. Default: any number." in out
    assert "None" not in out


def test_help_does_not_import_boto3():
    code = "import sys; from lambda_adapter.__main__ import main\ntry: main(['invoke', '--help'])\nexcept SystemExit: "
    code += "sys.exit('boto3' in sys.modules or 'botocore' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(PACKAGES)}, stdout=subprocess.PIPE
    )
    assert done.returncode == 0


def test_python_m_runs_the_command_line():
    argv = [sys.executable, "-m", "lambda_adapter", "invoke"]
    done = subprocess.run(argv, env={**os.environ, "PYTHONPATH": str(PACKAGES)}, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("lambda-adapter: the following arguments are required: FUNCTION")


def test_ctrl_c_ends_a_call_with_130_and_no_traceback():
    with FaultServer(hang()) as server:
        process = start("invoke", "weather", "--command", "x", "--endpoint-url", server.endpoint_url)
        wait_until(lambda: server.requests, process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (130, "", "\nInterrupted.\n")


def test_a_reader_that_has_gone_is_no_traceback(local):
    reader, writer = os.pipe()
    os.close(reader)
    process = start("invoke", "weather", "--command", "x", "--endpoint-url", local.endpoint_url, stdout=writer)
    os.close(writer)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 141
    assert re.fullmatch(r"ok \(weather, .*\)\n", err)


def test_the_version_is_said(run, capsys):
    with pytest.raises(SystemExit) as ended:
        run("--version")
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"lambda-adapter {lambda_adapter.__version__}\n"


# -- doctor ----------------------------------------------------------------------------------------


def test_doctor_says_of_each_function_what_it_found_without_running_it(run, local):
    code, out, err = run("doctor", "weather", "down", "--endpoint-url", local.endpoint_url)
    asked = f"{local.endpoint_url[len('http://') :]} in us-east-1"
    found = f"credentials from env, endpoint reachable, function exists, invocation permitted; asked {asked}"
    assert (code, err) == (0, "")
    assert out == f"ok      weather  {found}\nok      down     {found}\n"
    assert [call.invocation_type for call in local.calls] == ["DryRun", "DryRun"]


FAILURES = {
    "not there": (
        aws_error("ResourceNotFoundException", 404),
        "endpoint reachable, function not found, invocation not tried",
        "Deploy it",
    ),
    "not allowed": (
        aws_error("AccessDeniedException", 403),
        "endpoint reachable, function unknown, invocation denied",
        "Allow the credentials' user or role the action lambda:InvokeFunction",
    ),
    "expired": (aws_error("ExpiredTokenException", 403), "invocation denied", "Renew the credentials"),
    "throttled": (aws_error("TooManyRequestsException", 429), "endpoint reachable, function unknown", "Try again"),
    "down": (untyped(503), "endpoint reachable, function unknown", "Try again in a minute"),
    "silent": (hang(), "endpoint no answer, function unknown", "what stands between"),
    "no key": (aws_error("KMSDisabledException", 502), "endpoint reachable", "the function's state, network or keys"),
    "refused": (
        aws_error("InvalidParameterValueException", 400),
        "endpoint reachable, function unknown",
        "--qualifier",
    ),
    "odd": (
        aws_error("RequestTooLargeException", 413),
        "endpoint reachable, function unknown",
        "Send less",
    ),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_doctor_says_what_to_do_about_a_failure(failure, run):
    reaction, found, advice = FAILURES[failure]
    with FaultServer(reaction) as server:
        options = ["--endpoint-url", server.endpoint_url, "--read-timeout", "0.2" if failure == "silent" else "30"]
        code, out, _ = run("doctor", "weather", *options)
        assert len(server.requests) == 1
    first, error, third = out.splitlines()
    assert code == 1
    assert first.startswith("FAILED  weather  credentials from env, ")
    assert found in first
    assert re.match(r" {8}[a-z_]+: ", error)
    assert advice in third
    assert not {KEY_ID, SECRET, TOKEN} & set(re.split(r"[\s'\"(),]", out))


def test_doctor_says_that_an_endpoint_is_not_reachable(run):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        code, out, _ = run("doctor", "weather", "--endpoint-url", url)
    assert code == 1
    assert "endpoint not reachable, function not tried, invocation not tried" in out
    assert "Check the network" in out


def test_doctor_fails_if_one_function_does(run, local):
    code, out, _ = run("doctor", "music", "weather", "--endpoint-url", local.endpoint_url)
    assert code == 1
    assert [line.split()[0] for line in out.splitlines() if line[0] != " "] == ["FAILED", "ok"]


@pytest.mark.parametrize(
    ("environment", "found", "advice"),
    [
        ({}, "credentials not found, endpoint not tried", "Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and"),
        ({"AWS_ACCESS_KEY_ID": KEY_ID}, "credentials unusable (PartialCredentialsError), endpoint not tried", "Mend"),
        ({"AWS_PROFILE": "nobody"}, "credentials unusable (ProfileNotFound), endpoint not tried", "Mend"),
    ],
    ids=["none", "half a pair", "no such profile"],
)
def test_doctor_says_what_is_wrong_with_credentials(environment, found, advice, run, local, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    code, out, _ = run("doctor", "weather", "--endpoint-url", local.endpoint_url)
    assert (code, local.calls) == (1, [])
    assert found in out
    assert advice in out
    assert KEY_ID not in out


# -- serve -----------------------------------------------------------------------------------------


def test_serve_says_how_to_call_it_and_how_each_invocation_went(bot, make_request, monkeypatch, tmp_path):
    errors = (tmp_path / "stderr").open("w+")
    process = start("serve", f"weather={bot}:handler", f"{bot}:Bot.play", stderr=errors)
    told = []
    reader = threading.Thread(target=lambda: told.extend(process.stdout))
    reader.start()
    try:
        wait_until(lambda: len(told) == 10, process)
        assert told[0].startswith("Serving weather, play on http://127.0.0.1:")
        # What it prints is what it takes to call it.
        for line in told[:10]:
            if line.strip().startswith("export "):
                for name, _, value in (word.partition("=") for word in shlex.split(line)[1:]):
                    monkeypatch.setenv(name, value)
        adapter = eval("".join(told[7:9]).strip(), {"LambdaAdapter": LambdaAdapter})
        with adapter, LambdaAdapter("weather", "us-east-1", "m") as by_environment:
            assert adapter.execute(make_request(args=["hush"])).message == "hush"
            assert by_environment.check().success
            assert by_environment.execute(make_request(args=["boom"])).error_code == "function_error"
        for function, kind in (("music", "RequestResponse"), ("play", "Event"), ("weather", "Event")):
            with LambdaAdapter(function, "us-east-1", "m", invocation_type=kind) as other:
                other.execute(make_request(args=["boom"]))
        wait_until(lambda: len(told) == 18, process)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        reader.join()
        process.stdout.close()
    shape = r"\d\d:\d\d:\d\d  [0-9a-f-]{36}  +[\d,]+\.\d ms  (\w+) +(.*)\n"
    ends = [re.fullmatch(shape, line).groups() for line in told[10:18]]
    assert ends[:4] == [
        ("weather", "ok"),
        ("weather", "checked"),
        ("weather", "failed: ZeroDivisionError"),
        ("music", "404 ResourceNotFoundException"),
    ]
    # An Event's answer and its end come in any order.
    assert sorted(ends[4:]) == [
        ("play", "event done"),
        ("play", "queued"),
        ("weather", "event failed: ZeroDivisionError"),
        ("weather", "queued"),
    ]
    assert "hush" not in "".join(told)
    assert told[18:] == ["\n", "Stopped.\n"]
    with errors:
        errors.seek(0)
        assert errors.read().count("weather: Traceback (most recent call last):\n") == 2


def test_a_port_in_use_is_said_in_one_line(run):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        code, out, err = run("serve", "json:loads", "--port", taken.getsockname()[1])
    assert (code, out) == (2, "")
    assert re.fullmatch(r"lambda-adapter: --port \d+ cannot be served: Address already in use\n", err)


def test_nothing_that_is_printed_or_logged_holds_a_secret(run, caplog):
    with caplog.at_level(0, "lambda_adapter"), FaultServer(answer({"success": True})) as server:
        for command in (["invoke", "weather", "--command", "x"], ["doctor", "weather"]):
            _, out, err = run(*command, "--endpoint-url", server.endpoint_url)
            for secret in (KEY_ID, SECRET, TOKEN):
                assert secret not in out + err + caplog.text
