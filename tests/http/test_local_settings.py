"""``local.settings``: all that an adapter needs in the place of AWS, and a time limit that fits the adapter's."""

import ast
import inspect
import textwrap

import pytest

from lambda_adapter import LambdaAdapter, LocalLambda
from lambda_adapter.local import LocalCall, LocalSettings


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1", "cn-north-1", "us-gov-west-1"])
def test_an_adapter_with_the_settings_runs_what_is_served(make_request, region):
    arn = []
    with LocalLambda({"dice": lambda event, context: arn.append(context.invoked_function_arn)}, region=region) as local:
        with LambdaAdapter("dice", module_name="dice", **local.settings) as adapter:
            assert adapter.execute(make_request()).invocation.status_code == 200
        assert (adapter.region, local.calls[0].payload["trigger"]["command"]) == (region, "weather")
    assert region in arn[0]


def test_the_settings_are_the_parameters_of_those_names():
    with LocalLambda({}) as local:
        assert set(local.settings) == set(LocalSettings.__annotations__)
        assert set(local.settings) < set(inspect.signature(LambdaAdapter).parameters)
        assert local.settings["endpoint_url"] == local.endpoint_url


def test_each_adapter_may_change_its_own():
    with LocalLambda({}) as local:
        local.settings["region"] = "eu-west-1"
        assert local.settings["region"] == "us-east-1"
        changed = LambdaAdapter("dice", module_name="dice", **{**local.settings, "endpoint_url": "http://127.0.0.1:1"})
        with changed:
            assert changed.endpoint_url == "http://127.0.0.1:1"


def test_another_region_beside_them_is_an_error_not_a_surprise():
    with LocalLambda({}) as local, pytest.raises(TypeError, match=r"multiple values for .*'region'"):
        LambdaAdapter("dice", "eu-west-1", "dice", **local.settings)


@pytest.mark.parametrize("started", [False, True], ids=["not-started", "closed"])
def test_there_are_none_without_an_endpoint(started):
    local = LocalLambda({})
    if started:
        local.start()
        local.close()
    with pytest.raises(RuntimeError, match="unless it is started and not yet closed"):
        local.settings  # noqa: B018


def test_a_handler_may_take_longer_than_a_chat_waits_and_ends_before_the_adapter_gives_up():
    defaults = {name: parameter.default for name, parameter in inspect.signature(LocalLambda).parameters.items()}
    read_timeout = inspect.signature(LambdaAdapter).parameters["read_timeout"].default
    assert 3 < defaults["timeout"] < read_timeout


@pytest.mark.parametrize("kind", [LocalCall, LocalSettings])
def test_every_field_has_words_that_editors_show(kind):
    """A string right after it."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    told = {
        field.target.id: isinstance(after, ast.Expr) and isinstance(ast.literal_eval(after.value), str)
        for field, after in zip(tree.body, [*tree.body[1:], ast.Pass()])
        if isinstance(field, ast.AnnAssign)
    }
    assert told == dict.fromkeys(kind.__annotations__, True)
