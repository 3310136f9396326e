"""Type-checks the Python blocks of the documents; an error is reported at the document's own line.

    python .ci/typed_blocks.py [DOCUMENT...]

The options for the blocks stand in pyproject.toml, under "document_blocks.*".
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import textwrap
from typing import Dict, List, Tuple

PROJECT = pathlib.Path(__file__).resolve().parent.parent
DOCUMENTS = ("README.md", "LAMBDA_ADAPTER_USAGE.md", "LAMBDA_ADAPTER_ARCHITECTURE.md")

#: Whether each block is a module of its own; otherwise a document's blocks are one module, from top to bottom.
EACH_BLOCK_ALONE = True

_BLOCK = re.compile(r"^( *)```python\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def blocks(text: str) -> List[Tuple[int, str]]:
    """The Python blocks of a document, each with the number of lines before it."""
    return [(text.count("\n", 0, found.start(2)), textwrap.dedent(found[2])) for found in _BLOCK.finditer(text)]


def modules(document: str) -> Dict[str, str]:
    """Module name -> source, whose lines have the numbers that they have in the document."""
    name = re.sub(r"\W", "_", pathlib.PurePath(document).stem).lower()
    text = (PROJECT / document).read_text(encoding="utf-8")
    found = blocks(text)
    if not len(found) == text.count("```python") > 0:
        raise SystemExit(f"{document}: {text.count('```python')} Python blocks begin, {len(found)} are complete")
    if EACH_BLOCK_ALONE:
        return {f"{name}_{before + 1}": "\n" * before + source for before, source in found}
    source = ""
    for before, block in found:
        source += "\n" * (before - source.count("\n")) + block
    return {name: source}


def main(documents: List[str]) -> int:
    with tempfile.TemporaryDirectory() as scratch:
        package = pathlib.Path(scratch).resolve() / "document_blocks"
        package.mkdir()
        (package / "__init__.py").touch()
        origin = {}
        for document in documents:
            for name, source in modules(document).items():
                (package / f"{name}.py").write_text(source, encoding="utf-8")
                origin[name] = document
        ended = subprocess.run(
            [sys.executable, "-m", "mypy", "--strict", str(package)],
            cwd=str(PROJECT),
            env={**os.environ, "MYPYPATH": str(PROJECT)},
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
    # Any folder: mypy repeats what it has in its cache under the name of an earlier one.
    print(re.sub(r"^.*\bdocument_blocks[/\\](\w+)\.py", lambda at: origin[at[1]], ended.stdout, flags=re.M), end="")
    return ended.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(DOCUMENTS)))
