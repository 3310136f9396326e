"""Adapters with equal settings share one client, for as long as one of them lives; nothing else shares it."""

import gc
import socket
import threading
import weakref

import attrs
import boto3
import pytest
from moto import mock_aws

from lambda_adapter import LambdaAdapter, LocalLambda
from lambda_adapter._aws import clients
from lambda_adapter._aws.clients import ClientLease, ClientSettings
from support.fault_server import FaultServer, answer

SETTINGS = ClientSettings(
    region="eu-west-3",
    connect_timeout_s=10.0,
    read_timeout_s=30.0,
    access_key_id="AKIAOFTHISFILE",
    secret_access_key="hunter2-secret",
)
NO_CREDENTIALS = attrs.evolve(SETTINGS, access_key_id=None, secret_access_key=None)


@pytest.fixture
def lease():
    """Makes leases, by the changes to SETTINGS; they let go at the end."""
    leases = []

    def make(settings=SETTINGS, **changes):
        leases.append(ClientLease(attrs.evolve(settings, **changes)))
        return leases[-1]

    yield make
    for made in leases:
        made.release()


def test_equal_settings_share_one_client(lease):
    assert lease().get().client is lease().get().client


def test_a_lease_keeps_its_client(lease):
    held = lease()
    assert held.get() is held.get()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("region", "eu-west-2"),
        ("connect_timeout_s", 10.5),
        ("read_timeout_s", 30.5),
        ("endpoint_url", "https://host.example"),
        ("access_key_id", "AKIAOTHER"),
        ("secret_access_key", "another"),
        ("session_token", "token"),
    ],
)
def test_other_settings_get_another_client(lease, name, value):
    client, other = lease().get().client, lease(**{name: value}).get().client
    assert other is not client


def test_values_that_swap_places_get_another_client(lease):
    first = lease(access_key_id="aaaa", secret_access_key="bbbb").get().client
    assert lease(access_key_id="bbbb", secret_access_key="aaaa").get().client is not first


def test_settings_reach_the_client(lease):
    client = lease(endpoint_url="https://host.example", connect_timeout_s=1.5, read_timeout_s=2.5).get().client
    config = client.meta.config
    assert (client.meta.region_name, client.meta.endpoint_url) == ("eu-west-3", "https://host.example")
    assert (config.connect_timeout, config.read_timeout) == (1.5, 2.5)
    assert config.retries["total_max_attempts"] == 1
    assert config.max_pool_connections >= 1_024


def test_threads_that_come_at_once_get_the_same_client(lease):
    leases = [lease(region="eu-south-1") for _ in range(32)]
    start, got = threading.Barrier(32), []

    def get(one):
        start.wait(10)
        got.append(one.get().client)

    threads = [threading.Thread(target=get, args=(one,)) for one in leases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(got) == 32
    assert len(set(map(id, got))) == 1


# -- Letting go -----------------------------------------------------------------------------------


def collected(reference):
    gc.collect()
    return reference() is None


def test_the_last_lease_that_goes_takes_the_client_along(lease):
    first, second = lease(region="eu-north-1"), lease(region="eu-north-1")
    client = weakref.ref(first.get().client)
    second.get()
    first.release()
    assert not collected(client)
    second.release()
    assert collected(client)


def test_a_lease_that_is_dropped_lets_go_like_one_that_was_released():
    held = ClientLease(attrs.evolve(SETTINGS, region="eu-north-1"))
    client = weakref.ref(held.get().client)
    del held
    assert collected(client)


def test_a_call_in_flight_keeps_the_client(lease):
    held = lease(region="eu-north-1")
    shared = held.get()
    client = weakref.ref(shared.client)
    held.release()
    assert not collected(client)
    del shared
    assert collected(client)


def test_a_dropped_client_is_closed():
    with FaultServer(answer({"success": True})) as server:
        held = ClientLease(attrs.evolve(SETTINGS, endpoint_url=server.endpoint_url))
        held.get().client.invoke(FunctionName="function", Payload=b"{}")["Payload"].read()
        pools = held.get().client._endpoint.http_session._manager.pools
        assert len(pools) == 1
        held.release()
        gc.collect()
        assert len(pools) == 0


def test_after_release_a_lease_can_get_a_client_again(lease):
    held = lease()
    held.get()
    held.release()
    assert held.get().client.meta.region_name == "eu-west-3"


@pytest.mark.parametrize("end", ["close", "drop"])
def test_adapters_share_a_client_until_the_last_one_ends(end):
    def make():
        return LambdaAdapter(
            "function", "eu-central-2", "module", aws_access_key_id="AKIA", aws_secret_access_key="hunter2"
        )

    adapters = [make(), make()]
    client = weakref.ref(adapters[0]._lease.get().client)
    assert client() is adapters[1]._lease.get().client
    for gone in (False, True):
        adapter = adapters.pop()
        if end == "close":
            adapter.close()
            assert collected(client) is gone
        del adapter
        assert collected(client) is gone


# -- Secrets --------------------------------------------------------------------------------------


def keys_of_the_registry():
    registry = clients._registry
    return repr([[maker, maker.source, *maker._clients.keys()] for maker in registry._makers.values()])


def is_shared(shared):
    return any(shared in maker._clients.values() for maker in clients._registry._makers.values())


def test_neither_the_settings_repr_nor_a_key_of_the_registry_holds_a_secret(lease):
    settings = attrs.evolve(SETTINGS, session_token="hunter2-token")
    shared = lease(settings).get()
    assert is_shared(shared)
    for secret in ("hunter2", "AKIAOFTHISFILE"):
        assert secret not in repr(settings)
        assert secret not in keys_of_the_registry()


def test_a_secret_of_the_environment_is_in_no_key(lease, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2-env")
    assert is_shared(lease(NO_CREDENTIALS).get())
    assert "hunter2" not in keys_of_the_registry()


# -- The environment ------------------------------------------------------------------------------


def key_of(shared):
    return shared.client._request_signer._credentials.get_frozen_credentials().access_key


def test_changed_credentials_in_the_environment_make_another_client_for_later_leases(lease, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAONE")
    one, held = lease(NO_CREDENTIALS), lease(NO_CREDENTIALS)
    assert one.get() is held.get()
    assert key_of(held.get()) == "AKIAONE"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATWO")
    two = lease(NO_CREDENTIALS)
    assert (key_of(two.get()), key_of(held.get())) == ("AKIATWO", "AKIAONE")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAONE")
    assert lease(NO_CREDENTIALS).get() is one.get()


@pytest.mark.parametrize(
    "name",
    [
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_CONFIG_FILE",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_ENDPOINT_URL_LAMBDA",
        "AWS_ENDPOINT_URL",
        "AWS_CA_BUNDLE",
        "AWS_DEFAULT_PROFILE",
        "AWS_SECURITY_TOKEN",
        "AWS_USE_FIPS_ENDPOINT",
        "AWS_USE_DUALSTACK_ENDPOINT",
        "HTTPS_PROXY",
    ],
)
def test_a_setting_that_decides_how_a_client_reaches_aws_makes_another_client(lease, monkeypatch, tmp_path, name):
    config = tmp_path / "config"
    config.write_text("[profile there]\nregion = eu-west-1\n")
    if name == "AWS_DEFAULT_PROFILE":
        monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    before = lease(NO_CREDENTIALS).get()
    value = {
        "AWS_ENDPOINT_URL": "https://host.example",
        "AWS_ENDPOINT_URL_LAMBDA": "https://host.example",
        "AWS_DEFAULT_PROFILE": "there",
        "HTTPS_PROXY": "http://127.0.0.1:1",
        "AWS_USE_FIPS_ENDPOINT": "true",
        "AWS_USE_DUALSTACK_ENDPOINT": "true",
    }.get(name, str(config))
    monkeypatch.setenv(name, value)
    assert lease(NO_CREDENTIALS).get().client is not before.client


def test_a_change_that_concerns_nobody_makes_no_other_client(lease, monkeypatch):
    before = lease().get()
    monkeypatch.setenv("SOME_SETTING", "5")
    assert lease().get() is before


# -- moto -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [SETTINGS, NO_CREDENTIALS], ids=["own credentials", "none"])
@pytest.mark.parametrize("config", [{}, {"core": {"mock_credentials": False}}], ids=["", "real credentials"])
def test_a_client_made_outside_a_mock_is_not_used_within(lease, config, settings):
    held = lease(settings)
    outside = held.get()
    with mock_aws(config=config):
        within = held.get()
        assert within.client is not outside.client
        assert held.get() is within
    assert held.get().client is outside.client


@pytest.mark.parametrize("config", [{}, {"core": {"mock_credentials": False}}], ids=["", "real credentials"])
def test_a_client_made_under_a_mock_is_not_used_outside(lease, config):
    held = lease()
    with mock_aws(config=config):
        within = held.get()
    outside = held.get()
    assert outside.client is not within.client
    with mock_aws(config=config):
        assert held.get().client is not outside.client


# -- Forking --------------------------------------------------------------------------------------


def test_after_a_fork_a_lease_gets_another_client_and_the_old_one_is_kept_unclosed(lease):
    held = lease(region="eu-north-1")
    inherited = weakref.ref(held.get().client)
    registry, before = clients._registry, list(clients._inherited)
    try:
        clients._registry.reset_after_fork()  # what a child does; here there is no other process to disturb
        assert held.get().client is not inherited()
        assert not collected(inherited)
    finally:
        clients._registry = registry
        clients._inherited[:] = before


# -- Sockets --------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(socket, "TCP_KEEPIDLE"), reason="this system has no TCP_KEEPIDLE")
def test_a_live_connection_is_probed_before_a_nat_would_drop_it(lease):
    with FaultServer(answer({"success": True})) as server:
        client = lease(endpoint_url=server.endpoint_url).get().client
        client.invoke(FunctionName="function", Payload=b"{}")["Payload"].read()
        (pool,) = client._endpoint.http_session._manager.pools._container.values()
        connection = pool.pool.get_nowait()
        probes = {
            "on": connection.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
            "first_s": connection.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
            "next_s": connection.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
            "count": connection.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
        }
        pool.pool.put_nowait(connection)
    assert probes == {"on": 1, "first_s": 60, "next_s": 30, "count": 3}


def test_other_clients_of_the_process_keep_their_socket_options(lease):
    lease().get()
    client = boto3.client("lambda", "us-east-1", aws_access_key_id="id", aws_secret_access_key="secret")
    options = client._endpoint.http_session._socket_options
    client.close()
    assert not any(option[1] == getattr(socket, "TCP_KEEPIDLE", None) for option in options)


# -- The request ----------------------------------------------------------------------------------


def test_a_request_says_nothing_of_retries_that_botocore_does_not_make(lease):
    with FaultServer(answer({"success": True})) as server:
        client = lease(endpoint_url=server.endpoint_url).get().client
        client.invoke(FunctionName="function", Payload=b"{}")["Payload"].read()
        headers = {name.lower(): value for name, value in server.requests[0].headers.items()}
    assert not [name for name in headers if name.startswith("amz-sdk-")]
    assert headers["user-agent"].startswith("lambda-adapter Boto3/")
    assert "authorization" in headers


def test_a_proxy_of_the_environment_is_not_asked_for_loopback(lease, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens there
    with FaultServer(answer({"success": True})) as server:
        client = lease(endpoint_url=server.endpoint_url).get().client
        assert client.invoke(FunctionName="function", Payload=b"{}")["StatusCode"] == 200


@pytest.mark.parametrize("send", ["execute", "threads"])
def test_calls_are_in_flight_together(make_adapter, make_request, send):
    meeting = threading.Barrier(8)

    def meet(event, context):
        meeting.wait(10)
        return {"success": True}

    with LocalLambda({"function": meet}) as local:
        adapter = make_adapter(endpoint_url=local.endpoint_url)
        if send == "threads":
            responses = [response for _, response in adapter.execute_many(make_request() for _ in range(8))]
        else:
            responses = []
            threads = [
                threading.Thread(target=lambda: responses.append(adapter.execute(make_request()))) for _ in range(8)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    assert [response.success for response in responses] == [True] * 8
