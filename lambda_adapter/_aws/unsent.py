"""A failure before anything was sent, told as what it is: credentials, proxy, CA file, profile or endpoint.

Nothing that an exception says is repeated: it may quote a token, a path, a URL, or what a process printed.
"""

import contextlib
import ipaddress
import os
import re
from typing import Mapping, Optional
from urllib.parse import urlsplit

import attrs

from .._text.redaction import shown_name
from .aws_codes import passes, shown_code
from .sending import Trace


@attrs.frozen
class SetUpFault:
    """What is wrong with the set-up."""

    cause: str
    #: Whether it may pass by itself, as a metadata service that is down does.
    transient: bool = False


#: Calls by which botocore fetches credentials.
_CREDENTIAL_CALLS = frozenset(
    {
        "AssumeRole",
        "AssumeRoleWithSAML",
        "AssumeRoleWithWebIdentity",
        "GetCredentialsForIdentity",
        "GetFederationToken",
        "GetRoleCredentials",
        "GetSessionToken",
        "CreateToken",
        "CreateOAuth2Token",
    }
)
_CREDENTIAL_MODULES = ("botocore.credentials", "botocore.tokens")
_SIGNING_MODULES = ("botocore.auth", "botocore.crt.auth")
#: What botocore asks credentials for their keys with, whoever wrote them.
_FROZEN = "get_frozen_credentials"
_CREDENTIAL_CLASSES = (
    "NoCredentialsError",
    "PartialCredentialsError",
    "CredentialRetrievalError",
    "MetadataRetrievalError",
    "NoAuthTokenError",
    "UnknownCredentialError",
    "UnknownTokenProviderError",
    "RefreshWithMFAUnsupportedError",
)
_LOGIN_CLASSES = ("SSOError", "LoginError", "TokenRetrievalError")
_NETWORK_CLASSES = ("ConnectionError", "ReadTimeoutError", "ConnectionClosedError", "TimeoutError", "timeout")
_X_RAY_CLASSES = ("SegmentNotFoundException", "SubsegmentNotFoundException", "AlreadyEndedException")
_PROFILE_CLASSES = {
    "ProfileNotFound": "AWS's files have no profile of the name that AWS_PROFILE says",
    "ConfigParseError": "AWS's config file or credentials file cannot be read",
    "ConfigNotFound": "AWS's config file or credentials file is missing",
    "InfiniteLoopConfigError": "the AWS credentials: the profiles' source_profile go round in a circle",
}
_ENDPOINT_MODULES = ("botocore.endpoint_provider", "botocore.regions")
_STATUS = re.compile(r"non 200 response ([0-9]{3})", re.ASCII)
_HOST = re.compile(r"(?!.*\.\.)[A-Za-z0-9_.-]{1,253}", re.ASCII)
_MAX_LABEL = 63


def fault_of_settings(trace: Trace) -> Optional[SetUpFault]:
    """A proxy or a CA file that cannot be one, whoever was to be reached with it; else None."""
    # The certificates were still being read: the handshake itself comes after, one function deeper.
    if trace.passes("ssl_wrap_socket", "urllib3.") and not trace.passes("_ssl_wrap_socket_impl"):
        return SetUpFault(f"{_ca_setting()} names no file with certificates that can be read")
    if trace.passes("_validate_verify_value", "botocore."):
        return SetUpFault(f"{_ca_setting()} is empty")
    proxy_url = trace.local("botocore.httpsession", "send", "proxy_url")
    if isinstance(proxy_url, str) and not _is_proxy_url(proxy_url):
        return SetUpFault(f"{_proxy_setting(trace)} is no URL of a proxy")
    if trace.passes("_get_proxy_manager", "botocore.") or trace.has_class("InvalidProxiesConfigError"):
        return SetUpFault(f"{_proxy_setting(trace)} cannot be used")
    return None


def fault_of_credentials(trace: Trace) -> Optional[SetUpFault]:
    """What kept the credentials from being found, fetched or renewed; None where it is something else."""
    called = _call_of_credentials(trace)
    if not (
        called
        or trace.is_within(*_CREDENTIAL_MODULES)
        or trace.has_class(*_CREDENTIAL_CLASSES)
        or trace.passes(_FROZEN)
        or trace.is_within(*_SIGNING_MODULES)
    ):
        return None
    if called:
        return called
    cause, transient = "the AWS credentials could not be fetched", _may_pass(trace)
    if trace.has_class("NoCredentialsError"):
        # botocore says the same of a metadata service that is down as of one that does not exist.
        return SetUpFault("no AWS credentials were found", transient=_metadata_service_is_asked())
    if trace.has_class("EOFError", "GetPassWarning"):
        cause = "the AWS credentials ask for an MFA code, and there is no terminal to type it on"
    elif trace.is_within(*_SIGNING_MODULES):
        cause = "the AWS credentials cannot sign a request: a key or the token is none"
    elif trace.passes("_retrieve_credentials_using"):
        cause = "the AWS credentials: " + _told_of_process(trace)
    elif trace.passes("fetch_creds"):
        cause = "the AWS credentials could not be fetched from the container's endpoint"
        if trace.passes("_build_headers") and trace.has_class("OSError"):
            cause = "the AWS credentials: AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE cannot be read"
    elif trace.has_class("PartialCredentialsError"):
        cause = "the AWS credentials are incomplete"
    elif trace.passes("__call__", "botocore.utils") and trace.has_class("OSError", "UnicodeError"):
        cause = "the AWS credentials: the web identity token's file cannot be read"
    elif trace.has_class(*_LOGIN_CLASSES):
        cause = "the AWS credentials: the login has ended, or there was none"
    return SetUpFault(cause, transient)


def fault_of_tracing(trace: Trace) -> Optional[SetUpFault]:
    """AWS X-Ray, which wraps botocore's calls, and refuses one outside of a segment before it begins."""
    if trace.has_class(*_X_RAY_CLASSES):
        return SetUpFault("AWS X-Ray has no segment for this call, and AWS_XRAY_CONTEXT_MISSING does not allow that")
    return None


def fault_before_sending(trace: Trace) -> Optional[SetUpFault]:
    """What is wrong where nothing was sent; None where it is nobody's setting."""
    for name, cause in _PROFILE_CLASSES.items():
        if trace.has_class(name):
            return SetUpFault(cause)
    fault = fault_of_tracing(trace) or fault_of_settings(trace) or fault_of_credentials(trace)
    if fault is not None:
        return fault
    if (
        trace.is_within(*_ENDPOINT_MODULES)
        or trace.passes("create_endpoint", "botocore.")
        or trace.has_class("BaseEndpointResolverError", "EndpointProviderError")
    ):
        return SetUpFault("no endpoint follows from the region and AWS's settings")
    if trace.has_class("BotoCoreError", "ClientError"):
        return SetUpFault("the AWS client is not set up to invoke")
    return None


def _call_of_credentials(trace: Trace) -> Optional[SetUpFault]:
    """What STS or its kin answered; None where no call of theirs failed."""
    for exc in trace.chain:
        operation, response = getattr(exc, "operation_name", None), getattr(exc, "response", None)
        if not isinstance(response, Mapping) or operation == "Invoke":
            continue
        if operation in _CREDENTIAL_CALLS or trace.is_within(*_CREDENTIAL_MODULES):
            error, metadata = response.get("Error"), response.get("ResponseMetadata")
            code = str(error.get("Code", "")) if isinstance(error, Mapping) else ""
            status = metadata.get("HTTPStatusCode") if isinstance(metadata, Mapping) else None
            what = shown_code(code) if not code.isdigit() else f"HTTP {code[:3]}"
            return SetUpFault(
                f"the AWS credentials could not be fetched: {shown_name(operation)} was refused ({what})",
                transient=passes(code, status),
            )
    return None


def _may_pass(trace: Trace) -> bool:
    """Whether the source of credentials may be well again in a moment."""
    for exc in trace.chain:
        name = type(exc).__name__
        if name == "MetadataRetrievalError":
            status = _STATUS.search(str(exc))
            return status is None or passes("", int(status[1]))
        # The metadata service was there when the keys were fetched first, and did not answer now.
        if name == "CredentialRetrievalError" and getattr(exc, "kwargs", {}).get("provider") == "iam-role":
            return True
    return trace.has_class(*_NETWORK_CLASSES)


def _metadata_service_is_asked() -> bool:
    return os.environ.get("AWS_EC2_METADATA_DISABLED", "false").lower() != "true"


def _told_of_process(trace: Trace) -> str:
    if trace.has_class("ValueError", "TypeError", "AttributeError", "KeyError"):
        return "credential_process printed none"
    if trace.has_class("OSError"):
        return "credential_process cannot be run"
    return "credential_process failed, or printed none"


def _ca_setting() -> str:
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        if name in os.environ:
            return name
    return "ca_bundle in AWS's config file, or verify or client_cert of the client,"


def _proxy_setting(trace: Trace) -> str:
    url = getattr(trace.local("botocore.httpsession", "send", "request"), "url", "")
    scheme = "http" if str(url).lower().startswith("http:") else "https"
    for name in (f"{scheme}_proxy", f"{scheme}_proxy".upper()):
        if os.environ.get(name):
            return name
    return "the client's proxy setting"


def _is_proxy_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port  # the port is checked by being read
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(host) and _is_host(host or "") and "//" not in parts.path


def _is_host(host: str) -> bool:
    if ":" in host:
        try:
            return bool(ipaddress.ip_address(host.partition("%")[0]))
        except ValueError:
            return False
    with contextlib.suppress(UnicodeError):
        host = host.encode("idna").decode()
    return bool(_HOST.fullmatch(host)) and all(len(label) <= _MAX_LABEL for label in host.split("."))
