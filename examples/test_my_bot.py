"""A bot, and its tests: no AWS, no Docker, no waiting.

    pytest examples/test_my_bot.py

The fixture mock_lambda comes with the package: pip install 'lambda-adapter[testing]'
"""

import asyncio
import uuid
from typing import Any, Dict, Optional

import boto3

from lambda_adapter import ExecuteRequest, LambdaAdapter, UserMessages
from lambda_adapter.local import LambdaContext
from lambda_adapter.testing import MockLambda

# --- The bot. It would be a file of its own; nothing in it knows about tests. ---


#: The bot's own words for some failures; the package has a sentence for each of the others.
SENTENCES: UserMessages = {
    "throttled": "I am busy. Try again in a minute.",
    "timeout": "I am busy. Try again in a minute.",
}


class Bot:
    """Runs a module for each chat command, and keeps what was said in S3."""

    def __init__(self) -> None:
        self.modules = {
            name: LambdaAdapter(name, "eu-central-1", name, function_prefix="my-bot-") for name in ("weather", "roll")
        }
        self.s3 = boto3.client("s3", region_name="us-east-1")

    async def answer(self, user: str, line: str) -> Optional[str]:
        command, *args = line.lstrip("!").split()
        if command not in self.modules:
            return f"There is no !{command}."
        session = uuid.uuid4().hex
        request = ExecuteRequest(command, args, user, "lobby", "penguins", session, "discord")
        response = await self.modules[command].execute_async(request)
        text = response.user_message(SENTENCES)
        if response.success:
            self.s3.put_object(Bucket="my-bot-log", Key=session, Body=f"{user}: {line} -> {text}".encode())
        return text


def ask(line: str) -> Optional[str]:
    """What the bot answers to Pingu. Made within a test, where AWS is mocked."""
    boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="my-bot-log")
    return asyncio.run(Bot().answer("Pingu", line))


# --- The tests. ---


def test_the_weather_is_told(mock_lambda: MockLambda) -> None:
    mock_lambda.function("my-bot-weather", {"success": True, "message": "Berlin: rain"})
    assert ask("!weather Berlin") == "Berlin: rain"


def test_the_function_learns_who_asked_for_what(mock_lambda: MockLambda) -> None:
    mock_lambda.function("my-bot-weather")
    ask("!weather Berlin")
    (payload,) = mock_lambda.calls("my-bot-weather")
    assert payload["trigger"]["context_text"] == "Berlin"
    assert payload["user"]["platform_user_id"] == "Pingu"


def test_a_handler_can_stand_in_for_the_function(mock_lambda: MockLambda) -> None:
    def roll(event: Dict[str, Any], context: LambdaContext) -> Dict[str, object]:
        return {"success": True, "message": f"You rolled {event['trigger']['context_text']}: 7."}

    mock_lambda.function("my-bot-roll", roll)
    assert ask("!roll 2d6") == "You rolled 2d6: 7."


def test_throttling_goes_unnoticed(mock_lambda: MockLambda) -> None:
    mock_lambda.function("my-bot-weather", {"success": True, "message": "rain"}).throttles(times=2, retry_after=30)
    assert ask("!weather") == "rain"
    assert len(mock_lambda.calls("my-bot-weather")) == 3


def test_a_function_that_never_answers_gets_an_excuse(mock_lambda: MockLambda) -> None:
    mock_lambda.function("my-bot-weather").times_out()
    assert ask("!weather") == "I am busy. Try again in a minute."


def test_a_broken_function_gets_an_apology(mock_lambda: MockLambda) -> None:
    mock_lambda.function("my-bot-weather").fails("ValueError", "no such city")
    assert ask("!weather Atlantis") == "Something went wrong with that command."


def test_answers_are_kept_in_s3_which_is_mocked_too(mock_lambda: MockLambda) -> None:
    mock_lambda.function("my-bot-weather", {"success": True, "message": "rain"})
    ask("!weather Berlin")
    s3 = boto3.client("s3", region_name="us-east-1")
    (kept,) = s3.list_objects_v2(Bucket="my-bot-log")["Contents"]
    assert s3.get_object(Bucket="my-bot-log", Key=kept["Key"])["Body"].read() == b"Pingu: !weather Berlin -> rain"


def test_an_unknown_command_calls_nothing(mock_lambda: MockLambda) -> None:
    mock_lambda.function("my-bot-weather")
    assert ask("!sing") == "There is no !sing."
    assert mock_lambda.calls("my-bot-weather") == []
