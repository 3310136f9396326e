"""Arguments: the parser of all commands."""

import argparse
import re
import sys
from typing import Any, List, NoReturn

from .. import __version__
from .._text.redaction import shown
from . import batch, doctor, executions, invoke, serve
from .options import UsageError, counted
from .output import put, tell

_DESCRIPTION = """\
Try, check and serve the modules of a chat bot that run on AWS Lambda.

Credentials come from the environment, a profile (AWS_PROFILE) or a role, and
never from arguments: those show in process lists and shell histories.
"""
_EPILOG = """\
Each command has its own --help, with examples.

exit codes: 0 success, 1 a call or a check failed or stdout is full, 2 bad usage
and nothing was called, 130 Ctrl-C, 141 nobody reads stdout, 143 a batch that
SIGTERM ended
"""

#: An option that would take a credential, in any spelling.
_SECRET = re.compile(r"--?(aws[-_])?(access[-_]key([-_]id)?|secret[-_]access[-_]key|session[-_]token)(=.*)?", re.DOTALL)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def __init__(self, **kwargs: Any) -> None:
        # An abbreviation that works today means something else once there is another option.
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **kwargs)

    def _print_message(self, message: str, file: Any = None) -> None:
        """Print a help or the version; argparse itself would say nothing of a stdout that cannot be written."""
        if file is not None and file is sys.stdout:
            put(message, end="")
        else:
            tell(message, end="")

    def error(self, message: str) -> NoReturn:
        command = self.prog.partition(" ")[2]
        raise UsageError(f"{shown(message, 400)}; see lambda-adapter {command}{' ' if command else ''}--help")


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = _Parser(prog="lambda-adapter", description=_DESCRIPTION, epilog=_EPILOG)
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(title="commands", dest="name", metavar="COMMAND", required=True)
    for command in (invoke, executions, doctor, serve, batch):
        command.add_parser(commands)
    return parser


def parse(argv: List[str]) -> argparse.Namespace:
    """The arguments of one command, whose ``run`` runs it.

    Raises:
        UsageError: With what is wrong; no argument that nobody asked for is repeated, for it may be a secret.
    """
    for number, argument in enumerate(argv):
        if argument == "--":
            argv, more = argv[:number], argv[number + 1 :]
            break
        if _SECRET.fullmatch(argument):
            name = argument.partition("=")[0]
            raise UsageError(f"{name} does not exist: credentials come from the environment, a profile or a role")
    else:
        more = []
    parser = make_parser()
    args, unknown = parser.parse_known_args(argv)
    if unknown:
        options = [argument.partition("=")[0] for argument in unknown if argument.startswith("-")]
        what = f"no option {shown(options[0], 40)}" if options else f"{counted(len(unknown), 'argument')} too many"
        raise UsageError(f"{args.name} has {what}; see lambda-adapter {args.name} --help")
    if more and args.name not in ("invoke", "start"):
        raise UsageError(f"{args.name} takes nothing after --")
    args.more = more
    return args
