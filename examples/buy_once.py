"""A purchase is made once, though the connection breaks after each request.

    python examples/buy_once.py

The function may not run twice (``idempotent=False``), and after a connection that broke nobody can tell whether it ran.
With ``durable=True`` the call is simply made again: AWS runs one execution for each session_id, and gives its answer to
all who ask. The function must have been created for durable executions; here it is served by LocalLambda on this
machine, behind a proxy that takes every request through, and breaks the connection before the answer three times.
"""

import contextlib
import socket
import threading
from typing import Any, Dict, Iterator, List
from urllib.parse import urlsplit

from lambda_adapter import ExecuteRequest, LambdaAdapter, LocalLambda
from lambda_adapter.local import LocalSettings

BREAKS = 3


class Shop:
    """The function: it takes the money."""

    def __init__(self) -> None:
        self.sold: List[str] = []

    def __call__(self, event: Dict[str, Any], context: object) -> Dict[str, Any]:
        self.sold.append(event["trigger"]["context_text"])
        return {"success": True, "message": f"You bought a {self.sold[-1]}. Receipt {len(self.sold)}."}


def main() -> None:
    shop = Shop()
    with contextlib.ExitStack() as stack:
        local = stack.enter_context(LocalLambda({"shop": shop}, durable={"shop"}))
        endpoint_url = stack.enter_context(breaking(local.endpoint_url, BREAKS))
        settings: LocalSettings = {**local.settings, "endpoint_url": endpoint_url}
        # On AWS: the function's name with its version or alias, and region="us-east-1" in the place of settings.
        adapter = stack.enter_context(
            LambdaAdapter("shop:live", module_name="shop", durable=True, idempotent=False, **settings)
        )
        request = ExecuteRequest("buy", ["sword"], "pingu", "lobby", "example", "purchase-4711", "discord")
        response = adapter.execute(request)
        print(response.user_message())
        print(f"{response.invocation.attempts} attempts, {len(shop.sold)} sold")
        again = adapter.execute(request)
        print(f"Asked again: {again.user_message()} {len(shop.sold)} sold")


@contextlib.contextmanager
def breaking(url: str, times: int) -> Iterator[str]:
    """A proxy in front of ``url`` that breaks that many connections after the function has run."""
    server = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_serve, args=(server, url, times), daemon=True).start()
    with server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def _serve(server: socket.socket, url: str, times: int) -> None:
    to = urlsplit(url)
    with contextlib.suppress(OSError):
        while True:
            client, _ = server.accept()
            with client, socket.create_connection((to.hostname or "", to.port or 0)) as upstream:
                threading.Thread(target=_pass_on, args=(client, upstream), daemon=True).start()
                while True:
                    answer = upstream.recv(65_536)
                    if times > 0 or not answer:
                        times -= 1
                        break
                    client.sendall(answer)
                for side in (client, upstream):
                    with contextlib.suppress(OSError):
                        side.shutdown(socket.SHUT_RDWR)


def _pass_on(client: socket.socket, upstream: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            request = client.recv(65_536)
            if not request:
                break
            upstream.sendall(request)


if __name__ == "__main__":
    main()
