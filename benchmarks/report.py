"""RESULTS.md and chart.svg, from the samples in results.json."""

import pathlib
import statistics
from typing import Any, Dict, Iterable, List, Optional, Sequence

from .parts import ASYNC_PEERS, Comparison, Figure, Json, Part

_COLORS = dict(zip(ASYNC_PEERS, ("#0b6e4f", "#d1495b", "#3066be", "#8d99ae")))


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
    return [
        comparison.what,
        _figure(comparison.ours, samples),
        f"{_figure(comparison.peer, samples)} ({_name(comparison)})" if comparison.peer else "-",
        _spread(found, "{:.1f}" if max(found, default=0) >= 10 else "{:.3f}") if comparison.peer else "-",
        _target(comparison),
        "-" if met is None else "yes" if met else "**no**",
    ]


def markdown(results: Json, parts: Sequence[Part]) -> str:
    """RESULTS.md."""
    samples: Dict[str, List[Json]] = results["samples"]
    measured = [part for part in parts if part.name in samples]
    sections = ["# Benchmark results", _introduction(results)]
    if "async" in samples:
        sections.append("![Throughput over calls in flight](chart.svg)")
    header = ["what", "ours", "peer", "ratio", "target", "met?"]
    rows = [table_row(each, samples[part.name], results["smoke"]) for part in measured for each in part.comparisons]
    sections += ["## Targets", _table(header, rows)]
    if "async" in samples:
        sections += ["## Throughput", _throughput(samples["async"])]
    sections += ["## How each figure was made", "\n".join(f"- **{part.name}**: {part.how}" for part in measured)]
    return "\n\n".join(sections) + "\n"


def draw_chart(samples: List[Json], path: pathlib.Path) -> None:
    """Throughput over calls in flight: a line of medians for each peer, in a band from the least to the most."""
    import matplotlib

    matplotlib.use("svg")
    # With a fixed salt equal results give equal files.
    matplotlib.rcParams.update({"svg.hashsalt": "lambda_adapter", "font.size": 11})
    from matplotlib import pyplot

    levels = _levels(samples)
    figure, axes = pyplot.subplots(figsize=(8, 4.8), facecolor="white", layout="constrained")
    for peer in _peers(samples):
        rounds = [Figure(peer, "calls_per_s", "", {"in_flight": level}).of(samples) for level in levels]
        axes.plot(levels, list(map(statistics.median, rounds)), marker="o", color=_COLORS[peer], label=peer)
        axes.fill_between(levels, list(map(min, rounds)), list(map(max, rounds)), color=_COLORS[peer], alpha=0.15)
    axes.set_xscale("log", base=2)
    axes.set_xticks(levels, [str(level) for level in levels])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel("calls in flight")
    axes.set_ylabel("calls per second")
    axes.set_title("A 100 ms function, called from one event loop", loc="left")
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _introduction(results: Json) -> str:
    machine = results["machine"]
    packages = ", ".join(
        f"{name} {version}" for name, version in {**machine["packages"], **results["versions"]}.items()
    )
    pinned = "Each client runs on the first core, the endpoint on the second."
    if not machine["pinned"]:
        pinned = "Clients and endpoint share the one core, not pinned, so these figures say little."
    paragraphs = [
        "Made by `python -m benchmarks`. Every measurement has a fresh process, and peers take turns, round after "
        "round. A figure is the median of its rounds, with the least and the most in brackets; a ratio is ours over "
        "the peer's within one round.",
        f"Machine: {machine['cpu']}, {machine['cores']} cores, {machine['system']}, {machine['python']}; {packages}. "
        f"{pinned}",
    ]
    if results["smoke"]:
        paragraphs.insert(0, "**A smoke run: its counts are too small for its figures to mean anything.**")
    return "\n\n".join(paragraphs)


def _throughput(samples: List[Json]) -> str:
    """Every peer at every level, and how busy client and endpoint were."""
    levels = _levels(samples)
    rows = []
    for peer in _peers(samples):
        found = [Figure(peer, "calls_per_s", "", {"in_flight": level}).of(samples) for level in levels]
        rows.append([peer, *(_spread(each, "{:,.0f}") for each in found)])
    busy = [f"{peer} {_median(samples, peer, 'client_busy', levels[-1]):.0%}" for peer in _peers(samples)]
    endpoint = max(sample["endpoint_busy"] for sample in samples)
    return (
        _table(["calls per second, in flight:", *map(str, levels)], rows)
        + f"\n\nCPU of the client's process at {levels[-1]} in flight, as a share of one core: {', '.join(busy)}. "
        f"The endpoint's never exceeded {endpoint:.0%}."
    )


def _median(samples: List[Json], peer: str, key: str, in_flight: int) -> float:
    return statistics.median(Figure(peer, key, "", {"in_flight": in_flight}).of(samples))


def _levels(samples: List[Json]) -> List[int]:
    return sorted({sample["in_flight"] for sample in samples})


def _peers(samples: List[Json]) -> List[str]:
    found = {sample["peer"] for sample in samples}
    return [peer for peer in ASYNC_PEERS if peer in found]


def _figure(figure: Figure, samples: List[Json]) -> str:
    values = figure.of(samples)
    return f"{_spread(values, _format(values))} {figure.unit}".strip() if values else "not measured"


def _name(comparison: Comparison) -> str:
    """What the peer's column says beside the figure."""
    assert comparison.peer is not None
    return "alone" if comparison.peer.peer == comparison.ours.peer else comparison.peer.peer


def _format(values: Iterable[float]) -> str:
    """Three digits, or all of them before the point."""
    largest = max(values)
    return "{:,.0f}" if largest >= 100 or largest == int(largest) else "{:.1f}" if largest >= 10 else "{:.2f}"


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
