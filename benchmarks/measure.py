"""One fresh process for each measurement, and the endpoint beside them."""

import contextlib
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from typing import Callable, Dict, Iterator, List, Mapping, Set

import attrs
import trustme

from .parts import Measurement, Part
from .peers import OURS, Json

ROOT = pathlib.Path(__file__).resolve().parent.parent

_TIMEOUT_S = 300


class MeasurementError(Exception):
    """A measuring process failed; the text says which, and what it wrote."""


def describe_machine() -> Json:
    """What figures depend on; nothing that says whose machine it is."""
    with open("/proc/cpuinfo", encoding="utf-8") as cpuinfo:
        models = [line.partition(":")[2].strip() for line in cpuinfo if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": platform.system(),
        "packages": {name: metadata.version(name) for name in ("boto3", "botocore", "urllib3")},
    }


def has_callgrind() -> bool:
    return shutil.which("valgrind") is not None


@contextlib.contextmanager
def running_endpoint() -> Iterator["Site"]:
    """The endpoint in a process of its own, under http and https; nothing is pinned to a core."""
    with tempfile.TemporaryDirectory() as folder:
        authority, certificate = f"{folder}/authority.pem", f"{folder}/certificate.pem"
        issuer = trustme.CA()
        issuer.cert_pem.write_to_path(authority)
        issuer.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
        environment = _child_environment(authority)
        with subprocess.Popen(
            [sys.executable, "-m", "benchmarks.endpoint", certificate],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=environment,
        ) as endpoint:
            assert endpoint.stdin is not None
            assert endpoint.stdout is not None
            try:
                ports = json.loads(endpoint.stdout.readline())
                yield Site({scheme: f"{scheme}://127.0.0.1:{port}" for scheme, port in ports.items()}, environment)
            finally:
                endpoint.stdin.close()


@attrs.frozen
class Site:
    """What a measuring process needs to reach the endpoint: URLs by scheme, and an environment that trusts them."""

    urls: Mapping[str, str]
    environment: Mapping[str, str]


def _child_environment(authority: str) -> Dict[str, str]:
    """Neither this machine's AWS settings nor its proxies reach a client, which trusts ``authority`` alone."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith(("AWS_", "PYTHON")) and not name.upper().endswith("_PROXY")
    }
    return {
        **kept,
        "PYTHONPATH": str(ROOT),
        "AWS_ACCESS_KEY_ID": "benchmark",
        "AWS_SECRET_ACCESS_KEY": "benchmark",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_CA_BUNDLE": authority,
        "SSL_CERT_FILE": authority,
    }


@attrs.frozen
class Runner:
    """Runs measurements, each in a process of its own.

    Args:
        pythons: The Python of each peer that has an environment of its own; a peer that is ``left_out`` has none.
        say: Takes each line of progress.
    """

    site: Site
    pythons: Mapping[str, str]
    left_out: Set[str]
    say: Callable[[str], None]

    def run(self, part: Part) -> List[Json]:
        """All of a part's samples: every measurement once in each round, one after another."""
        payload = self._task(sys.executable, "payload", {})["payload"]
        samples = []
        for number in range(part.rounds):
            for each in part.measurements:
                if each.peer in self.left_out:
                    continue
                self.say(f"{part.name}, round {number + 1} of {part.rounds}: {each.peer}, {each.about}")
                sample = self._sample(each, payload)
                samples.append({"round": number, "peer": each.peer, "about": each.about, **each.parameters, **sample})
        return samples

    def _sample(self, measurement: Measurement, payload: Json) -> Json:
        parameters = {
            "peer": measurement.peer,
            "url": self.site.urls[measurement.scheme],
            "payload": payload,
            **measurement.parameters,
        }
        python = self.pythons.get(measurement.peer, sys.executable)
        if measurement.processes == 1:
            return self._task(python, measurement.task, parameters)
        with ThreadPoolExecutor() as pool:
            side_by_side = [
                pool.submit(self._task, python, measurement.task, parameters) for _ in range(measurement.processes)
            ]
        return {"calls_per_s": sum(each.result()["calls_per_s"] for each in side_by_side)}

    def _task(self, python: str, task: str, parameters: Json) -> Json:
        """The JSON that a task prints last."""
        what = f"{task}, {parameters.get('peer', OURS)}"
        try:
            process = subprocess.run(
                [python, "-m", "benchmarks.tasks", task],
                input=json.dumps(parameters),
                capture_output=True,
                encoding="utf-8",
                cwd=ROOT,
                env=self.site.environment,
                timeout=_TIMEOUT_S,
            )
        except subprocess.TimeoutExpired:
            raise MeasurementError(f"{what}: not done after {_TIMEOUT_S} s") from None
        if process.returncode:
            raise MeasurementError(f"{what}: exit code {process.returncode}\n{process.stderr}")
        printed: Json = json.loads(process.stdout.splitlines()[-1])
        return printed
