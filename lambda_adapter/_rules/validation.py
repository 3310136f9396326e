"""Checks of parameters, and the validators of ``attrs`` that they make.

Each check raises ValueError with the parameter's name, the shape of what was given, and what it may be.
"""

import functools
import inspect
import ipaddress
import re
from types import CodeType
from typing import Any, Callable, List, Optional, Tuple
from urllib.parse import urlsplit

import attrs

from .._text.redaction import class_name, shown
from .identifiers import FunctionIdentifier, is_qualifier, parse_identifier
from .limits import MAX_EXECUTION_S, MAX_FUNCTION_NAME_CHARS

_MODULE_NAME = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
#: The form of all regions, those included that the installed botocore does not know yet.
_REGION = re.compile(r"(eusc-)?[a-z]{2}(-gov|-iso[a-z]?)?-[a-z]{1,40}-[0-9]{1,2}")
#: How alike two regions are when one may be meant by the other (difflib's ratio).
_NEAR = 0.75

#: What botocore takes for a host name.
_HOST = re.compile(r"((?!-)[a-z\d-]{1,63}(?<!-)\.)*(?!-)[a-z\d-]{1,63}(?<!-)\.?", re.ASCII | re.IGNORECASE)

#: AWS's own hosts, which no setting makes plain http good enough for.
_AWS_HOST = re.compile(
    r"(^|\.)(amazonaws\.(com|com\.cn|eu)|amazon\.com|aws|ic\.gov|sgov\.gov|adc-e\.uk)\.?$", re.IGNORECASE
)

#: What ``attrs`` calls: with the instance, the attribute and its value.
Validator = Callable[[Any, "attrs.Attribute[Any]", Any], None]


def checked(check: Callable[[str, object], None]) -> Validator:
    """The validator of an attribute that a check of a name and its value makes."""
    return lambda _, attribute, value: check(attribute.name, value)


def _wrong(name: str, expected: str, value: object) -> ValueError:
    try:
        got = shown(repr(value), 80)
    except Exception:
        got = class_name(value)  # whatever its own repr does, the message is ours
    return ValueError(f"{name} must be {expected}; got {got}")


def number(*, most: float, positive: bool = True) -> Validator:
    """The validator that ``check_number`` makes."""
    return checked(functools.partial(check_number, most=most, positive=positive))


def check_number(name: str, value: object, *, most: float, positive: bool = True) -> None:
    """A finite number over 0 (or from 0, where ``positive`` is false) and up to ``most``."""
    # NaN fails every comparison, and infinity the last.
    if (
        not isinstance(value, (int, float))
        or isinstance(value, bool)
        or not (value > 0 or (value == 0 and not positive))
        or not value <= most
    ):
        raise _wrong(name, f"a number {'over 0 and up to' if positive else 'from 0 to'} {most:,}", value)


def integer(*, least: int, most: Optional[int] = None) -> Validator:
    """The validator that ``check_integer`` makes."""
    return checked(functools.partial(check_integer, least=least, most=most))


def check_integer(name: str, value: object, *, least: int, most: Optional[int] = None) -> None:
    """A whole number within limits."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least or (most is not None and value > most):
        raise _wrong(name, f"a whole number from {least}" + ("" if most is None else f" to {most:,}"), value)


def check_flag(name: str, value: object) -> None:
    """True or False, nothing that is merely truthy."""
    if not isinstance(value, bool):
        raise _wrong(name, "True or False", value)


def instance(kind: type) -> Validator:
    """The validator for a value of one class."""

    def check(name: str, value: object) -> None:
        if not isinstance(value, kind):
            raise _wrong(name, f"a {kind.__name__}", value)

    return checked(check)


def check_plain_function(name: str, value: object) -> None:
    """What runs when it is called; an async function or a generator would never begin."""
    if not callable(value) or is_async(value) or _runs_as(value, inspect.CO_GENERATOR):
        raise _wrong(name, "a function that is neither async nor a generator", value)


def is_async(function: Callable[..., object]) -> bool:
    """Whether what a call of ``function`` returns must be awaited, or iterated over with ``async for``."""
    # inspect alone would miss partials of methods on Python 3.8, and objects with an async __call__ on all.
    flags = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
    return _runs_as(function, flags) or inspect.iscoroutinefunction(function)


def _runs_as(function: Callable[..., object], flags: int) -> bool:
    """Whether the code that a call of ``function`` runs has one of these flags of ``inspect``."""
    while isinstance(function, functools.partial):
        function = function.func
    codes = [getattr(called, "__code__", None) for called in (function, type(function).__call__)]
    return any(isinstance(code, CodeType) and code.co_flags & flags for code in codes)


def one_of(options: Tuple[str, ...]) -> Validator:
    """The validator for one of a few words."""

    def check(name: str, value: object) -> None:
        if not isinstance(value, str) or value not in options:
            raise _wrong(name, " or ".join(map(repr, options)), value)

    return checked(check)


def check_qualifier(name: str, value: object) -> None:
    if value is not None and not (isinstance(value, str) and is_qualifier(value)):
        raise _wrong(name, "a version or alias ('3', 'prod', '$LATEST') or None", value)


def check_one_qualifier(identifier: FunctionIdentifier, separate: Optional[str]) -> None:
    """A version in the identifier and another beside it leave open which one is meant."""
    if separate is not None and identifier.qualifier is not None:
        raise ValueError("qualifier must be None where function_identifier ends in one; leave one of the two out")


def check_synchronous(invocation_type: str, **wanted: bool) -> None:
    """What AWS only does for calls that it answers must not be dropped in silence for others."""
    for name, value in wanted.items():
        if value and invocation_type != "RequestResponse":
            raise ValueError(f"{name} must be False with invocation_type {invocation_type!r}: AWS ignores it there")


def check_tenants_known(client: object) -> None:
    """botocore drops an argument that it does not know, and with it the isolation."""
    if not _knows(client, "TenantId"):
        raise ValueError(
            "isolate_communities must be False here: the installed botocore, or the given client, does not know "
            "TenantId; a newer botocore does"
        )


def check_executions_known(client: object) -> None:
    """The same of the name that makes a run the only one."""
    if not _knows(client, "DurableExecutionName"):
        raise ValueError(
            "durable must be False here: the installed botocore, or the given client, does not know "
            "DurableExecutionName; a newer botocore does"
        )


def _knows(client: Any, argument: str) -> bool:
    try:
        return argument in client.meta.service_model.operation_model("Invoke").input_shape.members
    except AttributeError:
        return False


def check_qualified(identifier: FunctionIdentifier, separate: Optional[str]) -> None:
    """AWS runs durable executions of one version only, so that a deployment in between changes nothing."""
    if identifier.qualifier is None and separate is None:
        raise ValueError(
            "durable needs a version or an alias: give one at the end of function_identifier "
            "('roll:prod'), or as qualifier"
        )


def to_wait(wait: Optional[float], default_s: float) -> float:
    """How long to wait for a result, in seconds."""
    if wait is None:
        return default_s
    check_number("wait", wait, most=MAX_EXECUTION_S, positive=False)
    return wait


def check_module_name(name: str, value: object) -> None:
    if not isinstance(value, str) or not _MODULE_NAME.fullmatch(value):
        raise _wrong(name, "letters, digits, underscores and hyphens", value)


def check_module_version(name: str, value: object) -> None:
    if not isinstance(value, str) or not value.strip():
        raise _wrong(name, "a non-empty string, like '1.0.0'", value)


def check_region(name: str, value: object) -> None:
    """Raise ValueError for what has not the form of a region; it suggests the known one that is nearest, if any is."""
    if isinstance(value, str) and _REGION.fullmatch(value):
        return
    near = _nearest_region(value) if isinstance(value, str) else None
    raise _wrong(name, f"an AWS region (did you mean '{near}'?)" if near else "an AWS region, like 'us-east-1'", value)


def _nearest_region(text: str) -> Optional[str]:
    text = re.sub(r"[\s_]+", "-", text[:100].strip().lower())
    regions = _known_regions()
    within = [known for known in regions if known in text]  # of a zone, 'us-east-1a', or a host
    if within:
        return max(within, key=len)
    import difflib  # here, because only a refusal needs it

    alike = {known: difflib.SequenceMatcher(None, text, known).ratio() for known in regions}
    nearest = max(sorted(alike), key=alike.__getitem__)  # the first of equals: us-east-1 for 'us-east'
    return nearest if alike[nearest] >= _NEAR else None


def _known_regions() -> List[str]:
    """The regions of all partitions that the installed botocore knows; read for an error's text only."""
    from botocore.loaders import Loader

    partitions = Loader().load_data("partitions")["partitions"]
    return [name for partition in partitions for name in partition["regions"] if _REGION.fullmatch(name)]


def to_scopes(value: object) -> Any:
    """The adapter's own list, which the caller's later changes do not reach."""
    return [] if value is None else list(value) if isinstance(value, (list, tuple)) else value


def check_scopes(name: str, value: object) -> None:
    if not isinstance(value, list) or not all(isinstance(scope, str) and scope for scope in value):
        raise _wrong(name, "a list of non-empty strings", value)


def check_credential(name: str, value: object) -> None:
    """None, or text that fits in an HTTP header. The value is never shown."""
    if value is not None and not (isinstance(value, str) and value.isascii() and value.isprintable() and value.strip()):
        raise ValueError(f"{name} must be a non-empty string of printable ASCII, without line breaks")


def check_credentials_complete(key_id: Optional[str], secret: Optional[str], token: Optional[str]) -> None:
    """Half a pair would let botocore look for the other half elsewhere, and find somebody else's."""
    if (key_id is None) != (secret is None):
        raise ValueError("aws_access_key_id and aws_secret_access_key must be given together or not at all")
    if token is not None and key_id is None:
        raise ValueError("aws_session_token must come with aws_access_key_id and aws_secret_access_key")


def check_own_client(client: object, client_region: str, key_id: Optional[str], url: Optional[str]) -> None:
    """A given client brings its own credentials and endpoint, and is for Lambda in the adapter's region."""
    if client is None:
        return
    # A stub of somebody's tests has neither, or a mock that is no string.
    meta = getattr(client, "meta", None)
    service = getattr(getattr(meta, "service_model", None), "service_name", "lambda")
    own_region = getattr(meta, "region_name", client_region)
    if isinstance(service, str) and service != "lambda":
        raise ValueError(f"client must be a boto3 Lambda client; got one of {shown(service, 40)}")
    invoke = getattr(client, "invoke", None)
    if not callable(invoke):
        raise ValueError(f"client must be a boto3 Lambda client, with an invoke method; got {type(client).__name__}")
    if is_async(invoke):
        raise ValueError("client must be a boto3 Lambda client; the given one has an async invoke, as aioboto3's has")
    if isinstance(own_region, str) and own_region != client_region:
        raise ValueError(
            f"client is in {shown(own_region, 40)} and region is {client_region}; a client calls its own region only"
        )
    if key_id is not None or url is not None:
        raise ValueError("client must be given without aws_access_key_id and endpoint_url; it has its own")


def check_endpoint(name: str, value: object, allow_http: bool = False) -> None:
    """https anywhere, http on loopback or where ``allow_http`` says so.

    The value is never shown: it may hold a password.

    Raises:
        ValueError: It is none of these; the message says ``name``.
    """
    if isinstance(value, str) and _is_safe_url(value, allow_http):
        return
    plain = "an http URL of a host that is not AWS's" if allow_http else "an http URL on loopback"
    elsewhere = "" if allow_http else "; allow_http=True admits http to other hosts than AWS's"
    raise ValueError(
        f"{name} must be an https URL, or {plain} (localhost, 127.0.0.1, [::1]), "
        f"without user, password, query and fragment{elsewhere}"
    )


def is_loopback_url(value: str) -> bool:
    """Whether a URL that ``check_endpoint`` admits leads to this machine."""
    host = urlsplit(value).hostname
    return host is not None and _is_loopback(host)


def _is_safe_url(value: str, allow_http: bool) -> bool:
    if not (value.isascii() and value.isprintable()) or any(char in value for char in "?#@\\ "):
        return False
    try:
        url = urlsplit(value)
        host, _ = url.hostname, url.port  # the port is parsed, and refused, when it is read
    except ValueError:
        return False
    if not host or not (_HOST.fullmatch(host) or ":" in host):
        return False
    if url.scheme == "http":
        return _is_loopback(host) or (allow_http and not _AWS_HOST.search(host))
    return url.scheme == "https"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_function_prefix(name: str, value: object) -> None:
    if value is not None and not isinstance(value, str):
        raise _wrong(name, "a string or None", value)


def function(identifier: object, prefix: Optional[str], client_region: str) -> FunctionIdentifier:
    """The function to invoke: prefix and identifier in one, if AWS could have such a function.

    Raises:
        ValueError: No name, partial ARN or ARN; a prefix in front of an ARN; an ARN of another region.
    """
    if not isinstance(identifier, str):
        raise _wrong("function_identifier", "a string", identifier)
    alone = parse_identifier(identifier)
    if prefix and alone is not None and alone.is_arn:
        raise ValueError("function_prefix goes in front of a name, and function_identifier is an ARN; leave one out")
    name = f"{prefix or ''}{identifier}"
    parsed = parse_identifier(name)
    if parsed is None:
        raise _wrong(
            "function_identifier with function_prefix" if prefix else "function_identifier",
            f"a function's name (letters, digits, '-', '_' and '.', up to {MAX_FUNCTION_NAME_CHARS} characters with "
            "its prefix), partial ARN or ARN with a 12-digit account",
            name,
        )
    if parsed.region and parsed.region != client_region:
        raise ValueError(
            f"function_identifier is in {parsed.region} and region is {client_region}; "
            "a function can only be invoked through its own region"
        )
    return parsed
