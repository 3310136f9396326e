"""boto3 Lambda clients: one per process for all adapters with equal settings, made anew after fork.

A client costs 46 to 78 ms and megabytes the first time, its own connections always; and it must not cross a fork,
where two processes would read each other's answers from one socket.
"""

import functools
import os
import socket
import sys
import threading
import weakref
from typing import Any, Callable, Dict, List, Optional, Protocol, Tuple

import attrs

from .._process import forks
from .._process.clock import monotonic_s
from .._rules.limits import MAX_CONCURRENCY
from .._rules.validation import check_endpoint, is_loopback_url
from . import moto_seam, sending, unparsed
from .credentials import LiveCredentials, Source, is_wrong_setting, live_credentials, why_unusable

#: NATs and load balancers drop idle connections after about 350 s; Linux alone first probes after 7,200 s.
_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPALIVE": 60, "TCP_KEEPINTVL": 30, "TCP_KEEPCNT": 3}


class _Session(Protocol):
    """What is needed of a boto3 session."""

    @property
    def client(self) -> Callable[..., Any]: ...


class LambdaClient(Protocol):
    """What the adapter needs of a boto3 Lambda client."""

    def invoke(self, *args: Any, **kwargs: Any) -> Any: ...


#: A role, a program or a metadata service is not asked again sooner for other keys than those that it gave last.
_RENEWAL_S = 10.0


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
    allow_http: bool = False


class _SharedClient:
    """A client, closed when the last adapter, or the last call in flight, lets go of it."""

    def __init__(self, client: Any, maker: "_Maker", credentials: Optional[LiveCredentials]) -> None:
        self.client = client
        #: Kept, so that adapters to come share its session.
        self.maker = maker
        #: None where the keys are parameters.
        self.credentials = credentials
        self.invoke = client.invoke
        self.invoke_with_response_stream = client.invoke_with_response_stream
        weakref.finalize(self, client.close).atexit = False


class _Maker:
    """Makes clients from one source: holds its session, its credentials, and a lock that makes wait nobody else."""

    def __init__(self, source: Source, renewal: bool) -> None:
        self.source = source
        self._renewed_s = monotonic_s() if renewal else None
        # Reentrant: the garbage collector may run a finalizer, and with it our code, at any point within the lock.
        self._lock = threading.RLock()
        self._clients: weakref.WeakValueDictionary[ClientSettings, _SharedClient] = weakref.WeakValueDictionary()
        # A session costs 50 to 100 ms, so it stays for adapters to come when the last one has gone.
        self._session: Any = None
        self._credentials: Optional[LiveCredentials] = None

    def client(self, settings: ClientSettings) -> _SharedClient:
        # Sessions are not safe to make clients from in several threads: one at a time. Nothing in here waits for a
        # source of credentials.
        with self._lock:
            shared = self._clients.get(settings)
            if shared is None:
                session, credentials = self._session_for(settings.region)
                own = None if settings.access_key_id is not None else credentials
                shared = self._clients[settings] = _SharedClient(_make_client(session, settings), self, own)
            return shared

    def may_be_renewed(self) -> bool:
        """Not twice in a row at once: keys that AWS refuses for good must not cost a session with each call."""
        return self._renewed_s is None or monotonic_s() - self._renewed_s > _RENEWAL_S

    def _session_for(self, region: str) -> Tuple[Any, LiveCredentials]:
        """The session, whose clients look for credentials when they need them; ``region`` counts the first time."""
        if self._session is None or self._credentials is None:
            import boto3  # here, so that importing this package does not take boto3's time
            import botocore.session

            session = botocore.session.get_session()
            credentials = live_credentials(region)
            session.register_component("credential_provider", credentials)
            self._session, self._credentials = boto3.session.Session(botocore_session=session), credentials
        return self._session, self._credentials

    def held(self) -> List[Any]:
        return [*self._clients.values(), self._session]


class _Registry:
    """This process's makers of clients, by their sources."""

    def __init__(self) -> None:
        # Reentrant, as above. It is held for moments, never while a client is made.
        self._lock = threading.RLock()
        self._makers: weakref.WeakValueDictionary[Source, _Maker] = weakref.WeakValueDictionary()
        self._latest: Optional[_Maker] = None
        forks.register(self)

    def maker(self, source: Source, stale: Optional[_Maker] = None) -> _Maker:
        """The source's maker; another one than ``stale``, whose credentials AWS refuses, for all that ask from now."""
        with self._lock:
            maker = self._makers.get(source)
            if maker is None or maker is stale:
                maker = self._makers[source] = _Maker(source, renewal=maker is not None)
            self._latest = maker
            return maker

    def held(self) -> List[Any]:
        return [held for maker in self._makers.values() for held in (maker, *maker.held())]

    def reset_after_fork(self) -> None:
        """In the child: leave the parent's clients alone and begin with none."""
        global _registry
        _inherited.extend(self.held())
        _registry = _Registry()


# What was inherited over a fork is neither used nor freed: closing it takes locks that a thread which does not exist
# here may hold.
_inherited: List[Any] = []


_registry = _Registry()


class ClientLease:
    """One adapter's hold on the client that fits its settings and the present environment."""

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._held: Optional[Tuple[_Registry, bool, _SharedClient]] = None

    def get(self) -> _SharedClient:
        """The shared client; another one when the process has forked, when a moto mock has begun or ended, or when it
        has no credentials and where they come from has changed.

        Keep the returned object for as long as its ``client`` is in use.
        """
        forks.check()
        registry, mocked = _registry, moto_seam.is_active()
        held = self._held
        if held is not None and held[0] is registry and held[1] is mocked:
            credentials = held[2].credentials
            if credentials is None or not credentials.absent or held[2].maker.source == Source.now():
                return held[2]
        return self._take(registry, Source.now())

    def why_unusable(self) -> Optional[str]:
        """Why there can never be credentials, in a sentence; None where there are some, or may be some later.

        Raises:
            ValueError: The endpoint that a setting of this machine names is none.
        """
        try:
            credentials = self.get().credentials
        except Exception as exc:
            if not is_wrong_setting(exc):
                raise
            return why_unusable(exc)
        # One look for all adapters that share a source: one that is down costs seconds, and each call looks again.
        if credentials is None or (credentials.looked and not credentials.why_unusable()):
            return None
        try:
            credentials.look()
        except Exception:
            return credentials.why_unusable()
        return None

    def renew(self, stale: object) -> bool:
        """Take a client with credentials that are read anew, in the place of ``stale``, whose keys AWS refuses.

        Calls and adapters that find out at once share the one that the first of them takes.

        Returns:
            Whether another attempt is worth it. It is not with keys that are parameters, nor with those that have been
            renewed just now.
        """
        held = self._held
        if not isinstance(stale, _SharedClient) or stale.credentials is None or held is None:
            return False
        if held[2] is not stale:
            return True
        source = Source.now()
        if source == stale.maker.source:
            if stale.credentials.fixed:
                return True  # the same keys once more: AWS may not have known them yet
            if not stale.maker.may_be_renewed():
                return False
        self._take(_registry, source, stale.maker)
        return True

    def release(self) -> None:
        """Let go of the client; a later ``get`` takes hold again."""
        self._held = None

    def _take(self, registry: _Registry, source: Source, stale: Optional[_Maker] = None) -> _SharedClient:
        shared = registry.maker(source, stale).client(self._settings)
        self._held = (registry, source.mocked, shared)
        return shared


class GivenClient:
    """A user's own client, in the place of a lease and of what it holds."""

    def __init__(self, client: LambdaClient) -> None:
        self.client = client
        self.invoke = client.invoke
        # Looked up when it is called: a client that is none of boto3's need not have it.
        self.invoke_with_response_stream = lambda **arguments: client.invoke_with_response_stream(**arguments)  # type: ignore[attr-defined]
        # Its owner may have it retry.
        sending.watch(client, retries=True)
        register = getattr(getattr(getattr(client, "meta", None), "events", None), "register", None)
        if callable(register):
            unparsed.watch(register)

    def get(self) -> "GivenClient":
        return self

    def renew(self, stale: object) -> bool:
        """Its owner renews it."""
        return False

    def release(self) -> None:
        """Its owner keeps it."""


def _make_client(session: _Session, settings: ClientSettings) -> Any:
    import botocore.handlers

    client = _reachable_client(session, settings)
    sending.watch(client)
    unparsed.watch(client.meta.events.register)
    client.meta.events.register("before-parse.lambda", unparsed.blank_unreadable_error)
    # What is left of botocore's retries: a handler that asks whether to retry, and two headers that tell AWS of it and
    # have to be signed, with what prepares them. Without them a call takes 7 % less CPU.
    client.meta.events.unregister("needs-retry.lambda", unique_id="retry-config-lambda")
    client.meta.events.unregister("request-created.lambda", unique_id="seed-max-attempts-lambda")
    client.meta.events.unregister("request-created", botocore.handlers.add_retry_headers)
    _tune_sockets(client, settings.read_timeout_s)
    return client


def _reachable_client(session: _Session, settings: ClientSettings) -> Any:
    """A client whose endpoint is one that the parameter may be, whoever named it, and that asks no proxy for loopback.

    Raises:
        ValueError: The endpoint is none; the message names the setting, not its value.
    """
    setting = _endpoint_setting(settings)
    proxied = not is_loopback_url(settings.endpoint_url or "")
    try:
        client = _bare_client(session, settings, proxied)
    except ValueError as exc:
        if type(exc) is not ValueError:
            raise  # one of botocore's own; Python's are about the URL
        client = None
    # Not while botocore's error is handled, which quotes the URL and would be this one's context.
    endpoint_url = client.meta.endpoint_url if client else ""
    check_endpoint(setting, endpoint_url, settings.allow_http)
    if proxied and is_loopback_url(endpoint_url):
        # Whatever proxy the environment names is not meant for loopback. Only the client knows what was resolved.
        client.close()
        client = _bare_client(session, settings, proxied=False)
    return client


def _endpoint_setting(settings: ClientSettings) -> str:
    """Which setting names the endpoint, in botocore's order."""
    if settings.endpoint_url is not None:
        return "endpoint_url"
    for name in ("AWS_ENDPOINT_URL_LAMBDA", "AWS_ENDPOINT_URL"):
        if os.environ.get(name):
            return name
    return "endpoint_url in the AWS config file"


def _bare_client(session: _Session, settings: ClientSettings, proxied: bool) -> Any:
    import boto3
    import botocore
    from botocore.config import Config

    return session.client(
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
            proxies=None if proxied else {},
            # Arguments come from validated parameters; checking them again costs 70 µs a call.
            parameter_validation=False,
            # botocore would put its own together twice for each request.
            user_agent=(
                f"lambda-adapter Boto3/{boto3.__version__} Botocore/{botocore.__version__} "
                f"Python/{sys.version.split()[0]}"
            ),
        ),
    )


def _tune_sockets(client: object, read_timeout_s: float) -> None:
    """Give TCP keepalive useful times, and uploads read_timeout.

    botocore has no setting for either, so its HTTP session is reached into: here, and nowhere else.
    """
    session = getattr(getattr(client, "_endpoint", None), "http_session", None)
    options = getattr(session, "_socket_options", None)
    if isinstance(options, list):
        wanted = [
            (socket.IPPROTO_TCP, getattr(socket, name), value)
            for name, value in _KEEPALIVE.items()
            if hasattr(socket, name)
        ]
        options[:] = _taken([*options, *wanted])
    pools = getattr(session, "_pool_classes_by_scheme", None)
    if isinstance(pools, dict):
        pools.update(_pool_classes(read_timeout_s))


def _taken(options: List[Tuple[int, int, int]]) -> List[Tuple[int, int, int]]:
    """Those that this machine's kernel takes: one that it refuses would fail every connection."""
    taken = []
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as scratch:
        for option in options:
            try:
                scratch.setsockopt(*option)
            except OSError:
                continue
            taken.append(option)
    return taken


@functools.lru_cache(maxsize=16)
def _pool_classes(read_timeout_s: float) -> Dict[str, type]:
    """botocore's pools, whose connections, once made, wait for read_timeout, and for the whole head of an answer.

    urllib3 leaves connect_timeout on the socket while the request is sent.
    """
    from botocore import awsrequest

    from .whole_heads import WholeHeadResponse

    def patient(pool: Any) -> type:
        class Connection(pool.ConnectionCls):  # type: ignore[misc]
            response_class = WholeHeadResponse

            def connect(self) -> None:
                super().connect()
                self.sock.settimeout(read_timeout_s)
                sending.wait_on(self.sock)

            def request(self, *args: object, **kwargs: object) -> None:
                if self.sock is not None:
                    # urllib3 2 gives a connection that is there already its timeout anew.
                    self.timeout = read_timeout_s
                    sending.wait_on(self.sock)
                super().request(*args, **kwargs)

            def getresponse(self, *args: object, **kwargs: object) -> Any:
                response = super().getresponse(*args, **kwargs)
                # Not after an exception: urllib3 1 tries first with an argument that is refused.
                sending.wait_on(None)
                return response

        return type(pool.__name__, (pool,), {"ConnectionCls": Connection})

    return {
        "http": patient(awsrequest.AWSHTTPConnectionPool),
        "https": patient(awsrequest.AWSHTTPSConnectionPool),
    }
