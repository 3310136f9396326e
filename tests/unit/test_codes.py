"""The three places of an error code agree: a word of ErrorCode, a row of CODES, a class of lambda_adapter.errors."""

from typing import get_args

import pytest

from lambda_adapter.codes import CODES, ErrorCode
from lambda_adapter.errors import LambdaAdapterError


def forgotten(words, rows, classes):
    """A sentence for each place that a code lacks. ``classes`` are names by the code that a class stands for."""
    for word in words:
        if word not in rows:
            yield f"codes.CODES has no row for {word!r}"
        if word not in classes:
            yield f"lambda_adapter.errors has no class whose error_code is {word!r}"
    for row in rows:
        if row not in words:
            yield f"codes.ErrorCode lacks the word {row!r}, which has a row in CODES"
    for code, name in classes.items():
        if code not in words:
            yield f"codes.ErrorCode lacks the word {code!r}, for which errors.{name} stands"


def test_each_error_code_has_its_row_and_its_class():
    classes = {kind.error_code: kind.__name__ for kind in LambdaAdapterError.__subclasses__()}
    told = list(forgotten(get_args(ErrorCode), CODES, classes))
    assert not told, "; ".join(told)


@pytest.mark.parametrize(
    ("words", "rows", "classes", "told"),
    [
        pytest.param(["a"], ["a"], {"a": "AError"}, [], id="complete"),
        pytest.param(["a"], [], {"a": "AError"}, ["codes.CODES has no row for 'a'"], id="no row"),
        pytest.param(["a"], ["a"], {}, ["lambda_adapter.errors has no class whose error_code is 'a'"], id="no class"),
        pytest.param(
            [],
            ["a"],
            {"a": "AError"},
            [
                "codes.ErrorCode lacks the word 'a', which has a row in CODES",
                "codes.ErrorCode lacks the word 'a', for which errors.AError stands",
            ],
            id="no word",
        ),
    ],
)
def test_what_was_forgotten_is_named(words, rows, classes, told):
    assert list(forgotten(words, rows, classes)) == told
