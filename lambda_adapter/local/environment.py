"""The environment variables of AWS's runtime, as each call's handler reads them.

``os.environ`` is one for the process, while functions run side by side in it, and beside a bot that looks up its own
region there. So the variables are put over it for the call that a handler runs in, and for nothing else: the
process's own environment stays as it is.
"""

import contextlib
import inspect
import os
import sys
import threading
import time
import uuid
from contextvars import ContextVar
from typing import TYPE_CHECKING, Dict, Iterator, Optional, Set, Tuple

from .runtime import Handler, LambdaContext

if TYPE_CHECKING:
    _Environ = os._Environ[str]
else:
    _Environ = type(os.environ)

#: What a package calls its folder that stands for the folder of a function's code: its own name is none of theirs.
TASK_ROOT = "__lambda_task_root__"

#: The variables of the call that this thread, or task, runs.
_variables: "ContextVar[Optional[Dict[str, str]]]" = ContextVar("lambda_adapter_local_variables", default=None)


class _EnvironOfCalls(_Environ):
    """``os.environ`` while handlers run.

    A thread may be in one of its methods when the last handler ends and the object has its own class again, and then
    ``super()`` would refuse the object.
    """

    def __getitem__(self, name: str) -> str:
        own = _variables.get()
        return own[name] if own and name in own else _Environ.__getitem__(self, name)

    def __setitem__(self, name: str, value: str) -> None:
        own = _variables.get()
        if own and name in own:
            own[name] = value
        else:
            _Environ.__setitem__(self, name, value)

    def __delitem__(self, name: str) -> None:
        own = _variables.get()
        if own and name in own:
            del own[name]
        else:
            _Environ.__delitem__(self, name)

    def __iter__(self) -> Iterator[str]:
        own = _variables.get() or {}
        yield from (name for name in _Environ.__iter__(self) if name not in own)
        yield from list(own)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class _Overlay:
    """Puts the one class in the place of the other for as long as there are calls.

    The object stays the one that everybody has imported.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the two below
        self._calls: Set[LambdaContext] = set()
        self._environ: Optional[_Environ] = None

    def begin(self, call: LambdaContext) -> None:
        with self._lock:
            self._calls.add(call)
            # A test may have put a dict there; then handlers see that.
            if self._environ is None and type(os.environ) is _Environ:
                self._environ = os.environ
                self._environ.__class__ = _EnvironOfCalls

    def end(self, call: LambdaContext) -> None:
        with self._lock:
            self._calls.discard(call)
            if not self._calls and self._environ is not None:
                self._environ.__class__ = _Environ
                self._environ = None


_overlay = _Overlay()

#: Takes the variables from a call that runs on though nobody waits for it any more.
end_environment = _overlay.end


@contextlib.contextmanager
def environment_of(call: LambdaContext, variables: Dict[str, str]) -> Iterator[None]:
    """Let what runs within read ``variables`` in ``os.environ``, and set them for itself alone."""
    token = _variables.set(dict(variables))
    _overlay.begin(call)
    try:
        yield
    finally:
        _overlay.end(call)
        _variables.reset(token)


def lambda_variables(handler: Handler, context: LambdaContext, region: str, trace_id: Optional[str]) -> Dict[str, str]:
    """The reserved variables of AWS's runtime, for one call.

    https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime
    """
    return {
        "_HANDLER": ".".join(_place(handler)[1:]),
        "_X_AMZN_TRACE_ID": trace_id or _new_trace_id(),
        "AWS_DEFAULT_REGION": region,
        "AWS_REGION": region,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_python{sys.version_info[0]}.{sys.version_info[1]}",
        "AWS_LAMBDA_FUNCTION_NAME": context.function_name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": context.memory_limit_in_mb,
        "AWS_LAMBDA_FUNCTION_VERSION": context.function_version,
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": context.log_group_name,
        "AWS_LAMBDA_LOG_STREAM_NAME": context.log_stream_name,
        "LAMBDA_TASK_ROOT": _place(handler)[0],
        "TZ": ":UTC",
    }


def _place(handler: Handler) -> Tuple[str, str, str]:
    """The folder from which a handler's module is imported, the module's name from there, and the handler's in it."""
    named = inspect.unwrap(handler) if hasattr(handler, "__qualname__") else type(handler)
    module, name = named.__module__, named.__qualname__
    package, _, rest = module.partition(".")
    root = getattr(sys.modules.get(package), TASK_ROOT, None)
    if root is not None:
        return root, rest, name
    file = getattr(sys.modules.get(module), "__file__", None) or os.path.join(os.getcwd(), "function.py")
    root = os.path.dirname(os.path.abspath(file))
    for _ in range(module.count(".")):
        root = os.path.dirname(root)
    return root, module, name


def _new_trace_id() -> str:
    """An X-Ray trace that is not sampled."""
    drawn = uuid.uuid4().hex
    return f"Root=1-{int(time.time()):08x}-{drawn[:24]};Parent={uuid.uuid4().hex[:16]};Sampled=0"
