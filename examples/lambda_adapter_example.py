"""Ten ways to use LambdaAdapter.

    python examples/lambda_adapter_example.py          all ten
    python examples/lambda_adapter_example.py 3 7      two of them
    python examples/lambda_adapter_example.py --aws my-function --region us-east-1

Without --aws the functions are the handlers of this file, served by LocalLambda on this machine.
"""

import argparse
import asyncio
import contextlib
import logging
import random
import sys
import threading
import time
import uuid
from typing import Any, Dict, Iterable, List, Optional, TypedDict

from lambda_adapter import ExecuteRequest, ExecuteResponse, LambdaAdapter, LocalLambda, UserMessages
from lambda_adapter.local import Handler, LambdaContext

# --- The functions. On AWS each would be a Lambda function of its own. ---

CITIES = {"berlin": "rain, 12 degrees", "lisbon": "sun, 24 degrees"}


def roll(event: Dict[str, Any], context: LambdaContext) -> Dict[str, object]:
    """!roll 2d6"""
    count, sides = map(int, (event["trigger"]["context_text"] or "1d6").split("d"))
    total = sum(random.randint(1, sides) for _ in range(count))
    return {"success": True, "message": f"You rolled {total}.", "sides": sides}


def weather(event: Dict[str, Any], context: LambdaContext) -> Dict[str, object]:
    """!weather Lisbon"""
    city = event["trigger"]["context_text"] or "Berlin"
    if city.lower() not in CITIES:
        return {"success": False, "error": f"I know no city called {city}."}
    time.sleep(0.2)  # as a weather service would take
    return {"success": True, "message": f"{city}: {CITIES[city.lower()]}", "targets": ["discord", "twitch"]}


def seats(event: Dict[str, Any], context: LambdaContext) -> Dict[str, object]:
    """!seats"""
    community, user = event["community"], event["user"]
    paid = f"{community['seat_count']} paid seats" if community["is_subscribed"] else "no subscription"
    return {"success": True, "message": f"{user['username']}, {community['name']} has {paid}."}


MAIL_SENT = threading.Event()


def mail(event: Dict[str, Any], context: LambdaContext) -> None:
    """!mail Hello"""
    MAIL_SENT.set()


STOCKS_OPEN = threading.Event()


def stocks(event: Dict[str, Any], context: LambdaContext) -> Dict[str, object]:
    """!stocks, of which the data base is down until STOCKS_OPEN is set"""
    if not STOCKS_OPEN.is_set():
        raise ConnectionError("the data base is down")
    return {"success": True, "message": "ACME stands at 101."}


def greet(event: Dict[str, Any], context: LambdaContext) -> str:
    """!greet, which answers with text where an object is due"""
    return "Hello!"


FUNCTIONS: Dict[str, Handler] = {
    "roll": roll,
    "waddlebot-weather": weather,
    "seats": seats,
    "mail": mail,
    "stocks": stocks,
    "greet": greet,
}


class Region(TypedDict):
    """All that an adapter must know of AWS."""

    region: str


class Settings(Region, total=False):
    """What it must know of another place beside that."""

    endpoint_url: str
    aws_access_key_id: str
    aws_secret_access_key: str


class Aws:
    """Where the functions are: `settings` are the same for all adapters of this file, `name` is for each its own."""

    def __init__(self, settings: Settings, function: Optional[str] = None) -> None:
        self.settings = settings
        self.function = function

    def name(self, local_name: str) -> str:
        return self.function or local_name


def chat(
    line: str,
    user_id: str = "user_123",
    metadata: Optional[Dict[str, Any]] = None,
    scopes: Optional[List[str]] = None,
) -> ExecuteRequest:
    """What a user typed, as a request."""
    command, *args = line.lstrip("!").split()
    return ExecuteRequest(
        command=command,
        args=args,
        user_id=user_id,
        entity_id="channel_456",
        community_id="community_789",
        session_id=f"session_{uuid.uuid4().hex[:8]}",
        platform="discord",
        metadata=metadata or {},
        scopes=scopes or [],
    )


def told(response: ExecuteResponse) -> str:
    """The text for the chat; of a failure also, in brackets, the one for whoever reads this console."""
    return response.user_message() if response.success else f"{response.user_message()} [{response.error}]"


#: The bot's own words for some failures; the package has a sentence for each of the others.
SENTENCES: UserMessages = {"function_error": "That did not work, sorry."}

# --- The examples. Each returns whether everything went as it should. ---


def basic(aws: Aws) -> bool:
    """A command goes to a function, and its answer comes back."""

    async def main(adapter: LambdaAdapter) -> bool:
        response = await adapter.execute_async(chat("!roll 2d6"))
        print("sent     !roll 2d6")
        print("message ", told(response))
        print("data    ", response.data)
        return response.success

    # The adapter is made before the event loop runs: making the first one loads boto3.
    with LambdaAdapter(function_identifier=aws.name("roll"), module_name="dice", **aws.settings) as adapter:
        return asyncio.run(main(adapter))


def event(aws: Aws) -> bool:
    """Fire and forget: AWS queues the call, and nobody waits for the function."""
    with LambdaAdapter(
        function_identifier=aws.name("mail"), module_name="mail", invocation_type="Event", **aws.settings
    ) as adapter:
        response = adapter.execute(chat("!mail Hello"))
        print("sent     !mail Hello")
        # Nothing for the chat yet: what became of it the function has to say elsewhere.
        print(f"message  {response.message or told(response)} (HTTP status {response.invocation.status_code})")
    if aws.function is None:
        print("later    the function ran:", MAIL_SENT.wait(5))
    return response.success


def prefix(aws: Aws) -> bool:
    """One prefix for all functions of a bot: the module says "weather", and "waddlebot-weather" is invoked."""
    name = aws.name("waddlebot-weather")
    if ":" in name:
        return skip("a prefix goes in front of a name, and --aws is an ARN")
    cut = name.find("-") + 1
    with LambdaAdapter(
        function_identifier=name[cut:], function_prefix=name[:cut], module_name="weather", **aws.settings
    ) as adapter:
        response = adapter.execute(chat("!weather Lisbon"))
        print("asked for", name[cut:])
        print("invoked  ", response.invocation.function_name)
        print("message  ", told(response))
        print("targets  ", response.targets)
        return response.success


def throttled(aws: Aws) -> bool:
    """A function that is throttled twice: the adapter waits, longer the second time, and tries again."""
    if aws.function:
        return skip("it needs a function that is throttled")
    busy, twice = threading.Event(), threading.Event()

    def slow(event: Dict[str, Any], context: LambdaContext) -> Dict[str, object]:
        busy.set()
        twice.wait(10)
        return {"success": True}

    class Retries(logging.Handler):
        """Prints the adapter's word on each retry; the second one ends the slow call."""

        def emit(self, record: logging.LogRecord) -> None:
            print("log      ", record.getMessage())
            if record.getMessage().startswith("Retry 2 "):
                twice.set()

    log, retries = logging.getLogger("lambda_adapter"), Retries(logging.WARNING)
    # Room for one call, and the slow one has it: AWS answers the other with 429, and so does LocalLambda.
    with LocalLambda({"slow": slow, "roll": roll}, concurrency_limit=1, retry_after=0) as local:
        settings: Settings = {**aws.settings, "endpoint_url": local.endpoint_url}
        with LambdaAdapter("slow", module_name="slow", **settings) as occupant, LambdaAdapter(
            "roll", module_name="dice", max_retries=5, initial_retry_delay=0.2, jitter=0.5, **settings
        ) as adapter:
            thread = threading.Thread(target=occupant.execute, args=[chat("!slow")])
            thread.start()
            busy.wait(10)
            log.addHandler(retries)
            try:
                response = adapter.execute(chat("!roll 1d20"))
            finally:
                log.removeHandler(retries)
                twice.set()
                thread.join()
    print("message  ", told(response))
    print(f"attempts  {response.invocation.attempts} in {response.invocation.duration_s:.1f} s")
    return response.success


def metadata(aws: Aws) -> bool:
    """What the bot knows of the community, the user and the channel goes along."""
    request = chat(
        "!seats",
        metadata={
            "community": {
                "name": "Penguin Club",
                "is_subscribed": True,
                "subscription_order_id": "order_123",
                "seat_count": 50,
            },
            "user": {"username": "Pingu", "platform_user_id": "discord_123"},
            "entity": {"platform_entity_id": "channel_456"},
        },
        scopes=["community.read"],
    )
    with LambdaAdapter(
        function_identifier=aws.name("seats"),
        module_name="seats",
        required_scopes=["community.read"],
        **aws.settings,
    ) as adapter:
        known = adapter.execute(request)
        unknown = adapter.execute(chat("!seats", scopes=["community.read"]))
        print("with metadata    ", told(known))
        print("without metadata ", told(unknown))
        return known.success and unknown.success


def health(aws: Aws) -> bool:
    """A function breaks, the adapter turns unhealthy; the function is repaired, and one success is enough."""
    if aws.function:
        return skip("it needs a function that breaks and is repaired")
    STOCKS_OPEN.clear()
    with LambdaAdapter(function_identifier="stocks", module_name="stocks", **aws.settings) as adapter:
        for number in range(1, 6):
            if number == 5:
                STOCKS_OPEN.set()
            response = adapter.execute(chat("!stocks"))
            now = adapter.health
            state = "healthy" if now.is_healthy else "UNHEALTHY"
            print(
                f"call {number}   {response.error_code or response.user_message():20}  {state}, "
                f"{now.consecutive_failures} failures in a row, error rate {now.error_rate}"
            )
        return adapter.is_healthy()


def module_info(aws: Aws) -> bool:
    """What a bot shows for !modules: one line a module, from get_module_info."""
    with LambdaAdapter(
        function_identifier=aws.name("roll"), module_name="dice", module_version="2.1.0", **aws.settings
    ) as dice, LambdaAdapter(
        function_identifier=aws.name("seats"), module_name="seats", required_scopes=["community.read"], **aws.settings
    ) as club:
        sent = [dice.execute(chat("!roll")), dice.execute(chat("!roll 3d8"))]
        sent.append(club.execute(chat("!seats", scopes=["community.read"])))
        print("module   version  invocations  state    needs")
        for adapter in (dice, club):
            info = adapter.get_module_info()
            state = "healthy" if info["health"]["is_healthy"] else "down"
            needs = ", ".join(info["required_scopes"]) or "nothing"
            print(f"{info['name']:8} {info['version']:8} {info['health']['total_requests']:11}  {state:8} {needs}")
        return all(response.success for response in sent)


def errors(aws: Aws) -> bool:
    """Whatever breaks, there is a response: error_code says what happened, executed whether the function ran."""
    if aws.function:
        return skip("it needs functions that fail in different ways")
    STOCKS_OPEN.clear()
    cases = [
        ("the function raises", "stocks", chat("!stocks")),
        ("the function says no", "waddlebot-weather", chat("!weather Atlantis")),
        ("the answer is no object", "greet", chat("!greet")),
        ("no such function", "gone", chat("!gone")),
        ("a request that is not JSON", "roll", chat("!roll", metadata={"user": {"username": {"a", "set"}}})),
    ]
    codes = []
    for what, function, request in cases:
        with LambdaAdapter(function_identifier=function, module_name="module", **aws.settings) as adapter:
            response = adapter.execute(request)
        codes.append(response.error_code)
        print(f"{what}: {response.error_code}, executed: {response.invocation.executed}")
        print(f"    {response.error}")
    return None not in codes


def concurrent(aws: Aws) -> bool:
    """Twenty commands at once, with asyncio.gather."""

    async def main(adapter: LambdaAdapter) -> bool:
        started = time.monotonic()
        responses = [await adapter.execute_async(chat("!weather Lisbon"))]
        print(f"1 call            {time.monotonic() - started:.2f} s")
        started = time.monotonic()
        calls = [adapter.execute_async(chat(f"!weather {city}")) for city in ["Berlin", "Lisbon"] * 10]
        responses += await asyncio.gather(*calls)
        print(f"20 calls at once  {time.monotonic() - started:.2f} s")
        for answer in sorted({told(response) for response in responses}):
            print("answer           ", answer)
        return all(response.success for response in responses)

    with LambdaAdapter(
        function_identifier=aws.name("waddlebot-weather"), module_name="weather", **aws.settings
    ) as adapter:
        return asyncio.run(main(adapter))


def workflow(aws: Aws) -> bool:
    """A bot: commands go to modules, answers to channels, and a module that is down is left alone."""
    STOCKS_OPEN.clear()

    async def reply(modules: Dict[str, LambdaAdapter], user: str, line: str) -> str:
        request = chat(line, user_id=user)
        adapter = modules.get(request.command)
        if adapter is None:
            return f"There is no !{request.command}."
        if not adapter.is_healthy():
            return f"!{request.command} is having a break."
        response = await adapter.execute_async(request)
        text = response.user_message(SENTENCES)
        if not response.success:
            return text
        channels = [target["type"] for target in response.targets] or [request.platform]
        return f"{text} [to {' and '.join(channels)}]"

    async def bot(modules: Dict[str, LambdaAdapter]) -> None:
        for round_of_chat in (
            [("Pingu", "!roll 1d6"), ("Pinga", "!weather Berlin"), ("Robby", "!stocks")],
            [("Pingu", "!sing"), ("Pinga", "!weather Lisbon"), ("Robby", "!stocks")],
        ):
            replies = await asyncio.gather(*(reply(modules, user, line) for user, line in round_of_chat))
            for (user, line), answer in zip(round_of_chat, replies):
                print(f"{user}: {line:15}  -> {answer}")

    with contextlib.ExitStack() as stack:
        modules: Dict[str, LambdaAdapter] = {}
        for command, function in (("roll", "roll"), ("weather", "waddlebot-weather"), ("stocks", "stocks")):
            adapter = LambdaAdapter(aws.name(function), module_name=command, unhealthy_threshold=1, **aws.settings)
            modules[command] = stack.enter_context(adapter)
        asyncio.run(bot(modules))
        unhealthy = [command for command, adapter in modules.items() if not adapter.is_healthy()]
    print("to repair:", ", ".join(unhealthy) or "nothing")
    return unhealthy == ([] if aws.function else ["stocks"])


EXAMPLES = [basic, event, prefix, throttled, metadata, health, module_info, errors, concurrent, workflow]

# --- The command line. ---


def skip(why: str) -> bool:
    print("skipped on AWS:", why)
    return True


def example_number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= len(EXAMPLES)):
        raise argparse.ArgumentTypeError(f"{text!r} is no example: they are 1 to {len(EXAMPLES)}")
    return int(text)


def run(numbers: Iterable[int], aws: Aws) -> List[int]:
    """Runs the examples and returns the numbers of those that did not go as they should."""
    failed = []
    for number in numbers:
        example = EXAMPLES[number - 1]
        print(f"\n{number}. {example.__doc__}")
        if not example(aws):
            failed.append(number)
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Ten ways to use LambdaAdapter.",
        epilog="\n".join(f"{number:2}  {example.__doc__}" for number, example in enumerate(EXAMPLES, 1))
        + "\n\nExit code: 0 if all went as it should, 1 if an example did not, 2 for a wrong command line.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("numbers", nargs="*", type=example_number, metavar="NUMBER", help="1 to 10; default: all")
    parser.add_argument(
        "--aws",
        metavar="FUNCTION",
        help="invoke this function on AWS, with the credentials of your environment, instead of the ones in this file",
    )
    parser.add_argument("--region", help="the region of --aws")
    args = parser.parse_args()
    if (args.aws is None) != (args.region is None):
        parser.error("--aws and --region go together")
    numbers = args.numbers or range(1, len(EXAMPLES) + 1)

    settings: Settings
    if args.aws is not None:
        settings = {"region": args.region}
        try:
            LambdaAdapter(args.aws, module_name="check", **settings).close()
        except ValueError as error:
            parser.error(str(error))
        failed = run(numbers, Aws(settings, args.aws))
    else:
        with LocalLambda(FUNCTIONS) as local:
            failed = run(numbers, Aws({**local.settings}))
    if failed:
        print("\nNot as it should be:", *failed, file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
