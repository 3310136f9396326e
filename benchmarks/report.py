"""RESULTS.md, from the samples in results.json."""

import statistics
from typing import Any, Dict, Iterable, List, Optional, Sequence

from .parts import SCHEMES, Comparison, Figure, Part, about
from .peers import ASYNC_PEERS, OURS, Json


def ratios(comparison: Comparison, samples: List[Json]) -> List[float]:
    """Our figure over the peer's in each round; where there is no peer, our figure itself."""
    ours = comparison.ours.of(samples)
    if comparison.peer is None:
        return ours
    return [mine / theirs for mine, theirs in zip(ours, comparison.peer.of(samples))]


def is_met(comparison: Comparison, ratio: float) -> Optional[bool]:
    """Whether a ratio is within its target; None where there is none."""
    if comparison.at_most is not None:
        return ratio <= comparison.at_most
    return None if comparison.at_least is None else ratio >= comparison.at_least


def table_row(comparison: Comparison, samples: List[Json], smoke: bool) -> List[str]:
    """What, ours, peer, ratio, target, met?"""
    found = ratios(comparison, samples)
    met = is_met(comparison, statistics.median(found)) if found and not smoke else None
    peer = comparison.peer
    return [
        comparison.what,
        _figure(comparison.ours, samples),
        f"{_figure(peer, samples)} ({comparison.beside or peer.peer})" if peer else "-",
        _spread(found, "{:.3f}") if peer else "-",
        _target(comparison),
        "-" if met is None else "yes" if met else "**no**",
    ]


def markdown(results: Json, parts: Sequence[Part]) -> str:
    """RESULTS.md."""
    samples: Dict[str, List[Json]] = results["samples"]
    measured = [part for part in parts if part.name in samples]
    sections = ["# Benchmark results", _introduction(results)]
    if "async" in samples:
        sections.append("![Calls per second over calls in flight](chart.svg)")
    header = ["what", "ours", "peer", "ratio", "target", "met?"]
    rows = [table_row(each, samples[part.name], results["smoke"]) for part in measured for each in part.comparisons]
    sections += ["## Targets", _table(header, rows)]
    if "async" in samples:
        sections += ["## Throughput", *_throughput(samples["async"])]
    if "pinned" in samples:
        sections += ["## Pinned to one core", _pinned(samples["pinned"])]
    sections += ["## How each figure was made", "\n".join(f"- **{part.name}**: {part.how}" for part in measured)]
    return "\n\n".join(sections) + "\n"


def _introduction(results: Json) -> str:
    machine, versions = results["machine"], results["versions"]
    environments = "; ".join(f"{peer}: {_packages(found)}" for peer, found in versions.items())
    missing = ", ".join(peer for peer in ASYNC_PEERS if _is_missing(peer, results))
    paragraphs = [
        "Made by `python -m benchmarks`. Every measurement has a fresh process, and peers take turns, round after "
        "round. A figure is the median of its rounds, with the least and the most in brackets; a ratio is ours over "
        "the peer's within one round.",
        f"Machine: {machine['cpu']}, {machine['cores']} cores, {machine['system']}. lambda_adapter and boto3: "
        f"{machine['python']}, {_packages(machine['packages'])}. Peers with an environment of their own: "
        f"{environments or 'none'}.{f' Left out: {missing}.' if missing else ''}",
    ]
    if results["smoke"]:
        paragraphs.insert(0, "**A smoke run: its counts are too small for its figures to mean anything.**")
    return "\n\n".join(paragraphs)


def _packages(versions: Json) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _is_missing(peer: str, results: Json) -> bool:
    samples = results["samples"].get("async", [])
    return bool(samples) and peer not in peers_of(samples)


def _throughput(samples: List[Json]) -> List[str]:
    """Every peer at every level, and ours over it, by scheme; then what a call costs the client."""
    sections = []
    for scheme, title in SCHEMES.items():
        levels = levels_of(samples)
        header = [f"{title}, in flight:", *map(str, levels)]
        figures = [[peer, *(_calls(peer, scheme, level, samples) for level in levels)] for peer in peers_of(samples)]
        against = [
            [f"ours / {peer}", *(_ratio(peer, scheme, level, samples) for level in levels)]
            for peer in peers_of(samples)
            if peer != OURS
        ]
        sections.append(_table(header, figures + against))
    endpoint = max(sample["endpoint_busy"] for sample in samples)
    sections.append(f"The endpoint was never busy for more than {endpoint:.0%} of the time.")
    return [*sections, _costs(samples)]


def _costs(samples: List[Json]) -> str:
    """What a call costs the client's process."""
    levels = levels_of(samples)
    header = ["of the client's process, for each call", *(f"TLS, {level}" for level in levels[-3:])]
    rows = [
        [f"{peer}: {what}", *(_median(peer, key, about("https", level), samples) for level in levels[-3:])]
        for key, what in (("cpu_ms", "CPU time, ms"), ("switches", "voluntary context switches"))
        for peer in peers_of(samples)
    ]
    return _table(header, rows)


def _pinned(samples: List[Json]) -> str:
    named = samples[0]["about"]
    rows = [[peer, _spread(_calls_figure(peer, named).of(samples), "{:,.0f}")] for peer in peers_of(samples)]
    return _table([f"calls per second, {named}", ""], rows)


def levels_of(samples: List[Json]) -> List[int]:
    """The numbers of calls in flight."""
    return sorted({sample["in_flight"] for sample in samples})


def peers_of(samples: List[Json]) -> List[str]:
    """The peers that were measured."""
    found = {sample["peer"] for sample in samples}
    return [peer for peer in ASYNC_PEERS if peer in found]


def calls_per_s(peer: str, scheme: str, in_flight: int, samples: List[Json]) -> List[float]:
    """One peer's calls per second, in the order of the rounds."""
    return _calls_figure(peer, about(scheme, in_flight)).of(samples)


def _calls_figure(peer: str, named: str) -> Figure:
    return Figure(peer, "calls_per_s", "", named)


def _calls(peer: str, scheme: str, in_flight: int, samples: List[Json]) -> str:
    return _spread(calls_per_s(peer, scheme, in_flight, samples), "{:,.0f}")


def _ratio(peer: str, scheme: str, in_flight: int, samples: List[Json]) -> str:
    ours, theirs = (_calls_figure(each, about(scheme, in_flight)) for each in (OURS, peer))
    return _spread(ratios(Comparison("", ours, theirs), samples), "{:.2f}")


def _median(peer: str, key: str, named: str, samples: List[Json]) -> str:
    return f"{statistics.median(Figure(peer, key, '', named).of(samples)):.2f}"


def _figure(figure: Figure, samples: List[Json]) -> str:
    values = figure.of(samples)
    return f"{_spread(values, _format(values))} {figure.unit}".strip() if values else "not measured"


def _format(values: Iterable[float]) -> str:
    """Three digits, or all of them before the point."""
    largest = max(values)
    return "{:,.0f}" if largest >= 100 else "{:.1f}" if largest >= 10 else "{:.2f}"


def _spread(values: List[float], form: str) -> str:
    if not values:
        return "-"
    median = form.format(statistics.median(values))
    return f"{median} ({form.format(min(values))} to {form.format(max(values))})" if len(values) > 1 else median


def _target(comparison: Comparison) -> str:
    if comparison.at_most is not None:
        return f"≤ {comparison.at_most:g}"
    return "-" if comparison.at_least is None else f"≥ {comparison.at_least:g}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns line up in a terminal as well."""
    widths = [max(map(len, column)) for column in zip(header, *rows)]
    lines = [header, ["-" * width for width in widths], *rows]
    return "\n".join(_line(line, widths) for line in lines)


def _line(cells: Sequence[Any], widths: Sequence[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths)) + " |"
