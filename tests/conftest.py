"""Fixtures of all tests: no account, no network beyond loopback, adapters that are closed at the end."""

import faulthandler
import os
import socket

import boto3
import pytest
from botocore.loaders import Loader

from lambda_adapter import ExecuteRequest, LambdaAdapter
from support.calls import CREDENTIALS
from support.fault_server import FaultServer, answer

_NOWHERE = os.path.join(os.path.dirname(__file__), "no", "such", "file")

#: No test takes so long, on any machine.
_HANGS_S = 300

_stderr_fd = pytest.StashKey[int]()


def pytest_configure(config):
    # Here pytest does not capture yet.
    config.stash[_stderr_fd] = os.dup(2)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """``-n auto``: one process more than cores, because a third of the tests' time is waiting."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """A test that hangs says where, and ends its process: pytest-xdist fails it by name and runs the others."""
    faulthandler.dump_traceback_later(_HANGS_S, exit=True, file=item.config.stash[_stderr_fd])
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="session", autouse=True)
def _isolated_environment():
    """Neither the machine's AWS settings nor its proxies reach a test."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.upper().startswith("AWS_") or name.upper().endswith("_PROXY"):
                patch.delenv(name)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_CONFIG_FILE", _NOWHERE)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", _NOWHERE)
        yield


@pytest.fixture(scope="session", autouse=True)
def _data_files_are_read_once():
    """botocore's sessions share what they have read of its data files: three quarters of the 120 ms of a session."""
    read = {}

    class SharedLoader(Loader):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self._cache = read

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.loaders.Loader", SharedLoader)
        yield


@pytest.fixture(scope="session", autouse=True)
def _kept_session(_isolated_environment, _data_files_are_read_once):
    """One adapter that stays: its boto3 session is shared, and costs 50 to 100 ms to make."""
    with LambdaAdapter("function", "us-east-1", "module", **CREDENTIALS) as adapter:
        yield adapter


@pytest.fixture(autouse=True)
def network_guard(monkeypatch):
    """A test that looks for anything but loopback fails, even where the code under test survives the refusal.

    Yields the hosts that were refused.
    """
    refused = []

    def refuse(host):
        refused.append(host)
        raise OSError(f"the tests' network guard refuses {host}")

    def guarded_resolve(resolve):
        return lambda host, *args, **kwargs: resolve(host, *args, **kwargs) if _is_loopback(host) else refuse(host)

    def guarded_connect(connect):
        def checked(self, address):
            if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_loopback(address[0]):
                refuse(address[0])
            return connect(self, address)

        return checked

    monkeypatch.setattr(socket, "getaddrinfo", guarded_resolve(socket.getaddrinfo))
    monkeypatch.setattr(socket.socket, "connect", guarded_connect(socket.socket.connect))
    monkeypatch.setattr(socket.socket, "connect_ex", guarded_connect(socket.socket.connect_ex))
    yield refused
    if refused:
        pytest.fail(f"looked beyond loopback, for {refused}")


def _is_loopback(host):
    # None and "" are what a server binds to.
    return host in (None, "", "localhost", "::1") or host.startswith("127.")


@pytest.fixture
def make_adapter():
    """Makes adapters of "function" in us-east-1, with credentials unless told otherwise; closes them."""
    adapters = []

    def make(**settings):
        own = {} if "client" in settings else CREDENTIALS
        defaults = {"function_identifier": "function", "region": "us-east-1", "module_name": "module", **own}
        adapters.append(LambdaAdapter(**{**defaults, **settings}))
        return adapters[-1]

    yield make
    for adapter in adapters:
        adapter.close()


@pytest.fixture(scope="module")
def shared_server():
    """Restarted by each test, so that they share a client: one takes 10 ms with its first call, a later call 1."""
    with FaultServer(answer({"success": True})) as server, LambdaAdapter(
        "function", "us-east-1", "module", endpoint_url=server.endpoint_url, **CREDENTIALS
    ):
        yield server


@pytest.fixture
def serve(shared_server):
    """Begins a server's script; one that holds requests is told to ``end`` after the test, whatever became of it."""
    scripts = []

    def begin(script):
        scripts.append(script)
        shared_server.restart(script)
        return shared_server

    yield begin
    for script in scripts:
        if hasattr(script, "end"):
            script.end()


@pytest.fixture
def make_request():
    """Makes complete requests; ``changes`` replace single fields."""

    def make(**changes):
        fields = {
            "command": "weather",
            "args": ["Berlin", "today"],
            "user_id": "user_123",
            "entity_id": "entity_456",
            "community_id": "community_789",
            "session_id": "session_abc123",
            "platform": "discord",
        }
        return ExecuteRequest(**{**fields, **changes})

    return make


@pytest.fixture(scope="session")
def shared_client(_isolated_environment, _data_files_are_read_once):
    """For its model of the API: it is never used."""
    client = boto3.client("lambda", "us-east-1", **CREDENTIALS)
    yield client
    client.close()


@pytest.fixture
def botocore_knows_tenants(shared_client):
    return "TenantId" in shared_client.meta.service_model.operation_model("Invoke").input_shape.members


@pytest.fixture
def make_isolating(make_adapter, botocore_knows_tenants):
    """On Python 3.8 no botocore can."""
    if not botocore_knows_tenants:
        pytest.skip("the installed botocore does not know TenantId")
    return lambda **settings: make_adapter(isolate_communities=True, **settings)
