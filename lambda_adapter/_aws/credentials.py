"""Where credentials come from, and credentials that are looked for when a request is signed.

boto3 reads the environment and the files once per session, and a client that was made without credentials signs with
none for ever. So what was read is remembered as a Source, to be compared with what is there now; and clients hold
LiveCredentials, which look again as long as nothing was found.
"""

import os
import stat
import threading
from typing import Any, Callable, Optional, Tuple

import attrs

from .._text.redaction import shown, shown_name
from . import moto_seam

#: Beside AWS_* and *_PROXY in any capitals, which urllib reads so: where files are, and which certificates are trusted.
_NAMES = frozenset({"HOME", "USERPROFILE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"})
#: Files by the variable that names them, and where they are without it.
_FILES = {
    "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials",
    "AWS_CONFIG_FILE": "~/.aws/config",
    "AWS_CREDENTIAL_FILE": "",
    "AWS_CA_BUNDLE": "",
    "REQUESTS_CA_BUNDLE": "",
    "SSL_CERT_FILE": "",
}
#: Larger files than this, which are bundles of certificates, are known by their times, size and inode alone.
_MAX_CONTENT_BYTES = 65_536

#: botocore's names for places where keys stand as they are.
_FIXED = ("env", "shared-credentials-file", "config-file", "ec2-credentials-file", "boto-config")

#: How every sentence about credentials that can never work begins.
UNUSABLE = "the AWS credentials cannot be used"

#: botocore's errors about settings that no waiting mends. Their words are names and paths, no secrets.
_WRONG_SETTINGS = (
    "ProfileNotFound",
    "ConfigParseError",
    "ConfigNotFound",
    "PartialCredentialsError",
    "UnknownCredentialError",
    "InfiniteLoopConfigError",
)


@attrs.frozen
class Source:
    """What decides the credentials, endpoint and certificates of a client made now. Two that are equal decide alike."""

    environment: Tuple[Tuple[str, str], ...] = attrs.field(repr=False)
    files: Tuple[object, ...] = attrs.field(repr=False)
    #: A client made under a moto mock must not reach AWS later, nor the reverse.
    mocked: bool

    @classmethod
    def now(cls) -> "Source":
        """The environment and the files as they are. Costs some 30 µs."""
        environment = dict(_relevant_variables())
        paths = (environment.get(name) or path for name, path in _FILES.items())
        return cls(tuple(environment.items()), tuple(_content(path) for path in paths if path), moto_seam.is_active())


class LiveCredentials:
    """Stands in a client for botocore's credentials: looks for them when they are needed, until there are some.

    Args:
        find: botocore's credentials of the source, or None; may take seconds, and raise anything.
    """

    #: What botocore asks of credentials beside the keys: who set them.
    method = "lambda-adapter"

    def __init__(self, find: Callable[[], Any]) -> None:
        self._find = find
        self._found: Any = None
        self._lock = threading.Lock()
        self._looks = 0
        self._error: Optional[Exception] = None

    @property
    def looked(self) -> bool:
        """Whether the source has been asked at all."""
        return self._looks > 0

    def why_unusable(self) -> Optional[str]:
        """Why the source can never work as it is configured, judging by the last look; None if it can."""
        error = self._error
        return None if error is None else why_unusable(error)

    @property
    def absent(self) -> bool:
        return self._found is None

    @property
    def fixed(self) -> bool:
        """Whether looking again can only find the same, as long as the source is what it was."""
        return getattr(self._found, "method", None) in _FIXED

    def look(self) -> Any:
        """The credentials, or None where there are none. Threads that ask at once share one look and what it raises."""
        if self._found is not None:
            return self._found
        looks = self._looks
        with self._lock:
            if self._looks == looks:
                self._error = None
                try:
                    self._found = self._find()
                except Exception as exc:
                    self._error = exc
                self._looks += 1
            if self._error is not None:
                raise self._error
            return self._found

    def get_frozen_credentials(self) -> Any:
        """What botocore signs a request with."""
        found = self.look()
        if found is None:
            from botocore.exceptions import NoCredentialsError

            raise NoCredentialsError
        try:
            frozen = found.get_frozen_credentials()
            if not (isinstance(frozen.access_key, str) and isinstance(frozen.secret_key, str)):
                raise TypeError("a key is no text")
        except Exception:
            # What botocore has kept of a source that failed, or gave no keys, must not outlast the source's repair.
            self._found = None
            raise
        return frozen

    def get_deferred_property(self, name: str) -> Callable[[], Any]:
        """What botocore resolves endpoints with."""
        return lambda: getattr(self.get_frozen_credentials(), name, None)

    def load_credentials(self) -> "LiveCredentials":
        """Stand in for the session's own credential provider as well."""
        return self


def live_credentials(region: str) -> LiveCredentials:
    """Credentials of the present source; ``region`` is whose STS is asked where a role is to be assumed."""

    def find() -> Any:
        import botocore.session

        # A session of its own: clients are made from another one, in other threads.
        session = botocore.session.get_session()
        session.set_config_variable("region", region)
        return session.get_credentials()

    return LiveCredentials(find)


def is_wrong_setting(exc: Exception) -> bool:
    """Whether botocore cannot even begin with the settings that it finds."""
    return any(base.__name__ in _WRONG_SETTINGS for base in type(exc).__mro__)


def why_unusable(exc: Exception) -> Optional[str]:
    """Why a source that raised this can never work as it is configured; None for one that is absent or down.

    What a program printed is in no sentence.
    """
    named = shown_name(type(exc).__name__)
    if is_wrong_setting(exc):
        return f"{UNUSABLE}: {shown(exc)}"
    if isinstance(exc, OSError) and exc.filename != os.environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"):
        return f"{UNUSABLE}: the program that credential_process names cannot be run ({named})"
    if isinstance(exc, (ValueError, TypeError, AttributeError, LookupError)):
        return f"{UNUSABLE}: their source, a credential_process for example, gave none ({named})"
    return None


def _relevant_variables() -> "list[Tuple[str, str]]":
    found = []
    for name in os.environ:
        if name.startswith("AWS_") or name in _NAMES or name[-6:].upper() == "_PROXY":
            found.append((name, os.environ.get(name, "")))
    return found


def _content(path: str) -> object:
    """A file's whole content, or what changes with it; None where there is no file.

    Keys are rewritten in place by others of equal length, within one tick of the file system's clock too: only the
    content tells. Bundles of certificates are larger, and change with installations.
    """
    try:
        path = os.path.expanduser(os.path.expandvars(path))
        status = os.stat(path)
        # A pipe can be read once, and that is for botocore.
        if stat.S_ISREG(status.st_mode) and status.st_size <= _MAX_CONTENT_BYTES:
            with open(path, "rb", buffering=0) as file:
                return file.read()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as exc:  # a null byte in the path is a ValueError
        return type(exc).__name__
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino
