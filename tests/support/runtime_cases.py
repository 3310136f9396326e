"""Handlers that AWS's runtime and LocalLambda both run: what they return, raise, see and say."""

import asyncio
import collections
import datetime
import decimal
import enum
from typing import Any, Callable, Dict, List, NamedTuple


class Point(NamedTuple):
    x: int
    y: object


class Color(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Name(str):
    __slots__ = ()


class Unprintable(Exception):
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


#: What a handler returns.
RETURNED: Dict[str, Callable[[], Any]] = {
    "none": lambda: None,
    "text": lambda: 'é "quoted" \\ \n \x00 \x7f \u2028 \U0001f600',
    "object": lambda: {"a": [1, 2.5, True, False, None, "x"], "b": {}, "c": []},
    "tuple": lambda: (1, (2,), ()),
    "decimal": lambda: {
        "price": decimal.Decimal("1.10"),
        "id": decimal.Decimal(12345678901234567890123456789012345678),
    },
    "decimal-alone": lambda: decimal.Decimal("1E+3"),
    "decimal-nan": lambda: [decimal.Decimal("NaN"), decimal.Decimal("-sNaN"), decimal.Decimal("-Infinity")],
    "decimal-key": lambda: {decimal.Decimal(1): 2},
    "namedtuple": lambda: {"at": Point(1, Point(2, decimal.Decimal("3.0")))},
    "asdict": lambda: [HasDict()],
    "asdict-of-list": lambda: [HasOther()],
    "bytes": lambda: b"\xff\x00 as they are",
    "bytes-empty": lambda: b"",
    "bytes-within": lambda: {"a": "é".encode(), b"k": [b"x"]},
    "bytes-within-no-text": lambda: ["x", b"\xff"],
    "bytearray": lambda: bytearray(b"x"),
    "set": lambda: {"a": {1}},
    "frozenset": lambda: frozenset(),
    "datetime": lambda: {"at": datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc)},
    "object-of-a-class": lambda: object(),
    "range": lambda: range(3),
    "dict-keys": lambda: {}.keys(),
    "ordered-dict": lambda: collections.OrderedDict(b=1, a=2),
    "default-dict": lambda: collections.defaultdict(list, a=[1]),
    "enum": lambda: Color.RED,
    "int-enum": lambda: [Level.HIGH, {Level.HIGH: 1}],
    "str-subclass": lambda: {Name("a"): Name("b")},
    "nan": lambda: {"a": float("nan"), "b": [float("inf"), -float("inf")]},
    "float": lambda: [0.1, 1e100, -0.0, 1e-7],
    "big-int": lambda: 2**200,
    "too-many-digits": lambda: 10**5_000,
    "other-keys": lambda: {1: 1, 2.5: 2, True: 3, None: 4, float("nan"): 5},
    "same-keys": lambda: {1: "a", "1": "b"},
    "tuple-key": lambda: {(1, 2): 3},
    "circular": circular,
    "coroutine-function": lambda: asyncio.sleep,
    "exception": lambda: ValueError("x"),
    "class": lambda: Point,
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

#: What a handler raises to end the runtime's process, or what does so.
ENDING: Dict[str, Callable[[], BaseException]] = {
    "exit-3": lambda: SystemExit(3),
    "exit": lambda: SystemExit(),
    "exit-0": lambda: SystemExit(0),
    "exit-true": lambda: SystemExit(True),
    "exit-256": lambda: SystemExit(256),
    "exit-negative": lambda: SystemExit(-1),
    "exit-text": lambda: SystemExit("bye"),
    "interrupt": lambda: KeyboardInterrupt(),
    "generator-exit": lambda: GeneratorExit("x"),
    "base-exception": lambda: BaseException("x"),
    "cancelled": lambda: asyncio.CancelledError(),
    "unprintable": lambda: Unprintable(),
}


def handler(event: Any, context: Any) -> Any:
    """The one handler; the event says what it is to do."""
    return globals()["do_" + event["do"]](event, context)


def do_return(event: Any, context: Any) -> Any:
    return RETURNED[event["case"]]()


def do_raise(event: Any, context: Any) -> Any:
    raise RAISED[event["case"]]()


def do_end(event: Any, context: Any) -> Any:
    raise ENDING[event["case"]]()


def do_surrogate(event: Any, context: Any) -> Any:
    return "\ud800"


def do_raise_surrogate(event: Any, context: Any) -> Any:
    raise ValueError("\ud800")
