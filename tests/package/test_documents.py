"""The documents: their code runs, their tables and examples are what the package does, their links lead somewhere."""

import ast
import configparser
import importlib.metadata
import inspect
import json
import logging
import os
import pathlib
import re
import shlex
import subprocess
import sys
import typing
from types import SimpleNamespace

import attrs
import pytest
from moto import mock_aws
from opentelemetry.instrumentation.botocore import BotocoreInstrumentor
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

import lambda_adapter
from lambda_adapter import (
    Attempt,
    CircuitBreaker,
    ExecuteRequest,
    ExecuteResponse,
    Execution,
    Invocation,
    LambdaAdapter,
    LocalLambda,
    Report,
    errors,
    testing,
)
from lambda_adapter._aws import sending
from lambda_adapter._process.clock import monotonic_s
from lambda_adapter._rules.identifiers import parse_identifier
from lambda_adapter._text.log_lines import FIELDS
from lambda_adapter._wire.payload import encode_request
from lambda_adapter.codes import CODES, WhyEnded
from lambda_adapter.local import LocalCall
from support.durable import KNOWS_EXECUTIONS
from support.paths import PACKAGE, PROJECT

WITH_CODE = ["README.md", "LAMBDA_ADAPTER_USAGE.md", "LAMBDA_ADAPTER_ARCHITECTURE.md"]
DOCUMENTS = [*WITH_CODE, "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/NOTES.md"]


def read(document):
    return (PROJECT / document).read_text(encoding="utf-8")


USAGE = read("LAMBDA_ADAPTER_USAGE.md")


def section(text, heading):
    """What stands under a heading, up to the next of the same level or above."""
    level = heading.split(" ")[0]
    _, found, rest = text.partition(f"\n{heading}\n")
    assert found, f"there is no {heading!r}"
    return re.split(rf"^#{{1,{len(level)}}} ", rest, flags=re.MULTILINE)[0]


def blocks(text, language):
    """The code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def table(text, first_column):
    """The rows of the table whose first column has this title, backticks taken off."""
    rows = re.search(rf"^\| {re.escape(first_column)} \|.*\n\|[-|]+\|\n((?:\|.*\|\n)+)", text, re.MULTILINE)
    assert rows, f"there is no table of {first_column!r}"
    return [[cell.strip().strip("`") for cell in row.strip("|").split(" | ")] for row in rows[1].splitlines()]


# --- Code blocks ---


def python_blocks(path):
    """The Python blocks of a document, each with the number of its line."""
    return [(example.line, example.parsed) for example in Sybil([PythonCodeBlockParser()]).parse(path).examples()]


def run_block(path, line, source):
    """Run one block by itself, as a file of its own, and its tests as pytest does; returns what it made."""
    namespace = {"__name__": "__main__"}
    try:
        exec(compile("\n" * (line + source.line_offset) + source, str(path), "exec"), namespace)
        for test in [value for name, value in namespace.items() if name.startswith("test_")]:
            if "mock_lambda" in inspect.signature(test).parameters:
                with testing.mock_lambda() as mock:
                    test(mock)
            else:
                test()
    finally:
        for held in namespace.values():
            if isinstance(held, (LambdaAdapter, LocalLambda)):
                held.close()
    return namespace


def printed(source):
    """What the comments say that a block prints."""
    return re.findall(r"^ *print\(.*\)  # (.*)$", source, re.MULTILINE)


@pytest.fixture
def block_ends():
    """What a block changes in this process is undone, whether it reached its own end or not."""
    level = {name: logging.getLogger(name).level for name in ("botocore", "lambda_adapter")}
    yield
    if BotocoreInstrumentor().is_instrumented_by_opentelemetry:
        BotocoreInstrumentor().uninstrument()
    for name, before in level.items():
        logging.getLogger(name).setLevel(before)


BLOCKS = {
    f"{document}:{line}": (document, line, source)
    for document in WITH_CODE
    for line, source in python_blocks(PROJECT / document)
}


@pytest.mark.parametrize("name", BLOCKS)
def test_a_code_block_runs_alone_and_prints_what_its_comments_say(name, capsys, block_ends):
    document, line, source = BLOCKS[name]
    if "durable=True" in source and not KNOWS_EXECUTIONS:
        pytest.skip("this botocore knows no durable executions")
    if "aws_lambda_powertools" in source:
        pytest.importorskip("aws_lambda_powertools")
    run_block(PROJECT / document, line, source)
    assert capsys.readouterr().out.splitlines() == printed(source)


@pytest.mark.parametrize("document", WITH_CODE)
def test_no_code_block_is_left_out(document):
    opened = re.findall(r"^ *```python$", read(document), re.MULTILINE)
    assert len(opened) == sum(name.startswith(f"{document}:") for name in BLOCKS) > 0


def test_a_code_block_that_needs_another_one_fails(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```python\nrolled = 4\n```\n\n```python\nprint(rolled)  # 4\n```\n", encoding="utf-8")
    (first_line, first), (second_line, second) = python_blocks(page)
    assert run_block(page, first_line, first)["rolled"] == 4
    with pytest.raises(NameError, match="rolled"):
        run_block(page, second_line, second)


@pytest.mark.parametrize("parameter", ["", "mock_lambda"], ids=["plain", "with the fixture"])
def test_a_code_block_whose_own_test_fails_fails(tmp_path, parameter):
    page = tmp_path / "page.md"
    page.write_text(f"```python\ndef test_it({parameter}):\n    assert not test_it\n```\n", encoding="utf-8")
    ((line, source),) = python_blocks(page)
    with pytest.raises(AssertionError):
        run_block(page, line, source)


@pytest.fixture
def shell(tmp_path):
    """Runs the command line's examples, with the file that the text has made, as a user's shell does."""
    (source,) = blocks(section(USAGE, "### Command line"), "python")
    (tmp_path / "weather.py").write_text(source, encoding="utf-8")
    command = f"{shlex.quote(sys.executable)} -m lambda_adapter "
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}

    def run(line, background=False):
        line = line.replace("lambda-adapter ", command)
        if background:
            return subprocess.Popen(
                f"exec {line}", shell=True, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, encoding="utf-8"
            )
        return subprocess.run(line, shell=True, cwd=tmp_path, env=environment, timeout=60, check=True)

    run.environment, run.directory = environment, tmp_path
    return run


def test_the_command_lines_examples_run(shell, capfd):
    invoke, session = blocks(section(USAGE, "### Command line"), "bash")
    shell(invoke)
    assert json.loads(capfd.readouterr().out)["message"] == "Berlin: rain, 12 degrees"

    serve, *lines, kill = session.splitlines()
    assert (serve[-2:], kill) == (" &", "kill %1")
    with shell(serve[:-2].replace("9001", "0"), background=True) as server:
        try:
            url = re.search(r"http://127\.0\.0\.1:\d+", server.stdout.readline())[0]
            for line in lines:
                if line.startswith("export "):
                    shell.environment.update(pair.split("=", 1) for pair in line.split()[1:])
                    shell.environment["AWS_ENDPOINT_URL_LAMBDA"] = url
                else:
                    shell(line)
        finally:
            server.terminate()
    assert capfd.readouterr().out.startswith("ok ")
    answers = (shell.directory / "responses.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(answer)["message"] for answer in answers] == ["Lisbon: rain, 12 degrees"]


def test_every_code_block_has_a_language_that_is_known():
    for document in DOCUMENTS:
        opening = re.findall(r"^ *```(.*)$", read(document), re.MULTILINE)[::2]
        assert set(opening) <= {"python", "json", "bash", "text"}, document


# --- README ---


def readme_commands():
    text = read("README.md")
    return {
        heading: blocks(section(text, f"## {heading}"), "bash") for heading in ("Run the examples", "Run the tests")
    }


def test_readme_has_two_commands_of_one_line_each():
    for heading, commands in readme_commands().items():
        assert len(commands) == 1, heading
        assert len(commands[0].splitlines()) == 1, heading


def test_readme_commands_name_what_exists():
    config = configparser.ConfigParser()
    config.read(PROJECT / "setup.cfg", encoding="utf-8")
    for (command,) in readme_commands().values():
        for extra in re.findall(r"\.\[(\w+)\]", command):
            assert extra in config["options.extras_require"]
        for script in re.findall(r"[\w/]+\.py\b", command):
            assert (PROJECT / script).is_file(), script
    assert "examples/lambda_adapter_example.py" in readme_commands()["Run the examples"][0]
    assert "-m pytest" in readme_commands()["Run the tests"][0]


def test_readme_shows_the_event_that_a_function_gets():
    (event,) = blocks(section(read("README.md"), "## What your function gets"), "json")
    shown = json.loads(event)
    request = ExecuteRequest("roll", ["2d6"], "user_123", "entity_456", "community_789", "session_abc123", "discord")
    assert shown == json.loads(encode_request(request, lambda: shown["timestamp"]).payload)


def test_the_metadata_has_what_a_package_index_shows():
    metadata = importlib.metadata.metadata("lambda-adapter")
    assert metadata["Version"] == lambda_adapter.__version__
    assert metadata["Author"]
    assert metadata.get_all("Project-URL")
    description = metadata["Description"] or metadata.get_payload()
    assert "# lambda-adapter" in description
    assert [link for link in re.findall(r"\]\(([^)]*)\)", description) if not link.startswith("https://")] == []


# --- Links ---


def anchor(title):
    """GitHub's anchor of a heading."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def anchors(text):
    """GitHub's anchors of a document's headings."""
    return {anchor(title) for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)]+)\)", read(document)):
        if not target.startswith("https://"):
            path, _, place = target.partition("#")
            file = ((PROJECT / document).parent / path).resolve() if path else PROJECT / document
            assert file.is_file(), target
            assert not place or place in anchors(file.read_text(encoding="utf-8")), target


def contents(text):
    """What a document's list of contents names: the level of each entry, and the anchor."""
    entries = re.findall(r"^( *)- \[.*\]\(#(.*)\)$", text, re.MULTILINE)
    return [(2 + len(indent) // 2, target) for indent, target in entries]


def headings(text):
    """The headings of the second and the third level, as ``contents`` has them."""
    return [(len(marks), anchor(title)) for marks, title in re.findall(r"^(###?) (.*)$", text, re.MULTILINE)]


def test_usage_contents_list_every_section():
    assert contents(USAGE) == headings(USAGE)


def test_usage_has_four_parts():
    parts = re.findall(r"^## (.*)$", USAGE, re.MULTILINE)
    assert parts == ["First steps", "Tasks", "Reference", "Operation"]


def test_architecture_contents_list_every_section():
    text = read("LAMBDA_ADAPTER_ARCHITECTURE.md")
    assert contents(text) == headings(text)


# --- Parameters ---

#: Classes whose parameters USAGE has in a table, under the class's own heading, and a good value of each required one.
CLASSES = {
    LambdaAdapter: {
        "function_identifier": "function",
        "region": "us-east-1",
        "module_name": "module",
        "client": SimpleNamespace(invoke=print),
    },
    CircuitBreaker: {},
    LocalLambda: {"functions": {}},
}
BY_CLASS = pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)

#: Defaults that are written in other words.
DEFAULTS = {"required": inspect.Parameter.empty, "the adapter's": monotonic_s}


def default_of(written):
    return DEFAULTS[written] if written in DEFAULTS else ast.literal_eval(written)


def parameters(kind):
    return inspect.signature(kind).parameters


def parameter_rows(kind):
    return table(section(USAGE, f"### {kind.__name__}"), "parameter")


@BY_CLASS
def test_parameter_table_names_the_parameters_in_order_with_their_defaults(kind):
    documented = {name: default_of(default) for name, default, *_ in parameter_rows(kind)}
    actual = {name: parameter.default for name, parameter in parameters(kind).items()}
    assert list(documented.items()) == list(actual.items())


def keyword_only(kind):
    return [name for name, p in parameters(kind).items() if p.kind is inspect.Parameter.KEYWORD_ONLY]


def test_keyword_only_parameters_are_those_that_the_text_says():
    last = re.search(r"Those after `(\w+)` are keyword-only", section(USAGE, "### LambdaAdapter"))[1]
    names = list(parameters(LambdaAdapter))
    assert names[names.index(last) + 1 :] == keyword_only(LambdaAdapter)

    assert "All parameters but the first are keyword-only" in section(USAGE, "### LocalLambda").replace("\n", " ")
    assert list(parameters(LocalLambda))[1:] == keyword_only(LocalLambda)

    assert keyword_only(CircuitBreaker) == [
        row[0] for row in parameter_rows(CircuitBreaker) if "Keyword-only" in row[3]
    ]


NUMERIC = {
    f"{kind.__name__}.{name}": (kind, name, limits)
    for kind in CLASSES
    for name, _, limits, _ in parameter_rows(kind)
    if re.match(r"(over |from )?\d", limits)
}


def edges(limits):
    """The values within and beyond the limits that are written as "0 to 100", "over 0 to 120" or "from 1"."""
    over, least, most = re.fullmatch(r"(?:(over) |from )?([\d,]+)(?: to ([\d,]+))?", limits).groups()
    least, most = int(least), int(most.replace(",", "")) if most else None
    good = [least + 1 if over else least] + ([most] if most else [])
    bad = [least if over else least - 1] + ([most + 1] if most else [])
    return good, bad


@pytest.mark.parametrize("case", NUMERIC)
def test_ranges_in_the_parameter_table_are_the_limits(case):
    kind, name, limits = NUMERIC[case]
    good, bad = edges(limits)
    for value in good:
        made = kind(**{**CLASSES[kind], name: value})
        if hasattr(made, "close"):
            made.close()
    for value in bad:
        with pytest.raises(ValueError, match=name):
            kind(**{**CLASSES[kind], name: value})


@BY_CLASS
def test_all_parameters_with_a_number_have_their_range_tested(kind):
    numbers = {name for name, parameter in parameters(kind).items() if type(parameter.default) in (int, float)}
    extra = {
        LambdaAdapter: {"jitter", "total_timeout", "max_pending", "max_pending_per_community"},
        LocalLambda: {"concurrency_limit"},
    }
    tested = {name for owner, name, _ in NUMERIC.values() if owner is kind}
    assert tested == numbers | extra.get(kind, set())


def test_the_table_of_local_lambda_names_what_it_has():
    public = [name for name in vars(LocalLambda) if not name.startswith("_")]
    documented = [row[0].rstrip("()") for row in table(USAGE, "attribute of LocalLambda")]
    assert documented == public


#: Methods that are called from another module of the test kit, and from no test of a bot.
FOR_THE_MOCK_ITSELF = {"next_step"}


def mock_methods():
    """The parameters of MockLambda and MockFunction, method by method: (method, parameter) -> itself."""
    found = {}
    for kind in (testing.MockLambda, testing.MockFunction):
        for name, method in vars(kind).items():
            if inspect.isfunction(method) and not name.startswith("_") and name not in FOR_THE_MOCK_ITSELF:
                for parameter in list(inspect.signature(method).parameters.values())[1:]:
                    starred = "*" if parameter.kind is inspect.Parameter.VAR_POSITIONAL else ""
                    found[f"{kind.__name__}.{name}", starred + parameter.name] = parameter
    return found


MOCK_ROWS = table(section(USAGE, "### mock_lambda"), "method")


def test_the_table_of_mock_lambda_names_every_methods_parameters_with_their_defaults():
    actual = mock_methods()
    assert [tuple(row[:2]) for row in MOCK_ROWS] == list(actual)
    for method, name, default, *_ in MOCK_ROWS:
        if default != "none":
            assert default_of(default) == actual[method, name].default, (method, name)
    no_value = {(row[0], row[1]) for row in MOCK_ROWS if row[2] == "none"}
    assert no_value == {
        ("MockLambda.function", "answer"),
        ("MockFunction.answers", "*answers"),
        ("MockFunction.streams", "*texts"),
    }
    by_keyword = {name for (_, name), p in actual.items() if p.kind is inspect.Parameter.KEYWORD_ONLY}
    sentence = re.search(r"^(.*) are keyword-only", section(USAGE, "### mock_lambda"), re.MULTILINE)[1]
    assert by_keyword == set(re.findall(r"`(\w+)`", sentence))
    assert not inspect.signature(testing.mock_lambda).parameters


MOCK_NUMERIC = {f"{row[0]}.{row[1]}": row for row in MOCK_ROWS if re.search(r"\d", row[3])}


@pytest.mark.parametrize("case", MOCK_NUMERIC)
def test_ranges_in_the_table_of_mock_lambda_are_the_limits(case):
    method, name, _, limits, _ = MOCK_NUMERIC[case]
    required = {"code": "AccessDeniedException", "status": 403} if method.endswith("rejects") else {}
    good, bad = edges(limits)
    with testing.mock_lambda() as mock:

        def add(value):
            function = mock.function("function")
            # What comes before is what streams says.
            ready = function.streams("text") if name == "after" else function
            getattr(ready, method.split(".")[1])(**{**required, name: value})

        for value in good:
            add(value)
        for value in bad:
            with pytest.raises(ValueError, match=name):
                add(value)


def test_all_parameters_of_mock_lambda_with_a_number_have_their_range_tested():
    numbers = {(m, n) for m, n in mock_methods() if n in ("times", "retry_after", "status", "polls", "after")}
    assert {(row[0], row[1]) for row in MOCK_NUMERIC.values()} == numbers


# --- Requests and responses ---


def in_order(value):
    """A JSON value in which the order of keys counts."""
    return json.dumps(value)


def usage_request():
    source = next(block for block in blocks(USAGE, "python") if "full_request =" in block)
    namespace = {}
    exec(source, namespace)
    return namespace["full_request"]


def exchange(make_adapter, answer, request):
    """Has a function answer; returns the response and the payload that the function got."""
    with LocalLambda({"function": lambda event, context: answer}) as local:
        response = make_adapter(endpoint_url=local.endpoint_url).execute(request)
        return response, local.calls[0].payload


def test_the_payload_in_the_text_is_what_its_request_sends(make_adapter):
    (documented,) = map(json.loads, blocks(section(USAGE, "### Requests"), "json"))
    _, sent = exchange(make_adapter, {"success": True}, usage_request())
    assert len(sent["timestamp"]) == len(documented["timestamp"])
    sent["timestamp"] = documented["timestamp"]
    assert in_order(sent) == in_order(documented)


def test_the_table_of_silent_metadata_is_what_an_empty_one_sends(make_adapter, make_request):
    request = make_request()
    _, sent = exchange(make_adapter, {"success": True}, request)
    for path, documented in table(section(USAGE, "### Requests"), "path in `metadata`"):
        part, key = path.split(".")
        field = re.fullmatch(r"the request's `(\w+)", documented)
        expected = getattr(request, field[1]) if field else json.loads(documented)
        assert sent[part][key] == expected, path


def test_the_answer_in_the_text_keeps_every_key(make_adapter, make_request):
    (documented,) = map(json.loads, blocks(section(USAGE, "### Responses"), "json"))
    response, _ = exchange(make_adapter, documented, make_request())
    assert response.success is True
    assert response.message == "Operation completed"
    assert response.targets == [{"type": "discord"}, {"type": "twitch"}]
    assert {"success": True, "message": response.message, **response.data} == documented


@pytest.mark.parametrize(
    "kind",
    [ExecuteRequest, ExecuteResponse, Execution, Invocation, Report, Attempt],
    ids=lambda kind: kind.__name__,
)
def test_attribute_tables_name_the_fields_in_order(kind):
    documented = [row[0] for row in table(USAGE, f"attribute of {kind.__name__}")]
    assert documented == [field.name for field in attrs.fields(kind)]


def test_attribute_table_of_local_call_names_fields_and_properties():
    computed = [name for name, value in vars(LocalCall).items() if isinstance(value, property)]
    documented = [row[0] for row in table(USAGE, "attribute of LocalCall")]
    assert documented == [*(field.name for field in attrs.fields(LocalCall)), *computed]


def test_the_circuits_state_and_the_codes_that_open_it_are_those_in_the_text(make_adapter):
    text = section(USAGE, "### CircuitBreaker")
    state = make_adapter(circuit_breaker=CircuitBreaker()).get_module_info()["circuit_breaker"]
    assert [row[0] for row in table(text, "key of the circuit's state")] == list(state)
    opens = re.search(r"The circuit opens for ([^:]*):", text)[1]
    assert re.findall(r"`(\w+)`", opens) == [code for code, row in CODES.items() if row.circuit == "opens"]
    closes = re.search(r"A success closes it, and so does ([^,]*),", text)[1]
    assert re.findall(r"`(\w+)`", closes) == [code for code, row in CODES.items() if row.circuit == "closes"]


def test_the_words_for_why_a_call_ended_are_all_told_twice():
    """In the table of Invocation's attributes, and where people look who wonder why there was no retry."""
    words = typing.get_args(WhyEnded)
    (row,) = [row for row in table(USAGE, "attribute of Invocation") if row[0] == "why_ended"]
    assert re.findall(r"`\"(\w+)\"`", row[2]) == list(words)
    advice = section(USAGE, "#### A call was not retried")
    assert re.findall(r"`(\w+)`:", advice) == [word for word in words if word != "succeeded"]


def test_health_and_info_keys_are_those_in_the_text(make_adapter):
    adapter = make_adapter()
    assert [row[0] for row in table(section(USAGE, "### Health"), "key")] == list(adapter.get_health_status())
    sentence = re.search(r"`get_module_info\(\)` has the keys ([^.]*)\.", USAGE)[1]
    assert re.findall(r"`(\w+)`", sentence) == list(adapter.get_module_info())


# --- Error codes ---


def test_error_code_table_is_the_one_in_the_code():
    """Whether a service_error or a configuration_error is retried is a matter of its cause; USAGE may say so."""
    rows = table(section(USAGE, "### Error codes"), "error_code")
    assert [row[0] for row in rows] == list(CODES)
    for error_code, _, executed, health, retried, _ in rows:
        code = CODES[error_code]
        assert set(executed.split(" / ")) == set(code.executed), error_code
        assert health == ("failure" if code.counts else "–"), error_code
        said = {{"no": "yes"}.get(executed, "if idempotent") for executed in code.executed if code.transient}
        said -= {"yes"} if error_code == "timeout" else set()  # before the first attempt the time is up for good
        may = {"yes"} if error_code == "configuration_error" else set()  # where it may pass, as STS that throttles does
        assert said <= set(retried.split(" / ")) <= {*said, *may, "no"}, error_code


# --- IAM, logging, installation ---


def test_iam_policy_has_every_action_that_is_asked_for_and_arns_that_can_exist():
    (policy,) = map(json.loads, blocks(section(USAGE, "### IAM policy"), "json"))
    actions = [action for statement in policy["Statement"] for action in statement["Action"]]
    # Both ways to invoke need the same permission.
    asked = [name for name in sending.OPERATIONS if name != "InvokeWithResponseStream"]
    assert actions == [f"lambda:{'InvokeFunction' if name == 'Invoke' else name}" for name in asked]
    for arn in (arn for statement in policy["Statement"] for arn in statement["Resource"]):
        name = arn.replace("*", "roll")
        assert parse_identifier(name).region == "us-east-1"


def test_an_arn_with_fewer_than_12_digits_is_refused():
    with pytest.raises(ValueError, match="function_identifier"):
        LambdaAdapter("arn:aws:lambda:us-east-1:123456789:function:my-function", "us-east-1", "module")


def test_log_lines_begin_as_the_table_says():
    documented = {(level, begin) for level, begin, _ in table(section(USAGE, "### Logging"), "level")}
    # The test kit has a logger of its own.
    modules = [module for module in PACKAGE.rglob("*.py") if "testing" not in module.parts]
    text = "".join(module.read_text(encoding="utf-8") for module in modules)
    for _, begin in documented:
        assert f'"{begin}' in text, begin
    calls = re.findall(r"(?<!def )\blog_line\(", text)
    assert len(calls) == len(documented) - 5, "one call of log_line writes six of the lines"
    assert len(re.findall(r"\blogger\.(?:debug|info|warning|error|log)\(", text)) == 1, "it is log_line's own"


def test_the_fields_of_log_records_are_those_in_the_text():
    rows = table(section(USAGE, "### Logging"), "field of a record")
    assert [row[0] for row in rows] == list(FIELDS)
    in_words = {"delay_s", "dropped_targets", "exception_type"}
    assert {name: label for name, label, _ in rows} == {**FIELDS, **dict.fromkeys(in_words, "in words")}


@pytest.fixture
def debug_log(caplog):
    with caplog.at_level(logging.DEBUG):
        yield caplog


def test_botocore_logs_at_debug_what_the_text_warns_of_and_nothing_at_info(debug_log, make_adapter, make_request):
    secret_args = ["something", "private"]
    with LocalLambda({"function": lambda event, context: {"success": True}}) as local:
        make_adapter(endpoint_url=local.endpoint_url, aws_session_token="TOKEN-OF-THE-TESTS").execute(
            make_request(args=secret_args)
        )

        def told(logger):
            return "".join(record.getMessage() for record in debug_log.records if record.name == logger)

        assert "TOKEN-OF-THE-TESTS" in told("botocore.auth")
        for leaked in ("TOKEN-OF-THE-TESTS", "AKIATESTING", "Signature=", "something private"):
            assert leaked in told("botocore.endpoint")
        assert told("lambda_adapter")
        for private in ("TOKEN-OF-THE-TESTS", "AKIATESTING", "secret-of-the-tests", "something private"):
            assert private not in told("lambda_adapter")

        debug_log.clear()
        debug_log.set_level(logging.INFO, logger="botocore")
        make_adapter(endpoint_url=local.endpoint_url).execute(make_request())
        assert not [record for record in debug_log.records if record.name.startswith("botocore")]


def test_without_boto3_the_package_is_imported_and_an_adapter_names_what_is_missing():
    program = (
        "import sys\n"
        "sys.modules['boto3'] = None\n"
        f"sys.path.insert(0, {str(PACKAGE.parent)!r})\n"
        "from lambda_adapter import LambdaAdapter\n"
        "LambdaAdapter('function', 'us-east-1', 'module')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8", timeout=60)
    assert done.stderr.splitlines()[-1].startswith("ModuleNotFoundError: ")
    assert "boto3" in done.stderr.splitlines()[-1]


def test_an_adapter_made_outside_a_moto_mock_uses_it_while_it_is_on_and_only_then(
    make_adapter, make_request, monkeypatch
):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # all that is not mocked ends here: nobody listens
    adapter = make_adapter(max_retries=0)
    assert adapter.execute(make_request()).error_code == "connection_error"
    with mock_aws(config={"lambda": {"use_docker": False}}):
        assert adapter.execute(make_request()).invocation.status_code == 200
    assert adapter.execute(make_request()).error_code == "connection_error"


# --- Docstrings ---


def public_things():
    """Each public name, and what users reach from it."""
    places = [lambda_adapter, errors, testing]
    names = [
        lambda_adapter.__all__,
        [kind.__name__ for kind in errors._BY_CODE.values()],
        ["mock_lambda", "MockLambda"],
    ]
    for place, those in zip(places, names):
        for name in those:
            thing = getattr(place, name)
            yield name, thing
            for attribute, value in vars(thing).items() if inspect.isclass(thing) else ():
                if not attribute.startswith("_") and (inspect.isfunction(value) or isinstance(value, property)):
                    yield f"{name}.{attribute}", value


THINGS = dict(public_things())


#: Types of values, which have no docstring: editors show the string below them.
ALIASES = {name: thing for name, thing in THINGS.items() if typing.get_origin(thing) is not None}


@pytest.mark.parametrize("name", ALIASES)
def test_every_public_alias_has_a_string_below_it(name):
    source = (PACKAGE / f"{lambda_adapter._HOMES[name]}.py").read_text(encoding="utf-8")
    assert re.search(rf'^{name} = [^=]*\n""".{{15}}', source, re.MULTILINE)


@pytest.mark.parametrize("name", sorted(THINGS.keys() - ALIASES.keys()))
def test_every_public_name_has_a_docstring(name):
    assert len(inspect.getdoc(THINGS[name]) or "") > 15


# --- Architecture and changelog ---


def modules():
    """The package's modules by their dotted names, with their files; a folder's docstring alone is no module."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[1:] and parts[-1] == "__init__" else parts)
        if len(ast.parse(path.read_text(encoding="utf-8")).body) > 1:
            found[name] = path
    return found


def imports_of(name, known):
    """The package's other modules that a module imports, within functions and for type checkers too."""
    path = known[name]
    folder = path.relative_to(PACKAGE).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            place = [*folder[: len(folder) + 1 - node.level], *(node.module or "").split(".")]
            dotted = ".".join(part for part in place if part)
            named = [f"{dotted}.{alias.name}".strip(".") for alias in node.names]
            yield from known.keys() & {*named, *([dotted] if node.module else [])}


def test_architecture_lists_every_module_and_each_imports_only_from_below_itself():
    house, known = [row[0] for row in table(read("LAMBDA_ADAPTER_ARCHITECTURE.md"), "module")], modules()
    assert sorted(house) == sorted(known)
    links = [(module, imported) for module in house for imported in imports_of(module, known)]
    assert len(links) > len(house), "the scan found next to nothing"
    for module, imported in links:
        assert house.index(imported) > house.index(module), f"{module} imports {imported}"


def test_architecture_says_what_concern_each_folder_of_ours_is():
    folders = {row[0] for row in table(read("LAMBDA_ADAPTER_ARCHITECTURE.md"), "folder")}
    assert folders == {path.parent.name for path in PACKAGE.glob("_*/__init__.py")}


def test_changelog_has_what_is_unreleased_and_then_the_version_of_setup_cfg():
    config = configparser.ConfigParser()
    config.read(PROJECT / "setup.cfg", encoding="utf-8")
    first, *versions = re.findall(r"^## (.*)$", read("CHANGELOG.md"), re.MULTILINE)
    assert first == "[Unreleased]"
    assert versions[0].startswith(f"[{config['metadata']['version']}] - ")
    assert versions[-1] == "[1.0.0] - 2026-11-23"
    for version in versions:
        assert re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d{2}-\d{2}", version)


PUBLIC = "`lambda_adapter`, `lambda_adapter.errors`, `lambda_adapter.local`, `lambda_adapter.testing`"


@pytest.mark.parametrize("document", ["LAMBDA_ADAPTER_USAGE.md", "CHANGELOG.md"])
def test_what_is_public_is_said(document):
    assert f"{PUBLIC} and the command line are public" in read(document).replace("\n", " ")


# --- How to work here ---

CONTRIBUTING = read("CONTRIBUTING.md")
MAKEFILE = read("Makefile")


def targets(text):
    """Makefile's targets, each with its commands."""
    rules = re.findall(r"^([a-z]+):.*\n((?:\t.*\n)+)", text, re.MULTILINE)
    return dict(rules)


def test_contributing_names_each_target_of_the_makefile():
    documented = [row[0].replace("make ", "") for row in table(CONTRIBUTING, "command")]
    assert documented == list(targets(MAKEFILE))


def test_contributing_fits_on_two_screens():
    """A screen has 60 lines."""
    assert len(CONTRIBUTING.splitlines()) <= 120


def test_the_ci_calls_the_makefile_where_it_does_the_same():
    called = set(re.findall(r"(?:\bmake|\btools) ([a-z]+)", (PROJECT / ".ci/run").read_text(encoding="utf-8")))
    assert called >= {"setup", "quick", "slow", "lint", "types", "build"}
    assert called <= set(targets(MAKEFILE))


def test_commit_hooks_run_targets_of_the_makefile_and_fetch_nothing():
    hooks = read(".pre-commit-config.yaml")
    assert re.findall(r"repo: (.*)", hooks) == ["local"]
    assert set(re.findall(r"language: (.*)", hooks)) == {"system"}
    entries = re.findall(r"entry: (.*)", hooks)
    assert entries
    assert all(entry.split()[0] == "make" and entry.split()[1] in targets(MAKEFILE) for entry in entries)


def test_contributing_maps_every_folder_of_the_tests():
    documented = {row[0] for row in table(CONTRIBUTING, "folder")}
    folders = {f"tests/{path.name}" for path in (PROJECT / "tests").iterdir() if any(path.glob("*.py"))}
    assert documented == folders


def located(path):
    """Where a file of the project is; the package may be an installed one."""
    return (PACKAGE.parent if path.startswith("lambda_adapter/") else PROJECT) / path


def test_contributing_names_files_that_exist():
    """Paths into the package and the tools; the map of the tests has a test of its own."""
    named = re.findall(r"`((?:lambda_adapter|benchmarks|tests|\.ci)/[\w/.]+)`", CONTRIBUTING)
    assert len(named) > 5
    for path in named:
        assert located(path).exists(), path


def test_contributing_finds_its_names_where_it_says():
    """`a_name` in `a/path.py`: the file has the name."""
    text = CONTRIBUTING.replace("\n", " ")
    named = re.findall(r"`([\w.]+)`(?: and `([\w.]+)`)? in\s+`([\w/]+\.py)`", text)
    assert len(named) > 5
    for *names, path in named:
        source = ((PACKAGE.parent if path.startswith("lambda_adapter/") else PROJECT) / path).read_text(
            encoding="utf-8"
        )
        for name in filter(None, names):
            assert re.search(rf"\b{name.split('.')[-1]}\b", source), f"{name} in {path}"


@pytest.mark.parametrize("path", ["Makefile", ".pre-commit-config.yaml", "CONTRIBUTING.md"])
def test_what_contributors_need_is_in_the_sdist(path):
    """setuptools reads MANIFEST.in: ``include`` takes patterns."""
    included = re.findall(r"^include (.*)$", read("MANIFEST.in"), re.MULTILINE)
    patterns = [pattern for line in included for pattern in line.split()]
    assert any(pathlib.PurePath(path).match(pattern) for pattern in patterns)
