"""Stand-ins on loopback for what credentials come from: STS, the instance's metadata service, a container's endpoint.

Each is a FaultServer with a script that can be told to be down; ``requests`` of the server count the look-ups.
"""

import datetime
import json
import pathlib
import sys
from typing import Optional

from support.fault_server import FaultServer, Reaction, Request, respond, untyped

#: In no message, log line or exception.
SECRET = "hunter2hunter2"
KEYS = {"AccessKeyId": "ASIAFROMASOURCE", "SecretAccessKey": SECRET, "Token": SECRET}


def soon() -> str:
    """An expiry so near that each call has to renew the credentials first."""
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ")


class Source:
    """A script for a FaultServer: grants credentials unless ``down`` says what to do instead."""

    def __init__(self, down: Optional[Reaction] = None, times: Optional[int] = None) -> None:
        self.down = down
        #: How many requests more are answered so; None: all.
        self.times = times

    def fail(self, down: Reaction, times: Optional[int] = None) -> None:
        self.down, self.times = down, times

    def __call__(self, request: Request) -> Reaction:
        if self.down is not None and self.times != 0:
            if self.times is not None:
                self.times -= 1
            return self.down
        return self.grant(request)

    def grant(self, request: Request) -> Reaction:
        raise NotImplementedError


class Container(Source):
    """AWS_CONTAINER_CREDENTIALS_FULL_URI."""

    def grant(self, request: Request) -> Reaction:
        return respond(200, json.dumps({**KEYS, "Expiration": soon()}).encode())


class Metadata(Source):
    """AWS_EC2_METADATA_SERVICE_ENDPOINT."""

    def grant(self, request: Request) -> Reaction:
        if request.path.endswith("/api/token"):
            return respond(200, b"token")
        if request.path.endswith("/security-credentials/"):
            return respond(200, b"role")
        return respond(200, json.dumps({**KEYS, "Code": "Success", "Expiration": soon()}).encode())


class Sts(Source):
    """AWS_ENDPOINT_URL_STS."""

    def grant(self, request: Request) -> Reaction:
        operation = "AssumeRoleWithWebIdentity"
        body = (
            f"<{operation}Response><{operation}Result><Credentials><AccessKeyId>ASIAFROMASOURCE</AccessKeyId>"
            f"<SecretAccessKey>{SECRET}</SecretAccessKey><SessionToken>{SECRET}</SessionToken>"
            f"<Expiration>{soon()}</Expiration></Credentials></{operation}Result></{operation}Response>"
        )
        return respond(200, body.encode(), {"Content-Type": "text/xml"})


def sts_error(code: str, status: int) -> Reaction:
    """An error as STS words it."""
    error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{SECRET}</Message></Error>"
    return respond(status, f"<ErrorResponse>{error}</ErrorResponse>".encode(), {"Content-Type": "text/xml"})


def container_down(status: int) -> Reaction:
    return untyped(status, SECRET.encode())


def container(environment, server: FaultServer) -> None:
    """Have credentials come from ``server``."""
    environment.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{server.endpoint_url}/creds")
    # botocore asks three times, a second apart.
    environment.setattr("botocore.utils.ContainerMetadataFetcher.SLEEP_TIME", 0)


def metadata_service(environment, server: FaultServer) -> None:
    environment.delenv("AWS_EC2_METADATA_DISABLED")
    environment.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.endpoint_url)


def web_identity(environment, server: FaultServer, token: pathlib.Path) -> None:
    """Have a role be assumed at ``server`` with the token in a file."""
    environment.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/bot")
    environment.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
    environment.setenv("AWS_ENDPOINT_URL_STS", server.endpoint_url)
    # STS's own retries take seconds.
    environment.setenv("AWS_MAX_ATTEMPTS", "1")


def process(environment, directory: pathlib.Path, program: str) -> None:
    """Have credentials come from ``credential_process``: a Python program, or what is no program at all."""
    command = program
    if program.startswith("python: "):
        script = directory / "process.py"
        script.write_text(program[8:])
        command = f"{sys.executable} {script}"
    config(environment, directory, f"credential_process = {command}")


def config(environment, directory: pathlib.Path, lines: str) -> None:
    path = directory / "config"
    path.write_text(f"[default]\n{lines}\n")
    environment.setenv("AWS_CONFIG_FILE", str(path))
