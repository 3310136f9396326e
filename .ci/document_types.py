"""Runs mypy over the documents' Python blocks, each a module of its own: what a reader copies has no type errors.

The blocks have no annotations where a reader would write none, so mypy is not strict here; it reads their bodies.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import textwrap

PROJECT = pathlib.Path(__file__).resolve().parent.parent
DOCUMENTS = ("README.md", "LAMBDA_ADAPTER_USAGE.md", "LAMBDA_ADAPTER_ARCHITECTURE.md")
BLOCK = re.compile(r"^( *)```python\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
#: Packages without types.
UNTYPED = "[mypy]\n[mypy-boto3.*,botocore.*]\nignore_missing_imports = True\n"


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)
        (place / "mypy.ini").write_text(UNTYPED, encoding="utf-8")
        modules = []
        for document in DOCUMENTS:
            text = (PROJECT / document).read_text(encoding="utf-8")
            for block in BLOCK.finditer(text):
                # A module's name says where its block begins; the empty lines make mypy's line numbers the document's.
                line = text.count("\n", 0, block.start()) + 1
                module = place / f"{document[:-3].lower()}_{line}.py"
                module.write_text("\n" * line + textwrap.dedent(block[2]), encoding="utf-8")
                modules.append(module.name)
        print(f"mypy over {len(modules)} code blocks")
        command = [sys.executable, "-m", "mypy", "--config-file=mypy.ini", "--check-untyped-defs", *modules]
        return subprocess.run(command, cwd=place, env={**os.environ, "MYPYPATH": str(PROJECT)}).returncode


if __name__ == "__main__":
    sys.exit(main())
