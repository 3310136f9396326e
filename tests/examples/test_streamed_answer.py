"""examples/streamed_answer.py: a message that is edited at most once a second while its text comes."""

import asyncio
import re
import runpy

import pytest

from lambda_adapter import LambdaAdapter
from support import example_scripts
from support.calls import REQUEST

EXAMPLE = runpy.run_path(str(example_scripts.EXAMPLES / "streamed_answer.py"))
show_as_it_comes, CURSOR = EXAMPLE["show_as_it_comes"], EXAMPLE["CURSOR"]
WORDS = [f"{number} " for number in range(30)]
WHOLE = "".join(WORDS)


class Message:
    """What the user sees, edit by edit, with the time of each; a clock that goes on with each look at it."""

    def __init__(self, tick_s):
        self.edits = []
        self.now_s = 0.0
        self.tick_s = tick_s

    def clock(self):
        self.now_s += self.tick_s
        return self.now_s

    async def edit(self, text):
        self.edits.append((self.now_s, text))

    @property
    def last(self):
        return self.edits[-1][1]


@pytest.fixture
def show(mock_lambda):
    """Shows the answer of a function that ``steps`` describe."""

    def show(steps, tick_s=0.1, **settings):
        message = Message(tick_s)
        steps(mock_lambda.function("talk"))
        with LambdaAdapter("talk", "us-east-1", "talk", **settings) as adapter:
            response = asyncio.run(show_as_it_comes(adapter, REQUEST, message.edit, clock=message.clock))
        return message, response

    return show


def test_edits_are_a_second_apart_and_the_last_has_all(show):
    message, response = show(lambda talk: talk.streams(*WORDS))
    times = [at for at, _ in message.edits[:-1]]
    assert len(times) == 3
    assert all(later - earlier >= 1.0 for earlier, later in zip(times, times[1:]))
    growing = [text[: -len(CURSOR)] for _, text in message.edits[:-1] if text.endswith(CURSOR)]
    assert len(growing) == 3
    assert all(WHOLE.startswith(text) for text in growing)
    assert (message.last, response.success) == (WHOLE, True)


def test_a_slow_text_is_shown_piece_by_piece(show):
    message, _ = show(lambda talk: talk.streams("Hel", "lo"), tick_s=5.0)
    assert [text for _, text in message.edits] == [f"Hel{CURSOR}", f"Hello{CURSOR}", "Hello"]


@pytest.mark.parametrize(
    ("steps", "last", "code"),
    [
        (
            lambda talk: talk.streams("Hel", "lo").breaks_off(after=1),
            "Hel … (it broke off here: please ask again)",
            "connection_lost",
        ),
        (
            lambda talk: talk.streams("Hel", "lo").fails(after=1),
            "Hel … (it broke off here: please ask again)",
            "function_error",
        ),
        (
            lambda talk: talk.breaks_off(),
            "That did not work just now. Please try again in a moment.",
            "connection_lost",
        ),
        (lambda talk: talk.streams(), "Done.", None),
        (lambda talk: talk.throttles(times=1).streams("Hi"), "Hi", None),
    ],
    ids=["cut", "failed", "no answer", "no text", "tried again"],
)
def test_how_it_ends_is_shown(show, steps, last, code):
    message, response = show(steps)
    assert (message.last, response.error_code) == (last, code)


def test_the_example_runs(tmp_path):
    done = example_scripts.run("streamed_answer.py", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Once upon a time … (it broke off here: please ask again)" in done.stdout
    assert re.search(r"-> whole, 80 characters\n", done.stdout)
