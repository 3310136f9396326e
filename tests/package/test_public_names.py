"""The package at a prompt: its names, its version, and nothing of its own machinery."""

import configparser
import subprocess
import sys

import pytest

import lambda_adapter
from support.paths import PACKAGE, PROJECT


def test_dir_has_what_users_may_use_and_no_more():
    names = [name for name in dir(lambda_adapter) if not name.startswith("__")]
    assert names == sorted([*lambda_adapter.__all__, "errors", "local"])
    assert "__version__" in dir(lambda_adapter)


def test_an_import_that_brings_modules_in_changes_nothing():
    before = dir(lambda_adapter)
    __import__("lambda_adapter.cli")
    assert dir(lambda_adapter) == before


@pytest.mark.parametrize("name", [*lambda_adapter.__all__, "errors", "local", "__version__"])
def test_each_name_is_there_after_the_packages_own_import(name):
    program = f"import lambda_adapter; lambda_adapter.{name}"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=PACKAGE.parent, timeout=60)


@pytest.mark.parametrize("name", ["adapterr", "_call_", "Any_"])
def test_any_other_name_is_an_attribute_error(name):
    with pytest.raises(AttributeError, match=name):
        getattr(lambda_adapter, name)


def test_the_version_is_that_of_setup_cfg():
    config = configparser.ConfigParser()
    config.read(PROJECT / "setup.cfg", encoding="utf-8")
    assert lambda_adapter.__version__ == config["metadata"]["version"]
