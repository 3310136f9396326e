"""TLS handshakes that fail, each in its own way."""

import pathlib
import ssl
import warnings
from typing import Tuple

from support.fault_server import Reaction, raw, tls_contexts

#: RFC 8446, section 6: the alerts by which a server refuses a handshake.
PROTOCOL_VERSION, INTERNAL_ERROR, UNRECOGNIZED_NAME = 70, 80, 112


def alert(number: int) -> Reaction:
    """A fatal alert in place of a ServerHello."""
    return raw(bytes([21, 3, 3, 0, 2, 2, number]))


def foreign_certificate(directory: pathlib.Path) -> Tuple[ssl.SSLContext, str]:
    """A server context with the certificate of another host, and its CA's PEM file."""
    import trustme

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("other.example").configure_cert(context)
    pem = directory / "foreign.pem"
    authority.cert_pem.write_to_path(str(pem))
    return context, str(pem)


def old_protocol(directory: pathlib.Path) -> Tuple[ssl.SSLContext, str]:
    """A server context that speaks TLS 1.1 at most, and its CA's PEM file."""
    context, pem = tls_contexts(directory)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context, pem
