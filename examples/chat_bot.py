"""A small chat bot: three modules, calls side by side, and an end that waits for calls under way.

    python examples/chat_bot.py
    nc 127.0.0.1 7000      type !weather Berlin, !tea 5, !stocks ACME, !health or !help

Ctrl-C or SIGTERM ends it: it takes no more commands, gives those under way 10 s (--grace) to be answered, says goodbye,
and exits with 0. An answer begins with its command's name, because a quick answer overtakes a slow one.
"""

import argparse
import asyncio
import contextlib
import functools
import logging
import signal
import sys
import time
import uuid
from typing import Any, Dict, List, Set

from lambda_adapter import ExecuteRequest, LambdaAdapter, LocalLambda
from lambda_adapter.local import LambdaContext

HELP = "help: I know !weather CITY, !tea SECONDS, !stocks NAME, !health and !help."
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

# --- The modules. On AWS each would be a Lambda function of its own. ---

CITIES = {"berlin": "rain, 12 degrees", "lisbon": "sun, 24 degrees"}
PRICES = {"ACME": 101}
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
    """The flaky one: it breaks for ENRON, and of any other call the first attempt hangs."""
    name = (event["trigger"]["context_text"] or "ACME").upper()
    price = PRICES[name]
    if event["request_id"] not in ATTEMPTED:  # the same id in all attempts of a call
        ATTEMPTED.add(event["request_id"])
        time.sleep(20)
    return {"success": True, "message": f"{name} stands at {price}."}


# --- The bot ---


class Bot:
    """Makes each line of a user a call; calls run side by side."""

    def __init__(self, modules: Dict[str, LambdaAdapter], grace_s: float) -> None:
        self.modules = modules  # command -> adapter
        self.grace_s = grace_s
        self.stopping = asyncio.Event()
        self.users: Set[Any] = set()  # the tasks that serve them

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One user, from hello to goodbye."""
        self.users.add(asyncio.current_task())
        calls: Set[Any] = set()  # asyncio itself keeps no task alive
        listening = asyncio.ensure_future(self.listen(reader, writer, calls))
        stopping = asyncio.ensure_future(self.stopping.wait())
        await asyncio.wait({listening, stopping}, return_when=asyncio.FIRST_COMPLETED)
        listening.cancel()
        stopping.cancel()
        late = (await asyncio.wait(calls, timeout=self.grace_s))[1] if calls else ()
        for call in late:
            call.cancel()
        writer.write(f"Goodbye. Unanswered: {len(late)}.\n".encode() if late else b"Goodbye.\n")
        writer.close()
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            await asyncio.wait_for(writer.wait_closed(), 1)
        writer.transport.abort()  # where the user reads nothing
        self.users.discard(asyncio.current_task())

    async def listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, calls: Set[Any]) -> None:
        """Begins a call for each line, until the user has hung up."""
        user = f"user_{writer.get_extra_info('peername')[1]}"
        writer.write(f"Hello {user}. {HELP}\n".encode())
        with contextlib.suppress(OSError, ValueError):  # the connection broke, or a line has over 64 KiB
            while line := await reader.readline():
                call = asyncio.ensure_future(self.answer(user, line.decode(errors="replace").split(), writer))
                calls.add(call)
                call.add_done_callback(calls.discard)
                await writer.drain()  # reads no further while the user does not

    async def answer(self, user: str, words: List[str], writer: asyncio.StreamWriter) -> None:
        """One call, from what was typed to what is said."""
        text = HELP
        command = words[0][1:] if words and words[0].startswith("!") else ""
        if command == "health":
            states = (f"{name} {'ok' if module.is_healthy() else 'failing'}" for name, module in self.modules.items())
            text = "health: " + ", ".join(states)
        elif command in self.modules:
            request = ExecuteRequest(
                command=command,
                args=words[1:],
                user_id=user,
                entity_id=user,
                community_id=f"dm-{user}",  # in a channel, the community that it belongs to
                session_id=uuid.uuid4().hex,
                platform="tcp",
            )
            # Retries are the adapter's business, and it raises nothing: there is always a response, and its
            # user_message is fit to be shown. Its `error` is for the operator: the log has the cause.
            response = await self.modules[command].execute_async(request)
            text = f"{command}: {response.user_message() or 'done'}"
        if not writer.is_closing():  # the user is still there
            # One line, without what could upset a terminal.
            writer.write("".join(char if char.isprintable() else " " for char in text).encode() + b"\n")


async def run(modules: Dict[str, LambdaAdapter], port: int, grace_s: float) -> None:
    """The bot's life."""
    loop, bot = asyncio.get_running_loop(), Bot(modules, grace_s)
    for number in STOP_SIGNALS:
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(bot.stopping.set))
    server = await asyncio.start_server(bot.serve, "127.0.0.1", port)
    print(f"chat    127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await bot.stopping.wait()
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # what starts bots may send it twice, to the bot and to its group
    print(f"stopping; calls under way have {grace_s:g} s", flush=True)
    server.close()
    if bot.users:
        await asyncio.wait(set(bot.users))


def main() -> None:
    parser = argparse.ArgumentParser(description="A small chat bot with three modules.")
    parser.add_argument("--port", type=int, default=7000, help="of the chat; 0 takes a free one (default: 7000)")
    parser.add_argument("--grace", type=float, default=10, help="seconds for calls under way at the end (default: 10)")
    args = parser.parse_args()
    logging.basicConfig(format="%(levelname)-7s %(message)s")  # retries and failures, without what users typed
    with LocalLambda({"weather": weather, "tea": tea, "stocks": stocks}) as local, contextlib.ExitStack() as stack:
        # On AWS: region="us-east-1" in the place of local.settings. Of one community ten calls may wait, no more.
        make = functools.partial(LambdaAdapter, max_concurrency=10, max_pending_per_community=10, **local.settings)
        adapters = [  # made before the event loop runs, because making one blocks
            make("weather", module_name="weather"),
            make("tea", module_name="tea"),
            make("stocks", module_name="stocks", read_timeout=1, initial_retry_delay=0.1),
        ]
        modules = {adapter.module_name: stack.enter_context(adapter) for adapter in adapters}
        try:
            asyncio.run(run(modules, args.port, args.grace))
        except OSError as error:
            sys.exit(f"chat_bot: {error}")  # a port that is taken


if __name__ == "__main__":
    main()
