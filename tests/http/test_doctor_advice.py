"""doctor tells credentials that could not be fetched from a function that may not be invoked."""

import pytest

from lambda_adapter.__main__ import main
from support import credential_sources as sources
from support.credential_sources import SECRET, Sts, sts_error
from support.fault_server import FaultServer, answer, aws_error, untyped


@pytest.fixture
def doctor(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))

    def run(endpoint_url, *options):
        code = main(["doctor", "weather", "--region", "us-east-1", "--endpoint-url", endpoint_url, *options])
        captured = capsys.readouterr()
        assert (code, captured.err) == (1, "")
        assert SECRET not in captured.out
        return captured.out.splitlines()

    return run


@pytest.mark.parametrize(
    ("reaction", "says", "advice"),
    [
        (sts_error("AccessDenied", 403), "AssumeRoleWithWebIdentity was refused (AccessDenied)", "trust policy"),
        (sts_error("ExpiredTokenException", 400), "(ExpiredTokenException)", "trust policy"),
        (sts_error("Throttling", 400), "(Throttling)", "Try again in a minute"),
        (untyped(500), "AssumeRoleWithWebIdentity", "Try again in a minute"),
    ],
    ids=["AccessDenied", "ExpiredTokenException", "Throttling", "500"],
)
def test_what_sts_says_is_about_the_credentials(reaction, says, advice, doctor, monkeypatch, tmp_path):
    (tmp_path / "token").write_text(SECRET)
    with FaultServer(Sts(reaction)) as sts, FaultServer(answer({})) as function:
        sources.web_identity(monkeypatch, sts, tmp_path / "token")
        first, error, third = doctor(function.endpoint_url)
        assert (len(sts.requests), function.requests) == (1, [])
    assert first.startswith("FAILED  weather  credentials from assume-role-with-web-identity, endpoint not tried")
    assert error.strip().startswith("configuration_error: the AWS credentials")
    assert says in error
    assert advice in third


def test_a_token_that_cannot_be_read_is_the_sources(doctor, monkeypatch, tmp_path):
    with FaultServer(Sts()) as sts, FaultServer(answer({})) as function:
        sources.web_identity(monkeypatch, sts, tmp_path / SECRET)
        _, error, third = doctor(function.endpoint_url)
        assert function.requests == []
    assert "web identity token" in error
    assert "source of the credentials" in third


def test_an_endpoint_that_knows_no_dry_run_is_none_of_awss(doctor, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    with FaultServer(aws_error("NotImplemented", 501)) as sam_local:
        first, error, third = doctor(sam_local.endpoint_url)
        assert len(sam_local.requests) == 1
    assert "endpoint reachable, function unknown, invocation unknown" in first
    assert "knows no DryRun" in error
    assert "(NotImplemented)" in error
    assert "invoke the function instead" in third


def test_a_code_that_is_new_is_named(doctor, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    with FaultServer(aws_error("NotAuthorized", 403)) as server:
        _, error, _ = doctor(server.endpoint_url)
    assert error.strip().startswith("access_denied: ")
    assert "(NotAuthorized)" in error
