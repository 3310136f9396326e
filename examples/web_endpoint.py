"""A web endpoint: an answer within 3 s, and what takes longer is fetched later.

    python -m pip install starlette uvicorn
    uvicorn --app-dir examples web_endpoint:app
    curl -i http://127.0.0.1:8000/commands -d '{"command": "roll", "args": ["2d6"], "user": "pingu"}'
    curl -i http://127.0.0.1:8000/commands -d '{"command": "report", "user": "pingu"}'    202, and where to look
    curl -i http://127.0.0.1:8000/commands/<id>    202, and then the answer
    curl -i http://127.0.0.1:8000/health           503 while a function is unhealthy

LocalLambda serves the functions, unless LAMBDA_REGION names the region in which roll and report are on AWS. Answers are
kept in this process, so run one worker: examples/leave_and_come_back.py has AWS keep them.
"""

import asyncio
import contextlib
import json
import os
import time
import uuid
from typing import Any, AsyncIterator, Dict

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lambda_adapter import ExecuteRequest, ExecuteResponse, LambdaAdapter, LocalLambda
from lambda_adapter.local import LambdaContext

PATIENCE_S = 2.5  # the half second to three is for the way to the caller
KEPT_S = 600.0  # an answer, for those who come back
MAX_BODY_BYTES = 10_000
MAX_PENDING = 1_000  # calls of one function that wait for a place; more are told that it is busy

# --- The functions. On AWS each would be a Lambda function of its own. ---


def roll(event: Dict[str, Any], context: LambdaContext) -> Dict[str, object]:
    """Quick."""
    return {"success": True, "message": f"{event['user']['id']} rolled 4."}


def report(event: Dict[str, Any], context: LambdaContext) -> Dict[str, object]:
    """Slow."""
    time.sleep(6)
    return {"success": True, "message": "The report is ready: 42 penguins."}


FUNCTIONS = {"roll": roll, "report": report}

# --- The endpoint ---


def read(body: bytes) -> ExecuteRequest:
    """The request in a body. Raises ValueError, whose text is for the caller."""
    try:
        asked = json.loads(body)
    except ValueError:
        raise ValueError("the body must be JSON") from None
    if not isinstance(asked, dict) or not all(isinstance(asked.get(key), str) for key in ("command", "user")):
        raise ValueError('the body must be an object with the texts "command" and "user"')
    args = asked.get("args", [])
    if not isinstance(args, list) or not all(isinstance(word, str) for word in args):
        raise ValueError('"args" must be a list of texts')
    # The id is all that it takes to fetch the answer, so it must not be guessed.
    return ExecuteRequest(asked["command"], args, asked["user"], "web", "example", uuid.uuid4().hex, "web")


class Commands:
    """The calls under way, and the answers that can still be fetched."""

    def __init__(self, modules: Dict[str, LambdaAdapter], patience_s: float) -> None:
        self.modules = modules  # command -> adapter
        self.patience_s = patience_s
        self.calls: Dict[str, asyncio.Task[ExecuteResponse]] = {}  # asyncio itself keeps no task alive

    async def ask(self, request: Request) -> Response:
        """POST /commands: the answer, or after `patience_s` where to look for it."""
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                return JSONResponse({"error": f"the body may have {MAX_BODY_BYTES} bytes"}, 413)
        try:
            asked = read(body)
        except ValueError as error:
            return JSONResponse({"error": str(error)}, 400)
        if asked.command not in self.modules:
            return JSONResponse({"error": "there is no such command"}, 404)
        call_id = str(asked.session_id)
        # A task of its own: it goes on when this request has been answered, or its caller has hung up.
        call = self.calls[call_id] = asyncio.ensure_future(self.modules[asked.command].execute_async(asked))
        call.add_done_callback(lambda _: asyncio.get_running_loop().call_later(KEPT_S, self.calls.pop, call_id, None))
        await asyncio.wait({call}, timeout=self.patience_s)
        return self.show(call_id)

    async def look(self, request: Request) -> Response:
        """GET /commands/<id>: the answer, once it is there."""
        return self.show(request.path_params["call_id"])

    def show(self, call_id: str) -> Response:
        """What is known of a call."""
        call = self.calls.get(call_id)
        if call is None:
            return JSONResponse({"error": "there is no such call, or its answer has been thrown away"}, 404)
        if not call.done():
            headers = {"Location": f"/commands/{call_id}", "Retry-After": "1"}
            return JSONResponse({"id": call_id, "message": "Working on it ..."}, 202, headers)
        response = call.result()
        return JSONResponse({"id": call_id, "success": response.success, "message": response.user_message() or "Done."})

    async def health(self, request: Request) -> Response:
        """GET /health. It asks no function, so it is quick and costs nothing."""
        modules = {command: adapter.get_module_info() for command, adapter in self.modules.items()}
        healthy = all(adapter.is_healthy() for adapter in self.modules.values())
        return JSONResponse(modules, 200 if healthy else 503)

    async def end(self) -> None:
        """Stops further attempts: nobody can fetch an answer from a process that ends."""
        for call in self.calls.values():
            call.cancel()
        await asyncio.gather(*self.calls.values(), return_exceptions=True)


def make_app(settings: Dict[str, Any], patience_s: float = PATIENCE_S) -> Starlette:
    """The application. `settings` say where the functions are: LambdaAdapter's, or {} for LocalLambda."""
    commands = Commands({}, patience_s)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        with contextlib.ExitStack() as stack:
            where = settings or stack.enter_context(LocalLambda(FUNCTIONS)).settings
            for name in FUNCTIONS:
                adapter = LambdaAdapter(name, module_name=name, max_pending=MAX_PENDING, **where)
                commands.modules[name] = stack.enter_context(adapter)
            yield
            await commands.end()

    routes = [
        Route("/commands", commands.ask, methods=["POST"]),
        Route("/commands/{call_id}", commands.look),
        Route("/health", commands.health),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


app = make_app({"region": os.environ["LAMBDA_REGION"]} if "LAMBDA_REGION" in os.environ else {})
