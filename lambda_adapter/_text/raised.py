"""Whether a text is an exception's words, which may name hosts and users, and not a sentence for a chat."""

import re

# Compiled when they are first needed: that takes longer than all else in the modules that ask.

#: What stands before an exception's class: a terminal's colours, brackets, quotes, and how programs tell of it.
_BEFORE = (
    r"(?:\x1b\[[0-9;]*m|\W"
    r"|(?:Unhandled|Caused by|Exception in thread \"\w*|(?:PHP )?Fatal error|ERROR|[Ee]rror|Failed|Got|class"
    r"|exception)\b)*"
)
#: An exception's class, and a sign that it is not a word of a sentence.
_CLASS = (
    r"(?:(?:[\w$]+[.:<]+)*\w+(?:Error|Exception|ExceptionGroup|Exit|Interrupt|Iteration|Timeout|Violation|Warning)"
    r"|(?:[\w$]+[.:<]+)*Exception(?:Group)?|socket\.\w+)"
    r"\b\s*(?:[^\w\s,.!?-]|\d{3}|$)"
)
_BEGINS_AS_ONE = _BEFORE + _CLASS

#: What no sentence for a chat has anywhere: stack traces, error codes of systems and databases, errors as JSON.
_HOLDS_ONE = (
    r"Traceback \(most recent call last\)"
    r"|^[ \t]*File \"[^\"\n]*\", line \d"
    r"|^[ \t]+at \S.*:\d+\)?[ \t\r]*$"
    r"|\bUncaught \w"
    r"|^goroutine \d+ \[|panicked at |panic: "
    r"|\[(?:Errno|WinError) -?\d+\]|\bSQLSTATE\["
    r"|\bE(?:CONN[A-Z]+|NOTFOUND|TIMEDOUT|HOSTUNREACH|NETUNREACH|PIPE|ACCES|NOENT|ADDRINUSE|AI_AGAIN)\b"
    r"|An error occurred \(\w+\) when calling"
    r"|\"(?:errorType|errorMessage|stackTrace)\"\s*:"
)
_NAMES_ONE = r"\w(?:Error|Exception)\b\s*(?:[^\w\s,.!?-]|$)"

#: How far an exception's words are looked for. No sentence for a chat is longer.
_MOST_CHARS = 20_000


def is_raised(text: str) -> bool:
    """Whether a text begins with an exception's class, or holds a stack trace or a system's code."""
    text = text[:_MOST_CHARS]
    return re.match(_BEGINS_AS_ONE, text) is not None or re.search(_HOLDS_ONE, text, re.MULTILINE) is not None


def names_raised(text: str) -> bool:
    """The same, or it names an exception's class anywhere, with what that said."""
    return is_raised(text) or re.search(_NAMES_ONE, text[:_MOST_CHARS]) is not None
