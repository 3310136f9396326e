"""Every invalid constructor argument is a ValueError that names it; every valid one is kept as given."""

import inspect

import pytest

from lambda_adapter import LambdaAdapter
from support.parameters import ACCOUNT, ARN, CREDENTIAL_NAMES, NO_CREDENTIAL, PARAMETERS, SECRET


def build(**settings):
    """Only for what is refused: nobody closes it."""
    return LambdaAdapter(
        **{"function_identifier": "function", "region": "us-east-1", "module_name": "module", **settings}
    )


def refused(**settings):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the callers look at the text
        build(**settings)
    return str(caught.value)


def rows(kind):
    """``(name, value)`` of each good or bad value in the table; bad credentials have a test of their own."""
    return [
        pytest.param(parameter.name, value, id=f"{parameter.name}-{number}-{ascii(value)[:30].partition(' at 0x')[0]}")
        for parameter in PARAMETERS
        if kind == "good" or parameter.name not in CREDENTIAL_NAMES
        for number, value in enumerate(getattr(parameter, kind))
    ]


def test_the_table_holds_good_and_bad_values_of_every_parameter():
    assert [parameter.name for parameter in PARAMETERS] == list(inspect.signature(LambdaAdapter).parameters)
    assert [parameter.name for parameter in PARAMETERS if not parameter.good or not parameter.bad] == []


@pytest.mark.parametrize(("name", "value"), rows("bad"))
def test_an_invalid_argument_is_a_value_error_that_names_it(name, value):
    text = refused(**{name: value})
    # A bad prefix shows in the name that it makes.
    assert text.startswith((name, "function_identifier") if name == "function_prefix" else name)
    assert len(text) < 300
    assert text.isprintable()
    assert "hunter2" not in text


@pytest.mark.parametrize("name", CREDENTIAL_NAMES)
@pytest.mark.parametrize("value", NO_CREDENTIAL, ids=ascii)
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


def test_a_prefix_that_makes_a_good_name_too_long_is_named():
    assert refused(function_prefix="p" * 60).startswith("function_identifier with function_prefix must be")
    assert refused(function_identifier="n" * 65).startswith("function_identifier must be")


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


@pytest.mark.parametrize(("name", "value"), rows("good"))
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


# -- Arguments that do not go together ----------------------------------------------------------


def test_a_qualifier_that_comes_with_the_prefix_is_one_too(make_adapter):
    with pytest.raises(ValueError, match=r"^qualifier must be None"):
        make_adapter(function_identifier="prod", function_prefix="roll:", qualifier="test")


@pytest.mark.parametrize(
    "identifier",
    ["roll:prod", "roll:7", "roll:$LATEST", "arn:aws:lambda:us-east-1:123456789012:function:function:prod"],
)
@pytest.mark.parametrize("qualifier", ["prod", "test"], ids=["the same", "another"])
def test_two_qualifiers_are_refused(make_adapter, identifier, qualifier):
    with pytest.raises(ValueError, match=r"^qualifier must be None where function_identifier ends in one"):
        make_adapter(function_identifier=identifier, qualifier=qualifier)


@pytest.mark.parametrize("name", ["log_tail", "send_client_context"])
def test_what_aws_ignores_for_events_is_refused(make_adapter, name):
    with pytest.raises(ValueError, match=f"^{name} must be False with invocation_type 'Event'"):
        make_adapter(invocation_type="Event", **{name: True})


def test_the_installed_botocore_isolates_or_is_refused(make_adapter, botocore_knows_tenants):
    if botocore_knows_tenants:
        assert make_adapter(isolate_communities=True).isolate_communities is True
    else:
        with pytest.raises(ValueError, match=r"^isolate_communities must be False here: "):
            make_adapter(isolate_communities=True)


class OldClient:
    """A client of a botocore that knows Invoke with these arguments only."""

    def __init__(self, *members):
        self.meta = self.service_model = self.input_shape = self
        self.members = dict.fromkeys(members)

    def operation_model(self, name):
        assert name == "Invoke"
        return self

    def invoke(self, **_):
        raise AssertionError("never called")


class ClientWithoutModel:
    invoke = OldClient.invoke


@pytest.mark.parametrize("client", [OldClient(), OldClient("FunctionName", "Payload"), ClientWithoutModel()])
def test_isolation_is_never_dropped_in_silence(make_adapter, client):
    """botocore would leave out an argument that it does not know, and say nothing."""
    with pytest.raises(ValueError, match=r"^isolate_communities must be False here: .* does not know TenantId"):
        make_adapter(client=client, isolate_communities=True)
    make_adapter(client=client)
    make_adapter(client=OldClient("TenantId"), isolate_communities=True)
