"""Handlers that are named on the command line: ``module:handler`` and ``path.py:handler``."""

import builtins
import functools
import importlib
import importlib.util
import itertools
import os
import sys
import threading
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple

from .._text.redaction import class_name, shown
from ..local import Handler
from ..local.environment import TASK_ROOT
from ..local.runtime import check_handler
from .options import UsageError

#: Names that say nothing: their module's name is the function's.
_GENERIC = ("handler", "lambda_handler")


def load_handler(spec: str) -> Handler:
    """The handler that ``spec`` names.

    Raises:
        UsageError: It does not import, or is no handler.
    """
    place, name = _split(spec)
    try:
        return _load(place, name)
    except _NoHandlerError as error:
        raise UsageError(str(error)) from None
    except (Exception, SystemExit) as error:  # a module may do anything when it is imported
        raise UsageError(f"{shown(place)} does not import: {class_name(error)}: {shown(error)}") from None


def load_anew(spec: str) -> Handler:
    """A handler that is imported again, with the modules of its folder, when one of their files has been saved.

    What does not import, or is no handler, fails the calls as on AWS, until it is mended.

    Raises:
        UsageError: As ``load_handler``.
    """
    handler = load_handler(spec)
    try:
        check_handler(spec, handler)
    except ValueError:
        return handler  # LocalLambda refuses it, under the function's name
    place, name = _split(spec)
    lock = threading.Lock()

    def newest(event: Any, context: Any) -> Any:
        with lock:
            folder, found = _load_newest(place, name)
        try:
            return found(event, context)
        finally:
            folder.look()  # at what was imported meanwhile

    return functools.wraps(handler)(newest)


def default_name(spec: str) -> str:
    """The function's name when nobody chose one: the handler's, or its module's if all handlers are called so."""
    place, _, handler = spec.rpartition(":")
    stem = os.path.basename(place)[:-3] if place.endswith(".py") else place.rpartition(".")[2]
    return stem if handler in _GENERIC else handler.rpartition(".")[2]


class _NoHandlerError(Exception):
    pass


def _split(spec: str) -> Tuple[str, str]:
    place, _, name = spec.rpartition(":")
    if not place or not name:
        raise UsageError(f"{shown(spec)} is no handler; it must be module:handler or path.py:handler")
    return place, name


def _load(place: str, name: str) -> Handler:
    folder, module_name = _folder_and_module(place)
    module = folder.load(module_name)
    try:
        handler: Any = functools.reduce(getattr, name.split("."), module)
    except AttributeError:
        raise _NoHandlerError(f"{shown(place)} has no {shown(name)}") from None
    if not callable(handler):
        raise _NoHandlerError(f"{shown(place)}:{shown(name)} is {class_name(handler)}, and no function")
    found: Handler = handler
    return found


def _load_newest(place: str, name: str) -> "Tuple[_Folder, Handler]":
    """The handler as its folder's files are now. What the import itself raises is raised on, as on AWS.

    Raises:
        Exception: With a name and words as AWS's runtime has them: there is no such module or handler, or a file is no
            Python.
    """
    try:
        folder, module_name = _folder_and_module(place)
    except FileNotFoundError:
        raise _as_on_aws("ImportModuleError", f"Unable to import {shown(place)}: no such file") from None
    folder.refresh()
    try:
        handler = _load(place, name)
    except _NoHandlerError as error:
        raise _as_on_aws("HandlerNotFound", str(error)) from None
    except ImportError as error:
        told = f"Unable to import module '{module_name}': {folder.bare(str(error))}"
        raise _as_on_aws("ImportModuleError", told).with_traceback(error.__traceback__) from None
    except SyntaxError as error:
        told = f"Syntax error in module '{module_name}': {error}"
        raise _as_on_aws("UserCodeSyntaxError", told).with_traceback(error.__traceback__) from None
    try:
        check_handler(f"{shown(place)}:{shown(name)}", handler)
    except ValueError as error:
        raise _as_on_aws("MarshalError", str(error)) from None
    return folder, handler


def _as_on_aws(kind: str, text: str) -> Exception:
    """An exception whose class has a name of AWS's runtime, which is what callers are told of it."""
    failure: Exception = type(f"Runtime.{kind}", (Exception,), {})(text)
    return failure


def _folder_and_module(place: str) -> "Tuple[_Folder, str]":
    """Where a handler's modules are, and the handler's own among them: a file's folder is its code's root."""
    if not place.endswith(".py"):
        return _folder(os.getcwd()), place
    path = os.path.realpath(place)
    if not os.path.isfile(path):
        raise FileNotFoundError("no such file")
    return _folder(os.path.dirname(path)), os.path.basename(path)[:-3]


@functools.lru_cache(maxsize=None)
def _folder(path: str) -> "_Folder":
    """Once for all handlers in it."""
    return _Folder(path)


class _Folder:
    """A folder whose modules are its own, as each Lambda function has its own code: two folders may have a ``util``.

    Its modules are those of a package that has the folder for its path, and their ``import`` looks into that first.
    What the folder does not have is imported as everywhere, and shared.
    """

    _numbers = itertools.count(1)

    def __init__(self, path: str) -> None:
        self._path = path
        self._package = f"lambda_folder_{next(self._numbers)}"
        self._builtins = {**vars(builtins), "__import__": self._import}
        self._seen: Dict[str, object] = {}
        package = ModuleType(self._package)
        package.__path__ = [path]
        package.__dict__[TASK_ROOT] = path
        sys.modules[self._package] = package
        sys.meta_path.insert(0, self)

    def load(self, name: str) -> ModuleType:
        """The module of this name: the folder's, or else one that is installed."""
        try:
            return importlib.import_module(f"{self._package}.{name}" if self._has(name) else name)
        finally:
            self.look()

    def refresh(self) -> None:
        """Forget the folder's modules, if one of their files has been saved since they were loaded."""
        if all(_saved_at(file) == at for file, at in self._seen.items()):
            return
        self._seen.clear()
        for name in self._names():
            del sys.modules[name]
        importlib.invalidate_caches()

    def find_spec(self, name: str, path: Optional[Sequence[str]], target: object = None) -> Optional[ModuleSpec]:
        """Of a module of this folder's: where it is, and who runs it. (importlib asks.)"""
        if not name.startswith(f"{self._package}."):
            return None
        spec = PathFinder.find_spec(name, path)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = _Loader(spec.loader.name, spec.loader.path, self._builtins)
        return spec

    def bare(self, text: str) -> str:
        """A text that may name the folder's modules, with the names that they have for their authors."""
        return text.replace(f"{self._package}.", "")

    def _has(self, name: str) -> bool:
        first = name.partition(".")[0]
        spec = PathFinder.find_spec(first, [self._path])
        # A folder without __init__.py counts last, as it does along sys.path.
        if spec is None or spec.loader is not None:
            return spec is not None
        return first not in sys.modules and importlib.util.find_spec(first) is None

    def _import(
        self,
        name: str,
        globals: Optional[Mapping[str, object]] = None,
        locals: Optional[Mapping[str, object]] = None,
        fromlist: Optional[Sequence[str]] = (),
        level: int = 0,
    ) -> ModuleType:
        """What ``import`` does in the folder's modules."""
        if level or not self._has(name):
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        if fromlist:
            return builtins.__import__(f"{self._package}.{name}", globals, locals, fromlist)
        importlib.import_module(f"{self._package}.{name}")
        return sys.modules[f"{self._package}.{name.partition('.')[0]}"]

    def _names(self) -> Sequence[str]:
        return [name for name in [*sys.modules] if name.startswith(f"{self._package}.")]

    def look(self) -> None:
        """Remember when the files of what was loaded were saved."""
        for name in self._names():
            file = getattr(sys.modules.get(name), "__file__", None)
            if file:
                self._seen.setdefault(file, _saved_at(file))


class _Loader(SourceFileLoader):
    """Runs a module with builtins of its folder's, always from its source."""

    def __init__(self, name: str, path: str, own_builtins: Mapping[str, object]) -> None:
        super().__init__(name, path)
        self._builtins = own_builtins

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__builtins__"] = self._builtins
        super().exec_module(module)

    def path_stats(self, path: str) -> Mapping[str, Any]:
        # Compiled files are told from newer ones by whole seconds: too coarse for --reload.
        raise OSError


def _saved_at(file: str) -> Optional[Tuple[int, int]]:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
