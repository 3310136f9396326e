"""examples/prometheus_exporter.py: what Prometheus reads is what happened, and there are few time series."""

import re
import runpy

import pytest
from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.parser import text_string_to_metric_families

from lambda_adapter import CircuitBreaker, LocalLambda
from support import example_scripts
from support.calls import THROTTLED
from support.fault_server import FaultServer, answer, function_error

example = runpy.run_path(str(example_scripts.EXAMPLES / "prometheus_exporter.py"))


class Scrape:
    """One scrape, as Prometheus understands it."""

    def __init__(self, text):
        self.families = list(text_string_to_metric_families(text))
        self.samples = [sample for family in self.families for sample in family.samples]

    def sum(self, name, **labels):
        """Of the samples that have these labels, and maybe others; None when there is none."""
        values = [s.value for s in self.samples if s.name == name and labels.items() <= s.labels.items()]
        return sum(values) if values else None

    def attempts(self):
        """How many there were, by module and error code."""
        return {
            (s.labels["module"], s.labels["error_code"]): s.value
            for s in self.samples
            if s.name == "lambda_adapter_attempts_total"
        }


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
def scrape(registry):
    """Scrapes without a server in between: stopping one takes half a second."""
    return lambda: Scrape(generate_latest(registry).decode())


@pytest.fixture
def make_watched(make_adapter, registry):
    """Makes adapters that the metrics watch and that retry after 2 and 4 ms; ``seen`` has their attempts."""
    metrics = example["ModuleMetrics"](registry)

    def make(**settings):
        def on_attempt(attempt):
            make.seen.append(attempt)
            metrics.on_attempt(attempt)

        adapter = make_adapter(on_attempt=on_attempt, initial_retry_delay=0.002, jitter=0.0, **settings)
        metrics.adapters.append(adapter)
        return adapter

    make.seen = []
    return make


def test_attempts_are_counted_by_error_code_and_waits_and_durations_summed(scrape, make_watched, make_request):
    with FaultServer([THROTTLED, THROTTLED, answer({"success": True}), function_error()]) as server:
        adapter = make_watched(endpoint_url=server.endpoint_url)
        assert [adapter.execute(make_request()).error_code for _ in range(2)] == [None, "function_error"]
    now = scrape()
    assert now.attempts() == {("module", "none"): 1, ("module", "throttled"): 2, ("module", "function_error"): 1}
    assert now.sum("lambda_adapter_retries_total") == 2
    assert now.sum("lambda_adapter_retry_wait_seconds_total") == pytest.approx(0.002 + 0.004)
    assert now.sum("lambda_adapter_attempt_seconds_count") == 4
    durations_s = sum(attempt.duration_s for attempt in make_watched.seen)
    assert now.sum("lambda_adapter_attempt_seconds_sum") == pytest.approx(durations_s)


def test_modules_are_kept_apart_by_their_names(scrape, make_watched, make_request):
    with LocalLambda({"bot-dice": example["roll"], "bot-news": example["roll"]}) as local:
        for module, calls in {"dice": 1, "news": 2}.items():
            adapter = make_watched(
                function_identifier=module, module_name=module, function_prefix="bot-", endpoint_url=local.endpoint_url
            )
            for _ in range(calls):
                adapter.execute(make_request())
    now = scrape()
    for module, calls in {"dice": 1, "news": 2}.items():
        names = {"module": module, "function": f"bot-{module}"}
        assert now.sum("lambda_adapter_attempts_total", **names) == calls
        assert now.sum("lambda_adapter_attempt_seconds_bucket", le="+Inf", **names) == calls
        assert now.sum("lambda_adapter_healthy", **names) == 1


def test_attempts_that_end_in_many_threads_at_once_are_all_counted(scrape, make_watched, make_request):
    with FaultServer(answer({"success": True})) as server:
        adapter = make_watched(endpoint_url=server.endpoint_url, max_concurrency=8)
        assert len(list(adapter.execute_many(make_request() for _ in range(80)))) == 80
    now = scrape()
    assert now.sum("lambda_adapter_attempts_total", error_code="none") == 80
    assert now.sum("lambda_adapter_attempt_seconds_count") == 80


def test_the_gauges_follow_the_adapter_from_scrape_to_scrape(scrape, make_watched, make_request):
    now_s = [0.0]
    breaker = CircuitBreaker(failure_threshold=2, reset_timeout=30.0, clock=lambda: now_s[0])
    states = []

    def look():
        now = scrape()
        states.append((now.sum("lambda_adapter_healthy"), now.sum("lambda_adapter_circuit_open")))

    with FaultServer([function_error(), function_error(), answer({"success": True})]) as server:
        adapter = make_watched(endpoint_url=server.endpoint_url, unhealthy_threshold=1, circuit_breaker=breaker)
        look()
        for _ in range(2):
            adapter.execute(make_request())
            look()
        now_s[0] = 30.0
        look()
        adapter.execute(make_request())
        look()
    assert states == [(1, 0), (0, 0), (0, 1), (0, 1), (1, 0)]


def test_an_adapter_without_a_circuit_breaker_has_a_circuit_that_is_never_open(scrape, make_watched):
    make_watched()
    assert scrape().sum("lambda_adapter_circuit_open") == 0


def test_over_http_the_parser_of_prometheus_finds_six_families_and_what_they_are(registry, make_watched, make_request):
    with FaultServer([THROTTLED, answer({"success": True})]) as server:
        make_watched(endpoint_url=server.endpoint_url).execute(make_request())
    server, thread = start_http_server(0, "127.0.0.1", registry)
    try:
        text = example["scrape"](server.server_port)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    families = [family for family in Scrape(text).families if not family.name.endswith("_created")]
    assert {family.name: family.type for family in families} == {
        "lambda_adapter_attempts": "counter",
        "lambda_adapter_retries": "counter",
        "lambda_adapter_retry_wait_seconds": "counter",
        "lambda_adapter_attempt_seconds": "histogram",
        "lambda_adapter_healthy": "gauge",
        "lambda_adapter_circuit_open": "gauge",
    }
    for family in families:
        assert family.documentation, family.name
        assert family.samples, family.name


def test_other_users_and_other_texts_make_no_new_time_series(scrape, make_watched, make_request):
    def series():
        return {(sample.name, *sorted(sample.labels.items())) for sample in scrape().samples}

    with FaultServer(function_error("what a function says")) as server:
        adapter = make_watched(endpoint_url=server.endpoint_url)
        adapter.execute(make_request())
        few = series()
        for number in range(5):
            ids = {name: f"{name}-{number}" for name in ("user_id", "entity_id", "community_id", "session_id")}
            adapter.execute(make_request(command=f"command-{number}", args=[f"text-{number}"], **ids))
    assert series() == few
    labels = {label for _, *labels in few for label, _ in labels}
    assert labels == {"module", "function", "error_code", "le"}


def test_the_script_prints_a_scrape_whose_numbers_are_those_of_its_calls(tmp_path):
    done = example_scripts.run("prometheus_exporter.py", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    calls, _, scraped = done.stdout.partition("\n\nGET /metrics\n")
    outcomes = {}
    for line in calls.splitlines():
        module, told = line.split(maxsplit=1)
        outcomes[module] = {outcome: int(count) for count, outcome in re.findall(r"(\d+) (\w+)", told)}
    assert outcomes == {
        "dice": {"answered": 6},
        "weather": {"answered": 6},
        "stocks": {"answered": 3, "function_error": 3},
        "news": {"throttled": 3, "circuit_open": 3},
    }
    scrape = Scrape(scraped)
    attempts = scrape.attempts()
    # A call that fails as throttled has made three attempts, and one that is refused none.
    assert attempts == {
        ("dice", "none"): 6,
        ("weather", "none"): 6,
        ("stocks", "none"): 3,
        ("stocks", "function_error"): 3,
        ("news", "throttled"): 3 * 3,
    }
    assert scrape.sum("lambda_adapter_retries_total") == 3 * 2
    assert 0 < scrape.sum("lambda_adapter_retry_wait_seconds_total", module="news") <= 3 * (0.1 + 0.2)
    assert scrape.sum("lambda_adapter_attempt_seconds_count") == sum(attempts.values())
    assert scrape.sum("lambda_adapter_attempt_seconds_sum", module="weather") >= 6 * 0.2
    down = {module: scrape.sum("lambda_adapter_circuit_open", module=module) for module in outcomes}
    assert down == {"dice": 0, "weather": 0, "stocks": 0, "news": 1}
    assert {module: 1 - scrape.sum("lambda_adapter_healthy", module=module) for module in outcomes} == down
