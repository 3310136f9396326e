"""Handlers that `serve` and `invoke --local` load from files: whose modules they get, and where their words go."""

import base64
import contextlib
import json
import logging
import queue
import re
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from lambda_adapter import LambdaAdapter, LocalLambda
from lambda_adapter.cli.handler_files import load_anew, load_handler
from lambda_adapter.cli.handler_output import traceback_of
from lambda_adapter.cli.options import UsageError
from lambda_adapter.local.emulator import observed
from support.commands import start, wait_until

APP = """
import util, {also}
from util import NAME
def handler(event, context):
    import lazy
    return [util.NAME, NAME, lazy.NAME, util.__name__.rpartition(".")[2]]
"""


def write(folder, **files):
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return f"{folder / 'app.py'}:handler"


def function(folder, also="json"):
    name = folder.name
    return write(folder, app=APP.format(also=also), util=f"NAME = {name!r}", lazy=f"NAME = {name!r}")


def test_each_folder_has_its_own_modules_and_shares_what_is_installed(tmp_path):
    path, modules = list(sys.path), set(sys.modules)
    dice, shop = load_handler(function(tmp_path / "dice")), load_handler(function(tmp_path / "shop"))
    assert dice({}, None) == ["dice", "dice", "dice", "util"]
    assert shop({}, None) == ["shop", "shop", "shop", "util"]
    assert dice.__globals__["json"] is shop.__globals__["json"] is json
    assert sys.path == path
    assert not {"util", "lazy", "app"} & (set(sys.modules) - modules)


@pytest.mark.parametrize("load", [load_handler, load_anew])
def test_a_handler_reads_its_name_and_folder_as_on_lambda(tmp_path, load):
    write(
        tmp_path / "dice",
        app="import os\ndef handler(event, context): return [os.environ['_HANDLER'], os.environ['LAMBDA_TASK_ROOT']]\n",
    )
    handler = load(f"{tmp_path / 'dice' / 'app.py'}:handler")
    with LocalLambda({"dice": handler}) as local:
        request = urllib.request.Request(f"{local.endpoint_url}/2015-03-31/functions/dice/invocations", b"{}")
        with urllib.request.urlopen(request) as answer:
            assert json.load(answer) == ["app.handler", str(tmp_path / "dice")]


def test_two_handlers_of_a_folder_share_its_modules(tmp_path):
    place = function(tmp_path / "dice").rpartition(":")[0]
    one, other = load_handler(f"{place}:handler"), load_handler(f"{place}:util.__class__")
    assert one.__globals__["util"].__class__ is other


def test_a_folder_laid_out_as_sam_does_works(tmp_path):
    folder = tmp_path / "hello_world"
    write(
        folder / "",
        __init__="",
        app="from parts.words import WORD\nimport parts.words\nfrom . import more\n"
        "def handler(event, context): return WORD + parts.words.WORD + more.WORD",
    )
    write(folder / "parts", __init__="", words="from .sounds import SOUND\nWORD = SOUND + 'o'", sounds="SOUND = 'hell'")
    write(folder, more="WORD = '!'")
    assert load_handler(f"{folder / 'app.py'}:handler")({}, None) == "hellohello!"


def test_a_package_without_init_counts_after_what_is_installed(tmp_path):
    folder = tmp_path / "dice"
    write(folder, app="import json, own.words\ndef handler(event, context): return json.dumps(own.words.WORD)")
    write(folder / "json", decoder="raise AssertionError")
    write(folder / "own", words="WORD = 1")
    assert load_handler(f"{folder / 'app.py'}:handler")({}, None) == "1"


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("nowhere.py:handler", "nowhere.py does not import: FileNotFoundError: no such file"),
        ("app.py:nothing", "app.py has no nothing"),
        ("app.py:util", r"app.py:util is module, and no function"),
        ("app.py", "app.py is no handler; it must be module:handler or path.py:handler"),
        ("broken.py:handler", "broken.py does not import: SyntaxError: "),
        ("leaves.py:handler", "leaves.py does not import: SystemExit: 3"),
        ("needs.py:handler", "needs.py does not import: ModuleNotFoundError: No module named 'that_nobody_has'"),
    ],
)
@pytest.mark.parametrize("load", [load_handler, load_anew])
def test_what_is_no_handler_is_said(tmp_path, monkeypatch, load, spec, told):
    function(tmp_path / "dice")
    write(tmp_path / "dice", broken="def", leaves="raise SystemExit(3)", needs="import that_nobody_has")
    monkeypatch.chdir(tmp_path / "dice")
    with pytest.raises(UsageError, match=re.escape(told)):
        load(spec)


def test_with_reload_what_was_saved_is_served(tmp_path):
    folder = tmp_path / "dice"
    handler = load_anew(function(folder))
    first = handler({}, None)
    write(folder, util="NAME = 'DICE'")
    assert handler({}, None) == ["DICE", "DICE", "dice", "util"]
    # It was loaded by the handler as it ran.
    write(folder, lazy="NAME = 'lazy'")
    assert handler({}, None) == ["DICE", "DICE", "lazy", "util"]
    for broken in ("NAME = ", "raise OSError"):
        write(folder, util=broken)
        for _ in range(2):
            with pytest.raises(Exception, match=r"^$|invalid syntax"):
                handler({}, None)
    write(folder, util="NAME = 'dice'", lazy="NAME = 'dice'")
    assert handler({}, None) == first
    kept = handler.__wrapped__.__globals__["util"]
    assert handler({}, None) == first
    assert kept.NAME == "dice"


def invoke(local, name="dice"):
    """What a caller is told."""
    request = urllib.request.Request(f"{local.endpoint_url}/2015-03-31/functions/{name}/invocations", b"{}")
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def handler_of(util="", body="return util.__name__[-4:]"):
    return {"app": f"import util\n\n\ndef handler(event, context):\n    {body}\n", "util": util}


@pytest.mark.parametrize(
    ("saved", "error_type", "message", "stack"),
    [
        pytest.param(
            {"util": "import nobody_has_it"},
            "Runtime.ImportModuleError",
            "Unable to import module 'app': No module named 'nobody_has_it'",
            ["app.py:1", "util.py:1"],
            id="a module is missing",
        ),
        pytest.param(
            {"util": "from app import nothing"},
            "Runtime.ImportModuleError",
            "Unable to import module 'app': cannot import name 'nothing' from partially initialized module 'app' ",
            ["app.py:1", "util.py:1"],
            id="a name is missing",
        ),
        pytest.param(
            {"util": "\nNAME = "},
            "Runtime.UserCodeSyntaxError",
            "Syntax error in module 'app': invalid syntax (util.py, line 2)",
            ["app.py:1"],
            id="no Python",
        ),
        pytest.param(
            {"app": "def handler_(event, context): pass"},
            "Runtime.HandlerNotFound",
            "PLACE has no handler",
            [],
            id="no handler",
        ),
        pytest.param(
            {"app": "handler = 3"},
            "Runtime.HandlerNotFound",
            "PLACE:handler is int, and no function",
            [],
            id="no function",
        ),
        pytest.param(
            {"app": "async def handler(event, context): pass"},
            "Runtime.MarshalError",
            "PLACE:handler is an async function, which AWS's Python runtime calls but does not await; ",
            [],
            id="an async function",
        ),
        pytest.param(
            {"util": "raise OSError('no table')"}, "OSError", "no table", ["app.py:1", "util.py:1"], id="an error"
        ),
        pytest.param(
            {**handler_of(body="import late"), "late": "raise ValueError('late')"},
            "ValueError",
            "late",
            ["app.py:5", "late.py:1"],
            id="an error of the handler's",
        ),
    ],
)
def test_with_reload_what_does_not_import_is_told_as_on_aws_without_our_frames(
    saved, error_type, message, stack, tmp_path
):
    place = write(tmp_path / "dice", **handler_of())
    with LocalLambda({"dice": load_anew(place)}) as local:
        assert invoke(local) == "util"
        write(tmp_path / "dice", **saved)
        error = invoke(local)
        write(tmp_path / "dice", **handler_of("# mended"))
        assert invoke(local) == "util"
    assert error["errorType"] == error_type
    assert error["errorMessage"].startswith(message.replace("PLACE", place.rpartition(":")[0]))
    assert "lambda_folder" not in error["errorMessage"]
    assert [re.sub(r'(?s).*[\\/](\w+\.py)", line (\d+),.*', r"\1:\2", frame) for frame in error["stackTrace"]] == stack


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("handler = 3", r"dice: Runtime\.HandlerNotFound: .*app\.py:handler is int, and no function\n"),
        ("def handler(*_): return {1, 2}", r"dice: Runtime\.MarshalError: Unable to marshal response: .*\n"),
        ("def handler(*_): raise OSError", r"dice: Traceback \(most recent call last\):\n[^$]*\nOSError\n"),
        ("def handler(*_): return 3", ""),
    ],
    ids=["no handler", "no JSON", "an error", "no failure"],
)
def test_why_a_handler_has_no_result_is_said_where_it_raised_nothing_too(tmp_path, text, told):
    seen = queue.SimpleQueue()
    handler = load_anew(write(tmp_path / "dice", **handler_of()))
    with observed({"dice": handler}, seen.put) as local:
        write(tmp_path / "dice", app=text)
        invoke(local)
    assert re.fullmatch(told, traceback_of(seen.get(timeout=10)))


def test_with_reload_a_file_that_was_deleted_is_said(tmp_path):
    place = write(tmp_path / "dice", **handler_of())
    with LocalLambda({"dice": load_anew(place)}) as local:
        (tmp_path / "dice" / "app.py").unlink()
        error = invoke(local)
    assert error["errorType"] == "Runtime.ImportModuleError"
    assert error["errorMessage"] == f"Unable to import {place.rpartition(':')[0]}: no such file"
    assert error["stackTrace"] == []


@pytest.mark.parametrize("text", ["async def handler(event, context): pass", "async def handler(*_): yield"])
def test_with_reload_an_async_handler_is_refused_at_the_start_too(tmp_path, text):
    handler = load_anew(write(tmp_path / "dice", app=text))
    with pytest.raises(ValueError, match="functions: 'dice' is an async function"):
        LocalLambda({"dice": handler})


def test_without_reload_nothing_is_loaded_again(tmp_path):
    handler = load_handler(function(tmp_path / "dice"))
    first = handler({}, None)
    write(tmp_path / "dice", util="NAME = 'other'")
    assert handler({}, None) == first


def test_what_a_handler_prints_is_on_stderr_and_so_is_where_it_raised(tmp_path):
    write(
        tmp_path / "loud",
        app="print('imported')\n"
        "def handler(event, context):\n"
        "    print('said')\n"
        "    if event['trigger']['context_text']: raise KeyError('no such dice')\n"
        "    return {'success': True}\n",
    )
    for more, code in (([], 0), (["boom"], 1)):
        process = start("invoke", "loud", "--local", tmp_path / "loud" / "app.py:handler", "--command", "x", *more)
        out, err = process.communicate(timeout=30)
        assert process.returncode == code
        assert json.loads(out)["success"] is (code == 0)
        assert err.startswith("imported\nsaid\n")
        assert ("loud: Traceback (most recent call last):\n" in err) is (code == 1)
        assert (", in handler\n" in err and "\nKeyError: 'no such dice'\n" in err) is (code == 1)


def test_serve_keeps_handlers_words_and_tracebacks_off_stdout(tmp_path, make_request):
    write(tmp_path / "loud", app="def handler(event, context):\n    print('said')\n    raise KeyError('x')\n")
    with (tmp_path / "out").open("w+") as out, (tmp_path / "err").open("w+") as err:
        place = tmp_path / "loud" / "app.py:handler"
        with contextlib.ExitStack() as stack:
            process = stack.enter_context(start("serve", f"loud={place}", "--reload", stdout=out, stderr=err))
            stack.callback(process.kill)
            wait_until(lambda: "endpoint_url" in (tmp_path / "out").read_text(), process)
            url = re.search(r"http://127\.0\.0\.1:\d+", (tmp_path / "out").read_text())[0]
            with LambdaAdapter(
                "loud", "us-east-1", "m", endpoint_url=url, aws_access_key_id="a", aws_secret_access_key="b"
            ) as adapter:
                assert adapter.execute(make_request()).error_code == "function_error"
            with pytest.raises(urllib.error.HTTPError) as refusal:
                urllib.request.urlopen(f"{url}/2015-03-31/functions/")
            refusal.value.close()
            wait_until(lambda: "refused a request" in (tmp_path / "err").read_text(), process)
            wait_until(lambda: "failed: KeyError" in (tmp_path / "out").read_text(), process)
    assert "said" not in (tmp_path / "out").read_text()
    told = (tmp_path / "err").read_text()
    assert "said\n" in told
    assert "loud: Traceback (most recent call last):\n" in told
    assert "LocalLambda refused a request: cause=GET /2015-03-31/functions/: LocalLambda serves Invoke and" in told


# -- Browsers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:3000"}, 403),
        ({"Host": "rebound.example"}, 403),
        ({"Host": "rebound.example:9001"}, 403),
        ({"Host": "127.0.0.1.rebound.example"}, 403),
        ({"Host": "localhost"}, 200),
        ({"Host": "[::1]:9001"}, 200),
        ({"Host": "lambda.localhost:9001"}, 200),
        ({"Host": "App.Localhost"}, 200),
        ({"Host": "localhost.example"}, 403),
        ({"Host": "["}, 403),
        ({"Host": "evil.example#.localhost"}, 403),
        ({"Host": "host.docker.internal:9001"}, 200),
        ({"Host": "host.containers.internal"}, 200),
        ({"Host": "not.host.docker.internal"}, 403),
        ({}, 200),
    ],
)
def test_a_page_in_a_browser_cannot_run_a_function(headers, status, caplog):
    ran = []
    with LocalLambda({"f": lambda *_: ran.append(1)}) as local:
        request = urllib.request.Request(
            f"{local.endpoint_url}/2015-03-31/functions/f/invocations", b"{}", headers=headers
        )
        with caplog.at_level(logging.WARNING, "lambda_adapter"), contextlib.ExitStack() as stack:
            try:
                answer = stack.enter_context(urllib.request.urlopen(request))
            except urllib.error.HTTPError as error:
                answer = stack.enter_context(error)
            assert answer.status == status
    assert ran == ([1] if status == 200 else [])
    assert [record.levelname for record in caplog.records] == ([] if status == 200 else ["WARNING"])


@pytest.mark.parametrize("command", ["serve", "invoke"])
def test_what_a_handler_prints_is_in_its_log_once(tmp_path, command):
    write(
        tmp_path / "loud",
        app="import logging, sys\n"
        "def handler(event, context):\n"
        "    print('to stdout')\n"
        "    print('to stderr', file=sys.stderr)\n"
        "    logging.warning('logged')\n"
        "    return {'success': True}\n",
    )
    handler = f"loud={tmp_path / 'loud' / 'app.py:handler'}"
    if command == "invoke":
        process = start("invoke", "loud", "--local", handler.partition("=")[2], "--command", "x", "--log-tail")
        out, err = process.communicate(timeout=30)
        log = json.loads(out)["invocation"]["log_tail"]
    else:
        with contextlib.ExitStack() as stack:
            written = stack.enter_context((tmp_path / "err").open("w"))
            process = stack.enter_context(start("serve", handler, stdout=subprocess.PIPE, stderr=written))
            stack.callback(process.kill)
            url = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())[0]
            request = urllib.request.Request(
                f"{url}/2015-03-31/functions/loud/invocations", b"{}", headers={"X-Amz-Log-Type": "Tail"}
            )
            with urllib.request.urlopen(request) as answer:
                log = base64.b64decode(answer.headers["X-Amz-Log-Result"]).decode()
        err = (tmp_path / "err").read_text()
    begin, *lines, end, _, _ = log.split("\n")
    assert begin.startswith("START RequestId: ")
    assert end.startswith("END RequestId: ")
    assert lines[:2] == ["to stdout", "to stderr"]
    assert [re.sub(r"\t.*\t", "\t", line) for line in lines[2:]] == ["[WARNING]\tlogged"]
    assert [err.count(text) for text in ("to stdout", "to stderr", "logged")] == [1, 1, 1]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
@pytest.mark.parametrize("path", ["/", "/2015-03-31/functions/", "/bucket/key", "/2015-03-31/functions/f/policy"])
def test_any_other_api_call_is_told_what_is_served(method, path, caplog):
    with LocalLambda({"f": lambda *_: None}) as local:
        request = urllib.request.Request(local.endpoint_url + path, method=method)
        with pytest.raises(urllib.error.HTTPError) as refusal, urllib.request.urlopen(request):
            pass
        with refusal.value as answer:
            assert answer.status == 404
            assert answer.headers["x-amzn-ErrorType"] == "UnknownOperationException"
            assert "LocalLambda serves Invoke and InvokeWithResponseStream" in answer.read().decode()
    # A caller may show nothing of it.
    assert [f"cause={method} {path}" in told for told in caplog.messages] == [True]


def test_a_flag_before_a_handler_is_no_word_of_it():
    process = start("serve", "--durable", "report", stdout=subprocess.PIPE)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "report is no handler; it must be module:handler or path.py:handler" in err
