"""Every invalid constructor argument is a ValueError that names it; every valid one is kept as given."""

import fractions
import math

import pytest

from lambda_adapter import CircuitBreaker, LambdaAdapter

ACCOUNT = "123456789012"
ARN = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:function"
SECRET = "hunter2-" + "s" * 32


def build(**settings):
    """Only for what is refused: nobody closes it."""
    return LambdaAdapter(
        **{"function_identifier": "function", "region": "us-east-1", "module_name": "module", **settings}
    )


def refused(**settings):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the callers look at the text
        build(**settings)
    return str(caught.value)


async def _coroutine(attempt):
    """Nobody would await it."""


NO_NUMBERS = [True, False, None, "5", b"5", [], {}, 1j, fractions.Fraction(1, 2), math.nan, math.inf, -math.inf]
#: Of a parameter that may be None.
NEITHER = [value for value in NO_NUMBERS if value is not None]
NO_FLAGS = [None, 0, 1, "true", "", []]
NO_WORDS = [None, "", " ", 5, b"bytes", True, [], ["a"]]

INVALID = {
    "function_identifier": [
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
    "region": [*NO_WORDS, "us east 1", "us-east-1\n", "us_east_1", "-us", "us-", "us.east", "host/path", "x" * 64, "é"],
    "module_name": [*NO_WORDS, "two words", "a.b", "a/b", "name\n", "näme", "１", "a:b"],
    "function_prefix": [5, b"bytes", True, ["a"], "two words", "a/", "é", "x" * 60, "../"],
    "invocation_type": [*NO_WORDS, "event", "requestresponse", "DryRun", "RequestResponse ", ("Event",), {"Event": 1}],
    "max_retries": [*NO_NUMBERS, -1, 101, 1.0, 2.5],
    "initial_retry_delay": [*NO_NUMBERS, 0, 0.0, -0.0, -1, 3_600.001, 10**400],
    "max_retry_delay": [*NO_NUMBERS, 0, -1e-9, 3_601],
    "connect_timeout": [*NO_NUMBERS, 0, -1, 120.001, 121],
    "read_timeout": [*NO_NUMBERS, 0, -1, 960.001, 961],
    "jitter": [*NO_NUMBERS, -0.001, 1.001, 2],
    "max_concurrency": [*NO_NUMBERS, 0, -1, 1_025, 64.0],
    "unhealthy_threshold": [*NO_NUMBERS, 0, -1, 3.0],
    "module_version": NO_WORDS,
    "required_scopes": ["community.read", 5, True, {"a"}, {"a": 1}, [""], [5], ["a", None], (None,), iter(["a"])],
    "idempotent": NO_FLAGS,
    "enforce_scopes": NO_FLAGS,
    "isolate_communities": NO_FLAGS,
    "send_client_context": NO_FLAGS,
    "log_tail": NO_FLAGS,
    "total_timeout": [*NEITHER, 0, 0.0, -0.0, -1, 86_400.001, 86_401, 10**400],
    "max_pending": [*NEITHER, -1, 0.0, 1.5],
    "max_pending_per_community": [*NEITHER, -1, 0.0, 1.5],
    "qualifier": [
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
    "circuit_breaker": [True, 5, "on", {}, (5, 30.0), CircuitBreaker],
    "on_attempt": [True, 5, "print", [], {}, object(), _coroutine],
    "endpoint_url": [
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
    "client": ["client", 5, object(), {}, True],
}
ROWS = [
    pytest.param(name, value, id=f"{name}-{number}-{ascii(value)[:30].partition(' at 0x')[0]}")
    for name, values in INVALID.items()
    for number, value in enumerate(values)
    if not (name == "required_scopes" and value is None)
]


@pytest.mark.parametrize(("name", "value"), ROWS)
def test_an_invalid_argument_is_a_value_error_that_names_it(name, value):
    text = refused(**{name: value})
    # A bad prefix shows in the name that it makes.
    assert text.startswith((name, "function_identifier") if name == "function_prefix" else name)
    assert len(text) < 300
    assert text.isprintable()
    assert "hunter2" not in text


@pytest.mark.parametrize("name", ["aws_access_key_id", "aws_secret_access_key", "aws_session_token"])
@pytest.mark.parametrize(
    "value",
    ["", "   ", 5, b"hunter2", True, "hunter2\n", "hunter2\r\nX-Header: 1", "hunter2\0", "hünter2"],
    ids=ascii,
)
def test_an_invalid_credential_is_named_and_not_shown(name, value):
    good = {"aws_access_key_id": "AKIA", "aws_secret_access_key": SECRET, "aws_session_token": SECRET}
    text = refused(**{**good, name: value})
    assert text.startswith(name)
    assert "unter2" not in text


@pytest.mark.parametrize(
    ("given", "named"),
    [
        pytest.param({"aws_access_key_id": SECRET}, "aws_access_key_id and aws_secret_access_key", id="id alone"),
        pytest.param(
            {"aws_secret_access_key": SECRET}, "aws_access_key_id and aws_secret_access_key", id="secret alone"
        ),
        pytest.param({"aws_session_token": SECRET}, "aws_session_token", id="token alone"),
        pytest.param(
            {"aws_session_token": SECRET, "aws_secret_access_key": SECRET}, "aws_access_key_id", id="token and secret"
        ),
    ],
)
def test_credentials_come_together_or_not_at_all(given, named):
    text = refused(**given)
    assert named in text
    assert "hunter2" not in text


class Invokes:
    def invoke(self, **_):
        raise AssertionError("never called")


@pytest.mark.parametrize(
    "more",
    [
        {"aws_access_key_id": "AKIA", "aws_secret_access_key": SECRET},
        {"endpoint_url": "https://hunter2.example"},
    ],
    ids=["credentials", "endpoint"],
)
def test_a_ready_client_goes_without_credentials_and_endpoint(more):
    text = refused(client=Invokes(), **more)
    assert text.startswith("client")
    assert "hunter2" not in text


@pytest.mark.parametrize("arn", [ARN, f"{ACCOUNT}:function:function", "function:function", f"{ACCOUNT}:function"])
def test_a_prefix_in_front_of_an_arn_is_refused(arn):
    assert refused(function_identifier=arn, function_prefix="waddlebot-").startswith("function_prefix")


@pytest.mark.parametrize("arn", [ARN, f"{ARN}:prod", ARN.replace("us-east-1", "us-east-2")])
def test_an_arn_of_another_region_is_refused(arn):
    text = refused(function_identifier=arn, region="eu-west-1")
    assert text.startswith("function_identifier")
    assert "eu-west-1" in text


@pytest.mark.parametrize("name", ["function_identifier", "region", "module_name"])
def test_the_three_required_arguments_are_required(name):
    given = {"function_identifier": "function", "region": "us-east-1", "module_name": "module"}
    del given[name]
    with pytest.raises(TypeError, match=name):
        LambdaAdapter(**given)


def test_an_unknown_argument_is_refused():
    with pytest.raises(TypeError, match="timeout"):
        build(timeout=5)


def test_the_extras_are_keywords_only():
    with pytest.raises(TypeError):
        LambdaAdapter(*["function", "us-east-1", "module"], *[None] * 12)


@pytest.mark.parametrize("name", ["max_retries", "read_timeout", "region"])
@pytest.mark.parametrize(
    "value", [10**5_000, type("Hostile", (), {"__repr__": lambda _: 1 / 0})()], ids=["huge", "repr"]
)
def test_a_value_without_a_repr_is_refused_like_any_other(name, value):
    with pytest.raises(ValueError, match=rf"^{name} must be"):
        build(**{name: value})


@pytest.mark.parametrize("url", ["https://my_lambda:8443", "https://a..b", "https://-host", "https://host-:443"])
def test_an_endpoint_that_botocore_would_refuse_is_refused_by_name(url):
    assert refused(endpoint_url=url).startswith("endpoint_url")


# -- Valid arguments ------------------------------------------------------------------------------

PARTITIONS = {
    "us-east-1": "aws",
    "ap-southeast-4": "aws",
    "cn-north-1": "aws-cn",
    "us-gov-west-1": "aws-us-gov",
    "us-iso-east-1": "aws-iso",
    "us-isob-east-1": "aws-iso-b",
    "eu-isoe-west-1": "aws-iso-e",
    "eusc-de-east-1": "aws-eusc",
}


@pytest.mark.parametrize("qualifier", ["", ":1", ":prod", ":$LATEST"])
@pytest.mark.parametrize(("region", "partition"), PARTITIONS.items())
def test_an_arn_of_any_partition_is_invoked_as_it_is(make_adapter, region, partition, qualifier):
    arn = f"arn:{partition}:lambda:{region}:{ACCOUNT}:function:my-function_2{qualifier}"
    adapter = make_adapter(function_identifier=arn, region=region)
    assert (adapter.function_name, adapter.function_identifier) == (arn, arn)


@pytest.mark.parametrize(
    ("identifier", "prefix", "function_name"),
    [
        ("f", None, "f"),
        ("my-function_2", None, "my-function_2"),
        ("x" * 64, None, "x" * 64),
        ("x" * 60, "pre-", "pre-" + "x" * 60),
        ("name:prod", None, "name:prod"),
        ("name:42", None, "name:42"),
        ("name:$LATEST", None, "name:$LATEST"),
        ("name", "", "name"),
        ("name", "waddlebot-", "waddlebot-name"),
        ("name:prod", "waddlebot-", "waddlebot-name:prod"),
        ("function:name", None, "function:name"),
        (f"{ACCOUNT}:function:name", None, f"{ACCOUNT}:function:name"),
        (f"{ACCOUNT}:function:name:prod", None, f"{ACCOUNT}:function:name:prod"),
        (f"{ACCOUNT}:name", None, f"{ACCOUNT}:name"),
        (ARN, "", ARN),
    ],
)
def test_a_name_is_invoked_with_its_prefix(make_adapter, identifier, prefix, function_name):
    adapter = make_adapter(function_identifier=identifier, function_prefix=prefix)
    assert adapter.function_name == function_name
    assert (adapter.function_identifier, adapter.function_prefix) == (identifier, prefix)


VALID = {
    "region": ["eu-central-1", "us-gov-west-1", "a", "x" * 63],
    "module_name": ["m", "My_Module-2", "-", "0", "x" * 300],
    "invocation_type": ["RequestResponse", "Event"],
    "max_retries": [0, 100],
    "initial_retry_delay": [5e-324, 1, 3_600, 3_600.0],
    "max_retry_delay": [5e-324, 1, 3_600],
    "connect_timeout": [0.001, 1, 120],
    "read_timeout": [0.001, 1, 960],
    "jitter": [0, 0.0, 0.5, 1, 1.0],
    "max_concurrency": [1, 1_024],
    "unhealthy_threshold": [1, 10**6],
    "module_version": ["1.0.0", "2", "v1-beta"],
    "idempotent": [True, False],
    "enforce_scopes": [True, False],
    "isolate_communities": [False],  # True is for botocores that know it: test_operations.py
    "send_client_context": [True, False],
    "log_tail": [True, False],
    "total_timeout": [None, 5e-324, 0.001, 1, 86_400, 86_400.0],
    "max_pending": [None, 0, 1, 10**6],
    "max_pending_per_community": [None, 0, 1, 10**6],
    "qualifier": [None, "prod", "7", "$LATEST", "$LATEST.PUBLISHED", "a-b_C", "x" * 128],
    "circuit_breaker": [None, CircuitBreaker(1, 0.001)],
    "on_attempt": [None, print],
    "required_scopes": [[], ["community.read", "x"]],
    "aws_session_token": [SECRET, None],
    "endpoint_url": [
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
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param(name, value, id=f"{name}-{number}-{str(value)[:30]}")
        for name, values in VALID.items()
        for number, value in enumerate(values)
    ],
)
def test_a_valid_argument_is_kept_as_given(make_adapter, name, value):
    kept = getattr(make_adapter(**{name: value}), name)
    assert (kept, type(kept)) == (value, type(value))


def test_the_adapters_scopes_are_its_own(make_adapter):
    scopes = ["community.read"]
    adapter = make_adapter(required_scopes=scopes)
    scopes.append("admin")
    assert adapter.required_scopes == ["community.read"]
    assert make_adapter(required_scopes=("a", "b")).required_scopes == ["a", "b"]
    assert make_adapter(required_scopes=None).required_scopes == []
