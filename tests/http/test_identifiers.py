"""One table of names runs through the adapter, LocalLambda, mock_lambda and the command line: they agree on each."""

import json
import urllib.error
import urllib.request
from urllib.parse import quote

import pytest

from lambda_adapter import LocalLambda
from lambda_adapter._rules.identifiers import is_name, is_qualifier, parse_identifier
from lambda_adapter.cli import main
from lambda_adapter.testing import mock_lambda

ARN = "arn:aws:lambda:us-east-1:123456789012:function:"
#: Identifier -> the function's name and the qualifier that it says.
POSSIBLE = {
    "roll": ("roll", None),
    "roll:prod": ("roll", "prod"),
    "roll:3": ("roll", "3"),
    "roll:$LATEST": ("roll", "$LATEST"),
    "roll:$LATEST.PUBLISHED": ("roll", "$LATEST.PUBLISHED"),
    "my.func": ("my.func", None),
    "my.func:prod": ("my.func", "prod"),
    "_-.": ("_-.", None),
    "r" * 64: ("r" * 64, None),
    "function:roll": ("roll", None),
    "123456789012:roll": ("roll", None),
    "123456789012:roll:prod": ("roll", "prod"),
    "123456789012:function:roll": ("roll", None),
    "123456789012": ("123456789012", None),
    f"{ARN}roll": ("roll", None),
    f"{ARN}my.func:$LATEST": ("my.func", "$LATEST"),
    "arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:roll": ("roll", None),
}
IMPOSSIBLE = {
    "empty": "",
    "a dot": ".",
    "two dots": "..",
    "over 64": "r" * 65,
    "ARN over 256": ARN + "r" * (257 - len(ARN)),
    "slash": "roll/../x",
    "line break": "roll\n",
    "space": "ro ll",
    "full-width digits": "１２３４５６７８９０１２:roll",
    "11 digits": "12345678901:function:roll",
    "two qualifiers": "roll:prod:prod",
    "empty qualifier": "roll:",
    "half an ARN": "arn:aws:lambda:us-east-1:function:roll",
    "another service": "arn:aws:s3:us-east-1:123456789012:function:roll",
    "no name": ARN,
    "$ in a name": "$LATEST",
}


def region_of(identifier):
    return "us-gov-west-1" if "us-gov" in identifier else "us-east-1"


@pytest.fixture(params=POSSIBLE)
def possible(request):
    return (request.param, *POSSIBLE[request.param])


def test_it_is_parsed_into_name_and_qualifier(possible):
    identifier, name, qualifier = possible
    parsed = parse_identifier(identifier)
    assert (parsed.text, parsed.name, parsed.qualifier) == (identifier, name, qualifier)
    assert parsed.is_arn == identifier.startswith(("arn:", "function:", "123456789012:"))
    assert parsed.region == (region_of(identifier) if identifier.startswith("arn:") else None)
    assert is_name(identifier) == (identifier == name)
    assert qualifier is None or is_qualifier(qualifier)


def test_the_adapter_reaches_it_on_local_lambda(possible, make_adapter, make_request):
    identifier, name, qualifier = possible
    region = region_of(identifier)
    with LocalLambda({name: lambda event, context: {"success": True}}, region=region) as local:
        adapter = make_adapter(function_identifier=identifier, region=region, endpoint_url=local.endpoint_url)
        adapter.execute(make_request()).raise_for_error()
    (call,) = local.calls
    assert (call.function_name, call.qualifier) == (name, qualifier)


def test_mock_lambda_knows_it_by_either(possible, make_adapter, make_request):
    identifier, name, _ = possible
    with mock_lambda() as mock:
        mock.function(identifier, {"success": True})
        adapter = make_adapter(function_identifier=identifier, region=region_of(identifier))
        adapter.execute(make_request()).raise_for_error()
        assert len(mock.calls(identifier)) == len(mock.calls(name)) == 1


def test_invoke_serves_it_on_this_machine(possible, tmp_path, capsys):
    identifier, _, _ = possible
    (tmp_path / "named.py").write_text("def handler(event, context):\n    return {'success': True}\n")
    local = ["--local", f"{tmp_path / 'named.py'}:handler", "--region", region_of(identifier)]
    assert main(["invoke", identifier, *local, "--command", "x"]) == 0
    assert json.loads(capsys.readouterr().out)["success"]


@pytest.fixture(params=IMPOSSIBLE)
def impossible(request):
    return IMPOSSIBLE[request.param]


def test_nobody_takes_what_can_be_no_function(impossible, make_adapter, tmp_path, capsys):
    assert parse_identifier(impossible) is None
    assert not is_name(impossible)
    with pytest.raises(ValueError, match="function_identifier"):
        make_adapter(function_identifier=impossible)
    with pytest.raises(ValueError, match="functions"):
        LocalLambda({impossible: print})
    with mock_lambda() as mock, pytest.raises(ValueError, match="name must be"):
        mock.function(impossible)
    (tmp_path / "named.py").write_text("def handler(event, context):\n    return {'success': True}\n")
    assert main(["invoke", impossible, "--local", f"{tmp_path / 'named.py'}:handler", "--command", "x"]) == 2
    assert "FUNCTION" in capsys.readouterr().err


def test_local_lambda_refuses_a_request_for_it(impossible):
    with LocalLambda({"roll": print}) as local:
        url = f"{local.endpoint_url}/2015-03-31/functions/{quote(impossible, safe='')}/invocations"
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(url, b"{}"))
    with refused.value:
        assert refused.value.code in (400, 404)
    assert local.calls == []


def test_a_name_with_a_qualifier_names_no_handler():
    with pytest.raises(ValueError, match="functions"):
        LocalLambda({"roll:prod": print})


@pytest.mark.parametrize("qualifier", ["", "q" * 129, "a b", "prod\n", "$LATEST.x", "ü"])
def test_what_is_no_qualifier(qualifier):
    assert not is_qualifier(qualifier)
