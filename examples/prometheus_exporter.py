"""Metrics for Prometheus: what the attempts of each module come to, and which modules are down.

    python -m pip install prometheus-client
    python examples/prometheus_exporter.py

What counts here is ModuleMetrics. The rest calls four modules of this file, served by LocalLambda on this machine, and
prints what Prometheus would read.
"""

import asyncio
import collections
import contextlib
import http.client
import itertools
import time
import uuid
from typing import Any, Dict, Iterable, List

from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from lambda_adapter import Attempt, CircuitBreaker, ExecuteRequest, LambdaAdapter, LocalLambda
from lambda_adapter.local import LambdaContext

# Labels are names from the bot's set-up, and error codes, of which there are few. Never ids of requests, users or
# communities, never what somebody typed: each new value makes new time series, and Prometheus keeps them all.
NAMES = ["module", "function"]

#: From a warm function to a read_timeout of a minute.
BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class ModuleMetrics(Collector):
    """Counts attempts as they end, and looks at the adapters whenever Prometheus asks."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, labels: List[str] = NAMES) -> Counter:
            return Counter(f"lambda_adapter_{name}", text, labels, registry=registry)

        self.attempts = counter("attempts", 'Attempts; error_code is "none" on success.', [*NAMES, "error_code"])
        self.retries = counter("retries", "Attempts that failed and were followed by another.")
        self.waits = counter("retry_wait_seconds", "Waits between attempts.")
        self.durations = Histogram(
            "lambda_adapter_attempt_seconds", "Attempts' durations.", NAMES, buckets=BUCKETS_S, registry=registry
        )
        self.adapters: List[LambdaAdapter] = []
        registry.register(self)

    def on_attempt(self, attempt: Attempt) -> None:
        """For every adapter's ``on_attempt``. Called in several threads, which prometheus-client allows."""
        names = (attempt.module_name, attempt.function_name)
        self.attempts.labels(*names, attempt.error_code or "none").inc()
        self.durations.labels(*names).observe(attempt.duration_s)
        if attempt.next_delay_s is not None:
            self.retries.labels(*names).inc()
            self.waits.labels(*names).inc(attempt.next_delay_s)

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Called by the registry for each scrape: state is looked up, not counted."""
        healthy = GaugeMetricFamily("lambda_adapter_healthy", "0 after too many failures in a row.", labels=NAMES)
        refusing = GaugeMetricFamily("lambda_adapter_circuit_open", "0 while calls may pass.", labels=NAMES)
        for adapter in self.adapters:
            names = (adapter.module_name, adapter.function_name)
            circuit = adapter.get_module_info()["circuit_breaker"]
            healthy.add_metric(names, float(adapter.is_healthy()))
            refusing.add_metric(names, float(circuit is not None and circuit["state"] != "closed"))
        return [healthy, refusing]


# --- The functions. On AWS each would be a Lambda function of its own. ---

asked = itertools.count(1)


def roll(event: Dict[str, Any], context: LambdaContext) -> Dict[str, object]:
    """Healthy."""
    return {"success": True, "message": "You rolled 4."}


def weather(event: Dict[str, Any], context: LambdaContext) -> Dict[str, object]:
    """Slow."""
    time.sleep(0.2)
    return {"success": True, "message": "Rain, 12 degrees."}


def stocks(event: Dict[str, Any], context: LambdaContext) -> Dict[str, object]:
    """Flaky: every other time it fails."""
    if next(asked) % 2 == 0:
        raise ConnectionError("the data base is down")
    return {"success": True, "message": "ACME stands at 101."}


# --- A bot, and a Prometheus that looks at it once ---


async def chat(adapter: LambdaAdapter) -> str:
    """Calls a module six times, and tells how that went."""
    outcomes: collections.Counter[str] = collections.Counter()
    for _ in range(6):
        request = ExecuteRequest(
            command=adapter.module_name,
            args=[],
            user_id="Pingu",
            entity_id="lobby",
            community_id="example",
            session_id=uuid.uuid4().hex,
            platform="discord",
        )
        response = await adapter.execute_async(request)
        outcomes[response.error_code or "answered"] += 1
    return f"{adapter.module_name:8} {', '.join(f'{count} {outcome}' for outcome, count in outcomes.items())}"


async def bot(adapters: List[LambdaAdapter]) -> None:
    print(*await asyncio.gather(*map(chat, adapters)), sep="\n")


def scrape(port: int) -> str:
    """The text that Prometheus gets."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()


def main() -> None:
    registry = CollectorRegistry()
    metrics = ModuleMetrics(registry)
    # A bot has a port of its own for this. On loopback: metrics are not for everybody.
    server, thread = start_http_server(0, "127.0.0.1", registry)
    with contextlib.ExitStack() as stack:
        functions = {"bot-dice": roll, "bot-weather": weather, "bot-stocks": stocks}
        local = stack.enter_context(LocalLambda(functions))
        throttled = stack.enter_context(LocalLambda({"bot-news": roll}, concurrency_limit=0, retry_after=0))
        for module, served_by in {"dice": local, "weather": local, "stocks": local, "news": throttled}.items():
            adapter = LambdaAdapter(
                module,
                module_name=module,
                function_prefix="bot-",
                max_retries=2,
                initial_retry_delay=0.1,
                circuit_breaker=CircuitBreaker(failure_threshold=3),
                on_attempt=metrics.on_attempt,
                # On AWS: region="us-east-1" in the place of this.
                **served_by.settings,
            )
            metrics.adapters.append(stack.enter_context(adapter))
        asyncio.run(bot(metrics.adapters))
        print("\nGET /metrics")
        for line in scrape(server.server_port).splitlines():
            if not line.startswith("#") and "_created{" not in line and "_bucket{" not in line:
                print(line)
    server.shutdown()
    server.server_close()
    thread.join()


if __name__ == "__main__":
    main()
