"""What a whole Python process costs: user-space instructions under callgrind, and CPU time.

Instructions are the same on a busy machine, and repeat to 1 %.
"""

import json
import os
import re
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import List

from .peers import BOTO3, COMMAND, OURS, REGION, Json

_CALLGRIND = ("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null")
_COLLECTED = re.compile(r"Collected : (\d+)")
_TIMEOUT_S = 300

#: ``import`` alone, and all of it up to the first response, for each peer.
_SCRIPTS = {
    ("import", OURS): "import lambda_adapter; lambda_adapter.LambdaAdapter",
    ("import", BOTO3): "import boto3",
    ("first response", OURS): """
from lambda_adapter import ExecuteRequest, LambdaAdapter
adapter = LambdaAdapter("delay-0", {region!r}, "benchmark", endpoint_url={url!r})
response = adapter.execute(ExecuteRequest(**{command!r}))
assert response.success, response
""",
    ("first response", BOTO3): """
import json
import boto3
client = boto3.client("lambda", region_name={region!r}, endpoint_url={url!r})
response = client.invoke(FunctionName="delay-0", Payload=json.dumps({payload!r}))
assert json.loads(response["Payload"].read())["success"]
""",
}


def instructions_per_call(peer: str, url: str, payload: Json, few: int, many: int) -> Json:
    """Task: the instructions of a blocking call: those of ``many`` in a process less those of ``few``."""

    def count(calls: int) -> int:
        parameters = {"peer": peer, "url": url, "payload": payload, "calls": calls}
        return instructions(["-m", "benchmarks.tasks", "repeat"], json.dumps(parameters))

    with ThreadPoolExecutor() as pool:
        of_few, of_many = pool.map(count, (few, many))
    return {"minstructions": (of_many - of_few) / (many - few) / 1e6}


def instructions_per_text(peer: str, url: str, payload: Json, few: int, many: int) -> Json:
    """Task: the instructions of each text of a stream that is there at once: of ``many`` less those of ``few``."""

    def count(texts: int) -> int:
        parameters = {"peer": peer, "url": url, "payload": payload, "texts": texts}
        return instructions(["-m", "benchmarks.tasks", "repeat_stream"], json.dumps(parameters))

    with ThreadPoolExecutor() as pool:
        of_few, of_many = pool.map(count, (few, many))
    return {"kinstructions": (of_many - of_few) / (many - few) / 1e3}


def instructions_of_script(peer: str, url: str, payload: Json, script: str) -> Json:
    """Task: the instructions of a whole process, interpreter included."""
    return {"minstructions": instructions(["-c", _filled(script, peer, url, payload)]) / 1e6}


def cpu_of_script(peer: str, url: str, payload: Json, script: str) -> Json:
    """Task: the CPU time of a whole process, interpreter included."""
    before_s = _children_s()
    _run([sys.executable, "-c", _filled(script, peer, url, payload)], "")
    return {"cpu_ms": (_children_s() - before_s) * 1000}


def instructions(arguments: List[str], text: str = "") -> int:
    """The user-space instructions of a Python process, all of its threads together."""
    found = _COLLECTED.search(_run([*_CALLGRIND, sys.executable, *arguments], text))
    if found is None:
        raise SystemExit("valgrind did not say how many instructions it had counted")
    return int(found.group(1))


def _filled(script: str, peer: str, url: str, payload: Json) -> str:
    return _SCRIPTS[script, peer].format(url=url, payload=payload, region=REGION, command=COMMAND)


def _run(command: List[str], text: str) -> str:
    """Run to the end; what the process wrote to standard error."""
    # A hash seed of its own would give each process other collisions, and so another number of instructions.
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    process = subprocess.run(
        command, input=text, capture_output=True, encoding="utf-8", timeout=_TIMEOUT_S, env=environment
    )
    if process.returncode:
        raise SystemExit(process.stderr)
    return process.stderr


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
