"""A streamed answer: a chat message that is edited while its text comes, at most once a second.

    python examples/streamed_answer.py

Chats limit how often a message may be edited. What counts here is show_as_it_comes. The rest shows it on functions of
this file, served by LocalLambda on this machine; on AWS they would stream through Lambda Web Adapter, for example.
"""

import asyncio
import time
import uuid
from typing import Any, Awaitable, Callable, Dict, Iterator

from lambda_adapter import ExecuteRequest, ExecuteResponse, LambdaAdapter, LocalLambda
from lambda_adapter.local import LambdaContext

Edit = Callable[[str], Awaitable[object]]

#: Stands behind a text that still grows.
CURSOR = " ▌"


async def show_as_it_comes(
    adapter: LambdaAdapter,
    request: ExecuteRequest,
    edit: Edit,
    every_s: float = 1.0,
    clock: Callable[[], float] = time.monotonic,
) -> ExecuteResponse:
    """Edits a message while the answer's text comes, and once more when it is whole or has broken off.

    Args:
        adapter: The LambdaAdapter of the command's module.
        request: The ExecuteRequest.
        edit: `await edit(text)` makes `text` the message's text. While it runs, the function is slowed if need be.
        every_s: Seconds from one edit to the next.
        clock: Seconds, monotonic.

    Returns:
        The one ExecuteResponse.

    Cancelling it leaves the stream: the function runs on, and nobody reads its answer.
    """
    text, shown_at = "", clock() - every_s
    async with adapter.execute_stream_async(request) as stream:
        async for piece in stream:
            text += piece
            if clock() - shown_at >= every_s:
                await edit(text + CURSOR)
                shown_at = clock()
    response = stream.response
    if response.success:
        await edit(text or "Done.")
    elif text:
        # What has been read stays; the user learns that it is not all.
        await edit(f"{text} … (it broke off here: please ask again)")
    else:
        await edit(response.user_message())
    return response


# --- The functions. On AWS each would be a Lambda function of its own. ---

STORY = "Once upon a time a penguin asked a cloud for ice, and the cloud said: tomorrow."


def tell(event: Dict[str, Any], context: LambdaContext) -> Iterator[str]:
    """Says a word every 50 ms, as a language model does."""
    for word in STORY.split():
        yield f"{word} "
        time.sleep(0.05)


def stumble(event: Dict[str, Any], context: LambdaContext) -> Iterator[str]:
    """Breaks off in the middle."""
    yield "Once upon a time"
    raise ConnectionError("the model is gone")


# --- One message and its edits ---


def make_request() -> ExecuteRequest:
    return ExecuteRequest("story", [], "pingu", "#general", "penguins", str(uuid.uuid4()), "discord")


async def tell_both(local: LocalLambda) -> None:
    for name in ("tell", "stumble"):
        print(f"{name}:")

        async def edit(text: str) -> None:
            print(f"    {text}")

        # On AWS: region="us-east-1" in the place of local.settings.
        with LambdaAdapter(name, module_name=name, **local.settings) as adapter:
            response = await show_as_it_comes(adapter, make_request(), edit, every_s=0.25)
        print(f"    -> {response.error_code or 'whole'}, {len(response.message or '')} characters")


def main() -> None:
    with LocalLambda({"tell": tell, "stumble": stumble}) as local:
        asyncio.run(tell_both(local))


if __name__ == "__main__":
    main()
