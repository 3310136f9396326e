"""A small chat bot: three modules, a health page, and an end that waits for calls under way.

    python examples/chat_bot.py
    nc 127.0.0.1 7000                      type !weather Berlin, !tea 5, !stocks ACME or !help
    curl -i http://127.0.0.1:8080/health   503 while a module is unhealthy: try !stocks ENRON three times

Ctrl-C or SIGTERM ends it: it takes no more commands, gives those under way 10 s (--grace) to be answered, says goodbye,
and exits with 0.

The protocol is a line for a line, in UTF-8. An answer begins with its command's name, because a quick answer
overtakes a slow one.
"""

import argparse
import asyncio
import contextlib
import functools
import itertools
import json
import logging
import signal
import sys
import time
import uuid
from http import HTTPStatus
from typing import Any, Dict, Mapping, Optional, Set, Tuple

from lambda_adapter import ExecuteRequest, LambdaAdapter, LocalLambda
from lambda_adapter.local import LambdaContext

HELP = "help: I know !weather CITY, !tea SECONDS, !stocks NAME and !help."
MAX_LINE_BYTES = 500
CALLS_PER_USER = 3
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

# --- The modules. On AWS each would be a Lambda function of its own. ---

CITIES = {"berlin": "rain, 12 degrees", "lisbon": "sun, 24 degrees"}
PRICES = {"ACME": (707, 7), "ENRON": (42, 0)}  # what it is worth, and how many shares there are
ATTEMPTED: Set[str] = set()


def weather(event: Dict[str, Any], context: LambdaContext) -> Dict[str, object]:
    """The healthy one."""
    city = event["trigger"]["context_text"] or "Berlin"
    # What a user gets wrong is no failure of the module, hence success.
    return {"success": True, "message": f"{city} has {CITIES.get(city.lower(), 'weather, but I do not know which')}."}


def tea(event: Dict[str, Any], context: LambdaContext) -> Dict[str, object]:
    """The slow one."""
    text = event["trigger"]["context_text"] or "5"
    if not text.isdecimal() or int(text) > 20:
        return {"success": True, "message": "Tea takes 0 to 20 seconds, in whole numbers."}
    time.sleep(int(text))
    return {"success": True, "message": f"Yours is ready, after {int(text)} s."}


def stocks(event: Dict[str, Any], context: LambdaContext) -> Dict[str, object]:
    """The flaky one: ENRON breaks it, and of any other call the first attempt hangs."""
    name = (event["trigger"]["context_text"] or "ACME").upper()
    worth, shares = PRICES.get(name, (0, 1))
    price = worth / shares
    if event["request_id"] not in ATTEMPTED:  # the same id in all attempts of a call
        ATTEMPTED.add(event["request_id"])
        time.sleep(20)
    return {"success": True, "message": f"{name} stands at {price:g}."}


# --- The bot ---


class User:
    """One connection: each line becomes a call, and the calls of a user run side by side."""

    def __init__(
        self,
        name: str,
        modules: Dict[str, LambdaAdapter],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.name = name
        self.modules = modules  # command -> adapter
        self.reader = reader
        self.writer = writer
        self.calls: Set[asyncio.Task[None]] = set()  # asyncio itself keeps no task alive
        self.places = asyncio.Semaphore(CALLS_PER_USER)
        self.writing = asyncio.Lock()  # before Python 3.10 only one task at a time may drain a writer

    async def listen(self) -> None:
        """Starts a call for each line, until the user has hung up.

        With CALLS_PER_USER under way it reads no further: what is typed too fast waits with the user, not in the bot.
        """
        with contextlib.suppress(OSError):  # the connection broke
            while (line := await self.next_line()) != b"":
                await self.places.acquire()
                call = asyncio.ensure_future(self.answer(line))
                self.calls.add(call)
                call.add_done_callback(self.calls.discard)

    async def next_line(self) -> Optional[bytes]:
        """The next line, None for one that is too long, b"" after the last."""
        too_long = False
        while True:
            try:
                line = await self.reader.readuntil(b"\n")
            except asyncio.IncompleteReadError as end:
                line = end.partial
            except asyncio.LimitOverrunError as overrun:
                await self.reader.readexactly(overrun.consumed)  # dropped, so that an endless line fills no memory
                too_long = True
                continue
            return None if too_long else line

    async def answer(self, line: Optional[bytes]) -> None:
        """One call, from what was typed to what is said."""
        try:
            await self.say(await self.reply(line))
        finally:
            self.places.release()

    async def reply(self, line: Optional[bytes]) -> str:
        """What to say to a line."""
        if line is None:
            return f"help: A line may have {MAX_LINE_BYTES} bytes."
        words = line.decode(errors="replace").split()
        command = words[0][1:] if words and words[0].startswith("!") else ""
        if command not in self.modules:
            return HELP
        request = ExecuteRequest(
            command=command,
            args=words[1:],
            user_id=self.name,
            entity_id="lobby",
            community_id="example",
            session_id=uuid.uuid4().hex,
            platform="tcp",
        )
        # Retries are the adapter's business, and it raises nothing: there is always a response, and its user_message
        # is fit to be shown. Its `error` is for the operator: the log has the cause.
        response = await self.modules[command].execute_async(request)
        return f"{command}: {response.user_message() or 'done'}"

    async def say(self, text: str) -> None:
        """Sends one line, without what could upset a terminal."""
        line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
        async with self.writing:
            self.writer.write(line.encode() + b"\n")
            with contextlib.suppress(OSError):  # the user is gone
                await self.writer.drain()

    async def leave(self, grace_s: float) -> None:
        """Lets calls finish within `grace_s`, says goodbye and hangs up."""
        given_up = (await asyncio.wait(self.calls, timeout=grace_s))[1] if self.calls else ()
        for call in given_up:
            call.cancel()
        self.writer.write(b"Goodbye. Unanswered: %d.\n" % len(given_up) if given_up else b"Goodbye.\n")
        self.writer.close()
        try:
            await asyncio.wait_for(self.writer.wait_closed(), 1)
        except asyncio.TimeoutError:
            self.writer.transport.abort()  # the user reads nothing
        except OSError:
            pass  # the user is gone


class Bot:
    """The two servers' connections."""

    def __init__(self, modules: Dict[str, LambdaAdapter], grace_s: float) -> None:
        self.modules = modules
        self.grace_s = grace_s
        self.names = (f"user_{number}" for number in itertools.count(1))
        #: The task that serves a user -> the task that listens to them.
        self.users: Dict[asyncio.Task[None], asyncio.Task[None]] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One user, from hello to goodbye."""
        user = User(next(self.names), self.modules, reader, writer)
        serving = asyncio.current_task()
        assert serving is not None  # start_server runs each connection in a task of its own
        listening = self.users[serving] = asyncio.ensure_future(user.listen())
        await user.say(f"Hello {user.name}. {HELP}")
        await asyncio.wait({listening})  # until the user hangs up, or stop() cancels it
        await user.leave(self.grace_s)
        del self.users[serving]

    async def stop(self) -> None:
        """Listens to nobody any more; returns when all have left."""
        for listening in self.users.values():
            listening.cancel()
        if self.users:
            await asyncio.wait(list(self.users))

    def health(self) -> Tuple[HTTPStatus, Dict[str, Dict[str, Any]]]:
        """An HTTP status, and what each module says of itself. It asks nobody, so it is quick and costs nothing."""
        modules = {command: adapter.get_module_info() for command, adapter in self.modules.items()}
        healthy = all(info["health"]["is_healthy"] for info in modules.values())
        return HTTPStatus.OK if healthy else HTTPStatus.SERVICE_UNAVAILABLE, modules

    async def show_health(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One HTTP request and its answer."""
        no_request = (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)
        # CancelledError: the bot ends. Some versions of asyncio print a traceback if this lets it out.
        with contextlib.suppress(*no_request, asyncio.CancelledError), contextlib.closing(writer):
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
            page: Mapping[str, object]
            if head.startswith(b"GET /health "):
                status, page = self.health()
            else:
                status, page = HTTPStatus.NOT_FOUND, {"error": "there is GET /health, and nothing else"}
            body = json.dumps(page, indent=2).encode() + b"\n"
            headers = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close"
            writer.write(f"HTTP/1.1 {status.value} {status.phrase}\r\n{headers}\r\n\r\n".encode() + body)
            await writer.drain()


async def run(modules: Dict[str, LambdaAdapter], port: int, health_port: int, grace_s: float) -> None:
    """The bot's life."""
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()

    def stop(*_: object) -> None:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # what starts bots may send it twice, to the bot and to its group
        loop.call_soon_threadsafe(stopping.set)

    for number in STOP_SIGNALS:
        signal.signal(number, stop)
    bot = Bot(modules, grace_s)
    chat = await asyncio.start_server(bot.serve, "127.0.0.1", port, limit=MAX_LINE_BYTES)
    health = await asyncio.start_server(bot.show_health, "127.0.0.1", health_port)
    chat_port, health_port = (server.sockets[0].getsockname()[1] for server in (chat, health))
    print(f"chat    127.0.0.1:{chat_port}")
    print(f"health  http://127.0.0.1:{health_port}/health", flush=True)
    await stopping.wait()
    print(f"stopping; calls under way have {grace_s:g} s", flush=True)
    chat.close()
    health.close()
    await bot.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description="A small chat bot with three modules and a health page.")
    parser.add_argument("--port", type=int, default=7000, help="of the chat; 0 takes a free one (default: 7000)")
    parser.add_argument("--health-port", type=int, default=8080, help="of the health page (default: 8080)")
    parser.add_argument("--grace", type=float, default=10, help="seconds for calls under way at the end (default: 10)")
    args = parser.parse_args()
    logging.basicConfig(format="%(levelname)-7s %(message)s")  # retries and failures, without what users typed

    with contextlib.ExitStack() as stack:
        local = stack.enter_context(LocalLambda({"weather": weather, "tea": tea, "stocks": stocks}, timeout=25))
        # On AWS: the region, and none of the other three.
        make_adapter = functools.partial(
            LambdaAdapter,
            region="us-east-1",
            endpoint_url=local.endpoint_url,
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )
        # Adapters are made before the event loop runs, because making one blocks.
        modules = {
            "weather": make_adapter("weather", module_name="weather"),
            "tea": make_adapter("tea", module_name="tea"),
            "stocks": make_adapter("stocks", module_name="stocks", read_timeout=1, initial_retry_delay=0.1),
        }
        for adapter in modules.values():
            stack.enter_context(adapter)
        try:
            asyncio.run(run(modules, args.port, args.health_port, args.grace))
        except (OSError, OverflowError) as error:
            sys.exit(f"chat_bot: {error}")  # a port that is taken, or none


if __name__ == "__main__":
    main()
