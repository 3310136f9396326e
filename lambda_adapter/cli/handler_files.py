"""Handlers that are named on the command line: ``module:handler`` and ``path.py:handler``."""

import functools
import importlib
import importlib.util
import os
import sys
from types import ModuleType

from .._text.redaction import class_name, shown
from ..local import Handler
from .options import UsageError

#: Names that say nothing: their module's name is the function's.
_GENERIC = ("handler", "lambda_handler")


def load_handler(spec: str) -> Handler:
    """The handler that ``spec`` names.

    Raises:
        UsageError: It does not import, or is no handler.
    """
    place, _, name = spec.rpartition(":")
    if not place or not name:
        raise UsageError(f"{shown(spec)} is no handler; it must be module:handler or path.py:handler")
    try:
        module = _load_file(os.path.realpath(place)) if place.endswith(".py") else _load_module(place)
    except (Exception, SystemExit) as error:  # a module may do anything when it is imported
        raise UsageError(f"{shown(place)} does not import: {class_name(error)}: {shown(error)}") from None
    try:
        handler = functools.reduce(getattr, name.split("."), module)
    except AttributeError:
        raise UsageError(f"{shown(place)} has no {shown(name)}") from None
    if not callable(handler):
        raise UsageError(f"{shown(spec)} is {class_name(handler)}, and no function")
    return handler


def default_name(spec: str) -> str:
    """The function's name when nobody chose one: the handler's, or its module's if all handlers are called so."""
    place, _, handler = spec.rpartition(":")
    stem = os.path.basename(place)[:-3] if place.endswith(".py") else place.rpartition(".")[2]
    return stem if handler in _GENERIC else handler.rpartition(".")[2]


def _load_module(name: str) -> ModuleType:
    _make_importable(os.getcwd())
    return importlib.import_module(name)


@functools.lru_cache(maxsize=None)
def _load_file(path: str) -> ModuleType:
    """A file's module, once for all handlers in it; modules beside it can be imported, as in a script."""
    _make_importable(os.path.dirname(path))
    name = os.path.basename(path)[:-3]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError("no loader for this file")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and pickle look their module up. One that is imported already keeps its name: others rely on it.
    sys.modules.setdefault(name, module)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        if sys.modules.get(name) is module:
            del sys.modules[name]
        raise
    return module


def _make_importable(directory: str) -> None:
    if directory not in sys.path:
        sys.path.insert(0, directory)
