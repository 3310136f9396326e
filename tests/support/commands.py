"""The command line, run as a program of its own."""

import contextlib
import os
import subprocess
import sys

import pytest

from support.paths import PACKAGES
from support.waiting import until

#: As the console script does it. A shell's background jobs, and so the tests, may inherit that Ctrl-C is ignored.
LAUNCHER = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from lambda_adapter.__main__ import main
sys.exit(main())
"""


def start(*argv, head="", **options):
    """A command as a program of its own."""
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    warnings = ["-X", "dev", "-W", "error", "-W", "ignore:Boto3 will no longer support Python"]
    warnings += ["-W", "ignore:Python 3.8 is no longer", "-W", "ignore:datetime.datetime.utc:DeprecationWarning"]
    return subprocess.Popen(
        [sys.executable, *warnings, "-c", head + LAUNCHER, *map(str, argv)],
        # Output is buffered, as it is for most people.
        env={**os.environ, "PYTHONPATH": str(PACKAGES), "PYTHONUNBUFFERED": ""},
        text=True,
        **options,
    )


def wait_until(condition, process):
    """Until ``condition()``; fails at once if ``process`` has ended before that."""

    def holds():
        if condition():
            return True
        assert process.poll() is None, process.communicate()
        return False

    until(holds, within_s=30)


def read_terminal(master):
    """All that a program writes to its terminal, until it ends."""
    data = b""
    with contextlib.suppress(OSError):  # Linux's way of saying that the other side is closed
        while True:
            part = os.read(master, 65_536)
            if not part:
                break
            data += part
    os.close(master)
    return data.decode()


def on_terminal(*argv):
    """Run a command on a terminal of its own: exit code and what it showed."""
    pty = pytest.importorskip("pty", reason="no terminals to be had here")
    master, slave = pty.openpty()
    process = start(*argv, stdout=slave, stderr=slave)
    os.close(slave)
    shown = read_terminal(master)
    return process.wait(30), shown
