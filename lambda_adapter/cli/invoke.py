"""``invoke``: one call."""

import argparse
import contextlib
import json
import re
import sys
import uuid
from typing import Any, Dict, Iterator, List, Tuple

from .._rules.limits import MAX_FUNCTION_TIMEOUT_S, MAX_REQUEST_RESPONSE_BYTES
from .._rules.validation import function
from .._text.redaction import shown
from .._wire.payload import EncodedRequest, UnfitRequestError, encode_payload
from ..adapter import LambdaAdapter
from ..local.emulator import Observation, observed
from ..messages import ExecuteRequest, ExecuteResponse
from .handler_files import load_handler
from .handler_output import handlers_print_to_stderr, traceback_of
from .options import (
    TOO_MUCH_JSON,
    UsageError,
    add_function,
    add_settings,
    counted,
    examples,
    make_adapter,
    reason,
    settings,
    to_option,
    told_as_options,
)
from .output import print_json, print_text, tell

_USAGE = """\
lambda-adapter invoke FUNCTION --region REGION --command COMMAND [ARG ...] [options] [-- ARG ...]
       lambda-adapter invoke FUNCTION --region REGION --payload FILE|-|JSON [options]"""
_DESCRIPTION = """\
Call a function once. The response goes to stdout as JSON, indented on a
terminal and on one line in a pipe; how it went goes to stderr. With --stream
the function's text goes to stdout instead, as it is written. With --payload the
function need be no module: its answer goes to stdout instead, whatever JSON it is,
and a failure's cause to stderr.
"""
_EPILOG = examples(
    "lambda-adapter invoke weather --region us-east-1 --command weather Berlin",
    "lambda-adapter invoke weather --local weather.py:handler --command weather Berlin",
    "lambda-adapter invoke greeter --event-type follow --event-data '{\"days\": 3}'",
    "lambda-adapter invoke dice --command roll -- --twice",
    "lambda-adapter invoke talk --local talk.py:handler --command talk --stream",
    "lambda-adapter invoke resize --local resize.py:handler --payload '{\"width\": 80}'",
)

#: Parameters that say how calls get on with each other; this one is alone.
OF_MANY_CALLS = ("max_concurrency", "max_pending", "max_pending_per_community", "unhealthy_threshold")


#: Options that say what a module's request is, or what is made of it; beside --payload they would mean nothing.
_OF_REQUESTS = (
    *("command", "event", "event_type", "event_data", "user_id", "entity_id", "community_id", "session_id"),
    *("platform", "scope", "metadata", "stream", "durable", "forward_metadata", "strict_metadata", "required_scopes"),
    *("enforce_scopes", "isolate_communities", "send_client_context"),
)

#: More than this need not be read: white space beside the JSON counts too, and a byte order mark does not.
_MOST_READ_BYTES = MAX_REQUEST_RESPONSE_BYTES + 4

#: What --payload takes for JSON and for no file's name.
_JSON = re.compile(r"""\s*([{["].*|null|true|false|NaN|-?Infinity|-?[0-9][0-9.eE+-]*\s*)""", re.DOTALL)


def request_defaults() -> Dict[str, Any]:
    """What stands in a request for what nobody said."""
    # A session_id of its own: functions take two requests with the same one for one.
    return {
        "user_id": "cli",
        "entity_id": "cli",
        "community_id": "cli",
        "session_id": f"cli-{uuid.uuid4()}",
        "platform": "cli",
    }


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "invoke", help="call a function once", usage=_USAGE, description=_DESCRIPTION, epilog=_EPILOG
    )
    parser.set_defaults(run=run)
    add_function(parser)
    parser.add_argument(
        "--local",
        metavar="HANDLER",
        help="Call module:handler or path.py:handler on this machine instead, served as FUNCTION. Needs no account.",
    )
    parser.add_argument(
        "--stream",
        action="store_true",
        help="Print the function's text as it is written, and no response.",
    )
    parser.add_argument(
        "--payload",
        metavar="FILE|-|JSON",
        help="Send this JSON as it is, instead of a request; for functions that are no modules. What begins with "
        '{ [ or ", a number, true, false and null are JSON, - is stdin, anything else is a file. '
        "Unless --no-idempotent is given, the call may be retried, as any other.",
    )
    add_request(parser)
    add_settings(parser, [name for name in settings() if name not in OF_MANY_CALLS])
    parser.set_defaults(of_requests={name: parser.get_default(name) for name in _OF_REQUESTS})


def add_request(parser: argparse.ArgumentParser) -> None:
    """Add the options of which a request is made."""
    request = parser.add_argument_group("request")
    request.add_argument(
        "--command",
        nargs="+",
        metavar=("COMMAND", "ARG"),
        help="The command and its arguments; those that begin with a dash go to the end, after --.",
    )
    request.add_argument(
        "--event",
        action="store_true",
        help="Send an event, not a command: sets is_event in the metadata, and so trigger.type in the payload. "
        "(To queue the call and not wait for its answer: --invocation-type Event.)",
    )
    request.add_argument("--event-type", metavar="TYPE", help="The event's type; implies --event.")
    request.add_argument("--event-data", metavar="FILE|JSON", help="The event's data; implies --event.")
    for name in request_defaults():
        told = "Default: new for each call." if name == "session_id" else "Default: cli."
        request.add_argument(to_option(name), metavar=name.rpartition("_")[2].upper(), help=told)
    request.add_argument("--scope", action="append", default=[], help="A permission of the caller. May be repeated.")
    request.add_argument(
        "--metadata", metavar="FILE|JSON", help="An object: what begins with { is JSON, - is stdin, else it is a file."
    )


def run(args: argparse.Namespace) -> int:
    if args.payload is not None:
        return _run_payload(args)
    request = request_of(args)
    with contextlib.ExitStack() as stack:
        fixed = stack.enter_context(_served(args)) if args.local else {}
        adapter = stack.enter_context(make_adapter(args, **fixed))
        response = _streamed(adapter, request) if args.stream else adapter.execute(request)
    return print_response(response, adapter.function_name, printed=args.stream)


def _run_payload(args: argparse.Namespace) -> int:
    for name, default in args.of_requests.items():
        if getattr(args, name) != default:
            option = to_option(f"no_{name}" if default is True else name)
            raise UsageError(f"--payload goes without {option}: it is sent as it is")
    if args.more:
        raise UsageError("--payload goes without arguments after --: it is sent as it is")
    encoded = _payload_of(args.payload)
    with contextlib.ExitStack() as stack:
        fixed = stack.enter_context(_served(args)) if args.local else {}
        adapter = stack.enter_context(make_adapter(args, **fixed))
        response = adapter._invoke_payload(encoded)
    if response.error_code == "payload_too_large" and not response.invocation.attempts:
        raise UsageError(f"--payload is too large: {(response.error or '').partition(': ')[2]}")
    if response.success and adapter.invocation_type == "RequestResponse":
        print_json(json.loads(response.message or "null"))
    return print_response(response, adapter.function_name, printed=True)


def print_response(response: ExecuteResponse, function_name: str, printed: bool = False) -> int:
    """Print a response, if its text was not printed by itself, and how it went; return the exit code."""
    try:
        if not printed:
            print_json(response.to_dict())
    except BrokenPipeError:
        _tell_how(response, function_name, printed)
        raise
    _tell_how(response, function_name, printed)
    return 0 if response.success else 1


def _tell_how(response: ExecuteResponse, function_name: str, printed: bool) -> None:
    """Say on stderr how a call went; why it failed, too, where no response says it."""
    how = response.invocation
    for line in (how.log_tail or "").splitlines() if printed else ():
        tell(shown(line, 1_000))
    took = f"{counted(how.attempts, 'attempt')}, {how.duration_s:.3f} s"
    if how.first_text_s is not None:
        took += f", first text after {how.first_text_s:.3f} s"
    why = shown(response.error) if printed else response.error_code
    told = "ok" if response.success else f"failed: {why}"
    tell(f"{told} ({function_name}, {took})")


def _streamed(adapter: LambdaAdapter, request: ExecuteRequest) -> ExecuteResponse:
    """Print the text as it comes, and end its last line."""
    if adapter.invocation_type != "RequestResponse":
        raise UsageError("--stream goes without --invocation-type Event, which has no answer")
    if adapter.durable:
        raise UsageError("--stream goes without --durable: a call is durable or streamed")
    text = "\n"
    with adapter.execute_stream(request) as stream:
        for text in stream:
            print_text(text)
    if not text.endswith("\n"):
        print_text("\n")
    return stream.response


@contextlib.contextmanager
def _served(args: argparse.Namespace) -> Iterator[Dict[str, Any]]:
    """Serve the handler of ``--local``; the adapter's settings to reach it."""
    if args.endpoint_url is not None:
        raise UsageError("--local goes without --endpoint-url: it has its own")
    region = args.region or "us-east-1"
    with contextlib.redirect_stdout(sys.stderr):  # a module may print as it is imported
        handler = load_handler(args.local)

    def show(observation: Observation) -> None:
        tell(traceback_of(observation), end="")

    with told_as_options(settings()):
        named = function(args.function_identifier, args.function_prefix, region)
        # How long to wait is for --read-timeout to say.
        durable = {named.name} if args.durable else ()
        local = observed({named.name: handler}, show, region=region, timeout=MAX_FUNCTION_TIMEOUT_S, durable=durable)
    with local, handlers_print_to_stderr():
        yield {**local.settings}


def request_of(args: argparse.Namespace) -> ExecuteRequest:
    """The request that the options say."""
    metadata = {} if args.metadata is None else json_of("--metadata", args.metadata)
    if args.event or args.event_type is not None or args.event_data is not None:
        if not isinstance(metadata, dict):
            raise UsageError("--metadata must be an object")
        metadata["is_event"] = True
        if args.event_type is not None:
            metadata["event_type"] = args.event_type
        if args.event_data is not None:
            metadata["event_data"] = json_of("--event-data", args.event_data)
    is_event = isinstance(metadata, dict) and metadata.get("is_event") is True
    if is_event and args.command:
        raise UsageError("an event has no command: leave out --command, or --event and is_event")
    if not is_event and not args.command:
        raise UsageError("--command is missing, or --event for an event")
    typed: List[str] = [*(args.command or [""]), *args.more]
    said = {name: getattr(args, name) for name in request_defaults() if getattr(args, name) is not None}
    return ExecuteRequest(typed[0], typed[1:], metadata=metadata, scopes=args.scope, **{**request_defaults(), **said})


def json_of(option: str, text: str) -> Any:
    """What an option's JSON, or the file that it names, holds."""
    if text.lstrip().startswith(("{", "[")):
        return _parsed(option, text)
    return _parsed(*_read(option, text))


def _payload_of(text: str) -> EncodedRequest:
    """The payload that --payload says, byte for byte."""
    source, text = ("--payload", text) if _JSON.fullmatch(text) else _read("--payload", text)
    _parsed(source, text)
    try:
        return encode_payload(text, request_id=request_defaults()["session_id"])
    except UnfitRequestError as error:
        raise UsageError(f"{source}: {error}") from None


def _parsed(source: str, text: str) -> Any:
    def refuse(constant: str) -> None:
        raise UsageError(f"{source} is not JSON: it holds {constant}")

    if not text.strip():
        raise UsageError(f"{source} is empty, and must be JSON")
    try:
        return json.loads(text, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise UsageError(f"{source} is not JSON: {error}") from None
    except (ValueError, RecursionError):
        raise UsageError(f"{source}: {TOO_MUCH_JSON}") from None


def _read(option: str, path: str) -> Tuple[str, str]:
    """What stdin or a file holds, after the words that name it."""
    if not path:
        return option, ""
    source = f"{option}: {'stdin' if path == '-' else shown(path)}"
    if path == "-" and sys.stdin is None:
        raise UsageError(f"{source} is closed")
    try:
        with open(path, "rb") if path != "-" else contextlib.nullcontext(sys.stdin.buffer) as file:
            data = file.read(_MOST_READ_BYTES)
        if len(data) == _MOST_READ_BYTES:
            raise UsageError(f"{source} is too large: a payload has {MAX_REQUEST_RESPONSE_BYTES} bytes at most")
        return source, data.decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{source} cannot be read: {reason(error)}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{source} is not UTF-8") from None
    except ValueError:  # a NUL in the name, or a stdin that is closed
        raise UsageError(f"{source} cannot be read") from None
