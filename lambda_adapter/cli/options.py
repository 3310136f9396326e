"""What commands share: options for LambdaAdapter's parameters, the adapter made of them, and what was typed wrong."""

import argparse
import contextlib
import inspect
import os
import re
from typing import Any, Dict, Iterable, Iterator, List, Optional

import attrs

from .._aws.credentials import UNUSABLE
from .._aws.failures import from_set_up
from .._text.redaction import shown
from ..adapter import LambdaAdapter
from ..errors import LambdaAdapterError

#: Parameters that are no options. The first is an argument of its own. Secrets stay out of process lists and shell
#: histories. A client and a function cannot be typed. A circuit breaker protects a bot: one call never opens it, and
#: a batch would lose all the calls that it refuses.
NOT_OPTIONS = (
    "function_identifier",
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
    "client",
    "on_attempt",
    "circuit_breaker",
)

#: How an option's text is read, by its parameter's type; any other is a string.
_READERS = {int: int, Optional[int]: int, float: float, Optional[float]: float}

#: What ``--no-…`` means, for each parameter that is True unless it is turned off.
_TURNED_OFF = {
    "idempotent": "The function must not run twice: a call is retried only if it certainly did not run.",
    "enforce_scopes": "Send requests that lack one of required_scopes too; the function decides.",
}

#: A bot's modules have names; a command has this one.
_MODULE_NAME = "cli"

#: What is wrong with JSON that Python's own parser gives up on.
TOO_MUCH_JSON = "the JSON is too deep or has too large a number"

_FIELDS = tuple(field for field in attrs.fields(LambdaAdapter) if field.init)


class UsageError(Exception):
    """The command cannot run; its text is one line for whoever typed it."""


class SetUpError(UsageError):
    """AWS's own settings on this machine are wrong."""


def settings() -> List[str]:
    """The names of all parameters that are options."""
    return [field.name for field in _FIELDS if field.name not in NOT_OPTIONS]


def add_settings(parser: argparse.ArgumentParser, names: Optional[Iterable[str]] = None) -> None:
    """Add an option for each of LambdaAdapter's parameters, under its name, or for some."""
    group = parser.add_argument_group("adapter settings")
    told = _docstrings()
    for field in _FIELDS:
        if field.name in (settings() if names is None else names):
            _add_setting(group, field, told.get(field.name, ""))


def _add_setting(group: argparse._ArgumentGroup, field: "attrs.Attribute[Any]", told: str) -> None:
    how: Dict[str, Any] = {"dest": field.name, "default": field.default}
    option = to_option(field.name)
    if field.name == "region":
        how["default"] = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        told += " Default: AWS_REGION or AWS_DEFAULT_REGION."
    elif field.name == "module_name":
        how["default"] = _MODULE_NAME
    if field.type is bool:
        how["action"] = "store_false" if field.default else "store_true"
        option = to_option(f"no_{field.name}") if field.default else option
        told = _TURNED_OFF[field.name] if field.default else told
    elif field.type == List[str]:
        how.update(action="append", metavar="S")
        told += " May be repeated."
    else:
        reader = _READERS.get(field.type, str)
        how.update(type=reader, metavar={int: "N", float: "X"}.get(reader, field.name.rpartition("_")[2].upper()))
        if how["default"] is not None and field.name != "region":
            shown_as = f"{how['default']:g}" if reader is float else how["default"]
            told += f" Default: {shown_as}."
        told = told.replace("None: ", "Default: ")  # None cannot be typed
    group.add_argument(option, help=told.strip().replace("%", "%%"), **how)


def add_function(parser: argparse.ArgumentParser) -> None:
    """Add the one function that a command calls, which is an argument and no option."""
    parser.add_argument("function_identifier", metavar="FUNCTION", help="The function's name, partial ARN or ARN.")


def _docstrings() -> Dict[str, str]:
    """What LambdaAdapter's docstring says of each parameter; with ``python -OO`` nothing."""
    _, _, section = (inspect.getdoc(LambdaAdapter) or "").partition("\nArgs:\n")
    entries = re.findall(r"^    (\w+): (.*(?:\n        .*)*)", section.partition("\n\n")[0], re.MULTILINE)
    return {name: " ".join(text.replace("`", "").split()) for name, text in entries}


def to_option(name: str) -> str:
    """``max_retries`` -> ``--max-retries``"""
    return "--" + name.replace("_", "-")


@contextlib.contextmanager
def told_as_options(names: Iterable[str]) -> Iterator[None]:
    """Turn a ValueError that names one of these parameters into a UsageError that names its option."""
    try:
        yield
    except ValueError as error:
        # A name of one word is also an ordinary one: only where it begins a statement is it the parameter.
        known = "|".join(name if "_" in name else rf"{name}(?= must| is )" for name in names)
        text = re.sub(r"\bor as qualifier$", "or as --qualifier", str(error))
        text = re.sub(rf"(?<![\w'\"-])({known})(?![\w'\"-])", lambda found: to_option(found[0]), text)
        raise UsageError(shown(text.replace("function_identifier", "FUNCTION"), 400)) from None


def make_adapter(args: argparse.Namespace, **fixed: object) -> LambdaAdapter:
    """The adapter of a command's options. ``fixed`` goes before them.

    Raises:
        UsageError: An option is wrong.
        SetUpError: The environment or AWS's files are.
    """
    given = {"module_name": _MODULE_NAME, **vars(args), **fixed}
    if not given["region"]:
        raise UsageError("--region is missing, and AWS_REGION and AWS_DEFAULT_REGION are not set")
    with told_as_options(settings()):
        try:
            return LambdaAdapter(**{field.name: given[field.name] for field in _FIELDS if field.name in given})
        except Exception as error:
            # A profile that does not exist, a credential_process that is none: never in the words of what was read.
            said = str(error).rpartition(f"{UNUSABLE}: ")[2]
            why = said if isinstance(error, LambdaAdapterError) else _told_of_set_up(error)
            if why is None:
                raise
            raise SetUpError(f"AWS is not set up: {why}") from None


def _told_of_set_up(error: Exception) -> Optional[str]:
    """What an exception of boto3's says of AWS's settings; None for any other."""
    if any(base.__name__ == "ProfileNotFound" for base in type(error).__mro__):
        return shown(error)  # botocore's words name the profile, and nothing else
    failure = from_set_up(error)
    return failure.cause if failure.error_code == "configuration_error" else None


def counted(number: int, noun: str) -> str:
    """1 request, 1,000 requests"""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def reason(error: OSError) -> str:
    """An OSError's cause, without the path that it may repeat."""
    return error.strerror or type(error).__name__


def examples(*lines: str) -> str:
    """The end of a help text."""
    return "examples:\n" + "\n".join(f"  {line}" for line in lines)
