"""boto3 Lambda clients: one per process for all adapters with equal settings, made anew after fork.

A client costs 46 to 78 ms and megabytes the first time, its own connections always; and it must not cross a fork,
where two processes would read each other's answers from one socket.
"""

import hashlib
import json
import os
import secrets
import socket
import sys
import threading
import weakref
from typing import Any, Dict, List, Optional, Protocol, Tuple

import attrs

from .._process import forks
from .._rules.limits import MAX_CONCURRENCY
from . import moto_seam, sending
from .turnstile import Turnstile

#: What decides which credentials, endpoint and certificates a client made now would use.
_ENVIRONMENT = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_ENDPOINT_URL_LAMBDA",
    "AWS_ENDPOINT_URL",
    "AWS_USE_FIPS_ENDPOINT",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "NO_PROXY",
    "no_proxy",
)

#: NATs and load balancers drop idle connections after about 350 s; Linux alone first probes after 7,200 s.
_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPALIVE": 60, "TCP_KEEPINTVL": 30, "TCP_KEEPCNT": 3}


class LambdaClient(Protocol):
    """What the adapter needs of a boto3 Lambda client."""

    def invoke(self, *args: Any, **kwargs: Any) -> Any: ...


@attrs.frozen
class ClientSettings:
    """What two adapters must have in common to share a client."""

    region: str
    connect_timeout_s: float
    read_timeout_s: float
    endpoint_url: Optional[str] = attrs.field(default=None, repr=False)
    access_key_id: Optional[str] = attrs.field(default=None, repr=False)
    secret_access_key: Optional[str] = attrs.field(default=None, repr=False)
    session_token: Optional[str] = attrs.field(default=None, repr=False)


class _SharedClient:
    """A client, closed when the last adapter, or the last call in flight, lets go of it."""

    def __init__(self, client: Any, turnstile: Turnstile) -> None:
        self.client = client
        self._turnstile = turnstile
        turnstile.attach(client)
        weakref.finalize(self, client.close).atexit = False

    def invoke(self, **arguments: Any) -> Any:
        """``client.invoke``, one thread at a time where it computes."""
        with self._turnstile:
            return self.client.invoke(**arguments)


class _Registry:
    """This process's clients, by keys that hold no readable secret, and the session that they were made from."""

    def __init__(self) -> None:
        # Reentrant: the garbage collector may run a finalizer, and with it our code, at any point within the lock.
        self._lock = threading.RLock()
        self._clients: weakref.WeakValueDictionary[Tuple[str, ...], _SharedClient] = weakref.WeakValueDictionary()
        # A session costs 50 to 100 ms, so it stays for adapters to come when the last one has gone.
        self._session: Tuple[str, Any] = ("", None)
        self._turnstile = Turnstile()
        forks.register(self)

    def client(self, key: Tuple[str, ...], settings: ClientSettings) -> _SharedClient:
        with self._lock:
            shared = self._clients.get(key)
            if shared is None:
                # Sessions are not safe to make clients from in several threads: one at a time, under this lock.
                client = _make_client(self._session_in(key[1]), settings)
                shared = self._clients[key] = _SharedClient(client, self._turnstile)
            return shared

    def _session_in(self, environment: str) -> Any:
        """A session that has read this environment."""
        if self._session[0] != environment:
            import boto3  # here, so that importing this package does not take boto3's time

            self._session = (environment, boto3.session.Session())
        return self._session[1]

    def held(self) -> List[Any]:
        return [*self._clients.values(), self._session]

    def reset_after_fork(self) -> None:
        """In the child: leave the parent's clients alone and begin with none."""
        global _registry
        _inherited.extend(self.held())
        _registry = _Registry()


_digest_key = secrets.token_bytes(16)
# What was inherited over a fork is neither used nor freed: closing it takes locks that a thread which does not exist
# here may hold.
_inherited: List[Any] = []


_registry = _Registry()


class ClientLease:
    """One adapter's hold on the client that fits its settings and the present environment."""

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._settings_digest = _digest(attrs.astuple(settings))
        self._held: Optional[Tuple[_Registry, bool, _SharedClient]] = None

    def get(self) -> _SharedClient:
        """The shared client; another one when the process has forked, or a moto mock has begun or ended.

        Keep the returned object for as long as its ``client`` is in use.
        """
        registry, mocked = _registry, moto_seam.is_active()
        held = self._held
        if held is not None and held[0] is registry and held[1] is mocked:
            return held[2]
        shared = registry.client((self._settings_digest, _environment_digest()), self._settings)
        self._held = (registry, mocked, shared)
        return shared

    def release(self) -> None:
        """Let go of the client; a later ``get`` takes hold again."""
        self._held = None


class GivenClient:
    """A user's own client, in the place of a lease and of what it holds."""

    def __init__(self, client: LambdaClient) -> None:
        self.client = client
        self.invoke = client.invoke
        # Its owner may have it retry.
        sending.watch(client, retries=True)

    def get(self) -> "GivenClient":
        return self

    def release(self) -> None:
        """Its owner keeps it."""


def _digest(values: Tuple[Any, ...]) -> str:
    return hashlib.blake2b(json.dumps(values).encode(), key=_digest_key, digest_size=16).hexdigest()


def _environment_digest() -> str:
    """Changes when a client made now would be another than one made before."""
    return _digest((*map(os.environ.get, _ENVIRONMENT), moto_seam.is_active()))


def _make_client(session: Any, settings: ClientSettings) -> Any:
    import boto3
    import botocore.handlers
    from botocore.config import Config

    client = session.client(
        "lambda",
        region_name=settings.region,
        endpoint_url=settings.endpoint_url,
        aws_access_key_id=settings.access_key_id,
        aws_secret_access_key=settings.secret_access_key,
        aws_session_token=settings.session_token,
        config=Config(
            connect_timeout=settings.connect_timeout_s,
            read_timeout=settings.read_timeout_s,
            # One attempt: the invoker's loop is the only one. max_attempts=1 would mean two.
            retries={"mode": "standard", "total_max_attempts": 1},
            # urllib3 discards what exceeds it; the default of 10 would reconnect for every call of a burst.
            max_pool_connections=MAX_CONCURRENCY,
            tcp_keepalive=True,
            # Plain http is loopback, and whatever proxy the environment names is not meant for that.
            proxies={} if (settings.endpoint_url or "").startswith("http:") else None,
            # Arguments come from validated parameters; checking them again costs 70 µs a call.
            parameter_validation=False,
            # botocore would put its own together twice for each request.
            user_agent=(
                f"lambda-adapter Boto3/{boto3.__version__} Botocore/{botocore.__version__} "
                f"Python/{sys.version.split()[0]}"
            ),
        ),
    )
    sending.watch(client)
    client.meta.events.register("before-parse.lambda.Invoke", _blank_unreadable_error)
    # What is left of botocore's retries: a handler that asks whether to retry, and two headers that tell AWS of it and
    # have to be signed. Without them a call takes 7 % less CPU.
    client.meta.events.unregister("needs-retry.lambda", unique_id="retry-config-lambda")
    client.meta.events.unregister("request-created", botocore.handlers.add_retry_headers)
    _probe_idle_connections(client)
    return client


def _blank_unreadable_error(response_dict: Dict[str, Any], **_: Any) -> None:
    """Let botocore report the status of an error whose body it would choke on: binary, an array, nested too deep."""
    if response_dict["status_code"] >= 300 and not _is_readable_error(response_dict["body"]):
        response_dict["body"] = b""


def _is_readable_error(body: bytes) -> bool:
    """Whether it is an object whose code, if it has one, is a name."""
    try:
        error = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(error, dict) and all(isinstance(error.get(key, ""), str) for key in ("code", "Code", "__type"))


def _probe_idle_connections(client: Any) -> None:
    """Give TCP keepalive useful times, which botocore's ``tcp_keepalive`` does not.

    botocore has no setting for socket options, so they are added to the list that it made for its own.
    """
    session = getattr(getattr(client, "_endpoint", None), "http_session", None)
    options = getattr(session, "_socket_options", None)
    if isinstance(options, list):
        options.extend(
            (socket.IPPROTO_TCP, getattr(socket, name), value)
            for name, value in _KEEPALIVE.items()
            if hasattr(socket, name)
        )
