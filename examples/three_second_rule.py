"""The three-second rule: acknowledge in time, answer when the answer is there, and invoke once.

    python examples/three_second_rule.py

Discord, Slack and others want to hear of a command within three seconds; the answer itself may follow later. What
counts here is answer_in_time. The rest shows it on functions of this file, served by LocalLambda on this machine.
"""

import asyncio
import contextlib
import time
import uuid
from typing import Any, Awaitable, Callable, Dict

from lambda_adapter import ExecuteRequest, ExecuteResponse, LambdaAdapter, LocalLambda
from lambda_adapter.local import LambdaContext

Send = Callable[[str], Awaitable[object]]


async def answer_in_time(
    adapter: LambdaAdapter, request: ExecuteRequest, send: Send, patience_s: float = 2.5
) -> ExecuteResponse:
    """Sends the answer to a request, and before it "Working on it ..." if it takes longer than `patience_s`.

    Args:
        adapter: The LambdaAdapter of the command's module.
        request: The ExecuteRequest.
        send: `await send(text)` shows a text to the user, or raises.
        patience_s: Seconds until the acknowledgement. The half second to three is for its way to the platform.

    Returns:
        The one ExecuteResponse.

    Cancelling it tells the user that no answer will come, and stops further attempts.
    """
    # One task, waited for twice. `asyncio.wait_for` would cancel the call when the time is up, and to call again would
    # run the function a second time.
    call = asyncio.ensure_future(adapter.execute_async(request))
    try:
        await asyncio.wait({call}, timeout=patience_s)
        if not call.done():
            await send("Working on it ...")
        response = await call
    except asyncio.CancelledError:  # the bot shuts down, most likely
        await send("I cannot finish this now. Please ask again in a minute.")
        raise
    finally:
        # Without effect on a call that is done. Otherwise nobody waits any more, so that no retry should follow.
        call.cancel()
    await send(response.user_message() or "Done.")
    return response


# --- The functions. On AWS each would be a Lambda function of its own. ---


def roll(event: Dict[str, Any], context: LambdaContext) -> Dict[str, object]:
    """Quick."""
    return {"success": True, "message": "You rolled 4."}


def report(event: Dict[str, Any], context: LambdaContext) -> Dict[str, object]:
    """Slow."""
    time.sleep(4)
    return {"success": True, "message": "The report is ready: 42 penguins."}


def audit(event: Dict[str, Any], context: LambdaContext) -> Dict[str, object]:
    """Slow, and then it fails."""
    time.sleep(3)
    raise ConnectionError("the data base is down")


def archive(event: Dict[str, Any], context: LambdaContext) -> Dict[str, object]:
    """So slow that the bot shuts down first."""
    time.sleep(60)
    return {"success": True, "message": "Archived."}


# --- A bot and its chat ---

COMMANDS = {"roll": roll, "report": report, "audit": audit, "archive": archive}
GRACE_S = 5


async def bot(modules: Dict[str, LambdaAdapter]) -> None:
    """Four users type at once, and 5 s later the bot shuts down."""
    began = time.monotonic()

    def show(user: str, text: str) -> None:
        print(f"{time.monotonic() - began:5.2f} s  {user:6} {text}", flush=True)

    async def handle(user: str, command: str) -> None:
        async def send(text: str) -> None:
            show(user, f"<- {text}")

        show(user, f"-> !{command}")
        request = ExecuteRequest(
            command=command,
            args=[],
            user_id=user,
            entity_id="lobby",
            community_id="example",
            session_id=uuid.uuid4().hex,
            platform="discord",
        )
        await answer_in_time(modules[command], request, send)

    # A bot must hold on to the tasks that it starts: asyncio itself does not.
    pending = {
        asyncio.ensure_future(handle(user, command))
        for user, command in zip(("Pingu", "Pinga", "Robby", "Pongo"), modules)
    }
    # The shutdown: what finishes within the grace is answered, and the others are told.
    _, late = await asyncio.wait(pending, timeout=GRACE_S)
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)


def main() -> None:
    with contextlib.ExitStack() as stack:
        local = stack.enter_context(LocalLambda(COMMANDS, timeout=90))
        modules = {
            command: stack.enter_context(
                # On AWS: region="us-east-1" in the place of local.settings.
                LambdaAdapter(command, module_name=command, read_timeout=90, **local.settings)
            )
            for command in COMMANDS
        }
        asyncio.run(bot(modules))
        print(f"{len(modules)} commands, {len(local.calls)} invocations")


if __name__ == "__main__":
    main()
