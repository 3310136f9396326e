"""A Discord bot: each command is a module.

    python -m pip install discord.py
    DISCORD_TOKEN=... python examples/discord_bot.py    then type !roll or !almanac

LocalLambda serves the modules, unless LAMBDA_REGION names the region in which roll and almanac are on AWS.

The token is that of a bot that you made at https://discord.com/developers/applications, with "Message Content Intent"
turned on. Ctrl-C or SIGTERM ends it: calls under way have 10 s to be answered, and those that need longer are told.
"""

import asyncio
import contextlib
import io
import os
import random
import signal
import sys
import time
from typing import Any, Dict, List, Mapping, Set

import discord

from lambda_adapter import ExecuteRequest, LambdaAdapter, LocalLambda
from lambda_adapter.local import LambdaContext

MAX_CHARS = 2_000  # of a message on Discord
NO_ANSWER = "I am going away and cannot finish this. Please ask again in a minute."

# --- The modules. On AWS each would be a Lambda function of its own. ---


def roll(event: Dict[str, Any], context: LambdaContext) -> Dict[str, object]:
    return {"success": True, "message": f"{event['user']['username']} rolled {random.randint(1, 6)}."}


def almanac(event: Dict[str, Any], context: LambdaContext) -> Dict[str, object]:
    """Thinks for a while, and then says more than fits into a message."""
    time.sleep(4)
    return {"success": True, "message": "\n".join(f"Day {day}: {day % 24} degrees." for day in range(1, 366))}


MODULES = {"roll": roll, "almanac": almanac}

# --- The bot ---


def words_of(message: discord.Message) -> List[str]:
    """The command without its "!", and its words; [""] where there is none."""
    return (message.content.startswith("!") and message.content[1:].split()) or [""]


def request_for(message: discord.Message) -> ExecuteRequest:
    """What a module gets. The ids are strings, because a function in JavaScript would round numbers that large."""
    command, *args = words_of(message)
    user, guild = message.author, message.guild
    return ExecuteRequest(
        command=command,
        args=args,
        user_id=str(user.id),
        entity_id=str(message.channel.id),
        community_id=str(guild.id) if guild else f"dm-{user.id}",  # a direct message has no guild
        session_id=f"discord-{message.id}",  # one for each message
        platform="discord",
        metadata={"user": {"username": user.name}, "community": {"name": guild.name if guild else None}},
    )


class Bot(discord.Client):
    """Runs a module for each command that it reads."""

    def __init__(self, modules: Mapping[str, LambdaAdapter], grace_s: float = 10.0) -> None:
        intents = discord.Intents(guilds=True, guild_messages=True, dm_messages=True, message_content=True)
        # A module may repeat what a user typed: an @everyone in an answer must call nobody.
        super().__init__(intents=intents, allowed_mentions=discord.AllowedMentions.none())
        self.modules = modules  # command -> adapter
        self.grace_s = grace_s
        self.calls: Set[asyncio.Task[Any]] = set()
        self.leaving = False

    async def on_message(self, message: discord.Message) -> None:
        """One command, from what was typed to what is said. discord.py runs it in a task for each message."""
        command = words_of(message)[0]
        if message.author.bot or self.leaving or command not in self.modules:
            return
        task = asyncio.current_task()
        assert task is not None
        self.calls.add(task)
        try:
            async with message.channel.typing():
                response = await self.modules[command].execute_async(request_for(message))
            await self.reply(message, response.user_message())
        except asyncio.CancelledError:  # close() waits for it no longer
            await self.reply(message, NO_ANSWER)
            raise
        finally:
            self.calls.discard(task)

    async def reply(self, message: discord.Message, text: str) -> None:
        """Answers a message; a text that is too long for one becomes a file."""
        reference = message.to_reference(fail_if_not_exists=False)  # who asked may have deleted it
        if len(text) <= MAX_CHARS:
            await message.channel.send(text.strip() or "Done.", reference=reference)
        else:
            file = discord.File(io.BytesIO(text.encode()), "answer.txt")
            await message.channel.send("It is a long answer:", file=file, reference=reference)

    async def close(self) -> None:
        """Takes no more commands, gives those under way the grace, tells the others, and then hangs up."""
        self.leaving = True
        if self.calls:
            _, late = await asyncio.wait(self.calls, timeout=self.grace_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await super().close()


async def run(bot: Bot, token: str) -> None:
    """Runs the bot until it is told to stop. Raises what keeps it from logging in."""
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(stopping.set))
    async with bot:  # closes it
        running = asyncio.ensure_future(bot.start(token))
        stopped = asyncio.ensure_future(stopping.wait())
        await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        await bot.close()
        await running


def main() -> None:
    if not (token := os.environ.get("DISCORD_TOKEN")):
        sys.exit("discord_bot: set DISCORD_TOKEN to the token of a bot; discord_bot.py says where to make one")
    discord.utils.setup_logging()
    with contextlib.ExitStack() as stack:
        region = os.environ.get("LAMBDA_REGION")
        where: Any = {"region": region} if region else stack.enter_context(LocalLambda(MODULES)).settings
        # Adapters are made before the event loop runs, because making one blocks.
        adapters = [stack.enter_context(LambdaAdapter(name, module_name=name, **where)) for name in MODULES]
        try:
            asyncio.run(run(Bot(dict(zip(MODULES, adapters))), token))
        except (discord.LoginFailure, discord.PrivilegedIntentsRequired) as error:
            sys.exit(f"discord_bot: {error}")


if __name__ == "__main__":
    main()
