"""Text of others is shown on one line, short, and without URLs."""

import enum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_adapter._text.redaction import json_kind, shown, shown_name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("no such city", "no such city", id="plain"),
        pytest.param("Zürich 東京 🦆", "Zürich 東京 🦆", id="other scripts"),
        pytest.param("a\nb\r\tc", "a\\nb\\r\\tc", id="line breaks"),
        pytest.param("\x1b[31mred\x07", "\\x1b[31mred\\x07", id="terminal escapes"),
        pytest.param("\u202eevil\u2028x", "\\u202eevil\\u2028x", id="direction and line separators"),
        pytest.param("half \ud800", "half \\ud800", id="half a surrogate pair"),
        pytest.param("see https://user:secret@host/path?key=1 now", "see <url> now", id="url"),
        pytest.param("HTTPS://HOST", "<url>", id="url in capitals"),
        pytest.param("s3+x://bucket/key,http://b", "<url>", id="any scheme"),
        pytest.param("a://", "<url>", id="a scheme alone"),
        pytest.param("12:30 / 13:00 // note", "12:30 / 13:00 // note", id="no url"),
        pytest.param("", "", id="empty"),
        pytest.param(42, "42", id="no string"),
        pytest.param("x" * 200, "x" * 200, id="exactly as long as allowed"),
        pytest.param("x" * 201, "x" * 199 + "…", id="one too long"),
    ],
)
def test_shown(text, expected):
    assert shown(text) == expected


def test_a_url_that_the_cut_runs_through_is_still_removed():
    text = "x" * 180 + " https://user:secret@host/" + "y" * 500
    assert "user" not in shown(text)
    assert "secret" not in shown(text)


@given(st.text(st.characters()), st.integers(1, 300))
def test_whatever_is_shown_is_printable_and_no_longer_than_asked(text, max_chars):
    line = shown(text, max_chars)
    assert len(line) <= max_chars
    assert line.isprintable()
    assert "://" not in line
    line.encode()


@pytest.mark.parametrize("name", ["ThrottlingException", "$LATEST", "7", "a.b-c_d", "x" * 80])
def test_a_name_is_shown_as_it_is(name):
    assert shown_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "two words", "x" * 81, "line\n", "https://host", "naïve", "１２", "<b>", None, 5, b"bytes", ["a"]],
    ids=repr,
)
def test_what_does_not_look_like_a_name_is_unknown(name):
    assert shown_name(name) == "unknown"


class Colour(enum.IntEnum):
    RED = 1


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ({"secret": 1}, "an object"),
        ([1], "an array"),
        ("secret", "a string"),
        (True, "a boolean"),
        (None, "null"),
        (5, "a number"),
        (5.0, "a number"),
        (b"secret", "bytes"),
        ({1}, "set"),
        ((1,), "tuple"),
        (Colour.RED, "Colour"),
        (type("no name\n", (), {})(), "unknown"),
    ],
    ids=lambda value: str(value).strip() if isinstance(value, str) else None,
)
def test_json_kind_names_the_shape_and_never_the_content(value, kind):
    assert json_kind(value) == kind
