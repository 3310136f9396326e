"""One fresh process for each measurement, the endpoint beside them, and aioboto3's own virtual environment."""

import contextlib
import json
import os
import pathlib
import platform
import subprocess
import sys
import time
from importlib import metadata
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import attrs

from .parts import AIOBOTO3, Json, Measurement, Part

ROOT = pathlib.Path(__file__).resolve().parent.parent
#: Git ignores this directory.
_ENVIRONMENT = ROOT / ".benchmarks" / "aioboto3-{}.{}".format(*sys.version_info)

_TIMEOUT_S = 120
_VERSIONS = "import importlib.metadata as m, json; print(json.dumps({{name: m.version(name) for name in {!r}}}))"


class MeasurementError(Exception):
    """A client process failed; the text says which, and what it wrote."""


def child_environment(cores: int) -> Dict[str, str]:
    """Neither this machine's AWS settings nor its proxies reach a client."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith(("AWS_", "PYTHON")) and not name.upper().endswith("_PROXY")
    }
    return {
        **kept,
        "PYTHONPATH": str(ROOT),
        # asyncio sizes its default executor by this since Python 3.13, and would not count the endpoint's core.
        "PYTHON_CPU_COUNT": str(cores),
        "AWS_ACCESS_KEY_ID": "benchmark",
        "AWS_SECRET_ACCESS_KEY": "benchmark",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def available_cores() -> List[int]:
    return sorted(os.sched_getaffinity(0))


def describe_machine(cores: int) -> Json:
    """What figures depend on; nothing that says whose machine it is."""
    with open("/proc/cpuinfo", encoding="utf-8") as cpuinfo:
        models = [line.partition(":")[2].strip() for line in cpuinfo if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": cores,
        "pinned": cores > 1,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": platform.system(),
        "packages": {name: metadata.version(name) for name in ("boto3", "botocore", "urllib3")},
    }


@contextlib.contextmanager
def pinned_endpoint(cores: List[int]) -> Iterator[str]:
    """The endpoint's URL. It has the second core for itself, and all clients the first, where there are two."""
    command = [sys.executable, "-m", "benchmarks.endpoint", *map(str, cores[1:2])]
    environment = child_environment(len(cores))
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=environment
    ) as endpoint:
        assert endpoint.stdin is not None
        assert endpoint.stdout is not None
        if len(cores) > 1:
            # What this process starts from here on inherits it.
            os.sched_setaffinity(0, cores[:1])
        try:
            yield "http://127.0.0.1:{port}".format(**json.loads(endpoint.stdout.readline()))
        finally:
            os.sched_setaffinity(0, cores)
            endpoint.stdin.close()


def aioboto3_python(say: Callable[[str], None]) -> str:
    """The Python of aioboto3's environment, which has an older botocore than ours; it is made on the first run."""
    python = _ENVIRONMENT / "bin" / "python"
    if not python.exists() or subprocess.run([str(python), "-c", "import aioboto3"], capture_output=True).returncode:
        say("making a virtual environment for aioboto3")
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(_ENVIRONMENT)], check=True)
        install = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check", "aioboto3"]
        subprocess.run(install, check=True, stdout=sys.stderr)
    return str(python)


@attrs.frozen
class Runner:
    """Runs measurements, each in a process of its own.

    Args:
        url: The endpoint.
        cores: How many this machine has.
        say: Takes each line of progress.
        aioboto3: The Python that has it; without one, that peer is left out.
    """

    url: str
    cores: int
    say: Callable[[str], None]
    aioboto3: Optional[str] = None

    def run(self, part: Part) -> List[Json]:
        """All of a part's samples: every measurement once in each round, one after another."""
        payload = self._task(sys.executable, "payload", {})["payload"]
        measurements = [each for each in part.measurements if each.peer != AIOBOTO3 or self.aioboto3]
        if part.name in ("import", "startup"):
            for measurement in measurements:
                self._sample(measurement, payload)  # so that bytecode and files are cached
        samples = []
        for number in range(part.rounds):
            for measurement in measurements:
                which = f"{measurement.peer}, {measurement.about}" if measurement.about else measurement.peer
                self.say(f"{part.name}, round {number + 1} of {part.rounds}: {which}")
                sample = self._sample(measurement, payload)
                samples.append({"round": number, "peer": measurement.peer, **measurement.parameters, **sample})
        return samples

    def versions(self) -> Json:
        """aioboto3's, and those of what it brings along."""
        if not self.aioboto3:
            return {}
        names = ("aioboto3", "aiobotocore", "aiohttp")
        return self._process(self.aioboto3, ["-c", _VERSIONS.format(names)], "", "versions")[0]

    def _sample(self, measurement: Measurement, payload: Json) -> Json:
        python = self.aioboto3 if measurement.peer == AIOBOTO3 and self.aioboto3 else sys.executable
        if measurement.script is None:
            parameters = {"peer": measurement.peer, "url": self.url, "payload": payload, **measurement.parameters}
            return self._task(python, measurement.task, parameters)
        printed, process_ms = self._process(
            python, ["-c", measurement.script(self.url, payload)], "", f"{measurement.task}, {measurement.peer}"
        )
        return {**printed, "process_ms": process_ms}

    def _task(self, python: str, task: str, parameters: Json) -> Json:
        what = f"{task}, {parameters.get('peer', 'lambda_adapter')}"
        return self._process(python, ["-m", "benchmarks.work", task], json.dumps(parameters), what)[0]

    def _process(self, python: str, arguments: List[str], text: str, what: str) -> Tuple[Any, float]:
        """The JSON that a Python process prints last, and the milliseconds from its start to its end."""
        environment = child_environment(self.cores)
        started = time.perf_counter()
        try:
            process = subprocess.run(
                [python, *arguments],
                input=text,
                capture_output=True,
                encoding="utf-8",
                cwd=ROOT,
                env=environment,
                timeout=_TIMEOUT_S,
            )
        except subprocess.TimeoutExpired:
            raise MeasurementError(f"{what}: not done after {_TIMEOUT_S} s") from None
        elapsed_ms = (time.perf_counter() - started) * 1000
        if process.returncode:
            raise MeasurementError(f"{what}: exit code {process.returncode}\n{process.stderr}")
        return json.loads(process.stdout.splitlines()[-1]), elapsed_ms
