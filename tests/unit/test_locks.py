"""Whatever makes a lock registers itself for the fork: a lock that a parent's thread held would hang the child.

The package's source is read, so that a new lock cannot be forgotten. Left out are ``local``, ``testing`` and ``cli``:
they serve the process that made them.
"""

import ast
import textwrap

import pytest

from support.paths import PACKAGE

LEFT_OUT = {"local", "testing", "cli"}
LOCKS = {"Lock", "RLock", "Condition", "Event", "Semaphore", "BoundedSemaphore", "Barrier"}
#: What registers nothing, and why its locks are free in a child all the same.
ELSEWHERE = {
    "_process/forks.py": "it is what tells the others, by locks of each process's own",
    "_aws/clients.py _Maker": "the registry registers, and leaves its makers behind in the parent",
    "_aws/raw_stream.py RawStream": "a stream is its process's: in a child nobody reads it or leaves it",
    "_call/channel.py Channel": "the same",
    "_call/streams.py StreamReader": "the same",
    "_aws/credentials.py LiveCredentials": "belong to a maker, which the registry leaves behind in the parent",
}


def without_annotations(node):
    """The nodes below ``node`` that are run: an annotation makes no lock."""
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield child
                yield from without_annotations(child)


def locks_in(node):
    """``threading.Lock()``, and ``factory=threading.Lock`` as well, however threading was imported."""
    for child in without_annotations(node):
        if isinstance(child, ast.Attribute) and isinstance(child.value, ast.Name) and child.value.id == "threading":
            name = child.attr
        elif isinstance(child, ast.Name):
            name = child.id
        else:
            continue
        if name in LOCKS:
            yield name


def registers(node):
    """Whether it calls ``forks.register(self)``."""
    call = ast.dump(ast.parse("forks.register(self)").body[0].value)
    return any(ast.dump(child) == call for child in ast.walk(node) if isinstance(child, ast.Call))


def forgotten(source, path):
    """A sentence for each class in ``source`` that makes a lock and does not register, and for locks of no class."""
    tree = ast.parse(source)
    outside = [child for child in tree.body if not isinstance(child, ast.ClassDef)]
    for kind in [child for child in tree.body if isinstance(child, ast.ClassDef)]:
        locks = sorted(set(locks_in(kind)))
        if locks and not registers(kind):
            yield f"{path} {kind.name}: makes a {', '.join(locks)} without forks.register(self)"
    locks = sorted({lock for child in outside for lock in locks_in(child)})
    if locks:
        yield f"{path}: makes a {', '.join(locks)} that belongs to no class, so that nothing registers it"


def sources():
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).parts
        if parts[0] not in LEFT_OUT:
            yield "/".join(parts), path.read_text(encoding="utf-8")


def test_every_class_with_a_lock_registers_for_the_fork():
    told = [sentence for path, source in sources() for sentence in forgotten(source, path)]
    wrong = [sentence for sentence in told if sentence.partition(":")[0] not in ELSEWHERE]
    assert not wrong, "; ".join(wrong)
    assert {sentence.partition(":")[0] for sentence in told} >= set(ELSEWHERE), "an exception that is none any more"


def test_the_source_that_is_read_holds_locks():
    assert sum("threading.Lock()" in source for _, source in sources()) >= 4


IN_INIT = """
    class A:
        def __init__(self):
            self._lock = threading.{}()
            {}
"""


@pytest.mark.parametrize("lock", sorted(LOCKS))
def test_a_lock_that_is_not_registered_is_named(lock):
    source = textwrap.dedent(IN_INIT.format(lock, "pass"))
    assert list(forgotten(source, "a.py")) == [f"a.py A: makes a {lock} without forks.register(self)"]
    assert list(forgotten(textwrap.dedent(IN_INIT.format(lock, "forks.register(self)")), "a.py")) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("class A:\n    lock = attrs.field(factory=threading.Lock)", True),
        ("class A:\n    lock = threading.Condition(threading.Lock())", True),
        ("class A:\n    def f(self):\n        self._lock = Lock()", True),
        ("class A:\n    def f(self):\n        forks.register(other)\n        self._lock = Lock()", True),
        ("_lock = threading.Lock()", True),
        ("class A:\n    lock: threading.Lock", False),
        ("class A:\n    def f(self, lock: threading.Lock) -> threading.Lock:\n        return lock", False),
        ("class A:\n    thread = threading.Thread()", False),
        ("import threading", False),
    ],
    ids=[
        "factory",
        "condition",
        "from import",
        "another registered",
        "module",
        "field",
        "annotation",
        "thread",
        "-",
    ],
)
def test_what_counts_as_making_a_lock(source, found):
    assert bool(list(forgotten(source, "a.py"))) is found
