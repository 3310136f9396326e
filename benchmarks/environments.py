"""A virtual environment in ``.benchmarks`` for each peer that lambda_adapter's own environment cannot hold."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
from typing import Callable, Dict, Iterator, Optional, Tuple

import attrs

from .peers import AIOBOTO3, AIOBOTOCORE, AWS_SDK

#: Git ignores this directory. Each Python that runs the benchmarks has its own environments in it.
_FOLDER = pathlib.Path(__file__).resolve().parent.parent / ".benchmarks"
_VERSIONS = """
import importlib.metadata, json, platform
versions = {{name: importlib.metadata.version(name) for name in {!r}}}
print(json.dumps({{"Python": platform.python_version(), **versions}}))
"""


@attrs.frozen
class Environment:
    """What is installed for a peer, which has its package's name."""

    package: str
    #: Whose versions are told beside the package's.
    along: Tuple[str, ...]
    #: The oldest Python that the package supports.
    python: Tuple[int, int] = (3, 8)

    def make(self, say: Callable[[str], None], folder: pathlib.Path = _FOLDER) -> Optional[str]:
        """Its Python; on the first run it is made. None, and a word about it, where no Python is new enough."""
        python = folder / "{}-{}.{}".format(self.package, *sys.version_info) / "bin" / "python"
        if python.exists() and _runs(str(python), f"import importlib.metadata as m; m.version({self.package!r})"):
            return str(python)
        base = next(filter(self._fits, _pythons()), None)
        if base is None:
            say("{} is left out: it needs Python {}.{}, and there is none here".format(self.package, *self.python))
            return None
        say(f"making a virtual environment for {self.package}")
        subprocess.run([base, "-I", "-m", "venv", "--clear", str(python.parent.parent)], check=True)
        install = [str(python), "-I", "-m", "pip", "install", "-qq", "--disable-pip-version-check", self.package]
        subprocess.run(install, check=True, stdout=sys.stderr)
        return str(python)

    def versions(self, python: str) -> Dict[str, str]:
        script = _VERSIONS.format((self.package, *self.along))
        found: Dict[str, str] = json.loads(subprocess.check_output([python, "-I", "-c", script]))
        return found

    def _fits(self, python: str) -> bool:
        return _runs(python, f"import sys; assert sys.version_info >= {self.python}")


ENVIRONMENTS: Dict[str, Environment] = {
    AIOBOTO3: Environment(AIOBOTO3, ("aiobotocore", "botocore", "aiohttp")),
    AIOBOTOCORE: Environment(AIOBOTOCORE, ("botocore", "aiohttp")),
    AWS_SDK: Environment(AWS_SDK, ("smithy-http", "aiohttp"), (3, 12)),
}


def _pythons() -> Iterator[str]:
    """This Python, then newer ones of PATH and of pyenv."""
    yield sys.executable
    folder = pathlib.Path(os.environ.get("PYENV_ROOT", pathlib.Path.home() / ".pyenv")) / "versions"
    for minor in range(13, 11, -1):
        on_path = shutil.which(f"python3.{minor}")
        if on_path:
            yield on_path
        yield from map(str, folder.glob(f"3.{minor}.*/bin/python"))


def _runs(python: str, script: str) -> bool:
    """Whether it ends well, without this shell's PYTHONPATH; pyenv's stand-ins for a Python may not."""
    return subprocess.run([python, "-I", "-c", script], capture_output=True).returncode == 0
