"""Prints the oldest dependencies that setup.cfg allows, as pip constraints: the runtime ones, and moto."""

import configparser
import pathlib
import re

config = configparser.ConfigParser()
config.read(pathlib.Path(__file__).resolve().parent.parent / "setup.cfg", encoding="utf-8")
runtime = config["options"]["install_requires"].split()
test = config["options.extras_require"]["test"].split()

for requirement in [*runtime, *(entry for entry in test if entry.startswith("moto"))]:
    bound = re.fullmatch(r"([\w.-]+)>=([\d.]+)", requirement)
    if bound is None:
        raise SystemExit(f"setup.cfg: {requirement!r} should be NAME>=VERSION, without spaces")
    print("{}=={}".format(*bound.groups()))
