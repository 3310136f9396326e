"""examples/chat_bot.py, run as a user runs it: in a process of its own, chatted with over sockets."""

import contextlib
import signal
import socket
import struct
import threading

import pytest

from support import example_scripts

HELP = "help: I know !weather CITY, !tea SECONDS, !stocks NAME, !health and !help."
BERLIN = "weather: Berlin has rain, 12 degrees."
PATIENCE_S = 30  # of the tests, for what comes much sooner


class User:
    """A user's end of a connection."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        self.file = self.socket.makefile("rb")
        self.hello = self.line()

    def send(self, *lines):
        self.socket.sendall(b"".join(line if isinstance(line, bytes) else line.encode() + b"\n" for line in lines))

    def line(self):
        """The next line; "" at the end."""
        return self.file.readline().decode().rstrip("\n")

    def ask(self, *lines):
        self.send(*lines)
        return [self.line() for _ in lines]

    def rest(self):
        """All lines until the bot hangs up."""
        return self.file.read().decode().splitlines()

    def close(self):
        self.file.close()
        self.socket.close()


def send_all(user, lines):
    """For a thread: the bot may read no further before the user has read what it said."""
    with contextlib.suppress(OSError):  # the bot hung up
        user.send(*lines)


class Bot:
    """A bot that runs."""

    def __init__(self, home, *options):
        self.users = []
        self.process = example_scripts.begin("chat_bot.py", home, "--port", "0", *options)

    def begin(self):
        address = self.process.stdout.readline()
        assert address.startswith("chat    127.0.0.1:"), self.process.communicate()[1]
        self.port = int(address.rpartition(":")[2])
        return self

    def connect(self):
        self.users.append(User(self.port))
        return self.users[-1]

    def ended(self):
        """Its exit code, and what it wrote to stderr."""
        _, errors = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, errors

    def kill(self):
        for user in self.users:
            user.close()
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def start(tmp_path):
    """Starts bots with these options; ends them."""
    bots = []

    def start(*options):
        bots.append(Bot(tmp_path, *options))
        return bots[-1].begin()

    yield start
    for bot in bots:
        bot.kill()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One bot for the tests after which it must be as before."""
    bot = Bot(tmp_path_factory.mktemp("home"))
    try:
        yield bot.begin()
        bot.process.send_signal(signal.SIGTERM)
        assert bot.ended() == (0, ""), "whatever users did, it had nothing to complain of"
    finally:
        bot.kill()


@pytest.fixture
def user(shared):
    user = shared.connect()
    yield user
    user.close()


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        pytest.param("!weather Berlin", BERLIN, id="healthy"),
        pytest.param("  !weather   Berlin \r", BERLIN, id="as-telnet-sends-it"),
        pytest.param("!weather Oslo", "weather: Oslo has weather, but I do not know which.", id="unknown-city"),
        pytest.param("!tea 0", "tea: Yours is ready, after 0 s.", id="slow"),
        pytest.param("!tea 21", "tea: Tea takes 0 to 20 seconds, in whole numbers.", id="too-slow"),
        pytest.param("!tea now", "tea: Tea takes 0 to 20 seconds, in whole numbers.", id="no-number"),
        pytest.param("!help", HELP, id="help"),
        pytest.param("!sing", HELP, id="unknown-command"),
        pytest.param("!", HELP, id="no-command"),
        pytest.param("", HELP, id="blank"),
        pytest.param("weather Berlin", HELP, id="no-exclamation-mark"),
        pytest.param(b"\xff\xfe\x00\x1b[2J\xed\xa0\x80\n", HELP, id="garbage"),
        pytest.param(
            b"!weather \xff\x00\x1b[2J\n",
            "weather: \ufffd  [2J has weather, but I do not know which.",
            id="garbage-does-not-come-back-as-control-characters",
        ),
    ],
)
def test_each_line_has_one_answer_whatever_is_in_it(user, line, answer):
    assert user.ask(line) == [answer]
    assert user.ask("!weather Berlin") == [BERLIN]
    user.socket.shutdown(socket.SHUT_WR)
    assert user.rest() == ["Goodbye."]


def test_whoever_connects_is_told_what_there_is(user):
    assert user.hello.startswith("Hello user_")
    assert user.hello.endswith(HELP)


def test_a_line_without_end_ends_the_connection(shared):
    user = shared.connect()
    send_all(user, [b"!weather Berlin " * 100_000])
    with contextlib.suppress(ConnectionResetError):  # what was not read resets the connection
        assert user.rest() == ["Goodbye."]
    user.close()


def test_a_last_line_needs_no_line_feed(user):
    user.send(b"!weather Berlin")
    user.socket.shutdown(socket.SHUT_WR)
    assert user.rest() == [BERLIN, "Goodbye."]


# A !tea 20 takes longer than most tests here would have patience for; none of them waits for it.


def test_a_slow_module_holds_neither_its_user_nor_another(start):
    bot = start()
    slow, other = bot.connect(), bot.connect()
    slow.send("!tea 20", "!weather Berlin")
    assert slow.line() == BERLIN
    assert other.ask("!weather Berlin") == [BERLIN]
    assert slow.ask("!weather Berlin") == [BERLIN]


def test_a_raid_on_one_module_is_refused_and_holds_nobody_else(start):
    bot = start("--grace", "0")
    greedy, other = bot.connect(), bot.connect()
    greedy.send(*["!tea 20"] * 60)
    assert greedy.line() == "tea: There is too much going on right now. Please try again in a moment."
    assert other.ask("!weather Berlin", "!weather Berlin") == [BERLIN] * 2
    bot.process.send_signal(signal.SIGTERM)
    assert greedy.rest()[-1].startswith("Goodbye. Unanswered: ")


def test_whoever_types_too_fast_loses_nothing_and_holds_nobody(user, shared):
    other = shared.connect()
    typing = threading.Thread(target=send_all, args=(user, ["!help"] * 20_000))
    typing.start()
    assert other.ask("!weather Berlin") == [BERLIN]
    assert [user.line() for _ in range(20_000)] == [HELP] * 20_000
    typing.join()
    assert user.ask("!weather Berlin") == [BERLIN]


def test_a_user_whose_connection_breaks_leaves_the_bot_as_it_was(shared):
    silent, busy = shared.connect(), shared.connect()
    busy.send("!tea 1", *["!help"] * 1_000)
    for gone in (silent, busy):
        # Without a linger the connection is reset: what the bot reads and sends then fails.
        gone.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        gone.close()
    other = shared.connect()
    assert other.ask("!tea 1") == ["tea: Yours is ready, after 1 s."]
    other.close()


def test_a_flaky_module_is_tried_again_and_its_failures_are_told(start):
    bot = start()
    user = bot.connect()
    assert user.ask("!stocks acme") == ["stocks: ACME stands at 101."]
    assert user.ask("!stocks enron") == ["stocks: Something went wrong with that command."]
    bot.process.send_signal(signal.SIGTERM)
    returncode, errors = bot.ended()
    assert returncode == 0
    assert "WARNING Retry 1 of 3" in errors
    assert "ERROR   Gave up" in errors
    assert "enron" not in errors.lower(), "what users type is not logged"


def test_health_tells_of_failures_in_a_row_until_the_next_success(start):
    user = start().connect()
    told = []
    for line in ("!stocks ENRON", "!stocks ENRON", "!stocks ENRON", "!stocks ACME"):
        user.ask(line)
        told += user.ask("!health")
    states = ("ok", "ok", "failing", "ok")
    assert told == [f"health: weather ok, tea ok, stocks {state}" for state in states]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_lets_calls_under_way_finish_and_ends_with_0(start, number):
    bot = start()
    busy, idle = bot.connect(), bot.connect()
    busy.send("!tea 2", "!weather Berlin")
    assert busy.line() == BERLIN, "and so the tea has been put on"
    bot.process.send_signal(number)
    assert idle.rest() == ["Goodbye."]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", bot.port), PATIENCE_S)
    assert busy.rest() == ["tea: Yours is ready, after 2 s.", "Goodbye."]
    assert bot.ended() == (0, "")


def test_signals_that_come_again_end_nothing_sooner(start):
    bot = start()
    user = bot.connect()
    user.send("!tea 2", "!weather Berlin")
    assert user.line() == BERLIN
    bot.process.send_signal(signal.SIGINT)
    assert bot.process.stdout.readline() == "stopping; calls under way have 10 s\n"
    bot.process.send_signal(signal.SIGINT)
    bot.process.send_signal(signal.SIGTERM)
    assert user.rest() == ["tea: Yours is ready, after 2 s.", "Goodbye."]
    assert bot.ended() == (0, "")


def test_calls_that_outlast_the_grace_are_given_up(start):
    bot = start("--grace", "0.5")
    user = bot.connect()
    user.send("!tea 20", "!weather Berlin")
    assert user.line() == BERLIN
    bot.process.send_signal(signal.SIGTERM)
    assert user.rest() == ["Goodbye. Unanswered: 1."]
    returncode, errors = bot.ended()
    assert returncode == 0
    assert "Traceback" not in errors, "that the tea was given up is logged"


def test_a_user_who_reads_nothing_holds_neither_another_nor_the_end(start):
    bot = start("--grace", "0")
    deaf, other = bot.connect(), bot.connect()
    typing = threading.Thread(target=send_all, args=(deaf, [f"!weather {'x' * 50_000}"] * 400))
    typing.start()
    assert other.ask("!weather Berlin") == [BERLIN]
    bot.process.send_signal(signal.SIGTERM)
    assert bot.ended()[0] == 0
    typing.join()


def test_ctrl_c_works_where_it_was_ignored_at_the_start(start):
    """As it is in a shell's background jobs."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        bot = start()
    finally:
        signal.signal(signal.SIGINT, before)
    bot.process.send_signal(signal.SIGINT)
    assert bot.ended() == (0, "")


def test_a_port_that_is_taken_is_told_in_one_line(shared, tmp_path):
    bot = Bot(tmp_path, "--port", str(shared.port))
    returncode, errors = bot.ended()
    assert returncode == 1
    assert errors.startswith("chat_bot: ")
    assert str(shared.port) in errors
    assert errors.count("\n") == 1
