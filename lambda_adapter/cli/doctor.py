"""``doctor``: whether functions could be invoked from here, and what to do where not."""

import argparse
import re
from typing import Any, Optional
from urllib.parse import urlsplit

from .._text.redaction import shown, shown_name
from ..adapter import LambdaAdapter
from ..codes import CODES, ErrorCode
from ..messages import ExecuteResponse
from .options import SetUpError, add_settings, examples, make_adapter
from .output import put

_DESCRIPTION = """\
Check whether functions could be invoked from here: are there credentials, does
the endpoint answer, does the function exist, is the invocation permitted?
Nothing is run: it is AWS's DryRun. What fails comes with what to do about it.
"""
_EPILOG = examples(
    "lambda-adapter doctor weather music --function-prefix waddlebot- --region us-east-1",
    "AWS_PROFILE=live lambda-adapter doctor weather --region us-east-1 --qualifier live",
    "lambda-adapter doctor weather --region us-east-1 --endpoint-url http://127.0.0.1:9001",
)
_SETTINGS = (
    "region",
    "function_prefix",
    "qualifier",
    "isolate_communities",
    "durable",
    "endpoint_url",
    "connect_timeout",
    "read_timeout",
)

_NOT_TRIED = "not tried"
#: Error code -> what the endpoint, the function and the permission are then known to be.
_FOUND = {
    "connection_error": ("not reachable", _NOT_TRIED, _NOT_TRIED),
    "connection_lost": ("no answer", "unknown", "unknown"),
    "timeout": ("no answer", "unknown", "unknown"),
    "not_found": ("reachable", "not found", _NOT_TRIED),
    "access_denied": ("reachable", "unknown", "denied"),
}

_NO_CREDENTIALS = (
    "Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run where a role is attached. "
    "(Any will do for an endpoint that is not AWS.)"
)
_BAD_CREDENTIALS = "Renew the credentials (with SSO: aws sso login); and see whether this machine's clock is right."
_NO_ROLE = (
    "See that the role exists, that its trust policy admits these credentials, and that they may assume it "
    "(sts:AssumeRole)."
)
_BAD_SOURCE = "Mend the source of the credentials that it names; until then no function can be invoked."
_NOT_NOW = "Try again in a minute: what the credentials come from does not answer, or is asked too often."
_NO_EXECUTIONS = "Allow the credentials' user or role the actions that it names, or leave out --durable."
_NO_DRY_RUN = "It is not one of AWS's endpoints and cannot be checked: invoke the function instead."
#: How a check words it that the function may be invoked, and its executions not be read.
_LACKS_EXECUTIONS = ", which durable=True needs"
#: How failures word what STS or its kin answered, and which of its codes pass.
_REFUSED_CALL = re.compile(r"\w+ was refused \((?P<code>[^)]+)\)")
_PASSING = re.compile(r"HTTP (429|5..)|.*Throttl.*|RequestLimitExceeded|ServiceUnavailable|IDPCommunicationError")
#: AWS's names for credentials that are no good, whatever they may be allowed to do.
_REJECTED = re.compile(r"\((\w*(Expired|ClientToken|UnrecognizedClient|Signature|AuthenticationToken)\w*)\)")


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "doctor",
        help="check whether functions could be invoked",
        usage="lambda-adapter doctor FUNCTION [FUNCTION ...] --region REGION [options]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "functions", nargs="+", metavar="FUNCTION", help="A function's name, partial ARN or ARN; any number of them."
    )
    add_settings(parser, _SETTINGS)


def run(args: argparse.Namespace) -> int:
    # A retry would only put off the diagnosis.
    fixed = {"max_retries": 0}
    width = max(map(len, args.functions))
    source, well = _credentials(), True
    try:
        adapters = [make_adapter(args, function_identifier=name, **fixed) for name in args.functions]
    except SetUpError as error:
        for name in args.functions:
            _print(
                name,
                width,
                source,
                (_NOT_TRIED, _NOT_TRIED, _NOT_TRIED),
                str(error),
                _advice("configuration_error", str(error), source),
            )
        return 1
    for name, adapter in zip(args.functions, adapters):
        well &= _examine(name, width, source, adapter)
    return 0 if well else 1


def _credentials() -> Optional[str]:
    """Where botocore finds credentials, never what they are; None where it finds none."""
    import boto3

    try:
        found = boto3.session.Session().get_credentials()
    except Exception as error:
        return f"unusable ({shown_name(type(error).__name__)})"
    return None if found is None else f"from {shown(found.method)}"


def _examine(name: str, width: int, source: Optional[str], adapter: LambdaAdapter) -> bool:
    """Check one function and print what was found; whether all is well."""
    with adapter:
        client: Any = adapter._lease.get().client
        host = shown(urlsplit(client.meta.endpoint_url).netloc, 100)
        response = adapter.check()
    found = ("reachable", "exists", "permitted") if response.success else _found(response)
    error = response.error or ""
    advice = _advice(response.error_code or "internal_error", error, source) if error else ""
    _print(name, width, source, found, error, advice, asked=f"; asked {host} in {adapter.region}")
    return response.success


def _found(response: ExecuteResponse) -> "tuple[str, str, str]":
    if _LACKS_EXECUTIONS in (response.error or ""):
        return "reachable", "exists", "permitted"
    if response.error_code in _FOUND:
        return _FOUND[response.error_code]
    # Without a status nothing was sent.
    answered = response.invocation.status_code is not None
    return ("reachable", "unknown", "unknown") if answered else (_NOT_TRIED, _NOT_TRIED, _NOT_TRIED)


def _advice(error_code: ErrorCode, error: str, source: Optional[str]) -> str:
    """What to do about it, after the words in which the failure names its cause."""
    if "knows no DryRun" in error:
        return _NO_DRY_RUN
    if _LACKS_EXECUTIONS in error:
        return _NO_EXECUTIONS
    if error_code == "configuration_error" and "AWS credentials" in error:
        return _NO_CREDENTIALS if source is None else _advice_on_source(error)
    if error_code == "access_denied" and _REJECTED.search(error):
        return _BAD_CREDENTIALS
    return CODES[error_code].advice


def _advice_on_source(error: str) -> str:
    if "login" in error:
        return _BAD_CREDENTIALS
    refused = _REFUSED_CALL.search(error)
    if refused and _PASSING.fullmatch(refused["code"]):
        return _NOT_NOW
    return _NO_ROLE if refused else _BAD_SOURCE


def _print(
    name: str,
    width: int,
    source: Optional[str],
    found: "tuple[str, str, str]",
    error: str = "",
    advice: str = "",
    asked: str = "",
) -> None:
    endpoint, function, permission = found
    put(
        f"{'FAILED' if error else 'ok':<6}  {name:<{width}}  credentials {source or 'not found'}, endpoint {endpoint}, "
        f"function {function}, invocation {permission}{asked}"
    )
    if error:
        put(f"{'':8}{error}\n{'':8}{advice}")
