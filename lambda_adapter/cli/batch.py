"""``batch``: a file of requests to a file of responses."""

import argparse
import contextlib
import itertools
import json
import os
import sys
from typing import BinaryIO, Callable, Iterable, Iterator, Mapping, Optional

import attrs

from .._text.redaction import json_kind, shown
from ..adapter import LambdaAdapter
from ..invocations import Invocation
from ..messages import ExecuteRequest, ExecuteResponse
from .exit_codes import INTERRUPTED
from .invoke import request_defaults
from .options import TOO_MUCH_JSON, UsageError, add_function, add_settings, counted, examples, make_adapter, reason
from .progress import Progress, duration
from .responses import ResponseFile, WriteError

_DESCRIPTION = """\
Call a function for each line of a file, --max-concurrency at once, and write a
response for each line, in the same order.

A line is a JSON object with a request's fields: command, args, user_id,
entity_id, community_id, session_id, platform, metadata, scopes. What it leaves
out is as in invoke. A line that is no request is answered invalid_request.

After an interruption the same command goes on: it takes as many requests for
answered as there are responses. So keep the requests as they are, and name
another output to begin anew. What was in flight when it stopped is sent again;
requests with a session_id of their own let the function tell.
"""
_EPILOG = examples(
    'echo \'{"command": "weather", "args": ["Berlin"]}\' > requests.jsonl',
    "lambda-adapter batch weather --region us-east-1 requests.jsonl -o responses.jsonl",
)

#: Requests that may be under way beyond the first unanswered one, for each place of max_concurrency: while a slow call
#: holds up the file, the others' responses wait in memory.
_AHEAD = 10

_NAMES = tuple(field.name for field in attrs.fields(ExecuteRequest))


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "batch",
        help="call a function for each line of a file",
        usage="lambda-adapter batch FUNCTION --region REGION REQUESTS -o RESPONSES [options]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    parser.set_defaults(run=run)
    add_function(parser)
    parser.add_argument("requests", metavar="REQUESTS", help="A file with a request on each line; - is stdin.")
    parser.add_argument(
        "-o", "--output", metavar="RESPONSES", required=True, help="The file to write or to go on with."
    )
    add_settings(parser)


def run(args: argparse.Namespace) -> int:
    told, code = "", 0
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(_open(args.requests))
        total = _count_lines(source)
        adapter = stack.enter_context(make_adapter(args))
        _refuse_same_file(args)
        responses = stack.enter_context(contextlib.closing(ResponseFile(args.output)))
        known = responses.known
        _skip_answered(source, total, responses, args)
        progress = Progress(sys.stderr, total, known, known - responses.tally[None])
        try:
            Batch(adapter, source, responses, progress.count).run()
        except KeyboardInterrupt:
            told, code = "Interrupted", INTERRUPTED
        except WriteError as error:
            told, code = str(error), 1
        progress.clear()
    if told:
        of = "" if total is None else f" of {total:,}"
        have = f"{responses.kept:,}{of} responses are in {args.output}"
        print(f"{told}. {have}; the same command goes on from there.", file=sys.stderr)
        return code
    _print_summary(responses.tally, progress, known)
    return 1 if any(responses.tally) else 0


class Batch:
    """Answers the lines of ``source``, several at once, and hands the responses on.

    Args:
        source: Lines without those that ``responses`` holds in turn.
        count: Called with each response's ``success``, as calls finish.
    """

    def __init__(
        self, adapter: LambdaAdapter, source: Iterable[bytes], responses: ResponseFile, count: Callable[[bool], None]
    ) -> None:
        self._adapter = adapter
        self._source = iter(source)
        self._responses = responses
        self._count = count
        self._read = responses.written
        self._ahead = _AHEAD * adapter.max_concurrency
        self._ended = False

    def run(self) -> None:
        """Answer all lines.

        Raises:
            WriteError: The file of responses cannot be written any more.
        """
        self._responses.write_in_turn()
        while not self._ended:
            # Each round ends when nothing more may be read before an earlier response is there; it has to be there
            # when all calls of the round have finished.
            for request, response in self._adapter.execute_many(self._requests()):
                self._add(request.line, response)

    def _requests(self) -> "Iterator[_NumberedRequest]":
        while self._read < self._responses.written + self._ahead:
            line = next(self._source, None)
            if line is None:
                self._ended = True
                return
            self._read += 1
            if self._responses.holds(self._read):
                continue
            try:
                request = parse_request(line, self._read)
            except _BrokenLineError as error:
                self._add(self._read, self._refusal(f"invalid_request: {error}"))
            else:
                yield request

    def _refusal(self, error: str) -> ExecuteResponse:
        invocation = Invocation(self._adapter.function_name)
        return ExecuteResponse(success=False, error=error, error_code="invalid_request", invocation=invocation)

    def _add(self, line: int, response: ExecuteResponse) -> None:
        if response.error_code == "invalid_request":
            _, _, why = (response.error or "").partition(": ")
            response = attrs.evolve(response, error=f"invalid_request: line {line}: {why}")
        self._responses.add(line, response.to_dict())
        self._count(response.success)


@attrs.frozen
class _NumberedRequest(ExecuteRequest):
    #: The line that it stands in, from 1.
    line: int = attrs.field(kw_only=True)


class _BrokenLineError(Exception):
    """A line that is no request; the text says why."""


def parse_request(line: bytes, number: int) -> _NumberedRequest:
    """The request in line ``number``; its values are for the adapter to check.

    Raises:
        _BrokenLineError: There is none.
    """
    try:
        said = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise _BrokenLineError("it is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise _BrokenLineError(f"it is not JSON ({error.msg}, column {error.colno})") from None
    except (ValueError, RecursionError):
        raise _BrokenLineError(TOO_MUCH_JSON) from None
    if not isinstance(said, dict):
        raise _BrokenLineError(f"it must be an object, not {json_kind(said)}")
    for name in said:
        if name not in _NAMES:
            raise _BrokenLineError(f"a request has no {shown(name, 40)}; it has {', '.join(_NAMES)}")
    return _NumberedRequest(**{"command": None, "args": [], **request_defaults(), **said}, line=number)


@contextlib.contextmanager
def _open(path: str) -> Iterator[BinaryIO]:
    if path == "-":
        yield sys.stdin.buffer
        return
    try:
        file = open(path, "rb")  # noqa: SIM115
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {reason(error)}") from None
    with file:
        yield file


def _count_lines(source: BinaryIO) -> Optional[int]:
    """How many lines there are; None for a pipe, which can be read only once."""
    if not source.seekable():
        return None
    start = source.tell()
    lines = sum(1 for _ in source)
    source.seek(start)
    return lines


def _refuse_same_file(args: argparse.Namespace) -> None:
    if args.requests != "-" and os.path.exists(args.output) and os.path.samefile(args.requests, args.output):
        raise UsageError(f"{args.output} holds the requests, and cannot take the responses")


def _skip_answered(source: BinaryIO, total: Optional[int], responses: ResponseFile, args: argparse.Namespace) -> None:
    """Leave out what was answered in turn. More responses than requests are another batch's."""
    skipped = sum(1 for _ in itertools.islice(source, responses.written))
    last = max(responses.waiting, default=responses.written)
    if skipped < responses.written or (total is not None and last > total):
        requests = counted(skipped if total is None else total, "request")
        raise UsageError(f"{args.output} goes up to request {last:,}, and {args.requests} has only {requests}")


def _print_summary(tally: Mapping[Optional[str], int], progress: Progress, known: int) -> None:
    """The whole batch, by error code; the most frequent first."""
    total, succeeded = sum(tally.values()), tally.get(None, 0)
    now = f"{progress.finished:,} in {duration(progress.seconds)}" + (f", {known:,} in earlier runs" if known else "")
    print(f"{counted(total, 'request')} answered ({now}): ", end="", file=sys.stderr)
    print(f"{succeeded:,} succeeded, {total - succeeded:,} failed", file=sys.stderr)
    failed = {code: number for code, number in tally.items() if code}
    for code in sorted(failed, key=lambda code: (-failed[code], code)):
        print(f"{failed[code]:>9,}  {code}", file=sys.stderr)
