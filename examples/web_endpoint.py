"""A web endpoint: an answer within 3 s, and what takes longer is fetched later.

    python -m pip install starlette uvicorn
    uvicorn --app-dir examples web_endpoint:app
    curl -i -d '{"command": "roll", "args": ["2d6"], "user": "pingu"}' http://127.0.0.1:8000/commands
    curl -i -d '{"command": "report", "user": "pingu"}' http://127.0.0.1:8000/commands    202, and where to look
    curl -i http://127.0.0.1:8000/commands/<id>                                           202, and then the answer
    curl -i http://127.0.0.1:8000/health                                                  503 while one is unhealthy

LocalLambda serves the functions, unless LAMBDA_REGION names the region in which roll and report are on AWS. Answers are
kept in this process: run one worker, or keep them where all workers look (durable=True keeps them on AWS).
"""

import asyncio
import collections
import contextlib
import os
import time
import uuid
from typing import Any, AsyncIterator, Dict, Optional, OrderedDict

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lambda_adapter import ExecuteRequest, ExecuteResponse, LambdaAdapter, LocalLambda
from lambda_adapter.local import LambdaContext

PATIENCE_S = 2.5  # the half second to three is for the way to the caller
MAX_BODY_BYTES = 10_000
MAX_KEPT = 1_000  # calls that can be asked for; the oldest go first

# --- The functions. On AWS each would be a Lambda function of its own. ---


def roll(event: Dict[str, Any], context: LambdaContext) -> Dict[str, object]:
    """Quick."""
    return {"success": True, "message": f"{event['user']['id']} rolled 4."}


def report(event: Dict[str, Any], context: LambdaContext) -> Dict[str, object]:
    """Slow."""
    time.sleep(6)
    return {"success": True, "message": "The report is ready: 42 penguins."}


# --- The endpoint ---

Call = "asyncio.Task[ExecuteResponse]"


class Commands:
    """The calls under way, and those that can still be asked for."""

    def __init__(self, modules: Dict[str, LambdaAdapter], patience_s: float = PATIENCE_S) -> None:
        self.modules = modules  # command -> adapter
        self.patience_s = patience_s
        self.calls: OrderedDict[str, asyncio.Task[ExecuteResponse]] = collections.OrderedDict()
