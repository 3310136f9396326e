"""AWS's own error codes: which of them pass by themselves, which stay, and which may be shown."""

import re
from typing import Dict

from .._text.redaction import without_keys
from ..codes import ErrorCode

#: The throttling codes of Lambda and of botocore's standard retry mode.
THROTTLED = frozenset(
    {
        "TooManyRequestsException",
        "ThrottlingException",
        "Throttling",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestLimitExceeded",
        "BandwidthLimitExceeded",
        "SlowDown",
        "EC2ThrottledException",
        "ProvisionedThroughputExceededException",
        "TransactionInProgressException",
        "LimitExceededException",
    }
)

#: Codes of a service or a function that is not ready yet.
NOT_READY = frozenset(
    {
        "ServiceException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "InternalFailure",
        "InternalServerError",
        "RequestTimeout",
        "RequestTimeoutException",
        "PriorRequestNotComplete",
        "ResourceNotReadyException",
        "ENINotReadyException",
        "EC2UnexpectedException",
        "ResourceConflictException",
        "SnapStartNotReadyException",
        "SnapStartTimeoutException",
        "CodeArtifactUserPendingException",
        "EFSMountTimeoutException",
        "EFSMountConnectivityException",
        "S3FilesMountTimeoutException",
        "S3FilesMountConnectivityException",
    }
)

#: Permanent codes that are known whatever their HTTP status says; the others follow PERMANENT_BY_STATUS.
PERMANENT_BY_CODE: Dict[str, ErrorCode] = {
    "ResourceNotFoundException": "not_found",
    "AccessDeniedException": "access_denied",
    "RequestTooLargeException": "payload_too_large",
    "InvalidParameterValueException": "invalid_parameter",
    "InvalidRequestContentException": "invalid_parameter",
    "UnsupportedMediaTypeException": "invalid_parameter",
    **dict.fromkeys(
        (
            "RecursiveInvocationException",
            "SnapStartException",
            "NoPublishedVersionException",
            "ModeNotSupportedException",
            "EFSMountFailureException",
            "S3FilesMountFailureException",
            # AWS answers these with 502, and yet they stay until somebody mends the function.
            "KMSAccessDeniedException",
            "KMSDisabledException",
            "KMSInvalidStateException",
            "KMSNotFoundException",
            "InvalidRuntimeException",
            "InvalidZipFileException",
            "InvalidSubnetIDException",
            "InvalidSecurityGroupIDException",
            "EC2AccessDeniedException",
            "ENILimitReachedException",
            "SubnetIPAddressLimitReachedException",
        ),
        "configuration_error",
    ),
}
PERMANENT_BY_STATUS: Dict[int, ErrorCode] = {
    400: "invalid_parameter",
    401: "access_denied",
    403: "access_denied",
    404: "not_found",
    413: "payload_too_large",
    415: "invalid_parameter",
}

#: botocore retries any answer with one of these.
RETRIED_STATUS = (500, 502, 503, 504)

#: An execution of this name exists: the function did run, or is running.
ALREADY_STARTED = "DurableExecutionAlreadyStartedException"

# What the code of an error looks like: capitals and small letters, and few digits. A key, a token or what a user typed
# could stand in its place where a proxy or an emulator answers.
_CODE = re.compile(r"(?=.*[a-z])(?=.*[A-Z])[A-Za-z][A-Za-z0-9.]{1,80}", re.ASCII)
_NAMED_LIKE_ONE = re.compile(r".*(Exception|Error|Fault)(\.[A-Za-z.]+)?")
_KNOWN = THROTTLED | NOT_READY | PERMANENT_BY_CODE.keys()


def shown_code(code: str) -> str:
    """AWS's code as it is, if it looks like one."""
    if code in _KNOWN or (_CODE.fullmatch(code) and (_NAMED_LIKE_ONE.fullmatch(code) or _is_words(code))):
        return code
    return "an unknown code"


def _is_words(code: str) -> bool:
    """Whether it is made of words, as no key is: each has small letters, and at most two digits stand between them."""
    return without_keys(code) == code and sum(char.isdigit() for char in code) <= 2


def passes(code: str, status: object) -> bool:
    """Whether an error of any AWS service may be gone in a moment."""
    # IDPCommunicationError: STS could not reach the identity provider.
    return code in THROTTLED or code in NOT_READY or code == "IDPCommunicationError" or status in (429, *RETRIED_STATUS)
