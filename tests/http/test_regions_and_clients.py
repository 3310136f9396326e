"""What an adapter refuses when it is made: regions that are none, clients of another place, functions to be awaited."""

import asyncio
import functools
import importlib
import json
import subprocess
import sys
from unittest import mock

import boto3
import pytest

from lambda_adapter import CircuitBreaker, LambdaAdapter
from lambda_adapter._rules import validation
from lambda_adapter.local import LocalLambda


def build(**settings):
    """Closed at once: only whether it can be made is of interest."""
    given = {"function_identifier": "function", "region": "us-east-1", "module_name": "module", **settings}
    with LambdaAdapter(**given) as adapter:
        return adapter


def refused(**settings):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the callers look at the text
        build(**settings)
    return str(caught.value)


class Invokes:
    def invoke(self, **_):
        raise AssertionError("never called")


# -- Regions --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("us-east1", "us-east-1"),
        ("useast1", "us-east-1"),
        ("us-east-1a", "us-east-1"),
        ("us-east-1-bos-1a", "us-east-1"),
        ("US-EAST-1", "us-east-1"),
        ("Eu-West-2", "eu-west-2"),
        ("us_east_1", "us-east-1"),
        ("us east 1", "us-east-1"),
        (" eu-west-1 ", "eu-west-1"),
        ("us-east-1\n", "us-east-1"),
        ("us-east", "us-east-1"),
        ("eu-west3", "eu-west-3"),
        ("euwest1", "eu-west-1"),
        ("lambda.eu-north-1.amazonaws.com", "eu-north-1"),
        ("ap-southeast2", "ap-southeast-2"),
        ("us-gov-west1", "us-gov-west-1"),
        ("cn-north1", "cn-north-1"),
        ("eusc-de-east1", "eusc-de-east-1"),
    ],
)
def test_a_mistyped_region_is_refused_and_the_right_one_suggested(given, meant):
    if meant not in validation._known_regions():
        pytest.skip("the installed botocore does not know this region yet")
    for settings in ({}, {"client": Invokes()}, {"endpoint_url": "http://127.0.0.1:9"}):
        assert refused(region=given, **settings) == (
            f"region must be an AWS region (did you mean '{meant}'?); got {given!r}"
        )


@pytest.mark.parametrize(
    "given",
    ["dice", "local", "frankfurt", "a", "us", "-", "aws-global", "moon-base-1", "é", "１", "x" * 10_000],
    ids=ascii,
)
def test_what_is_near_no_region_is_refused_without_a_suggestion(given):
    text = refused(region=given)
    assert text.startswith("region must be an AWS region, like 'us-east-1'; got '")
    assert len(text) < 200


@pytest.mark.parametrize("given", [None, 5, b"us-east-1", ["us-east-1"], True, ""], ids=repr)
def test_what_is_no_text_is_refused(given):
    assert refused(region=given).startswith("region must be an AWS region, like 'us-east-1'; got ")


def known_regions():
    session = boto3.session.Session()
    partitions = session.get_available_partitions()
    return {region for partition in partitions for region in session.get_available_regions("lambda", partition)}


@pytest.mark.parametrize("given", sorted(known_regions()))
def test_every_region_of_lambda_is_taken(given):
    assert build(region=given, client=Invokes()).region == given


@pytest.mark.parametrize(
    "given",
    [
        "us-isof-south-1",
        "eu-isoe-west-1",
        "us-iso-east-1",
        "mx-central-1",
        "eusc-fr-west-2",
        "xx-nowhere-12",
        "us-gov-north-3",
    ],
)
def test_a_region_that_botocore_may_not_know_yet_is_taken(given):
    assert build(region=given, client=Invokes()).region == given


def test_a_right_region_reads_no_table_of_regions():
    """It would cost each start of a bot a few milliseconds, and botocore's import."""
    code = (
        "import sys\n"
        "from lambda_adapter._rules.validation import check_region\n"
        "check_region('region', 'us-east-1')\n"
        "print('botocore' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


@pytest.mark.parametrize(("given", "told"), [("us-east1", "did you mean 'us-east-1'"), ("dice", "like 'us-east-1'")])
def test_the_local_stand_in_has_the_same_regions(given, told):
    with pytest.raises(ValueError, match=rf"^region must be an AWS region.*{told}"):
        LocalLambda({"f": print}, region=given)


# -- Given clients --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def session():
    return boto3.session.Session(aws_access_key_id="AKIATESTING", aws_secret_access_key="secret-of-the-tests")


def test_a_client_of_another_region_is_refused(session):
    client = session.client("lambda", region_name="eu-west-1")
    assert refused(client=client).startswith("client is in eu-west-1 and region is us-east-1")
    assert build(client=client, region="eu-west-1").client is client


@pytest.mark.parametrize("service", ["s3", "sqs", "stepfunctions"])
def test_a_client_of_another_service_is_refused(session, service):
    text = refused(client=session.client(service, region_name="us-east-1"))
    assert text == f"client must be a boto3 Lambda client; got one of {service}"


def client_with(invoke):
    client = Invokes()
    client.invoke = invoke
    return client


async def coroutine(*_, **__):
    raise AssertionError("never called")


async def async_generator(*_, **__):
    raise AssertionError("never called")
    yield


def generator(*_, **__):
    raise AssertionError("never called")
    yield


class Awaited:
    async def __call__(self, *_, **__):
        raise AssertionError("never called")

    async def method(self, *_, **__):
        raise AssertionError("never called")

    @classmethod
    async def of_the_class(cls, *_, **__):
        raise AssertionError("never called")


class Inherits(Awaited):
    pass


class Iterated:
    async def __call__(self, *_, **__):
        yield


#: Each call of these gives a coroutine or an async generator.
ASYNC = {
    "a coroutine function": coroutine,
    "an async generator function": async_generator,
    "an async method": Awaited().method,
    "an async class method": Awaited.of_the_class,
    "an object with an async call": Awaited(),
    "one that inherits it": Inherits(),
    "an object whose call is an async generator": Iterated(),
    "a partial": functools.partial(coroutine, 1),
    "a partial of a partial": functools.partial(functools.partial(coroutine, 1), x=2),
    "a partial of a method": functools.partial(Awaited().method, 1),
    "a partial of an object": functools.partial(Awaited(), 1),
    "a partial of an async generator": functools.partial(async_generator, 1),
    "an AsyncMock": mock.AsyncMock(),
}
AWAITED = [pytest.param(function, id=name) for name, function in ASYNC.items()]
if sys.version_info >= (3, 12):
    inspect = importlib.import_module("inspect")
    AWAITED.append(pytest.param(inspect.markcoroutinefunction(lambda *_: asyncio.sleep(0)), id="marked as one"))


@pytest.mark.parametrize("invoke", AWAITED)
def test_a_client_with_an_async_invoke_is_refused(invoke):
    assert refused(client=client_with(invoke)).startswith(
        "client must be a boto3 Lambda client; the given one has an async"
    )


class Called:
    def __call__(self, *_):
        raise AssertionError("never called")


@pytest.mark.parametrize("function", [*AWAITED, pytest.param(generator, id="a generator function")])
def test_a_function_that_would_never_begin_is_refused(function):
    assert refused(on_attempt=function).startswith(
        "on_attempt must be a function that is neither async nor a generator"
    )
    with pytest.raises(ValueError, match=r"^clock must be a function that is neither async nor a generator"):
        CircuitBreaker(clock=function)


@pytest.mark.parametrize(
    "function",
    [
        print,
        lambda *_: 0.0,
        Called(),
        Called,
        functools.partial(print, 1),
        [].append,
        mock.Mock(),
        mock.MagicMock(),
        Awaited,
    ],
    ids=["builtin", "lambda", "object", "class", "partial", "method", "Mock", "MagicMock", "class with an async call"],
)
def test_a_plain_function_is_taken(function):
    assert build(on_attempt=function).on_attempt is function
    assert CircuitBreaker(clock=function).clock is function
    assert build(client=client_with(function))


@pytest.mark.parametrize(
    "client",
    [mock.Mock(), mock.MagicMock(), mock.Mock(spec=["invoke"]), Invokes()],
    ids=["Mock", "MagicMock", "Mock of invoke alone", "stub"],
)
def test_a_stub_that_says_neither_region_nor_service_is_taken(client):
    assert build(client=client).client is client


def test_no_refusal_shows_what_a_client_says_of_itself_in_full(session):
    client = mock.Mock()
    client.meta.region_name = "https://user:hunter2@host/" + "x" * 500
    text = refused(client=client)
    assert "hunter2" not in json.dumps(text)
    assert len(text) < 200
