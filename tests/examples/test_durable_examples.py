"""examples/leave_and_come_back.py and buy_once.py: one run and one answer, whatever dies or breaks."""

import pytest

from support import example_scripts
from support.durable import needs_executions

pytestmark = needs_executions


@pytest.mark.slow
def test_a_bot_that_is_killed_between_start_and_result_answers_once(tmp_path):
    done = example_scripts.run("leave_and_come_back.py", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "#lobby: Working on it ...",
        "The bot was killed (exit code -9), and is started again.",
        "#lobby: The report is ready: 42 penguins, run 1.",
        "1 run",
    ]


def test_a_purchase_through_a_connection_that_breaks_three_times_is_made_once(tmp_path):
    done = example_scripts.run("buy_once.py", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "You bought a sword. Receipt 1.",
        "4 attempts, 1 sold",
        "Asked again: You bought a sword. Receipt 1. 1 sold",
    ]
