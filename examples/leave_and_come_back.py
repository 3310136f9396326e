"""The three-second rule by leaving and coming back: the bot may die between a command and its answer.

    python examples/leave_and_come_back.py

A command is begun with ``start``, which returns at once; what it returns is kept in the bot's data base, and the answer
is fetched with ``result``, by whichever process of the bot is there then. The function must have been created for
durable executions. What counts here is the class Bot. The rest shows it: the bot is killed while the function runs, and
started again; the function is one of this file, served by LocalLambda on this machine.
"""

import contextlib
import json
import pathlib
import sqlite3
import subprocess
import sys
import tempfile
import time
from typing import Any, Dict, List

from lambda_adapter import ExecuteRequest, Execution, LambdaAdapter, LocalLambda
from lambda_adapter.local import LocalSettings

FUNCTION_S = 3.0


class Bot:
    """A bot that owes its users answers, and remembers them.

    Args:
        adapter: Of the command's module, with ``durable=True``.
        path: The data base.
    """

    def __init__(self, adapter: LambdaAdapter, path: str) -> None:
        self.adapter = adapter
        self.base = sqlite3.connect(path)
        self.base.execute("create table if not exists owed (session_id text primary key, channel text, execution text)")

    def hear(self, request: ExecuteRequest, channel: str) -> None:
        """Begin what a user asks for, and say so within the three seconds."""
        # Before the call: whoever dies within it still knows for whom to ask. The session_id is enough for that.
        self.remember(request.session_id, channel, None)
        execution = self.adapter.start(request)
        if execution.error_code is None:
            self.remember(request.session_id, channel, execution)
        # Also after an error, which may have come behind the beginning: pay finds out whether it runs.
        self.say(channel, "Working on it ...")

    def pay(self, wait_s: float) -> int:
        """Fetch the answers that are owed; how many are still."""
        owed = self.base.execute("select session_id, channel, execution from owed").fetchall()
        for session_id, channel, kept in owed:
            execution = Execution.from_dict(json.loads(kept)) if kept else session_id
            response = self.adapter.result(execution, wait=wait_s)
            # "maybe": nothing could be learned, and it is owed as before. But for not_found: it was never begun.
            if response.error_code == "pending" or (
                response.invocation.executed == "maybe" and response.error_code != "not_found"
            ):
                continue
            self.say(channel, response.user_message())
            self.forget(session_id)
        return int(self.base.execute("select count(*) from owed").fetchone()[0])

    def remember(self, session_id: object, channel: str, execution: "Execution | None") -> None:
        kept = None if execution is None else json.dumps(execution.to_dict())
        with self.base:
            self.base.execute("insert or replace into owed values (?, ?, ?)", (session_id, channel, kept))

    def forget(self, session_id: object) -> None:
        with self.base:
            self.base.execute("delete from owed where session_id = ?", (session_id,))

    def say(self, channel: str, text: str) -> None:
        print(f"{channel}: {text}", flush=True)


def run_bot(settings: LocalSettings, path: str, heard: List[str]) -> None:
    """One life of the bot's process: pay what is owed, hear what is new, and pay again."""
    # On AWS: the function's name with its version or alias, and region="us-east-1" in the place of settings.
    with LambdaAdapter("report:live", module_name="report", durable=True, **settings) as adapter:
        bot = Bot(adapter, path)
        with contextlib.closing(bot.base):
            for session_id in heard:
                request = ExecuteRequest("report", [], "pingu", "lobby", "example", session_id, "discord")
                bot.hear(request, "#lobby")
            while bot.pay(wait_s=60.0):
                pass


# --- The function. On AWS it would be one that was created with a DurableConfig. ---


class Report:
    """Slow, and it counts how often it runs."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self, event: Dict[str, Any], context: object) -> Dict[str, Any]:
        self.runs += 1
        time.sleep(FUNCTION_S)
        return {"success": True, "message": f"The report is ready: 42 penguins, run {self.runs}."}


def main() -> None:
    report = Report()
    handlers = {"report": report}
    with LocalLambda(handlers, durable={"report"}) as local, tempfile.TemporaryDirectory() as kept:
        base = str(pathlib.Path(kept, "bot.sqlite"))
        python = [sys.executable, *("-W" + option for option in sys.warnoptions)]
        bot = [*python, __file__, json.dumps(local.settings), base]
        with subprocess.Popen([*bot, "session-of-pingu"], stdout=subprocess.PIPE, text=True) as first:
            assert first.stdout is not None
            print(first.stdout.readline(), end="")
            first.kill()
        print(f"The bot was killed (exit code {first.returncode}), and is started again.", flush=True)
        subprocess.run(bot, check=True)
        print(f"{report.runs} run")


if __name__ == "__main__":
    if sys.argv[1:]:
        run_bot(json.loads(sys.argv[1]), sys.argv[2], sys.argv[3:])
    else:
        main()
