"""``start``, ``result`` and ``stop``: a call whose answer is fetched later, from wherever."""

import argparse
from typing import Union

from .._rules.limits import MAX_EXECUTION_S
from .._text.redaction import shown
from ..executions import Execution
from ..messages import Id
from .invoke import OF_MANY_CALLS, add_request, json_of, print_response, request_of
from .options import UsageError, add_function, add_settings, examples, make_adapter, settings
from .output import print_json, tell

_START = """\
Begin a call and do not wait for its answer: a durable execution, one for each
session id, however often it is begun. It goes to stdout as JSON, for result and
stop. The function must have been created for durable executions, and be named
with a version or an alias.
"""
_RESULT = """\
Print the response of a call that was begun by start, or by invoke --durable, on
this machine or another; or say, with exit code 1, that it is pending.
"""
_STOP = """\
End a call that was begun by start, or by invoke --durable. One that has ended
stays as it is.
"""
_HELP = {
    "start": (
        "begin a call whose answer is fetched later",
        _START,
        "lambda-adapter start FUNCTION --region REGION --command COMMAND [ARG ...] [options] [-- ARG ...]",
        ("lambda-adapter start report:live --region us-east-1 --command report --session-id july > july.json",),
    ),
    "result": (
        "fetch the answer of a call",
        _RESULT,
        "lambda-adapter result FUNCTION --region REGION (SESSION_ID | --execution FILE|JSON) [--wait X] [options]",
        (
            "lambda-adapter result report:live july --region us-east-1 --wait 600",
            "lambda-adapter result report:live --execution july.json --region us-east-1",
        ),
    ),
    "stop": (
        "end a call",
        _STOP,
        "lambda-adapter stop FUNCTION --region REGION (SESSION_ID | --execution FILE|JSON) [options]",
        ("lambda-adapter stop report:live july --region us-east-1",),
    ),
}
#: What these commands do not leave open: they are about durable executions, and wait as --wait says.
_FIXED = ("durable", "invocation_type", "log_tail", "send_client_context", *OF_MANY_CALLS)


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    for name, run in (("start", run_start), ("result", run_result), ("stop", run_stop)):
        told, description, usage, lines = _HELP[name]
        parser = commands.add_parser(name, help=told, usage=usage, description=description, epilog=examples(*lines))
        parser.set_defaults(run=run)
        add_function(parser)
        if name == "start":
            add_request(parser)
        else:
            parser.add_argument("session_id", nargs="?", metavar="SESSION_ID", help="The session id of the call.")
            parser.add_argument(
                "--execution", metavar="FILE|JSON", help="What start printed: JSON, a file, or - for stdin."
            )
        if name == "result":
            parser.add_argument(
                "--wait", type=float, metavar="X", help="Seconds to wait for the answer. Default: --read-timeout's."
            )
        add_settings(parser, [setting for setting in settings() if setting not in _FIXED])


def run_start(args: argparse.Namespace) -> int:
    request = request_of(args)
    with make_adapter(args, durable=True) as adapter:
        execution = adapter.start(request)
    print_json(execution.to_dict())
    failed = execution.error_code is not None
    told = f"failed: {execution.error_code}" if failed else "begun"
    tell(f"{told} ({adapter.function_name})")
    return int(failed)


def run_result(args: argparse.Namespace) -> int:
    wanted = _wanted(args)
    if args.wait is not None and not 0 <= args.wait <= MAX_EXECUTION_S:
        raise UsageError(f"--wait must be from 0 to {MAX_EXECUTION_S:,} seconds")
    with make_adapter(args, durable=True) as adapter:
        return print_response(adapter.result(wanted, wait=args.wait), adapter.function_name)


def run_stop(args: argparse.Namespace) -> int:
    wanted = _wanted(args)
    with make_adapter(args, durable=True) as adapter:
        return print_response(adapter.stop(wanted), adapter.function_name)


def _wanted(args: argparse.Namespace) -> Union[Execution, Id]:
    """The execution, or the session id, that was named."""
    if (args.session_id is None) == (args.execution is None):
        raise UsageError("one of SESSION_ID and --execution must be given, and not both")
    if args.execution is None:
        session_id: str = args.session_id
        return session_id
    try:
        return Execution.from_dict(json_of("--execution", args.execution))
    except ValueError as error:
        raise UsageError(f"--execution is none that start printed: {shown(error)}") from None
