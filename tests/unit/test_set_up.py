"""What keeps boto3 from making a client, or from finding credentials, is named; what was read or printed is not."""

import boto3
import pytest

from lambda_adapter.__main__ import main
from lambda_adapter._aws.failures import from_set_up
from lambda_adapter._call.outcomes import refused, to_response
from lambda_adapter.errors import ConfigurationError, error_for
from support import credential_sources as sources
from support.credential_sources import SECRET


def printing(text: str) -> str:
    return f"python: import sys; sys.stdout.buffer.write({text.encode('latin-1')!r})"


def with_process(program: str):
    return lambda environment, directory: sources.process(environment, directory, program)


def not_executable(environment, directory):
    script = directory / SECRET
    script.write_text("#!/bin/sh\n")
    sources.config(environment, directory, f"credential_process = {script}")


def with_config(lines: str):
    return lambda environment, directory: sources.config(environment, directory, lines)


def profile(environment, directory):
    environment.setenv("AWS_PROFILE", "nobody")


def half_a_pair(environment, directory):
    environment.setenv("AWS_ACCESS_KEY_ID", SECRET)


def bad_file(environment, directory):
    sources.config(environment, directory, "x")
    (directory / "config").write_text(f"{SECRET} [\n")


def not_utf8(environment, directory):
    sources.config(environment, directory, "x")
    (directory / "config").write_bytes(b"[default]\nregion = \xff\xfe\n")


def no_metadata(environment, directory):
    environment.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://{SECRET}.example/creds")


PROCESS = "credential_process"
ROLE = "role_arn = arn:aws:iam::1:role/x"
CIRCLE = f"{ROLE}\nsource_profile = a\n[profile a]\n{ROLE}\nsource_profile = default"
SET_UPS = [
    ("process missing", with_process(f"/nowhere/{SECRET}"), PROCESS),
    ("process not executable", not_executable, PROCESS),
    ("process a directory", with_process("/"), PROCESS),
    ("process prints no JSON", with_process(printing(SECRET)), PROCESS),
    ("process prints nothing", with_process(printing("")), PROCESS),
    ("process prints a list", with_process(printing(f'["{SECRET}"]')), PROCESS),
    ("process prints a number", with_process(printing("1")), PROCESS),
    ("process prints no UTF-8", with_process(printing(f"\xff{SECRET}")), PROCESS),
    ("process prints no version", with_process(printing(f'{{"AccessKeyId": "{SECRET}"}}')), PROCESS),
    ("process prints no keys", with_process(printing('{"Version": 1}')), PROCESS),
    ("process prints an expiry that is none", with_process(printing(
        f'{{"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "b", "SessionToken": "c", "Expiration": "{SECRET}"}}'
    )), "the AWS credentials"),
    ("process fails", with_process(f"python: import sys; sys.exit('{SECRET}')"), PROCESS),
    ("profile", profile, "profile"),
    ("half a pair", half_a_pair, "the AWS credentials are incomplete"),
    ("config file that is none", bad_file, "config file"),
    ("config file that is no text", not_utf8, "config file"),
    ("source_profile that does not exist", with_config(f"{ROLE}\nsource_profile = no"), "the AWS credentials"),
    ("source_profile in a circle", with_config(CIRCLE), "the AWS credentials"),
    ("role without a source", with_config(ROLE), "the AWS credentials"),
    ("web identity without a role", with_config("web_identity_token_file = /nowhere"), "the AWS credentials"),
    ("container host that is none of its", no_metadata, "the AWS credentials"),
]  # fmt: skip
ROWS = [pytest.param(*row[1:], id=row[0]) for row in SET_UPS]


@pytest.mark.parametrize(("prepare", "says"), ROWS)
def test_what_is_wrong_with_the_set_up_is_named(prepare, says, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    prepare(monkeypatch, tmp_path)
    with pytest.raises(Exception) as caught:  # noqa: PT011
        boto3.session.Session().client("lambda", "us-east-1").close()
    failure = from_set_up(caught.value)
    assert (failure.error_code, failure.executed, failure.transient) == ("configuration_error", "no", False)
    assert says in failure.cause
    assert SECRET not in failure.cause
    error = error_for(to_response(refused(failure), "function"))
    assert type(error) is ConfigurationError
    assert str(error) == f"configuration_error: {failure.cause}"


@pytest.mark.parametrize(("prepare", "says"), ROWS)
def test_doctor_says_so_in_a_failed_line(prepare, says, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    prepare(monkeypatch, tmp_path)
    code = main(["doctor", "weather", "--region", "us-east-1", "--endpoint-url", "http://127.0.0.1:1"])
    out, err = capsys.readouterr()
    assert (code, err) == (1, "")
    assert out.startswith("FAILED  weather  credentials unusable (")
    assert says in out or "the AWS credentials" in says
    assert SECRET not in out


@pytest.mark.parametrize("error", [RuntimeError(SECRET), KeyError(SECRET)], ids=["RuntimeError", "KeyError"])
def test_an_exception_from_elsewhere_is_no_matter_of_settings(error):
    failure = from_set_up(error)
    assert (failure.error_code, failure.executed, failure.transient) == ("internal_error", "no", False)
    assert SECRET not in failure.cause


def test_a_blank_ca_setting_is_named_where_botocore_refuses_it(monkeypatch):
    """botocore does from 1.43 on; until then a blank path is a file that is missing."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", " ")
    refused_with = None
    try:
        boto3.session.Session().client("lambda", "us-east-1").close()
    except Exception as error:
        refused_with = error
    assert refused_with is None or from_set_up(refused_with).cause.startswith("REQUESTS_CA_BUNDLE is empty")
