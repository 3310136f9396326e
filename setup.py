import pathlib
import re

from setuptools import setup

# A package index knows the project's own files only by name: README's links to them become those names.
readme = (pathlib.Path(__file__).parent / "README.md").read_text(encoding="utf-8")
setup(long_description=re.sub(r"!?\[([^\]]*)\]\((?!https?://)[^)]*\)", r"\1", readme))
