"""Credentials live: whatever replaces keys at their source, the next adapter and the next call find the new ones."""

import os
import pathlib
import pickle
import stat
import sys
import threading
import time

import boto3
import pytest

from lambda_adapter import ExecuteRequest, LambdaAdapter
from lambda_adapter._aws import clients
from lambda_adapter._aws.credentials import LiveCredentials, Source
from lambda_adapter.errors import ConfigurationError, CredentialsError
from support.changing_keys import NEW, OLD, SECRET, Gate, Granter, ini, key_of, keys
from support.fault_server import FaultServer, Reaction, hang
from support.waiting import until

REQUEST = ExecuteRequest("weather", [], "u", "e", "c", "session", "discord")


@pytest.fixture(autouse=True)
def own_files(tmp_path, monkeypatch):
    """Files of its own for each test, so that none shares another's session."""
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    # botocore waits a second between its three questions.
    monkeypatch.setattr("botocore.utils.ContainerMetadataFetcher.SLEEP_TIME", 0)


@pytest.fixture
def gate():
    """Lambda, which knows the new key; and how to make adapters of it without keys."""
    with FaultServer(Gate(NEW)) as server:
        yield server


@pytest.fixture
def make(gate):
    adapters = []

    def make(**settings):
        defaults = {"endpoint_url": gate.endpoint_url, "initial_retry_delay": 1e-6, "read_timeout": 10.0}
        adapters.append(LambdaAdapter("function", "us-east-1", "module", **{**defaults, **settings}))
        return adapters[-1]

    yield make
    for adapter in adapters:
        adapter.close()


# -- Where keys come from --------------------------------------------------------------------------


class Place:
    """One source of keys: ``put`` makes it have a key, ``asked`` counts where that can be counted."""

    def __init__(self, directory: pathlib.Path, environment) -> None:
        self.directory, self.environment = directory, environment

    def prepare(self) -> None:
        """Point botocore to it, before it has any key."""

    def put(self, key: str) -> None:
        raise NotImplementedError

    def end(self) -> None:
        pass


class Environment(Place):
    def put(self, key):
        self.environment.setenv("AWS_ACCESS_KEY_ID", key)
        self.environment.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


class CredentialsFile(Place):
    def put(self, key):
        (self.directory / "credentials").write_text(ini(key))


class ReplacedFile(Place):
    """As tools do it: another file is moved into the place of the old one."""

    def put(self, key):
        (self.directory / "new").write_text(ini(key))
        os.replace(self.directory / "new", self.directory / "credentials")


class ConfigFile(Place):
    def put(self, key):
        (self.directory / "config").write_text(ini(key))


class Home(Place):
    def put(self, key):
        for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
            self.environment.delenv(name, raising=False)
        (self.directory / key / ".aws").mkdir(parents=True)
        (self.directory / key / ".aws" / "credentials").write_text(ini(key))
        self.environment.setenv("HOME", str(self.directory / key))


class Profile(Place):
    def prepare(self):
        (self.directory / "credentials").write_text("[other]\n[bot]\n")
        self.environment.setenv("AWS_PROFILE", "bot")

    def put(self, key):
        (self.directory / "credentials").write_text(ini("AKIAOTHER", "other") + ini(key, "bot"))


class Process(Place):
    def prepare(self):
        script = self.directory / "process.py"
        script.write_text(f"print(open({str(self.directory / 'printed')!r}).read())")
        (self.directory / "config").write_text(f"[default]\ncredential_process = {sys.executable} {script}\n")

    def put(self, key):
        import json

        (self.directory / "printed").write_text(json.dumps(keys(key)))


class Container(Place):
    def prepare(self):
        self.granter = Granter(None)
        self.server = FaultServer(self.granter)
        self.server.__enter__()
        self.environment.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{self.server.endpoint_url}/creds")

    def put(self, key):
        self.granter.key = key

    def end(self):
        self.server.__exit__(None, None, None)


class PodIdentity(Container):
    """The endpoint wants a token, whose file may be late."""

    def prepare(self):
        super().prepare()
        self.environment.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(self.directory / "token"))

    def put(self, key):
        super().put(key)
        (self.directory / "token").write_text("token")


class Metadata(Container):
    def prepare(self):
        super().prepare()
        self.environment.delenv("AWS_CONTAINER_CREDENTIALS_FULL_URI")
        self.environment.delenv("AWS_EC2_METADATA_DISABLED")
        self.environment.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", self.server.endpoint_url)


PLACES = [
    Environment,
    CredentialsFile,
    ReplacedFile,
    ConfigFile,
    Home,
    Profile,
    Process,
    Container,
    PodIdentity,
    Metadata,
]
#: Those that are asked: botocore keeps what they gave until it expires, or AWS refuses it.
ASKED = (Process, Container, PodIdentity, Metadata)


@pytest.fixture(params=PLACES, ids=lambda place: place.__name__)
def place(request, tmp_path, monkeypatch):
    place = request.param(tmp_path, monkeypatch)
    place.prepare()
    yield place
    place.end()


# -- The next adapter ------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["close", "keep"])
@pytest.mark.parametrize("place", [place for place in PLACES if place not in ASKED], indirect=True)
def test_the_next_adapter_has_the_keys_that_were_replaced(place, make, gate, end):
    gate.restart(Gate(OLD, NEW))
    place.put(OLD)
    older = make()
    assert older.execute(REQUEST).message == OLD
    if end == "close":
        older.close()
    place.put(NEW)
    assert make().execute(REQUEST).message == NEW


def test_keys_of_equal_length_written_within_one_tick_of_the_clock_are_found(make, gate, tmp_path):
    gate.restart(Gate(OLD, NEW))
    file = tmp_path / "credentials"
    file.write_text(ini(OLD))
    times = file.stat()
    assert make().execute(REQUEST).message == OLD
    file.write_text(ini(NEW))
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert make().execute(REQUEST).message == NEW


def test_the_keys_of_a_source_profile_are_found(make, gate, tmp_path, monkeypatch):
    """A role is assumed with the keys of another profile; STS sees which."""

    def assume(request):
        signed.append(key_of(request))
        body = (
            "<AssumeRoleResponse><AssumeRoleResult><Credentials>"
            f"<AccessKeyId>{NEW}</AccessKeyId><SecretAccessKey>{SECRET}</SecretAccessKey>"
            f"<SessionToken>{SECRET}</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration>"
            "</Credentials></AssumeRoleResult></AssumeRoleResponse>"
        )
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: {len(body)}\r\n\r\n"
        return Reaction(((head + body).encode(),))

    signed = []
    (tmp_path / "config").write_text(
        "[default]\nrole_arn = arn:aws:iam::123456789012:role/bot\nsource_profile = base\n"
    )
    with FaultServer(assume) as sts:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.endpoint_url)
        for key in ("AKIABASEONE", "AKIABASETWO"):
            (tmp_path / "credentials").write_text(ini(key, "base"))
            assert make().execute(REQUEST).message == NEW
    assert signed == ["AKIABASEONE", "AKIABASETWO"]


@pytest.mark.parametrize(
    "name",
    [
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        "AWS_ROLE_ARN",
        "AWS_ROLE_SESSION_NAME",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT",
        "AWS_EC2_METADATA_V1_DISABLED",
        "AWS_ENDPOINT_URL_STS",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
        "AWS_REGION",
        "HOME",
        "SSL_CERT_FILE",
        "REQUESTS_CA_BUNDLE",
        "HTTP_PROXY",
        "Https_Proxy",
        "no_proxy",
        "ALL_PROXY",
    ],
)
def test_a_variable_that_decides_makes_another_source(monkeypatch, name):
    before = Source.now()
    assert Source.now() == before
    monkeypatch.setenv(name, "other")
    assert Source.now() != before


@pytest.mark.parametrize("name", ["SOME_SETTING", "PROXY", "MY_AWS_PROFILE", "PATH"])
def test_any_other_variable_does_not(monkeypatch, name):
    before = Source.now()
    monkeypatch.setenv(name, "other")
    assert Source.now() == before


@pytest.mark.parametrize("name", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
@pytest.mark.parametrize("size", [100, 200_000], ids=["small", "large"])
def test_a_bundle_that_is_replaced_makes_another_source(monkeypatch, tmp_path, name, size):
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(b"a" * size)
    monkeypatch.setenv(name, str(bundle))
    before = Source.now()
    assert Source.now() == before
    (tmp_path / "new").write_bytes(b"b" * size)
    os.replace(tmp_path / "new", bundle)
    assert Source.now() != before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this platform has no named pipes")
def test_a_pipe_in_the_place_of_a_file_is_left_to_botocore(monkeypatch, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "pipe"))
    assert Source.now() == Source.now()  # opening it would wait for a writer


def test_a_source_shows_no_secret(monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    (tmp_path / "credentials").write_text(ini(OLD))
    assert SECRET not in repr(Source.now())


# -- Born before there were any --------------------------------------------------------------------


def test_an_adapter_that_was_made_without_credentials_works_once_there_are_some(place, make, gate):
    adapter = make(max_retries=0)
    response = adapter.execute(REQUEST)
    assert (response.error_code, response.invocation.executed) == ("configuration_error", "no")
    assert "credentials" in response.error
    assert SECRET not in response.error
    assert gate.requests == []
    place.put(NEW)
    assert adapter.execute(REQUEST).message == NEW
    assert adapter.execute(REQUEST).message == NEW


def test_calls_that_ask_at_once_share_one_look():
    begun, go_on, looks = threading.Event(), threading.Event(), []

    def find():
        looks.append(1)
        begun.set()
        go_on.wait(10)

    credentials = LiveCredentials(find)
    threads = [threading.Thread(target=credentials.look) for _ in range(8)]
    threads[0].start()
    begun.wait(10)
    for thread in threads[1:]:
        thread.start()
    while sum(thread.is_alive() for thread in threads) < 8:
        pass
    go_on.set()
    for thread in threads:
        thread.join(10)
    # One more at most: a thread that had not come to ask when the first look ended.
    assert len(looks) <= 2


def test_further_adapters_do_not_wait_for_a_service_that_is_down(make, tmp_path, monkeypatch):
    place = Container(tmp_path, monkeypatch)
    place.prepare()
    make()
    asked = len(place.server.requests)
    for _ in range(10):
        make()
    assert asked > 0
    assert len(place.server.requests) == asked
    place.end()


# -- Renewal ---------------------------------------------------------------------------------------

STALE = [
    ("ExpiredToken", 403),
    ("ExpiredTokenException", 403),
    ("UnrecognizedClient", 403),
    ("UnrecognizedClientException", 403),
    ("InvalidClientTokenId", 403),
    ("InvalidSignatureException", 403),
    ("InvalidSignature", 403),
    ("SignatureDoesNotMatch", 403),
    ("ExpiredTokenException", 400),
]


@pytest.mark.parametrize("max_retries", [0, 3])
@pytest.mark.parametrize(("code", "status"), STALE)
def test_a_living_adapter_renews_its_keys_and_tries_again(code, status, max_retries, make, gate, tmp_path, monkeypatch):
    """They are replaced while it lives; the first that it hears of it is AWS's refusal."""
    gate.restart(Gate(NEW, code=code, status=status))
    place = CredentialsFile(tmp_path, monkeypatch)
    place.put(OLD)
    adapter = make(max_retries=max_retries, idempotent=False)
    place.put(NEW)
    response = adapter.execute(REQUEST)
    assert (response.message, response.invocation.attempts) == (NEW, 2)
    assert [key_of(request) for request in gate.requests] == [OLD, NEW]
    assert adapter.execute(REQUEST).invocation.attempts == 1
    assert adapter.get_health_status()["total_failures"] == 0


def test_every_source_is_asked_anew(place, make, gate):
    place.put(OLD)
    adapter = make()
    place.put(NEW)
    response = adapter.execute(REQUEST)
    assert (response.message, response.invocation.attempts) == (NEW, 2)


def test_a_check_renews_too(make, gate, tmp_path, monkeypatch):
    place = CredentialsFile(tmp_path, monkeypatch)
    place.put(OLD)
    adapter = make(max_retries=0)
    place.put(NEW)
    response = adapter.check()
    assert response.invocation.attempts == 2


def test_keys_that_AWS_refuses_for_good_are_renewed_once(place, make, gate):  # noqa: N802
    gate.restart(Gate())
    place.put(OLD)
    adapter = make()
    place.put(NEW)
    response = adapter.execute(REQUEST)
    assert (response.error_code, response.invocation.attempts) == ("access_denied", 2)
    assert [key_of(request) for request in gate.requests] == [OLD, NEW]
    # The next call may try the same keys once more, but asks no program and no service for others yet.
    sessions = clients._registry._latest
    assert adapter.execute(REQUEST).error_code == "access_denied"
    assert clients._registry._latest is sessions
    assert len(gate.requests) == (3 if isinstance(place, ASKED) else 4)


@pytest.mark.parametrize(
    ("code", "status"), [("AccessDeniedException", 403), ("KMSAccessDeniedException", 502), ("MissingThing", 403)]
)
def test_other_refusals_renew_nothing(code, status, make, gate, tmp_path, monkeypatch):
    gate.restart(Gate(NEW, code=code, status=status))
    place = CredentialsFile(tmp_path, monkeypatch)
    place.put(OLD)
    adapter = make(max_retries=0)
    place.put(NEW)
    assert adapter.execute(REQUEST).invocation.attempts == 1


@pytest.mark.parametrize("own", ["keys", "client"])
def test_keys_and_clients_that_were_given_are_not_renewed(own, make, gate, tmp_path, monkeypatch):
    given = {"aws_access_key_id": OLD, "aws_secret_access_key": SECRET}
    if own == "client":
        client = boto3.client("lambda", "us-east-1", endpoint_url=gate.endpoint_url, **given)
        given = {"client": client, "endpoint_url": None}
    CredentialsFile(tmp_path, monkeypatch).put(NEW)
    response = make(**given).execute(REQUEST)
    assert (response.error_code, response.invocation.attempts) == ("access_denied", 1)
    assert len(gate.requests) == 1


def test_a_source_that_is_gone_leaves_AWS_its_word(make, gate, tmp_path, monkeypatch):  # noqa: N802
    """The old keys are refused and the file with the new ones cannot be read."""
    place = CredentialsFile(tmp_path, monkeypatch)
    place.put(OLD)
    adapter = make()
    (tmp_path / "credentials").write_text("[default\nno ini")
    response = adapter.execute(REQUEST)
    assert (response.error_code, response.invocation.attempts) == ("access_denied", 1)


def test_total_timeout_ends_a_call_before_its_renewed_attempt(make, gate, tmp_path, monkeypatch):
    place = CredentialsFile(tmp_path, monkeypatch)
    place.put(OLD)
    script = Gate(NEW)
    script.before = lambda: time.sleep(0.3)
    gate.restart(script)
    heard = []
    adapter = make(total_timeout=0.2, on_attempt=heard.append)
    place.put(NEW)
    response = adapter.execute(REQUEST)
    assert (response.error_code, response.invocation.executed) == ("timeout", "maybe")
    until(lambda: heard)
    assert [(attempt.error_code, attempt.why_ended) for attempt in heard] == [("access_denied", "total_timeout")]
    assert len(gate.requests) == 1


def test_64_calls_that_fail_at_once_renew_once(make, gate, tmp_path, monkeypatch):
    """All meet at AWS with the old keys; the container's endpoint is asked one time more."""
    place = Container(tmp_path, monkeypatch)
    place.prepare()
    place.put(OLD)
    adapters = [make() for _ in range(4)]
    asked = len(place.server.requests)
    place.put(NEW)
    script, meeting = Gate(NEW), threading.Barrier(64)

    def meet():
        if meeting.n_waiting < 64 and not met.is_set():
            meeting.wait(30)
            met.set()

    met = threading.Event()
    script.before = meet
    gate.restart(script)
    responses = []

    def call(adapter):
        responses.append(adapter.execute(REQUEST))

    threads = [threading.Thread(target=call, args=(adapters[n % 4],)) for n in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [(response.message, response.invocation.attempts) for response in responses] == [(NEW, 2)] * 64
    assert len(place.server.requests) == asked + 1
    place.end()


# -- A source that hangs ---------------------------------------------------------------------------


@pytest.fixture
def hanging(tmp_path, monkeypatch):
    """A credential_process that asks a server that never answers; and when it has asked."""
    asked = threading.Event()

    def silent(request):
        asked.set()
        return hang()

    with FaultServer(silent) as server:
        script = tmp_path / "process.py"
        script.write_text(f"import urllib.request\nurllib.request.urlopen({server.endpoint_url!r}).read()\n")
        (tmp_path / "config").write_text(
            f"[default]\ncredential_process = {sys.executable} {script}\n[profile other]\nregion = eu-west-1\n"
        )
        (tmp_path / "credentials").write_text(ini(NEW, "other"))
        yield asked


@pytest.mark.parametrize("settings", ["own keys", "another profile"])
def test_a_source_that_hangs_holds_up_no_adapter_with_other_settings(settings, hanging, make, monkeypatch):
    stuck = threading.Thread(target=make, daemon=True)
    stuck.start()
    assert hanging.wait(30)
    if settings == "another profile":
        monkeypatch.setenv("AWS_PROFILE", "other")
        own = {}
    else:
        own = {"aws_access_key_id": NEW, "aws_secret_access_key": SECRET}
    answered = []
    other = threading.Thread(target=lambda: answered.append(make(**own).execute(REQUEST)), daemon=True)
    other.start()
    other.join(30)
    assert [response.message for response in answered] == [NEW]
    assert stuck.is_alive()


# -- A source that can never work ------------------------------------------------------------------


def process(command):
    return {"config": f"[default]\ncredential_process = {command}\n"}


def printing(program):
    return {"program": f"import sys\n{program}\n"}


UNUSABLE = {
    "program missing": process("/no/such/program"),
    "not executable": {"config": "[default]\ncredential_process = {plain}\n"},
    "no JSON": printing(f"print({SECRET!r})"),
    "a list": printing(f"print('[\"{SECRET}\"]')"),
    "not UTF-8": printing("sys.stdout.buffer.write(b'\\xff\\xfe')"),
    "no such profile": {"environment": {"AWS_PROFILE": "nobody"}},
    "half a pair": {"environment": {"AWS_ACCESS_KEY_ID": OLD}},
    "no ini": {"credentials": f"[default\n{SECRET}"},
    "foreign host": {"environment": {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://host.example/"}},
}
#: Sources that are absent or down for now.
LATER = {
    "nothing": {},
    "a program that fails": printing(f"sys.exit({SECRET!r})"),
    "container down": {"environment": {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9/"}},
    "token missing": {
        "environment": {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9/",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/no/such/token",
        }
    },
    "web identity token missing": {
        "environment": {
            "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/bot",
            "AWS_WEB_IDENTITY_TOKEN_FILE": "/no/such/token",
        }
    },
}


def set_up(row, directory, environment):
    plain = directory / "plain"
    plain.write_text("no program")
    plain.chmod(stat.S_IRUSR)
    if "program" in row:
        script = directory / "process.py"
        script.write_text(row["program"])
        row = {**row, "config": f"[default]\ncredential_process = {sys.executable} {script}\n"}
    for name in ("config", "credentials"):
        if name in row:
            (directory / name).write_text(row[name].replace("{plain}", str(plain)))
    for name, value in row.get("environment", {}).items():
        environment.setenv(name, value)


@pytest.mark.parametrize("row", UNUSABLE.values(), ids=UNUSABLE.keys())
def test_a_source_that_can_never_work_is_one_error_of_the_constructor(row, make, gate, tmp_path, monkeypatch):
    set_up(row, tmp_path, monkeypatch)
    for _ in range(2):
        with pytest.raises(CredentialsError, match="AWS credentials cannot be used") as caught:
            make()
    error = caught.value
    assert isinstance(error, ConfigurationError)
    assert (error.error_code, error.response.error_code) == ("configuration_error", "configuration_error")
    assert error.response.invocation.executed == "no"
    # Neither what was printed nor the exception that may hold it.
    assert SECRET not in str(error) + repr(error.response)
    assert error.__cause__ is None
    assert error.__context__ is None
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert gate.requests == []


@pytest.mark.parametrize("row", LATER.values(), ids=LATER.keys())
def test_a_source_that_may_work_later_is_none(row, make, gate, tmp_path, monkeypatch):
    set_up(row, tmp_path, monkeypatch)
    response = make(max_retries=0).execute(REQUEST)
    assert (response.error_code, response.invocation.executed) == ("configuration_error", "no")
    assert "credentials" in response.error
    assert SECRET not in response.error
    assert gate.requests == []


def test_an_adapter_with_its_own_keys_does_not_mind_a_source_that_cannot_work(make, gate, tmp_path, monkeypatch):
    set_up(UNUSABLE["program missing"], tmp_path, monkeypatch)
    assert make(aws_access_key_id=NEW, aws_secret_access_key=SECRET).execute(REQUEST).message == NEW


def test_a_program_that_was_mended_is_run_by_the_next_adapter(make, gate, tmp_path, monkeypatch):
    place = Process(tmp_path, monkeypatch)
    place.prepare()
    (tmp_path / "printed").write_text("no JSON")
    with pytest.raises(CredentialsError):
        make()
    place.put(NEW)
    assert make().execute(REQUEST).message == NEW


@pytest.mark.parametrize("row", UNUSABLE.values(), ids=UNUSABLE.keys())
def test_doctor_says_so_and_ends_with_1(row, gate, tmp_path, monkeypatch, capfd):
    from lambda_adapter.cli import main

    set_up(row, tmp_path, monkeypatch)
    assert main(["doctor", "weather", "--region", "us-east-1", "--endpoint-url", gate.endpoint_url]) == 1
    out, err = capfd.readouterr()
    assert out.startswith("FAILED  weather  credentials unusable (")
    assert SECRET not in out + err
    assert "Traceback" not in err
