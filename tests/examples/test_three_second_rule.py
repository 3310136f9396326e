"""examples/three_second_rule.py: acknowledged in time, answered later, invoked once, whatever happens meanwhile."""

import asyncio
import re
import runpy
import threading

import pytest

from lambda_adapter import ExecuteRequest, LocalLambda
from support import example_scripts
from support.fault_server import FaultServer, untyped
from support.waiting import until_async

ACKNOWLEDGED = "Working on it ..."
NO_ANSWER = "I cannot finish this now. Please ask again in a minute."
LONG_S = 30.0  # a patience that no test here exhausts

answer_in_time = runpy.run_path(str(example_scripts.EXAMPLES / "three_second_rule.py"))["answer_in_time"]


class Chat:
    """What the user sees."""

    def __init__(self):
        self.seen = []

    async def send(self, text):
        self.seen.append(text)

    async def until(self, *seen):
        """Waits for exactly this to have been seen."""
        await until_async(lambda: len(self.seen) >= len(seen))
        assert self.seen == list(seen)


class Slow:
    """A handler that ends when it is let go."""

    def __init__(self):
        self.let_go = threading.Event()

    def __call__(self, event, context):
        self.let_go.wait(LONG_S)
        if event["trigger"]["context_text"] == "fail":
            raise ConnectionError("the data base is down")
        return {"success": True, "message": f"Answer to {event['user']['id']}."}


@pytest.fixture
def slow():
    handler = Slow()
    yield handler
    handler.let_go.set()


@pytest.fixture
def local(slow):
    with LocalLambda({"function": slow}, timeout=60) as local:
        yield local


def ask(user="pingu", *args):
    return ExecuteRequest("slow", list(args), user, "lobby", "example", f"session-of-{user}", "discord")


def test_a_quick_answer_is_not_preceded_by_an_acknowledgement(local, slow, make_adapter):
    slow.let_go.set()
    adapter, chat = make_adapter(endpoint_url=local.endpoint_url), Chat()
    response = asyncio.run(answer_in_time(adapter, ask(), chat.send, LONG_S))
    assert chat.seen == [response.message] == ["Answer to pingu."]
    assert len(local.calls) == 1


@pytest.mark.parametrize(
    ("args", "outcome"),
    [
        pytest.param([], "Answer to pingu.", id="an-answer"),
        pytest.param(["fail"], "Something went wrong with that command.", id="a-failure"),
    ],
)
def test_what_comes_after_the_acknowledgement_is_delivered_from_the_same_invocation(
    local, slow, make_adapter, args, outcome
):
    adapter, chat = make_adapter(endpoint_url=local.endpoint_url), Chat()

    async def main():
        task = asyncio.ensure_future(answer_in_time(adapter, ask("pingu", *args), chat.send, 0.01))
        await chat.until(ACKNOWLEDGED)
        slow.let_go.set()
        return await task

    response = asyncio.run(main())
    assert chat.seen == [ACKNOWLEDGED, outcome]
    assert outcome == response.user_message()
    assert len(local.calls) == 1


def test_many_users_wait_at_once_and_each_has_their_own_answer(local, slow, make_adapter):
    adapter, chats = make_adapter(endpoint_url=local.endpoint_url), {f"user_{n}": Chat() for n in range(20)}

    async def main():
        tasks = [
            asyncio.ensure_future(answer_in_time(adapter, ask(user), chat.send, 0.01)) for user, chat in chats.items()
        ]
        for chat in chats.values():
            await chat.until(ACKNOWLEDGED)
        slow.let_go.set()
        await asyncio.gather(*tasks)

    asyncio.run(main())
    for user, chat in chats.items():
        assert chat.seen == [ACKNOWLEDGED, f"Answer to {user}."]
    assert len(local.calls) == 20


def test_an_adapter_that_closes_still_delivers_what_is_in_flight(local, slow, make_adapter):
    adapter, chat = make_adapter(endpoint_url=local.endpoint_url), Chat()

    async def main():
        task = asyncio.ensure_future(answer_in_time(adapter, ask(), chat.send, 0.01))
        await chat.until(ACKNOWLEDGED)
        await until_async(lambda: local.calls)
        adapter.close()
        slow.let_go.set()
        await task

    asyncio.run(main())
    assert chat.seen == [ACKNOWLEDGED, "Answer to pingu."]


# An attempt fails at once, and the next one would follow after LONG_S: a call that is over sooner was ended.


@pytest.fixture
def failing():
    with FaultServer(untyped(503)) as server:
        yield server


@pytest.fixture
def retrying(failing, make_adapter):
    return make_adapter(endpoint_url=failing.endpoint_url, initial_retry_delay=LONG_S, jitter=0.0)


async def ended(adapter):
    """Waits until the call is counted, and so over."""
    await until_async(lambda: adapter.health.total_requests == 1)


def test_an_adapter_that_closes_delivers_the_failure_of_what_waits_for_a_retry(failing, retrying):
    chat = Chat()

    async def main():
        task = asyncio.ensure_future(answer_in_time(retrying, ask(), chat.send, 0.01))
        await chat.until(ACKNOWLEDGED)
        await until_async(lambda: failing.requests)
        retrying.close()
        return await task

    response = asyncio.run(main())
    assert response.error_code == "service_error"
    assert chat.seen == [ACKNOWLEDGED, response.user_message()]


@pytest.mark.parametrize(
    ("patience_s", "seen"),
    [
        pytest.param(0.01, [ACKNOWLEDGED], id="after-the-acknowledgement"),
        pytest.param(LONG_S, [], id="before-the-acknowledgement"),
    ],
)
def test_a_bot_that_shuts_down_tells_the_user_and_tries_no_more(failing, retrying, patience_s, seen):
    chat = Chat()

    async def main():
        task = asyncio.ensure_future(answer_in_time(retrying, ask(), chat.send, patience_s))
        await chat.until(*seen)
        await until_async(lambda: failing.requests)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await ended(retrying)

    asyncio.run(main())
    assert chat.seen == [*seen, NO_ANSWER]
    assert len(failing.requests) == 1


def test_an_acknowledgement_that_cannot_be_sent_is_raised_and_nothing_is_tried_again(failing, retrying):
    async def broken(text):
        await until_async(lambda: failing.requests)
        raise ConnectionError("the platform is down")

    async def main():
        with pytest.raises(ConnectionError, match="the platform is down"):
            await answer_in_time(retrying, ask(), broken, 0.01)
        await ended(retrying)

    asyncio.run(main())
    assert len(failing.requests) == 1


@pytest.mark.slow
def test_the_script_shows_all_that_with_the_real_times(tmp_path):
    done = example_scripts.run("three_second_rule.py", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    *lines, last = done.stdout.splitlines()
    assert last == "4 commands, 4 invocations"
    seen = {}
    for line in lines:
        at_s, user, text = re.fullmatch(r" *(\d+\.\d\d) s  (\w+) +(.*)", line).groups()
        seen.setdefault(user, []).append((float(at_s), text))
    assert {user: [text for _, text in said] for user, said in seen.items()} == {
        "Pingu": ["-> !roll", "<- You rolled 4."],
        "Pinga": ["-> !report", f"<- {ACKNOWLEDGED}", "<- The report is ready: 42 penguins."],
        "Robby": ["-> !audit", f"<- {ACKNOWLEDGED}", "<- Something went wrong with that command."],
        "Pongo": ["-> !archive", f"<- {ACKNOWLEDGED}", f"<- {NO_ANSWER}"],
    }
    assert seen["Pingu"][1][0] < 2.5
    for user in ("Pinga", "Robby", "Pongo"):
        assert 2.5 <= seen[user][1][0] < 3
