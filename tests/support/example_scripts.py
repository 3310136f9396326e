"""Runs the examples as a user runs them: by this Python, in a process of their own, without AWS credentials."""

import os
import subprocess
import sys
import textwrap

from support.paths import EXAMPLES, PACKAGES

#: Python imports this by itself when it starts: whatever leaves the machine raises.
_GUARD = """
    import ipaddress, sys

    def refuse(event, args):
        host = args[0] if event == "socket.getaddrinfo" else args[1][0] if event == "socket.connect" else None
        if host not in (None, "localhost") and not ipaddress.ip_address(host).is_loopback:
            raise RuntimeError(f"tried to reach {host}")

    sys.addaudithook(refuse)
"""


def begin(script, home, *args, **environment):
    """Starts an example in the folder ``home``, where warnings are errors and only loopback can be reached."""
    (home / "sitecustomize.py").write_text(textwrap.dedent(_GUARD))
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "TEMP", "TMPDIR") if name in os.environ}
    return subprocess.Popen(
        [
            *(sys.executable, "-W", "error", "-W", "ignore:Boto3 will no longer support Python"),
            *("-W", "ignore:Python 3.8 is no longer supported", "-W", "ignore:'audioop' is deprecated"),
            *(str(EXAMPLES / script), *args),
        ],
        env={
            **kept,
            "PYTHONPATH": os.pathsep.join([str(home), str(PACKAGES)]),
            "HOME": str(home),
            "AWS_EC2_METADATA_DISABLED": "true",
            "PYTHONIOENCODING": "utf-8",
            **environment,
        },
        cwd=str(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def run(script, home, *args, **environment):
    """Runs an example to its end; its output and its exit code."""
    with begin(script, home, *args, **environment) as process:
        try:
            output, errors = process.communicate(timeout=60)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)
