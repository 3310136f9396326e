"""The documents: their code runs, their tables and examples are what the package does, their links lead somewhere."""

import ast
import configparser
import inspect
import json
import logging
import os
import pathlib
import re
import shlex
import subprocess
import sys
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
    ExecuteRequest,
    ExecuteResponse,
    Invocation,
    LambdaAdapter,
    LocalLambda,
    Report,
    errors,
    testing,
)
from lambda_adapter._rules.validation import function_name
from lambda_adapter.codes import CODES

PROJECT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = pathlib.Path(lambda_adapter.__file__).resolve().parent
DOCUMENTS = ["README.md", "LAMBDA_ADAPTER_USAGE.md", "LAMBDA_ADAPTER_ARCHITECTURE.md", "CHANGELOG.md"]


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


@pytest.mark.parametrize("document", DOCUMENTS[:3])
def test_code_blocks_run_and_print_what_their_comments_say(document, capsys):
    examples = list(Sybil([PythonCodeBlockParser()]).parse(PROJECT / document).examples())
    assert len(examples) == len(re.findall(r"^ *```python$", read(document), re.MULTILINE)) > 0
    namespace = examples[0].namespace
    level = {name: logging.getLogger(name).level for name in ("botocore", "lambda_adapter")}
    try:
        for example in examples:
            example.evaluate()
            expected = re.findall(r"^ *print\(.*\)  # (.*)$", str(example.parsed), re.MULTILINE)
            assert capsys.readouterr().out.splitlines() == expected, f"{document}, line {example.line}"
    finally:
        if BotocoreInstrumentor().is_instrumented_by_opentelemetry:  # a block failed that comes before its end
            BotocoreInstrumentor().uninstrument()
        for name, before in level.items():
            logging.getLogger(name).setLevel(before)
        for held in namespace.values():
            if isinstance(held, (LambdaAdapter, LocalLambda)):
                held.close()


@pytest.fixture
def shell(tmp_path):
    """Runs the command line's examples, with the file that the text has made, as a user's shell does."""
    (source,) = blocks(section(USAGE, "## Command line"), "python")
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
    invoke, session = blocks(section(USAGE, "## Command line"), "bash")
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


# --- Links ---


def anchors(text):
    """GitHub's anchors of a document's headings."""
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)]+)\)", read(document)):
        if not target.startswith("https://"):
            path, _, anchor = target.partition("#")
            assert (PROJECT / (path or document)).is_file(), target
            assert not anchor or anchor in anchors(read(path or document)), target


def test_usage_contents_list_every_section():
    listed = re.findall(r"^- \[.*\]\(#(.*)\)$", USAGE, re.MULTILINE)
    assert listed == [
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^## (.*)$", USAGE, re.MULTILINE)
    ]


# --- Parameters ---

PARAMETERS = inspect.signature(LambdaAdapter).parameters


def parameter_rows():
    return table(section(USAGE, "## Parameters"), "parameter")


def test_parameter_table_names_the_parameters_in_order_with_their_defaults():
    documented = {
        name: inspect.Parameter.empty if default == "required" else ast.literal_eval(default)
        for name, default, *_ in parameter_rows()
    }
    actual = {name: parameter.default for name, parameter in PARAMETERS.items()}
    assert list(documented.items()) == list(actual.items())


def test_keyword_only_parameters_are_those_that_the_text_says():
    last = re.search(r"Those after `(\w+)` are keyword-only", USAGE)[1]
    names = list(PARAMETERS)
    keyword_only = [name for name in names if PARAMETERS[name].kind is inspect.Parameter.KEYWORD_ONLY]
    assert names[names.index(last) + 1 :] == keyword_only


NUMERIC = [(name, limits) for name, _, limits, _ in parameter_rows() if re.match(r"(over |from )?\d", limits)]


@pytest.mark.parametrize(("name", "limits"), NUMERIC, ids=[name for name, _ in NUMERIC])
def test_ranges_in_the_parameter_table_are_the_limits(name, limits):
    over, least, most = re.fullmatch(r"(?:(over) |from )?([\d,]+)(?: to ([\d,]+))?", limits).groups()
    least, most = int(least), int(most.replace(",", "")) if most else None
    good = [least + 1 if over else least] + ([most] if most else [])
    bad = [least if over else least - 1] + ([most + 1] if most else [])
    client = SimpleNamespace(invoke=print)
    for value in good:
        LambdaAdapter("function", "us-east-1", "module", client=client, **{name: value}).close()
    for value in bad:
        with pytest.raises(ValueError, match=name):
            LambdaAdapter("function", "us-east-1", "module", client=client, **{name: value})


def test_all_parameters_with_a_number_have_their_range_tested():
    numbers = {
        n for n, p in PARAMETERS.items() if isinstance(p.default, (int, float)) and p.default not in (True, False)
    }
    assert {name for name, _ in NUMERIC} == numbers | {
        "jitter",
        "total_timeout",
        "max_pending",
        "max_pending_per_community",
    }


# --- Requests and responses ---


def in_order(value):
    """A JSON value in which the order of keys counts."""
    return json.dumps(value)


def usage_request():
    source = next(block for block in blocks(USAGE, "python") if block.startswith("full_request ="))
    namespace = {"ExecuteRequest": ExecuteRequest}
    exec(source, namespace)
    return namespace["full_request"]


def exchange(make_adapter, answer, request):
    """Has a function answer; returns the response and the payload that the function got."""
    with LocalLambda({"function": lambda event, context: answer}) as local:
        response = make_adapter(endpoint_url=local.endpoint_url).execute(request)
        return response, local.calls[0].payload


def test_the_payload_in_the_text_is_what_its_request_sends(make_adapter):
    (documented,) = map(json.loads, blocks(section(USAGE, "## Requests"), "json"))
    _, sent = exchange(make_adapter, {"success": True}, usage_request())
    assert len(sent["timestamp"]) == len(documented["timestamp"])
    sent["timestamp"] = documented["timestamp"]
    assert in_order(sent) == in_order(documented)


def test_the_table_of_silent_metadata_is_what_an_empty_one_sends(make_adapter, make_request):
    request = make_request()
    _, sent = exchange(make_adapter, {"success": True}, request)
    for path, documented in table(section(USAGE, "## Requests"), "path in `metadata`"):
        part, key = path.split(".")
        field = re.fullmatch(r"the request's `(\w+)", documented)
        expected = getattr(request, field[1]) if field else json.loads(documented)
        assert sent[part][key] == expected, path


def test_the_answer_in_the_text_keeps_every_key(make_adapter, make_request):
    (documented,) = map(json.loads, blocks(section(USAGE, "## Responses"), "json"))
    response, _ = exchange(make_adapter, documented, make_request())
    assert response.success is True
    assert response.message == "Operation completed"
    assert response.targets == [{"type": "discord"}, {"type": "twitch"}]
    assert {"success": True, "message": response.message, **response.data} == documented


@pytest.mark.parametrize(
    "kind", [ExecuteRequest, ExecuteResponse, Invocation, Report, Attempt], ids=lambda kind: kind.__name__
)
def test_attribute_tables_name_the_fields_in_order(kind):
    documented = [row[0] for row in table(USAGE, f"attribute of {kind.__name__}")]
    assert documented == [field.name for field in attrs.fields(kind)]


def test_health_and_info_keys_are_those_in_the_text(make_adapter):
    adapter = make_adapter()
    assert [row[0] for row in table(section(USAGE, "## Health"), "key")] == list(adapter.get_health_status())
    sentence = re.search(r"`get_module_info\(\)` has the keys ([^.]*)\.", USAGE)[1]
    assert re.findall(r"`(\w+)`", sentence) == list(adapter.get_module_info())


# --- Error codes ---


def test_error_code_table_is_the_one_in_the_code():
    """Whether a service_error or a configuration_error is retried is a matter of its cause; USAGE may say so."""
    rows = table(section(USAGE, "## Error codes"), "error_code")
    assert [row[0] for row in rows] == list(CODES)
    for error_code, _, executed, health, retried, _ in rows:
        code = CODES[error_code]
        assert set(executed.split(" / ")) == set(code.executed), error_code
        assert health == ("failure" if code.counts else "–"), error_code
        said = {{"no": "yes"}.get(executed, "if idempotent") for executed in code.executed if code.transient}
        said -= {"yes"} if error_code == "timeout" else set()  # before the first attempt the time is up for good
        assert said <= set(retried.split(" / ")) <= {*said, "no"}, error_code


# --- IAM, logging, installation ---


def test_iam_policy_has_one_action_and_arns_that_can_exist():
    (policy,) = map(json.loads, blocks(section(USAGE, "## IAM policy"), "json"))
    (statement,) = policy["Statement"]
    assert statement["Action"] == ["lambda:InvokeFunction"]
    for arn in statement["Resource"]:
        name = arn.replace("*", "roll")
        assert function_name(name, None, "us-east-1") == name


def test_an_arn_with_fewer_than_12_digits_is_refused():
    with pytest.raises(ValueError, match="function_identifier"):
        LambdaAdapter("arn:aws:lambda:us-east-1:123456789:function:my-function", "us-east-1", "module")


def test_log_lines_begin_as_the_table_says():
    documented = {(level, begin) for level, begin, _ in table(section(USAGE, "## Logging"), "level")}
    # The test kit has a logger of its own.
    modules = [module for module in PACKAGE.rglob("*.py") if "testing" not in module.parts]
    text = "".join(module.read_text(encoding="utf-8") for module in modules)
    for _, begin in documented:
        assert f'"{begin}' in text, begin
    assert len(re.findall(r"\blogger\.(?:info|warning|error|log)\(", text)) == len(documented) - 2, (
        "one call of logger.log writes three of the lines"
    )


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


@pytest.mark.parametrize("name", THINGS)
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


def test_changelog_begins_with_the_version_of_setup_cfg():
    config = configparser.ConfigParser()
    config.read(PROJECT / "setup.cfg", encoding="utf-8")
    versions = re.findall(r"^## \[(\S+)\] - (\d{4}-\d{2}-\d{2})$", read("CHANGELOG.md"), re.MULTILINE)
    assert versions[0][0] == config["metadata"]["version"]
    assert versions[-1] == ("1.0.0", "2026-11-23")
