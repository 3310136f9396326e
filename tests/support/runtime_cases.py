"""Handlers that AWS's runtime and LocalLambda both run: what they return, raise, see and say."""

import asyncio
import collections
import datetime
import enum
import logging
import os
import sys
from decimal import Decimal
from typing import Any, Callable, Dict, List, NamedTuple, Tuple, Union


class Point(NamedTuple):
    x: int
    y: object


class Color(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Name(str):
    __slots__ = ()


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise TypeError


class HasDict:
    def _asdict(self) -> Dict[str, int]:
        return {"a": 1}


class HasOther:
    def _asdict(self) -> List[int]:
        return [1]


def circular() -> List[Any]:
    value: List[Any] = []
    value.append(value)
    return value


#: What a handler returns, and what is written of it: bytes, or the words of a Runtime.MarshalError.
RETURNED: Dict[str, Tuple[Callable[[], Any], Union[bytes, str]]] = {
    "none": (lambda: None, b"null"),
    "text": (
        lambda: 'é "quoted" \\ \n \x00 \x7f \u2028 \U0001f600',
        b'"\xc3\xa9 \\"quoted\\" \\\\ \\n \\u0000 \x7f \xe2\x80\xa8 \xf0\x9f\x98\x80"',
    ),
    "object": (
        lambda: {"a": [1, 2.5, True, False, None, "x"], "b": {}, "c": []},
        b'{"a": [1, 2.5, true, false, null, "x"], "b": {}, "c": []}',
    ),
    "tuple": (lambda: (1, (2,), ()), b"[1, [2], []]"),
    "decimal": (
        lambda: {"price": Decimal("1.10"), "id": Decimal(10**37)},
        b'{"price": 1.10, "id": 1' + b"0" * 37 + b"}",
    ),
    "decimal-alone": (lambda: Decimal("1E+3"), b"1E+3"),
    "decimal-nan": (lambda: [Decimal("NaN"), Decimal("-sNaN"), Decimal("-Infinity")], b"[NaN, NaN, -Infinity]"),
    "decimal-key": (lambda: {Decimal(1): 2}, "keys must be str, int, float, bool or None, not Decimal"),
    "namedtuple": (lambda: {"at": Point(1, Point(2, Decimal("3.0")))}, b'{"at": {"x": 1, "y": {"x": 2, "y": 3.0}}}'),
    "asdict": (lambda: [HasDict()], b'[{"a": 1}]'),
    "asdict-of-list": (lambda: [HasOther()], "_asdict() must return a dict, not list"),
    "bytes": (lambda: b"\xff\x00 as they are", b"\xff\x00 as they are"),
    "bytes-empty": (lambda: b"", b""),
    "bytes-within": (lambda: {"a": "é".encode(), b"k": [b"x"]}, b'{"a": "\xc3\xa9", "k": ["x"]}'),
    "bytes-no-text": (lambda: ["x", b"\xff"], "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
    "bytearray": (lambda: bytearray(b"x"), "Object of type bytearray is not JSON serializable"),
    "set": (lambda: {"a": {1}}, "Object of type set is not JSON serializable"),
    "datetime": (
        lambda: {"at": datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc)},
        "Object of type datetime is not JSON serializable",
    ),
    "plain-object": (lambda: object(), "Object of type object is not JSON serializable"),
    "range": (lambda: range(3), "Object of type range is not JSON serializable"),
    "dict-keys": (lambda: {}.keys(), "Object of type dict_keys is not JSON serializable"),
    "ordered-dict": (lambda: collections.OrderedDict(b=1, a=2), b'{"b": 1, "a": 2}'),
    "default-dict": (lambda: collections.defaultdict(list, a=[1]), b'{"a": [1]}'),
    "enum": (lambda: Color.RED, "Object of type Color is not JSON serializable"),
    "int-enum": (lambda: [Level.HIGH, {Level.HIGH: 1}], b'[3, {"3": 1}]'),
    "str-subclass": (lambda: {Name("a"): Name("b")}, b'{"a": "b"}'),
    "nan": (lambda: {"a": float("nan"), "b": [float("inf"), -float("inf")]}, b'{"a": NaN, "b": [Infinity, -Infinity]}'),
    "float": (lambda: [0.1, 1e100, -0.0, 1e-7], b"[0.1, 1e+100, -0.0, 1e-07]"),
    "big-int": (lambda: 10**200, b"1" + b"0" * 200),
    "other-keys": (
        lambda: {1: 1, 2.5: 2, False: 4, None: 5, float("nan"): 6},
        b'{"1": 1, "2.5": 2, "false": 4, "null": 5, "NaN": 6}',
    ),
    "same-keys": (lambda: {1: "a", "1": "b"}, b'{"1": "a", "1": "b"}'),
    "tuple-key": (lambda: {(1, 2): 3}, "keys must be str, int, float, bool or None, not tuple"),
    "circular": (lambda: circular(), "Circular reference detected"),
    "same-twice": (lambda: [[1]] * 2, b"[[1], [1]]"),
    "function": (lambda: asyncio.sleep, "Object of type function is not JSON serializable"),
    "exception": (lambda: ValueError("x"), "Object of type ValueError is not JSON serializable"),
    "class": (lambda: Point, "Object of type type is not JSON serializable"),
}

#: What a handler raises.
RAISED: Dict[str, Callable[[], BaseException]] = {
    "value-error": lambda: ValueError("no such city: Zürich"),
    "no-words": lambda: KeyError(),
    "key-error": lambda: KeyError("a"),
    "many-lines": lambda: ValueError("one\n  two"),
    "stop-iteration": lambda: StopIteration("x"),
    "assertion": lambda: AssertionError(),
    "async-timeout": lambda: asyncio.TimeoutError(),
}

#: What ends the runtime's process, the status that it ends with, as ``subprocess`` says it, and AWS's words for that.
ENDING: Dict[str, Tuple[Callable[[], BaseException], int, str]] = {
    "exit-3": (lambda: SystemExit(3), 3, "with error: exit status 3"),
    "exit": (lambda: SystemExit(), 0, "without providing a reason"),
    "exit-0": (lambda: SystemExit(0), 0, "without providing a reason"),
    "exit-true": (lambda: SystemExit(True), 1, "with error: exit status 1"),
    "exit-256": (lambda: SystemExit(256), 0, "without providing a reason"),
    "exit-negative": (lambda: SystemExit(-1), 255, "with error: exit status 255"),
    "exit-text": (lambda: SystemExit("bye"), 1, "with error: exit status 1"),
    "interrupt": (lambda: KeyboardInterrupt(), -2, "with error: signal: interrupt"),
    "generator-exit": (lambda: GeneratorExit("x"), 1, "with error: exit status 1"),
    "base-exception": (lambda: BaseException("x"), 1, "with error: exit status 1"),
    "cancelled": (lambda: asyncio.CancelledError(), 1, "with error: exit status 1"),
    "unprintable": (lambda: UnprintableError(), 1, "with error: exit status 1"),
    "surrogate": (lambda: ValueError("\ud800"), 1, "with error: exit status 1"),
}


def handler(event: Any, context: Any) -> Any:
    """The one handler; the event says what it is to do."""
    return globals()["do_" + event["do"]](event, context)


def do_return(event: Any, context: Any) -> Any:
    return RETURNED[event["case"]][0]()


def do_raise(event: Any, context: Any) -> Any:
    raise RAISED[event["case"]]()


def do_end(event: Any, context: Any) -> Any:
    raise ENDING[event["case"]][0]()


def do_return_surrogate(event: Any, context: Any) -> Any:
    return "\ud800"


def do_look(event: Any, context: Any) -> Any:
    """What its context shows; objects as their attributes."""

    def shown(value: Any) -> Any:
        names = getattr(type(value), "__slots__", None)
        return {name: shown(getattr(value, name)) for name in names if name[0] != "_"} if names else value

    return {
        "vars": {name: shown(value) for name, value in vars(context).items() if name[0] != "_"},
        "w3c": context.w3c(),
        "types": {name: type(value).__name__ for name, value in vars(context).items() if name[0] != "_"},
        "public": sorted(name for name in dir(context) if name[0] != "_"),
    }


def do_change_context(event: Any, context: Any) -> Any:
    """What its context and the objects in it let be set."""
    context.mine = 1
    context.function_name = "other"
    refused = []
    for inner in (context.identity, context.client_context, context.client_context.client):
        try:
            inner.mine = 1
        except AttributeError:
            refused.append(type(inner).__name__)
    return [context.mine, context.function_name, vars(context)["mine"], refused]


def do_speak(event: Any, context: Any) -> Any:
    print("printed", 7)
    print("to stderr", file=sys.stderr)
    sys.stdout.writelines(["a", "b\n"])
    sys.stdout.flush()
    context.log("logged by the context\n")
    logger = logging.getLogger("my.module")
    logger.info("below the level")
    logger.warning("a %s", "warning")
    try:
        raise ValueError("x")
    except ValueError:
        logger.exception("it failed")
    logging.basicConfig(level=logging.DEBUG)  # does nothing, for the root logger has a handler
    logger.info("still below the level")


def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_event_loop()


def _run() -> str:
    answer = _answer()
    try:
        return _loop().run_until_complete(answer)
    finally:
        answer.close()


async def _answer() -> str:
    await asyncio.sleep(0)
    return "answer"


_loops: List[asyncio.AbstractEventLoop] = []


def do_loop(event: Any, context: Any) -> Any:
    """Uses the event loop by the steps that the event names, and says of each what came of it."""
    steps: Dict[str, Callable[[], Any]] = {
        "get": lambda: _loops.append(_loop()),
        "run": _run,
        "asyncio.run": lambda: asyncio.run(_answer()),
        "close": lambda: _loop().close(),
        "same": lambda: _loops[-1] is _loop(),
        "set": lambda: asyncio.set_event_loop(asyncio.new_event_loop()),
        "running": lambda: _loop().is_running(),
        "executor": lambda: _loop().run_until_complete(_loop().run_in_executor(None, int)),
        "forget": _loops.clear,
    }
    came = []
    for step in event["steps"]:
        try:
            came.append(steps[step]())
        except RuntimeError as error:
            came.append(type(error).__name__)
    return came


def do_asgi(event: Any, context: Any) -> Any:
    """An ASGI application behind Mangum."""
    from mangum import Mangum

    return Mangum(_application)(event["http"], context)


async def _application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while True:
            step = (await receive())["type"]
            await send({"type": step + ".complete"})
            if step == "lifespan.shutdown":
                return
    await asyncio.sleep(0)
    name = scope["aws.context"].function_name
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": f"{scope['path']} of {name}".encode()})


def do_root(event: Any, context: Any) -> Any:
    return os.environ["LAMBDA_TASK_ROOT"]
