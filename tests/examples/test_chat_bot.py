"""examples/chat_bot.py, run as a user runs it: in a process of its own, chatted with over sockets."""

import asyncio
import contextlib
import json
import runpy
import signal
import socket
import struct
import threading

import pytest

from support import example_scripts

SCRIPT = example_scripts.EXAMPLES / "chat_bot.py"
HELP = "help: I know !weather CITY, !tea SECONDS, !stocks NAME and !help."
TOO_LONG = "help: A line may have 500 bytes."
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
        ports = ("--port", "0", "--health-port", "0")
        self.process = example_scripts.begin("chat_bot.py", home, *ports, *options)

    def begin(self):
        addresses = [self.process.stdout.readline() for _ in ("chat", "health")]
        assert all(addresses), self.process.communicate()[1]
        assert addresses[0].startswith("chat    127.0.0.1:")
        assert addresses[1].startswith("health  http://127.0.0.1:")
        self.port = int(addresses[0].rpartition(":")[2])
        self.health_port = int(addresses[1].rpartition(":")[2].replace("/health", ""))
        return self

    def connect(self):
        self.users.append(User(self.port))
        return self.users[-1]

    def http(self, request=b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"):
        """All that the health port sends until it hangs up."""
        with socket.create_connection(("127.0.0.1", self.health_port), PATIENCE_S) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            with connection.makefile("rb") as file:
                return file.read()

    def health(self):
        """The status and what the page says."""
        head, _, body = self.http().partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(body)

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
            "weather: \ufffd [2J has weather, but I do not know which.",
            id="garbage-does-not-come-back-as-control-characters",
        ),
        pytest.param(
            b"!weather " + b"x" * 491 + b"\n",
            "weather: " + "x" * 491 + " has weather, but I do not know which.",
            id="as-long-as-may-be",
        ),
        pytest.param(b"!weather " + b"x" * 492 + b"\n", TOO_LONG, id="one-byte-longer"),
        pytest.param(b"!weather Berlin " * 100_000 + b"\n", TOO_LONG, id="much-too-long"),
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


def test_what_is_left_of_a_line_that_is_too_long_is_no_command():
    names = runpy.run_path(str(SCRIPT))

    async def main():
        reader = asyncio.StreamReader(limit=names["MAX_LINE_BYTES"])
        next_line = names["User"]("user", {}, reader, None).next_line
        first = asyncio.ensure_future(next_line())
        for piece in (b"x" * 600, b"x" * 600, b"!weather Berlin\n", b"!help\n!tea"):
            reader.feed_data(piece)
            for _ in range(9):  # so that each piece is read by itself
                await asyncio.sleep(0)
        reader.feed_eof()
        return [await first, await next_line(), await next_line(), await next_line()]

    assert asyncio.run(main()) == [None, b"!help\n", b"!tea", b""]


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


def test_a_user_has_three_calls_under_way_and_holds_nobody_else(start):
    bot = start("--grace", "0")
    greedy, other = bot.connect(), bot.connect()
    greedy.send(*["!tea 20"] * 3, "!weather Berlin")
    assert other.ask("!weather Berlin", "!weather Berlin") == [BERLIN] * 2
    bot.process.send_signal(signal.SIGTERM)
    assert greedy.rest() == ["Goodbye. Unanswered: 3."], "the fourth command was not begun"


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


def test_the_health_page_is_503_from_the_third_failure_in_a_row_to_the_next_success(start):
    bot = start()
    user = bot.connect()
    statuses = []
    for line in ("!stocks ENRON", "!stocks ENRON", "!stocks ENRON", "!stocks ACME"):
        user.ask(line)
        status, page = bot.health()
        statuses.append(status)
        assert page["stocks"]["health"]["is_healthy"] == (status == 200)
        assert page["weather"]["health"]["is_healthy"] is True
    assert statuses == [200, 200, 503, 200]
    assert page["stocks"]["health"]["total_requests"] == 4


def test_the_health_page_is_json_with_the_info_of_each_module(shared):
    head, _, body = shared.http().partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "HTTP/1.1 200 OK"
    assert sorted(lines[1:]) == ["Connection: close", f"Content-Length: {len(body)}", "Content-Type: application/json"]
    page = json.loads(body)
    assert list(page) == ["weather", "tea", "stocks"]
    for command, info in page.items():
        assert (info["name"], info["type"]) == (command, "lambda_adapter")
        assert set(info) >= {"version", "function_name", "region", "health"}


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="another-path"),
        pytest.param(b"POST /health HTTP/1.1\r\nContent-Length: 0\r\n\r\n", id="another-method"),
        pytest.param(b"\xff\xfe\x00\r\n\r\n", id="garbage"),
    ],
)
def test_any_other_page_is_not_found(shared, request_):
    head, _, body = shared.http(request_).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 404 Not Found\r\n")
    assert b"Content-Length: %d" % len(body) in head
    assert set(json.loads(body)) == {"error"}


def test_a_request_that_is_none_is_hung_up_on(shared):
    assert shared.http(b"GET /health HTTP/1.1\r\n") == b"", "its head has no end"
    with contextlib.suppress(OSError):  # what was not read resets the connection
        assert shared.http(b"x" * 1_000_000) == b""
    assert shared.health()[0] == 200


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_lets_calls_under_way_finish_and_ends_with_0(start, number):
    bot = start()
    busy, idle = bot.connect(), bot.connect()
    silent = socket.create_connection(("127.0.0.1", bot.health_port), PATIENCE_S)
    with silent:
        busy.send("!tea 2", "!weather Berlin")
        assert busy.line() == BERLIN, "and so the tea has been put on"
        bot.process.send_signal(number)
        assert idle.rest() == ["Goodbye."]
        for port in (bot.port, bot.health_port):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), PATIENCE_S)
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


def deaf_user():
    """Within a loop: a User of the script that is sent more than a connection holds, and the far end of it."""
    here, there = socket.socketpair()
    here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)

    async def connect():
        reader, writer = await asyncio.open_connection(sock=here)
        return runpy.run_path(str(SCRIPT))["User"]("user", {}, reader, writer), there

    return connect()


def read_all(there):
    with there, there.makefile("rb") as file:
        return file.read()


def test_nothing_more_is_said_to_a_user_before_they_have_read_the_last():
    async def main():
        user, there = await deaf_user()
        saying = [asyncio.ensure_future(user.say("x" * 1_000_000)) for _ in range(3)]
        for _ in range(9):
            await asyncio.sleep(0)
        assert not any(said.done() for said in saying)
        reading = asyncio.get_running_loop().run_in_executor(None, read_all, there)
        await asyncio.gather(*saying)
        await user.leave(0)
        assert await reading == (b"x" * 1_000_000 + b"\n") * 3 + b"Goodbye.\n"

    asyncio.run(main())


def test_a_user_who_reads_nothing_does_not_hold_the_end():
    async def main():
        user, there = await deaf_user()
        saying = asyncio.ensure_future(user.say("x" * 1_000_000))
        await asyncio.wait_for(user.leave(0), PATIENCE_S)
        await asyncio.wait_for(saying, PATIENCE_S)
        left = await asyncio.get_running_loop().run_in_executor(None, read_all, there)
        assert len(left) < 1_000_000, "the rest was dropped, and the connection with it"

    asyncio.run(main())


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
