"""LambdaAdapter's parameters, one row each, in order: what the tests of defaults, values and options are taken from."""

import fractions
import inspect
import math
from typing import Any, Sequence

import attrs

from lambda_adapter import CircuitBreaker
from support.clients import Client

ACCOUNT = "123456789012"
ARN = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:function"
SECRET = "hunter2-" + "s" * 32

#: For what must be given.
REQUIRED = inspect.Parameter.empty


@attrs.frozen
class Parameter:
    """One parameter, and values that it may and may not have."""

    name: str
    #: As in the signature.
    default: Any = attrs.field(default=REQUIRED, kw_only=True)
    #: Each is kept as given, beside good values of the other parameters.
    good: Sequence[Any] = attrs.field(kw_only=True)
    #: Each is a ValueError that names the parameter.
    bad: Sequence[Any] = attrs.field(kw_only=True)
    #: Whether it cannot be given by its place.
    keyword_only: bool = attrs.field(default=False, kw_only=True)
    #: What the tests of the command line give as an option; None where there is none.
    option: Any = attrs.field(default=None, kw_only=True)


async def _coroutine(attempt):
    """Nobody would await it."""


NO_NUMBERS = [True, False, None, "5", b"5", [], {}, 1j, fractions.Fraction(1, 2), math.nan, math.inf, -math.inf]
#: Of a parameter that may be None.
NEITHER = [value for value in NO_NUMBERS if value is not None]
NO_FLAGS = [None, 0, 1, "true", "", []]
NO_WORDS = [None, "", " ", 5, b"bytes", True, [], ["a"]]
NO_CREDENTIAL = ["", "   ", 5, b"hunter2", True, "hunter2\n", "hunter2\r\nX-Header: 1", "hunter2\0", "hünter2"]

PARAMETERS = [
    Parameter(
        "function_identifier",
        good=["f", "my-function_2", "x" * 64, "name:prod", "name:42", "name:$LATEST", f"{ACCOUNT}:function:name", ARN],
        bad=[
            *NO_WORDS,
            "two words",
            "slash/name",
            "..",
            ".",
            "../invocations",
            "name\n",
            "näme",
            "１２",
            "name?x=1",
            "name#x",
            "%2e%2e",
            "x" * 65,
            "name:",
            ":alias",
            "name:alias:alias",
            "name:two words",
            "name:$OLDEST",
            "https://host/name",
            "12345:function:name",
            f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:",
            f"arn:aws:lambda:us-east-1:{ACCOUNT}:layer:name",
            f"arn:aws:lambda::{ACCOUNT}:function:name",
            "arn:aws:lambda:us-east-1:12345678901:function:name",
            "arn:aws:lambda:us-east-1::function:name",
            f"arn:aws:s3:us-east-1:{ACCOUNT}:function:name",
            f"arn:gcp:lambda:us-east-1:{ACCOUNT}:function:name",
            f"ARN:aws:lambda:us-east-1:{ACCOUNT}:function:name",
            f"{ARN}:1:2",
            f"{ARN}/x",
            f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{'x' * 250}",
            f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:..",
        ],
    ),
    Parameter(
        "region",
        good=["eu-central-1", "us-gov-west-1"],
        bad=[
            *NO_WORDS,
            "a",
            "us east 1",
            "us-east-1\n",
            "us_east_1",
            "-us",
            "us-",
            "us.east",
            "host/path",
            "x" * 64,
            "é",
        ],
        option="eu-west-1",
    ),
    Parameter(
        "module_name",
        good=["m", "My_Module-2", "-", "0", "x" * 300],
        bad=[*NO_WORDS, "two words", "a.b", "a/b", "name\n", "näme", "１", "a:b"],
        option="dice",
    ),
    Parameter(
        "function_prefix",
        default=None,
        good=[None, "", "waddlebot-"],
        bad=[5, b"bytes", True, ["a"], "two words", "a/", "é", "x" * 60, "../"],
        option="waddlebot-",
    ),
    Parameter(
        "invocation_type",
        default="RequestResponse",
        good=["RequestResponse", "Event"],
        bad=[*NO_WORDS, "event", "requestresponse", "DryRun", "RequestResponse ", ("Event",), {"Event": 1}],
        option="RequestResponse",
    ),
    Parameter(
        "max_retries",
        default=3,
        good=[0, 100],
        bad=[*NO_NUMBERS, -1, 101, 1.0, 2.5],
        option=7,
    ),
    Parameter(
        "initial_retry_delay",
        default=0.5,
        good=[5e-324, 1, 3_600, 3_600.0],
        bad=[*NO_NUMBERS, 0, 0.0, -0.0, -1, 3_600.001, 10**400],
        option=0.25,
    ),
    Parameter(
        "max_retry_delay",
        default=30.0,
        good=[5e-324, 1, 3_600],
        bad=[*NO_NUMBERS, 0, -1e-9, 3_601],
        option=2.5,
    ),
    Parameter(
        "connect_timeout",
        default=10.0,
        good=[0.001, 1, 120],
        bad=[*NO_NUMBERS, 0, -1, 120.001, 121],
        option=1.5,
    ),
    Parameter(
        "read_timeout",
        default=30.0,
        good=[0.001, 1, 1_860],
        bad=[*NO_NUMBERS, 0, -1, 1_860.001, 1_861],
        option=900.0,
    ),
    Parameter(
        "aws_access_key_id",
        default=None,
        good=["AKIAEXAMPLE"],
        bad=NO_CREDENTIAL,
    ),
    Parameter(
        "aws_secret_access_key",
        default=None,
        good=[SECRET],
        bad=NO_CREDENTIAL,
    ),
    Parameter(
        "module_version",
        default="1.0.0",
        good=["1.0.0", "2", "v1-beta"],
        bad=NO_WORDS,
        option="2.0",
    ),
    Parameter(
        "required_scopes",
        default=None,
        good=[[], ["community.read", "x"]],
        bad=["community.read", 5, True, {"a"}, {"a": 1}, [""], [5], ["a", None], (None,), iter(["a"])],
        option=["a", "b"],
    ),
    Parameter(
        "aws_session_token",
        default=None,
        keyword_only=True,
        good=[SECRET, None],
        bad=NO_CREDENTIAL,
    ),
    Parameter(
        "endpoint_url",
        default=None,
        keyword_only=True,
        good=[
            None,
            "https://lambda.us-east-1.amazonaws.com",
            "https://host:8443/path",
            "https://10.0.0.1",
            "http://localhost:3001",
            "http://127.0.0.1:3001",
            "http://127.9.9.9",
            "http://[::1]:3001",
            "HTTP://LOCALHOST",
        ],
        bad=[
            "",
            5,
            b"https://host",
            "host",
            "host:3001",
            "//host",
            "https://",
            "https:///path",
            "http://host",
            "http://192.168.1.1:3001",
            "http://127.0.0.1.evil.example",
            "http://localhost.evil.example",
            "http://0.0.0.0:3001",
            "http://[::2]:3001",
            "ftp://localhost",
            "file:///etc/passwd",
            "https://user:hunter2@host",
            "https://hunter2@host",
            "http://localhost@evil.example",
            "http://localhost\\@evil.example",
            "https://host?a=hunter2",
            "https://host#hunter2",
            "https://host:port",
            "https://host:99999",
            "https://[::1",
            "https://host\nhunter2",
            "https://ho st",
            "https://höst",
        ],
        option="http://127.0.0.1:9",
    ),
    Parameter(
        "client",
        default=None,
        keyword_only=True,
        good=[None, Client()],
        bad=["client", 5, object(), {}, True],
    ),
    Parameter(
        "qualifier",
        default=None,
        keyword_only=True,
        good=[None, "prod", "7", "$LATEST", "$LATEST.PUBLISHED", "a-b_C", "x" * 128],
        bad=[
            *NO_WORDS[1:],
            "two words",
            "prod\n",
            "\nprod",
            "prod\0",
            "pröd",
            "１",
            "a:b",
            "a.b",
            "a/b",
            "a?b=c",
            "*",
            "$LATEST.",
            "$LATEST.published",
            "$LATEST.PUBLISHED\n",
            "x" * 129,
        ],
        option="live",
    ),
    Parameter(
        "idempotent",
        default=True,
        keyword_only=True,
        good=[True, False],
        bad=NO_FLAGS,
        option=False,
    ),
    Parameter(
        "jitter",
        default=1.0,
        keyword_only=True,
        good=[0, 0.0, 0.5, 1, 1.0],
        bad=[*NO_NUMBERS, -0.001, 1.001, 2],
        option=0.5,
    ),
    Parameter(
        "total_timeout",
        default=None,
        keyword_only=True,
        good=[None, 5e-324, 0.001, 1, 86_400, 86_400.0],
        bad=[*NEITHER, 0, 0.0, -0.0, -1, 86_400.001, 86_401, 10**400],
        option=60.0,
    ),
    Parameter(
        "durable",
        default=False,
        keyword_only=True,
        good=[False],  # True is for botocores that know executions
        bad=NO_FLAGS,
        option=True,
    ),
    Parameter(
        "max_concurrency",
        default=64,
        keyword_only=True,
        good=[1, 1_024],
        bad=[*NO_NUMBERS, 0, -1, 1_025, 64.0],
        option=3,
    ),
    Parameter(
        "max_pending",
        default=None,
        keyword_only=True,
        good=[None, 0, 1, 10**6],
        bad=[*NEITHER, -1, 0.0, 1.5],
        option=4,
    ),
    Parameter(
        "max_pending_per_community",
        default=None,
        keyword_only=True,
        good=[None, 0, 1, 10**6],
        bad=[*NEITHER, -1, 0.0, 1.5],
        option=2,
    ),
    Parameter(
        "forward_metadata",
        default=False,
        keyword_only=True,
        good=[True, False],
        bad=NO_FLAGS,
        option=True,
    ),
    Parameter(
        "strict_metadata",
        default=False,
        keyword_only=True,
        good=[True, False],
        bad=NO_FLAGS,
        option=True,
    ),
    Parameter(
        "allow_http",
        default=False,
        keyword_only=True,
        good=[True, False],
        bad=NO_FLAGS,
        option=True,
    ),
    Parameter(
        "enforce_scopes",
        default=True,
        keyword_only=True,
        good=[True, False],
        bad=NO_FLAGS,
        option=False,
    ),
    Parameter(
        "isolate_communities",
        default=False,
        keyword_only=True,
        good=[False],  # True is for botocores that know tenants
        bad=NO_FLAGS,
        option=True,
    ),
    Parameter(
        "send_client_context",
        default=False,
        keyword_only=True,
        good=[True, False],
        bad=NO_FLAGS,
        option=True,
    ),
    Parameter(
        "log_tail",
        default=False,
        keyword_only=True,
        good=[True, False],
        bad=NO_FLAGS,
        option=True,
    ),
    Parameter(
        "unhealthy_threshold",
        default=3,
        keyword_only=True,
        good=[1, 10**6],
        bad=[*NO_NUMBERS, 0, -1, 3.0],
        option=9,
    ),
    Parameter(
        "circuit_breaker",
        default=None,
        keyword_only=True,
        good=[None, CircuitBreaker(1, 0.001)],
        bad=[True, 5, "on", {}, (5, 30.0), CircuitBreaker],
    ),
    Parameter(
        "on_attempt",
        default=None,
        keyword_only=True,
        good=[None, print],
        bad=[True, 5, "print", [], {}, object(), _coroutine],
    ),
]

#: These come together or not at all, so that one alone is not valid.
CREDENTIAL_NAMES = ["aws_access_key_id", "aws_secret_access_key", "aws_session_token"]
