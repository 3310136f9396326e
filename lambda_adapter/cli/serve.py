"""``serve``: LocalLambda in the foreground, with a line for each invocation."""

import argparse
import contextlib
import json
import logging
import queue
import sys
import time
from typing import Any, Callable, Dict, Mapping

from .._text.redaction import shown, shown_type
from ..local import Handler
from ..local.emulator import Observation, observed
from .handler_files import default_name, load_anew, load_handler
from .handler_output import handlers_print_to_stderr, traceback_of
from .options import UsageError, examples, reason, to_option, told_as_options
from .output import put, tell

_DESCRIPTION = """\
Serve Python handlers through AWS's Invoke API on 127.0.0.1, for bots under
development in any language. Each invocation prints a line: the time, the request
id, how long it took, the function, what became of it. Where a handler raised, and
what it prints, goes to stderr. Ctrl-C ends it.

Each handler has the modules of its own folder, as each function on AWS has its own
code: that of path.py is where the file is, that of module where you are.

The function has the handler's name; or its module's, if the handler is called
handler or lambda_handler; or NAME.
"""
_EPILOG = examples(
    "lambda-adapter serve weather.py:handler music=bot.modules:play --port 9001",
    "lambda-adapter serve dice=dice/app.py:handler shop=shop/app.py:handler --reload",
    "lambda-adapter serve weather.py:handler --concurrency-limit 1",
)
_REGION = "us-east-1"
#: LocalLambda's parameters: how they are read, shown and described.
_SETTINGS: Mapping[str, Any] = {
    "port": (int, "N", "TCP port. Default: a free one."),
    "region": (str, "REGION", f"The region of the functions' ARNs. Default: {_REGION}."),
    "timeout": (float, "X", "Seconds that a handler may run, up to 1800. Default: 25."),
    "memory_mb": (int, "N", "What handlers are told of their memory, 128 to 32768. Default: 128."),
    "concurrency_limit": (int, "N", "Invocations that may run at once; one more is throttled. Default: any number."),
    "retry_after": (int, "N", "Seconds after which a throttled caller may come again. Default: 1."),
}
#: On Windows Ctrl-C does not end a wait; it is noticed after it.
_POLL_S = 1.0


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "serve",
        help="serve handlers on this machine",
        usage="lambda-adapter serve [NAME=]HANDLER [[NAME=]HANDLER ...] [--port N] [options]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    parser.set_defaults(run=run)
    parser.add_argument("handlers", nargs="+", metavar="[NAME=]HANDLER", help="module:handler or path.py:handler.")
    for name, (kind, shown_as, told) in _SETTINGS.items():
        parser.add_argument(to_option(name), type=kind, metavar=shown_as, help=told)
    parser.add_argument(
        "--reload",
        action="store_true",
        help="Import a folder's modules again when one of their files has been saved. One that does not import fails "
        "the calls until it does.",
    )
    parser.add_argument(
        "--durable",
        action="store_true",
        help="The functions were created for durable executions: they must be called with a version or an alias.",
    )


def run(args: argparse.Namespace) -> int:
    with contextlib.redirect_stdout(sys.stderr):  # modules may print as they are imported
        functions = _functions(args.handlers, load_anew if args.reload else load_handler)
    given: Dict[str, Any] = {name: getattr(args, name) for name in _SETTINGS if getattr(args, name) is not None}
    given["durable"] = set(functions) if args.durable else ()
    seen: queue.SimpleQueue[Observation] = queue.SimpleQueue()
    width = max(map(len, functions))
    with told_as_options(_SETTINGS):
        local = observed(functions, seen.put, **given)
    try:
        local.start()
    except OSError as error:
        raise UsageError(f"--port {args.port} cannot be served: {reason(error)}") from None
    refusals = logging.StreamHandler()
    logging.getLogger("lambda_adapter").addHandler(refusals)
    with contextlib.closing(local), handlers_print_to_stderr():
        try:
            _print_settings(local.endpoint_url, functions, args.region or _REGION, args.durable)
            # Printed here, not where it happens: a reader that has gone, or Ctrl-C, is this thread's affair.
            while True:
                with contextlib.suppress(queue.Empty):
                    observation = seen.get(timeout=_POLL_S)
                    put(_line(observation, width))
                    tell(traceback_of(observation), end="")
        except KeyboardInterrupt:
            put("\nStopped.")
        finally:
            logging.getLogger("lambda_adapter").removeHandler(refusals)
    return 0


def _functions(specs: "list[str]", load: Callable[[str], Handler]) -> Dict[str, Handler]:
    functions: Dict[str, Handler] = {}
    for spec in specs:
        name, named, handler = spec.partition("=")
        name, handler = (name, handler) if named else (default_name(spec), spec)
        if name in functions:
            raise UsageError(f"two functions are called {shown(name)}; choose names: NAME={shown(handler)}")
        functions[name] = load(handler)
    return functions


def _print_settings(url: str, functions: Mapping[str, Handler], region: str, durable: bool) -> None:
    module = next(iter(functions))
    function, more = (f"{module}:live", ", durable=True") if durable else (module, "")
    put(
        f"Serving {', '.join(functions)} on {url} until Ctrl-C. To call it, set\n\n"
        f"    export AWS_ENDPOINT_URL_LAMBDA={url} AWS_DEFAULT_REGION={region}\n"
        "    export AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local\n\n"
        "or make the adapter\n\n"
        f'    LambdaAdapter("{function}", "{region}", "{module}", endpoint_url="{url}",\n'
        f'                  aws_access_key_id="local", aws_secret_access_key="local"{more})\n'
    )


def _line(observation: Observation, width: int) -> str:
    """How a request went, and nothing of what was in it."""
    name = shown(observation.function_name, 64)
    clock, took_ms = time.strftime("%H:%M:%S"), observation.duration_s * 1_000
    return f"{clock}  {observation.request_id}  {took_ms:>8,.1f} ms  {name:<{width}}  {_told(observation)}"


def _told(observation: Observation) -> str:
    """What became of an invocation, in a few words."""
    answer, result = observation.answer, observation.result
    if observation.streamed:
        if result is None:
            return "streamed: the caller left"
        return f"streamed, failed: {_error_type(result.body)}" if result.failed else "streamed"
    if answer is None:
        return f"event failed: {_error_type(result.body)}" if result is not None and result.failed else "event done"
    if answer.status >= 300:
        return f"{answer.status} {answer.headers.get('x-amzn-ErrorType', '')}"
    if "X-Amz-Function-Error" in answer.headers:
        return f"failed: {_error_type(answer.body)}"
    return {202: "queued", 204: "checked"}.get(answer.status, "ok")


def _error_type(body: bytes) -> str:
    return shown_type(json.loads(body)["errorType"])
