"""The tests keep their own order: a docstring each, no module that imports another, no server in ``unit``."""

import ast
import pathlib

import pytest

TESTS = pathlib.Path(__file__).resolve().parents[1]
MODULES = sorted(TESTS.rglob("test_*.py"))
UNIT = sorted((TESTS / "unit").glob("*.py"))

#: What listens, or runs a program; support.calls makes adapters of a server.
SERVERS = {"FaultServer", "LocalLambda", "fault_server", "calls", "commands", "example_scripts", "subprocess", "socket"}


def imported(path):
    """Each part of each name that a module imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield from (node.module or "").split(".")
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                yield from alias.name.split(".")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_each_module_says_what_it_claims_and_imports_no_other(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert not {name for name in imported(path) if name.startswith("test_") or name == "conftest"}


@pytest.mark.parametrize("path", UNIT, ids=lambda path: path.stem)
def test_unit_tests_need_no_server_and_no_other_process(path):
    # socket.timeout is one of the exceptions that are told apart.
    assert not SERVERS.intersection(imported(path)) - ({"socket"} if path.stem == "test_failures" else set())
    assert not {"serve", "shared_server"}.intersection(_arguments(path))


def _arguments(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}


def test_the_modules_are_found():
    assert len(MODULES) > 40
    assert len(UNIT) > 15
