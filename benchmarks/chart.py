"""chart.svg: calls per second over calls in flight, a panel for TLS and one for plain HTTP.

Both axes are logarithmic, and where lines meet their markers stand side by side, in the order of the labels. Colours
are Okabe and Ito's, which the colour-blind can tell apart; marker and line style differ as well.
"""

import pathlib
import statistics
from typing import Any, List

import attrs

from .parts import SCHEMES
from .peers import AIOBOTO3, AIOBOTOCORE, AWS_SDK, DEFAULT_EXECUTOR, OURS, OWN_POOL, Json
from .report import calls_per_s, levels_of, peers_of


@attrs.frozen
class _Style:
    color: str
    marker: str
    line: Any
    width: float = 1.4


_STYLES = {
    OURS: _Style("#0072B2", "o", "-", 2.6),
    OWN_POOL: _Style("#D55E00", "s", "--"),
    DEFAULT_EXECUTOR: _Style("#000000", "x", ":"),
    AIOBOTO3: _Style("#009E73", "^", "-."),
    AIOBOTOCORE: _Style("#E69F00", "v", (0, (6, 1.5))),
    AWS_SDK: _Style("#CC79A7", "D", (0, (3, 1, 1, 1, 1, 1))),
}
#: Of neighbouring markers at one number of calls in flight: how far they stand apart.
_DODGE = 1.09
_TICKS = (10, 20, 50, 100, 200, 500, 1000, 2000)
#: Of neighbouring labels: a line of text.
_APART = 1.28


def draw(samples: List[Json], path: pathlib.Path) -> None:
    """A line of medians for each peer, with bars from the least to the most."""
    import matplotlib

    matplotlib.use("svg")
    # With a fixed salt equal results give equal files; text stays text, so that it can be searched.
    matplotlib.rcParams.update({"svg.hashsalt": "lambda_adapter", "svg.fonttype": "none", "font.size": 10})
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(SCHEMES), figsize=(12, 5.6), sharey=True, facecolor="white")
    figure.subplots_adjust(left=0.06, right=0.83, top=0.87, bottom=0.1, wspace=0.62)
    for axes, (scheme, title) in zip(panels, SCHEMES.items()):
        _draw_panel(axes, scheme, samples)
        axes.set_title(title, loc="left")
    panels[0].set_ylabel("calls per second (logarithmic)")
    figure.suptitle(
        "A 100 ms function, called from one event loop; nothing pinned. Medians, and bars from least to most.",
        x=0.06,
        ha="left",
    )
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _draw_panel(axes: Any, scheme: str, samples: List[Json]) -> None:
    levels, peers = levels_of(samples), peers_of(samples)
    ends = {}
    for place, peer in enumerate(peers):
        style = _STYLES[peer]
        rounds = [calls_per_s(peer, scheme, level, samples) for level in levels]
        medians = list(map(statistics.median, rounds))
        axes.errorbar(
            [level * _DODGE ** (place - (len(peers) - 1) / 2) for level in levels],
            medians,
            yerr=[[median - min(each) for median, each in zip(medians, rounds)],
                  [max(each) - median for median, each in zip(medians, rounds)]],
            color=style.color, marker=style.marker, linestyle=style.line, linewidth=style.width,
            markersize=6, capsize=2, label=peer, gid=f"{scheme} {peer}",
        )  # fmt: skip
        ends[peer] = medians[-1]
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(levels, [str(level) for level in levels])
    axes.minorticks_off()
    axes.set_yticks(_TICKS, [f"{tick:,}" for tick in _TICKS])
    axes.set_ylim(7, 2000)
    axes.set_xlabel("calls in flight (logarithmic)")
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    _label_ends(axes, levels[-1], ends)


def _label_ends(axes: Any, last_level: int, ends: "dict[str, float]") -> None:
    """Each peer's name and last figure beside its line's end, apart from each other."""
    at = 0.0
    for peer, value in sorted(ends.items(), key=lambda end: end[1]):
        at = max(value, at * _APART)
        axes.annotate(
            f"{peer} {value:,.0f}",
            xy=(last_level * _DODGE ** (len(ends) / 2), value),
            xytext=(last_level * 2, at),
            color=_STYLES[peer].color,
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": _STYLES[peer].color, "linewidth": 0.7},
        )
