"""The command line of the benchmarks."""

import argparse
import importlib.util
import json
import os
import pathlib
import sys
import time
from typing import Callable, Dict, List, Optional, Sequence

from . import chart, measure, report
from .environments import ENVIRONMENTS
from .parts import UNDER_CALLGRIND, Part, make_parts
from .peers import Json

_DESCRIPTION = """\
Measure lambda_adapter beside what people would use instead, and write results.json (every sample), RESULTS.md (medians
and ratios) and chart.svg (throughput). Without NAME everything is measured, in about fourteen minutes; with names only
those parts, and the other rows stay as they were. Nothing else should run meanwhile, except for the instructions, which
are the same on a busy machine.

Needs Linux, better with two cores, and: pip install -e '.[bench]'; valgrind for the instructions. The first run makes a
virtual environment in .benchmarks for each peer that needs one; that of aws-sdk-lambda needs Python 3.12 or newer.

To measure another version of the code, put this folder beside its lambda_adapter and run it there.
"""


def main(arguments: Optional[Sequence[str]] = None) -> int:
    names = [part.name for part in make_parts()]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", metavar="NAME", nargs="*", help=", ".join(names))
    parser.add_argument("--output", type=pathlib.Path, metavar="DIR", help="where to write (default: benchmarks)")
    parser.add_argument(
        "--smoke",
        action="store_true",
        help="only see that all of it works: tiny counts, no peer that needs an environment of its own, no "
        f"{UNDER_CALLGRIND} unless named, nothing written without --output",
    )
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - set(names))
    if unknown:
        parser.error(f"there is no {', '.join(unknown)}; there are {', '.join(names)}")
    can_draw = importlib.util.find_spec("matplotlib") is not None
    if not (can_draw or options.smoke):
        parser.error("the chart needs matplotlib: pip install -e '.[bench]'")

    parts = make_parts(options.smoke)
    default = [name for name in names if not (options.smoke and name == UNDER_CALLGRIND)]
    chosen = [part for part in parts if part.name in (options.names or default)]
    output = options.output or (None if options.smoke else measure.ROOT / "benchmarks")
    try:
        results = run(chosen, options.smoke, _read(output))
    except measure.MeasurementError as exc:
        print(f"\n{exc}", file=sys.stderr)
        return 1
    table = report.markdown(results, parts)
    print(table)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        (output / "results.json").write_text(_to_json(results), encoding="utf-8")
        (output / "RESULTS.md").write_text(table, encoding="utf-8")
        if not can_draw:
            print("matplotlib is not installed, so there is no chart", file=sys.stderr)
        elif "async" in results["samples"]:
            chart.draw(results["samples"]["async"], output / "chart.svg")
    return 0


def run(parts: Sequence[Part], smoke: bool, earlier: Optional[Json]) -> Json:
    """Measure ``parts``; what ``earlier`` has of the others stays if it was measured like this."""
    say = _make_say()
    if os.getloadavg()[0] > 1:
        say(f"this machine is busy with something else (load {os.getloadavg()[0]:.1f}), and figures will be off")
    results: Json = {"smoke": smoke, "machine": measure.describe_machine(), "versions": {}, "samples": {}}
    if earlier is not None and all(earlier[key] == results[key] for key in ("smoke", "machine")):
        results.update(versions=earlier["versions"], samples=earlier["samples"])
    wanted = {each.peer for part in parts for each in part.measurements} & set(ENVIRONMENTS)
    pythons = _pythons(sorted(wanted), smoke, say)
    for peer, python in pythons.items():
        results["versions"][peer] = ENVIRONMENTS[peer].versions(python)
    with measure.running_endpoint() as site:
        runner = measure.Runner(site, pythons, wanted - set(pythons), say)
        for part in parts:
            if part.name == UNDER_CALLGRIND and not measure.has_callgrind():
                say(f"{part.name} is left out: it needs valgrind, which is not on PATH")
            else:
                results["samples"][part.name] = runner.run(part)
    say("done\n" if sys.stderr.isatty() else "done")
    return results


def _make_say() -> Callable[[str], None]:
    started, watched = time.monotonic(), sys.stderr.isatty()

    def say(line: str) -> None:
        line = f"{time.monotonic() - started:4.0f} s  {line}"
        # One line that changes, where somebody watches.
        print(f"\r\x1b[K{line}" if watched else line, end="" if watched else "\n", file=sys.stderr, flush=True)

    return say


def _pythons(peers: Sequence[str], smoke: bool, say: Callable[[str], None]) -> Dict[str, str]:
    """The Python of each of ``peers`` that can be measured here."""
    if smoke and peers:
        say(f"{', '.join(peers)} are left out: a smoke run installs nothing")
        return {}
    found = {peer: ENVIRONMENTS[peer].make(say) for peer in peers}
    return {peer: python for peer, python in found.items() if python is not None}


def _read(output: Optional[pathlib.Path]) -> Optional[Json]:
    """The results of an earlier run."""
    path = output / "results.json" if output else None
    if path is None or not path.exists():
        return None
    earlier: Json = json.loads(path.read_text(encoding="utf-8"))
    return earlier


def _to_json(results: Json) -> str:
    """One sample a line, so that a diff shows what has changed."""
    parts: List[str] = []
    for name, samples in results["samples"].items():
        lines = ",\n".join(f"      {json.dumps(sample)}" for sample in samples)
        parts.append(f"    {json.dumps(name)}: [\n{lines}\n    ]")
    head = json.dumps({key: value for key, value in results.items() if key != "samples"}, indent=2)
    return head[: -len("\n}")] + ',\n  "samples": {\n' + ",\n".join(parts) + "\n  }\n}\n"


if __name__ == "__main__":
    sys.exit(main())
