"""examples/discord_bot.py: a bot that logs in to a Discord on loopback, and says there what its modules answer."""

import asyncio
import contextlib
import os
import runpy
import signal
import threading

import pytest

pytest.importorskip("discord")

from lambda_adapter import LambdaAdapter, LocalLambda
from support import example_scripts, fake_discord
from support.waiting import SOON_S, soon, until_async

EXAMPLE = runpy.run_path(str(example_scripts.EXAMPLES / "discord_bot.py"))
Bot, run, NO_ANSWER = EXAMPLE["Bot"], EXAMPLE["run"], EXAMPLE["NO_ANSWER"]
LONG = "\n".join(f"line {number}" for number in range(500))


class Slow:
    """Answers when it is told to."""

    def __init__(self):
        self.asked = threading.Semaphore(0)
        self.let_go = threading.Event()

    def __call__(self, event, context):
        self.asked.release()
        assert self.let_go.wait(SOON_S)
        return {"success": True, "message": f"Slowly, {event['user']['username']}."}


def fails(event, context):
    raise ConnectionError("could not connect to db-internal-17")


def says(message):
    return lambda event, context: {"success": True, "message": message}


def refuses(event, context):
    return {"success": False, "message": "I know no such city."}


@pytest.fixture
def slow():
    handler = Slow()
    yield handler
    handler.let_go.set()


@pytest.fixture
def local(slow):
    functions = {
        "hello": lambda event, context: {"success": True, "message": f"Hello {event['user']['username']}."},
        "echo": lambda event, context: {"success": True, "message": event["trigger"]["context_text"]},
        "slow": slow,
        "fails": fails,
        "refuses": refuses,
        "long": says(LONG),
        "longest": says("x" * 2_000),
        "silent": says(None),
        "blank": says(" \n"),
    }
    with LocalLambda(functions, timeout=60) as local:
        local.names = list(functions)
        yield local


@pytest.fixture
def chat(local, monkeypatch):
    """Runs ``scene(discord, bot)`` while the bot is logged in; returns the FakeDiscord when the bot has left."""

    def chat(scene, grace_s=SOON_S, token=fake_discord.TOKEN, **settings):
        async def main():
            async with contextlib.AsyncExitStack() as stack:
                discord = await stack.enter_async_context(fake_discord.FakeDiscord().serve(monkeypatch))
                modules = {
                    name: stack.enter_context(LambdaAdapter(name, module_name=name, **{**local.settings, **settings}))
                    for name in local.names
                }
                bot = Bot(modules, grace_s)
                running = asyncio.ensure_future(run(bot, token))
                try:
                    acting = asyncio.ensure_future(scene(discord, bot))
                    await soon(asyncio.wait({acting, running}, return_when=asyncio.FIRST_COMPLETED))
                    await soon(acting)
                finally:
                    os.kill(os.getpid(), signal.SIGTERM)
                    await soon(running)
                return discord

        return asyncio.run(main())

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    # Until the bot has taken them, the tests' own process must survive them.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    yield chat
    for number, handler in before.items():
        signal.signal(number, handler)


def typed(*lines, direct=False):
    """A scene: each line is typed when the one before has been answered."""

    async def scene(discord, bot):
        for count, line in enumerate(lines, 1):
            await discord.type(line, direct=direct)
            await until_async(lambda count=count: len(discord.said) == count)

    return scene


def test_a_command_in_a_channel_is_answered_there_as_a_reply(chat, local):
    ids = []

    async def scene(discord, bot):
        ids.append(await discord.type("!hello big  world"))
        await until_async(lambda: discord.said)

    discord = chat(scene)
    (said,) = discord.said
    assert (said["content"], said["channel"]) == ("Hello pingu.", fake_discord.CHANNEL)
    assert str(said["message_reference"]["message_id"]) == ids[0]
    assert said["message_reference"]["fail_if_not_exists"] is False
    assert discord.typing == [fake_discord.CHANNEL]
    (call,) = local.calls
    assert call.payload["trigger"]["context_text"] == "big world"
    assert call.payload["request_id"] == f"discord-{ids[0]}"
    assert call.payload["community"]["name"] == "Penguins"
    assert call.payload["user"] == {
        "id": fake_discord.USER,
        "username": "pingu",
        "platform": "discord",
        "platform_user_id": fake_discord.USER,
    }


@pytest.mark.parametrize(
    ("direct", "community", "entity"),
    [
        pytest.param(False, fake_discord.GUILD, fake_discord.CHANNEL, id="in-a-guild"),
        pytest.param(True, f"dm-{fake_discord.USER}", fake_discord.DM_CHANNEL, id="a-direct-message"),
    ],
)
def test_ids_are_strings_and_a_direct_message_has_a_community_of_its_own(chat, local, direct, community, entity):
    discord = chat(typed("!hello", direct=direct))
    (call,) = local.calls
    assert (call.payload["community"]["id"], call.payload["entity"]["id"]) == (community, entity)
    assert [said["channel"] for said in discord.said] == [entity]


@pytest.mark.parametrize("line", ["hello", "!", "! ", "!unknown", "", "!!hello"])
def test_what_is_no_command_of_its_own_calls_nothing(chat, local, line):
    async def scene(discord, bot):
        await discord.type(line)
        await discord.type_as_a_bot("!hello")
        await typed("!echo the end")(discord, bot)

    assert [said["content"] for said in chat(scene).said] == ["the end"]
    assert len(local.calls) == 1


@pytest.mark.parametrize(
    ("command", "content"),
    [
        pytest.param("fails", "Something went wrong with that command.", id="a-failure-without-its-cause"),
        pytest.param("refuses", "I know no such city.", id="a-refusal-in-the-functions-words"),
        pytest.param("silent", "Done.", id="no-message"),
        pytest.param("blank", "Done.", id="a-message-that-discord-would-refuse"),
        pytest.param("longest", "x" * 2_000, id="2000-characters"),
    ],
)
def test_what_the_user_reads(chat, command, content):
    (said,) = chat(typed(f"!{command}")).said
    assert (said["content"], said["files"]) == (content, {})


def test_an_answer_of_over_2000_characters_is_a_file(chat):
    (said,) = chat(typed("!long")).said
    assert len(said["content"]) < 2_000
    assert said["files"] == {"answer.txt": LONG}


@pytest.mark.parametrize("command", ["echo @everyone", "long"])
def test_no_answer_calls_anybody(chat, command):
    (said,) = chat(typed(f"!{command}")).said
    # Discord takes a `replied_user` that is not there for false.
    assert said["allowed_mentions"] == {"parse": []}


def test_a_slow_function_holds_up_no_other_command(chat, slow):
    async def scene(discord, bot):
        await discord.type("!slow")
        await until_async(lambda: slow.asked.acquire(blocking=False))
        await typed("!hello")(discord, bot)
        slow.let_go.set()
        await until_async(lambda: len(discord.said) == 2)

    assert [said["content"] for said in chat(scene).said] == ["Hello pingu.", "Slowly, pingu."]


def test_a_bot_that_is_told_to_stop_answers_what_is_under_way_and_takes_no_more(chat, slow, local):
    async def scene(discord, bot):
        await discord.type("!slow")
        await until_async(lambda: slow.asked.acquire(blocking=False))
        os.kill(os.getpid(), signal.SIGINT)
        await until_async(lambda: bot.leaving)
        ignored = await discord.type("!hello")
        await until_async(lambda: any(str(message.id) == ignored for message in bot.cached_messages))
        slow.let_go.set()

    assert [said["content"] for said in chat(scene).said] == ["Slowly, pingu."]
    assert len(local.calls) == 1


def test_who_waits_longer_than_the_grace_is_told(chat, slow):
    async def scene(discord, bot):
        await discord.type("!slow")
        await until_async(lambda: slow.asked.acquire(blocking=False))
        os.kill(os.getpid(), signal.SIGTERM)
        await until_async(lambda: discord.said)

    (said,) = chat(scene, grace_s=0.01).said
    assert said["content"] == NO_ANSWER


def test_a_token_that_discord_refuses_ends_the_bot(chat):
    async def nothing(discord, bot):
        await until_async(lambda: bot.is_closed())

    with pytest.raises(EXAMPLE["discord"].LoginFailure):
        chat(nothing, token="another")


def test_without_a_token_the_script_says_what_it_needs(tmp_path):
    done = example_scripts.run("discord_bot.py", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("discord_bot: set DISCORD_TOKEN")
