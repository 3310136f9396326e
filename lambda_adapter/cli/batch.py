"""``batch``: a file of requests to a file of responses."""

import argparse
import collections
import contextlib
import queue
import sys
import threading
from signal import SIGINT
from typing import AbstractSet, Counter, Iterator, List, Mapping, Optional, Tuple

import attrs

from .._text.redaction import shown
from ..adapter import LambdaAdapter
from ..codes import CODES
from ..invocations import Invocation
from ..messages import ExecuteRequest, ExecuteResponse
from .exit_codes import NO_READER, ended_by
from .options import UsageError, add_function, add_settings, counted, examples, make_adapter
from .output import tell
from .progress import Progress, duration
from .request_lines import ReadError, RequestLine, count_requests, numbered, open_requests, parse_line, refuse_same_file
from .responses import Known, ResponseFile, WriteError
from .stopping import StoppedError, Stopping

_DESCRIPTION = """\
Call a function for each line of a file, --max-concurrency at once, and write a
response for each line: as soon as its call has finished, with the number of its
request's line, its session_id and a digest of the request. When the batch ends,
the responses are put in the order of the requests.

A line is a JSON object with a request's fields: command, args, user_id,
entity_id, community_id, session_id, platform, metadata, scopes. What it leaves
out is as in invoke. A line that is no request is answered invalid_request; a
blank line is not answered, but counts as a line.

The first Ctrl-C, SIGTERM or SIGHUP sends nothing more, no further attempts either,
and waits for those in flight; a second one ends at once; the exit code is 128 and
the signal's number.
The same command then goes on: it sends what has no response yet. What was in
flight at a second signal or a kill -9 is sent again; requests with a session_id
of their own let the function tell.
"""
_EPILOG = examples(
    'echo \'{"command": "weather", "args": ["Berlin"]}\' > requests.jsonl',
    "lambda-adapter batch weather --region us-east-1 requests.jsonl -o responses.jsonl",
    "lambda-adapter batch weather --region us-east-1 requests.jsonl -o responses.jsonl --retry-failed",
    "lambda-adapter batch weather --region us-east-1 - -o - < requests.jsonl | jq .message",
)

#: Failures in a row that no longer look like chance.
_STOP_AFTER = 10

#: Seconds between two looks at whether a signal has come, while the last calls finish.
_LOOK_S = 0.05


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
        "-o",
        "--output",
        metavar="RESPONSES",
        required=True,
        help="The file to write or to go on with; - is stdout, in the order in which calls finish.",
    )
    parser.add_argument(
        "--retry-failed",
        action="store_true",
        help="Send again what failed in earlier runs, under the session_id that it had; the new response takes the "
        "place of the old one. A line that was mended is sent as it is now. With --no-idempotent: only what certainly "
        "did not run.",
    )
    general = ", ".join(sorted(code for code, row in CODES.items() if row.general))
    parser.add_argument(
        "--stop-after",
        type=int,
        default=_STOP_AFTER,
        metavar="N",
        help=f"Stop after N failures in a row that every further call would meet too ({general}); 0: never. "
        f"Default: {_STOP_AFTER}.",
    )
    add_settings(parser)


def run(args: argparse.Namespace) -> int:
    if args.stop_after < 0:
        raise UsageError("--stop-after must be a whole number from 0")
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(open_requests(args.requests))
        total = count_requests(source)
        adapter = stack.enter_context(make_adapter(args))
        refuse_same_file(source, args.output)
        responses = stack.enter_context(contextlib.closing(ResponseFile(args.output)))
        again = _to_retry(responses.known, args)
        name = "stdin" if args.requests == "-" else args.requests
        lines = _unanswered(numbered(source), responses, again, name)
        left = None if total is None else total - len(responses.known) + len(again)
        responses.make_ready(adapter.max_concurrency if left is None else max(1, min(left, adapter.max_concurrency)))
        tally = collections.Counter(was.error_code for number, was in responses.known.items() if number not in again)
        progress = Progress(sys.stderr, total, sum(tally.values()), sum(tally.values()) - tally[None])
        stopping = stack.enter_context(Stopping())
        batch = Batch(adapter, lines, responses, tally, progress, stopping, args.stop_after)
        batch.run()
        progress.clear()
    if batch.exit_code != NO_READER:
        _print_end(batch, tally, progress, goes_on=responses.regular)
    return batch.exit_code or int(any(tally))


def _to_retry(known: Mapping[int, Known], args: argparse.Namespace) -> AbstractSet[int]:
    """The numbers of requests to send again although they have a response."""
    if not args.retry_failed:
        return frozenset()
    failed = {number: was for number, was in known.items() if was.error_code is not None}
    again = {number for number, was in failed.items() if args.idempotent or was.executed == "no"}
    if len(again) < len(failed):
        tell(f"{counted(len(failed) - len(again), 'failed request')} may have run and will not be sent again.")
    return again


def _unanswered(
    lines: Iterator[Tuple[int, bytes]], responses: ResponseFile, again: AbstractSet[int], name: str
) -> Iterator[RequestLine]:
    """The requests to send; those that are answered are looked at now, before any call.

    Raises:
        UsageError: A line is another request than the one that was answered.
    """
    known = responses.known
    missing, last, found = set(known), max(known, default=0), []
    for number, text in lines if known else ():
        line = parse_line(number, text)
        was = known.get(number)
        missing.discard(number)
        if was is None:
            found.append(line)
        elif number in again:
            found.append(line.with_session(was.session_id) if was.digest == line.digest else line)
        elif was.digest != line.digest:
            raise UsageError(
                f"line {number:,} of {name} is another request than the one that {responses.name} answers; "
                "name another output to begin anew"
            )
        if number >= last:
            break
    if missing:
        raise UsageError(
            f"{responses.name} answers line {min(missing):,}, and {name} has no request there; "
            "name another output to begin anew"
        )
    return _chained(found, lines)


def _chained(found: List[RequestLine], lines: Iterator[Tuple[int, bytes]]) -> Iterator[RequestLine]:
    yield from found
    for number, text in lines:
        yield parse_line(number, text)


class Batch:
    """Answers lines, several at once, and hands the responses on as calls finish.

    It does not use ``execute_many``, which looks at what has finished only between two requests: stdin may keep it
    waiting for the next one for hours.

    Args:
        tally: Responses by error code; those of this run are added.
        stop_after: How many failures in a row end it that every further call would meet too; 0 for no number.
    """

    def __init__(
        self,
        adapter: LambdaAdapter,
        lines: Iterator[RequestLine],
        responses: ResponseFile,
        tally: Counter[Optional[str]],
        progress: Progress,
        stopping: Stopping,
        stop_after: int = 0,
    ) -> None:
        #: Why it ended before its end; "" if it did not.
        self.why = ""
        self.exit_code = 0
        #: How to go on then.
        self.goes_on = "the same command goes on from there"
        self._adapter = adapter
        self._lines = lines
        self._responses = responses
        self._tally = tally
        self._progress = progress
        self._stopping = stopping
        self._stop_after = stop_after
        self._places = threading.Semaphore(adapter.max_concurrency)
        self._begun: queue.SimpleQueue[Tuple[RequestLine, ExecuteRequest]] = queue.SimpleQueue()
        self._threads = 0
        self._changed = threading.Condition()
        # All below is changed under its lock.
        self._in_flight = 0
        self._in_a_row = 0
        self._hopeless: Optional[ExecuteResponse] = None
        self._sends_no_more = False
        #: Calls whose responses could not be written.
        self.unwritten = 0
        self._left_to_next_run = 0

    def run(self) -> None:
        """Answer all lines, or those until something ends it."""
        try:
            fed = self._feed()
            self._drain()
            if not fed or self._left_to_next_run:
                self._say_why()
            self._put_in_order()
        except KeyboardInterrupt:
            self._leave()

    def _put_in_order(self) -> None:
        try:
            self._responses.put_in_order()
        except WriteError as error:
            if self.why:
                self.why += f" {error}."
            self._stop(f"{error}.", 1)
            if error.gone:
                self.goes_on = f"put {self._responses.name} back, or the same command sends again what is not there"

    def _feed(self) -> bool:
        """Begin calls, until there are no more lines (then True) or something stops it."""
        try:
            while True:
                self._stopping.wait(self._places.acquire)
                line = self._stopping.wait(lambda: next(self._lines, None))
                if line is None:
                    return True
                if line.request is not None:
                    self._begin(line, line.request)
                else:
                    self._add(line, self._refusal(line.fault))
                    self._places.release()
        except ReadError as error:
            self._stop(f"{error}.", 1)
        except StoppedError:
            pass
        return False

    def _begin(self, line: RequestLine, request: ExecuteRequest) -> None:
        """Hand a call to a thread that has none, or to a new one; to this one where the machine has none to spare."""
        with self._changed:
            self._in_flight += 1
            needed = self._in_flight > self._threads
        self._begun.put((line, request))
        if needed:
            try:
                # A daemon: a second signal leaves it behind.
                threading.Thread(target=self._work, daemon=True).start()
                self._threads += 1
            except RuntimeError:
                if not self._threads:
                    self._answer(*self._begun.get())

    def _work(self) -> None:
        while True:
            self._answer(*self._begun.get())

    def _answer(self, line: RequestLine, request: ExecuteRequest) -> None:
        try:
            self._add(line, self._adapter.execute(request))
        finally:
            with self._changed:
                self._in_flight -= 1
                self._changed.notify()
            self._places.release()

    def _drain(self) -> None:
        """Wait for the calls in flight, and say so if somebody wants to end."""
        told = closed = False
        while self._in_flight:
            if not closed and (self._stopping.signal is not None or self._sends_no_more):
                closed = True
                self._adapter.close()  # calls that wait for their next attempt end without it
            if self._stopping.settled and not told:
                told = True
                self._progress.clear()
                tell(f"Waiting for {counted(self._in_flight, 'call')} in flight; a second signal ends at once.")
            with self._changed:
                if self._in_flight:
                    self._changed.wait(_LOOK_S)

    def _say_why(self) -> None:
        if self._stopping.signal is not None:
            self._stop(f"Stopped by {self._stopping.signal.name}.", ended_by(self._stopping.signal))
        elif self._hopeless is not None and self._hopeless.error_code is not None:
            row, failures = CODES[self._hopeless.error_code], counted(self._stop_after, "failure")
            self._stop(f"Stopped after {failures} in a row, {shown(self._hopeless.error)}. {row.advice}", 1)
            self.goes_on = "with --retry-failed the same command goes on, and sends again what failed"

    def _leave(self) -> None:
        """End at once: what is in flight is lost, and its threads end with the process."""
        with self._changed:
            lost = counted(self._in_flight, "call")
            self._stop(f"Ended at once; {lost} in flight may have run.", ended_by(self._stopping.signal or SIGINT))
        self._responses.close()

    def _refusal(self, fault: str) -> ExecuteResponse:
        invocation = Invocation(self._adapter.function_name)
        error = f"invalid_request: {fault}"
        return ExecuteResponse(success=False, error=error, error_code="invalid_request", invocation=invocation)

    def _is_for_next_run(self, line: RequestLine, response: ExecuteResponse) -> bool:
        """Whether a call was ended before its end, and may be sent again as if it had not been."""
        how = response.invocation
        if response.error_code != "closed" and how.why_ended != "ended":
            return False
        if how.executed == "no":
            return True
        # It may have run: only under the same session_id could the function tell.
        return line.keeps_session and self._adapter.idempotent

    def _add(self, line: RequestLine, response: ExecuteResponse) -> None:
        if self._is_for_next_run(line, response):
            with self._changed:
                self._left_to_next_run += 1
            return
        if response.error_code == "invalid_request":
            _, _, why = (response.error or "").partition(": ")
            response = attrs.evolve(response, error=f"invalid_request: line {line.number}: {why}")
        try:
            self._responses.add(line.number, line.session_id, line.digest, response.to_dict())
        except WriteError as error:
            with self._changed:
                self._sends_no_more = True
                self.unwritten += response.invocation.attempts > 0
            self._stop(f"{error}.", NO_READER if error.no_reader else 1)
            return
        with self._changed:
            self._tally[response.error_code] += 1
            self._progress.count(response.success)
        self._watch(response)

    def _watch(self, response: ExecuteResponse) -> None:
        """Stop what every call meets, instead of recording it for each of them."""
        code = response.error_code
        row = None if code is None else CODES[code]
        if row is not None and not row.counts:
            return  # a refusal says nothing of what a call would meet
        with self._changed:
            self._in_a_row = self._in_a_row + 1 if row is not None and row.general else 0
            if self._in_a_row and self._in_a_row == self._stop_after:
                self._hopeless = response
                self._sends_no_more = True
                self._stopping.request()

    def _stop(self, why: str, exit_code: int) -> None:
        """Feed no further; the first reason is the one that is told. From any thread."""
        with self._changed:
            if not self.why:
                self.why, self.exit_code = why, exit_code
        self._stopping.request()


def _print_end(batch: Batch, tally: Mapping[Optional[str], int], progress: Progress, goes_on: bool) -> None:
    """Why it ended early, and the responses of all runs by error code, the most frequent first."""
    done, succeeded = sum(tally.values()), tally.get(None, 0)
    now = f"{progress.finished:,} in {duration(progress.seconds)}"
    if done > progress.finished:
        now += f", {done - progress.finished:,} in earlier runs"
    of_all = batch.why and progress.total is not None and f"{done:,} of {counted(progress.total, 'request')}"
    told = f"{of_all or counted(done, 'request')} done ({now}): {succeeded:,} succeeded, {done - succeeded:,} failed"
    if batch.why:
        left = "" if progress.total is None else f"; {progress.total - done:,} left"
        told = f"{batch.why}\n{_lost(batch.unwritten, goes_on)}{told}{left}"
        told += f"; {batch.goes_on}" if goes_on else ""
    tell(told)
    failed = {code: number for code, number in tally.items() if code}
    for code in sorted(failed, key=lambda code: (-failed[code], code)):
        tell(f"{failed[code]:>9,}  {code}")


def _lost(unwritten: int, goes_on: bool) -> str:
    """What to say of calls whose responses could not be written."""
    if not unwritten:
        return ""
    calls, them = (
        ("call was made whose response", "it") if unwritten == 1 else ("calls were made whose responses", "them")
    )
    next_run = f"; the next run sends {them} again" if goes_on else ""
    return f"{unwritten:,} {calls} could not be written{next_run}.\n"
