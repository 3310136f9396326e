"""How fast lambda_adapter is beside what people would use instead; ``python -m benchmarks --help`` says how to run it.

__main__.py    the command line
parts.py       what is measured, against what, with which target
measure.py     one fresh, pinned process for each measurement, peers and ours in turn
work.py        what such a process does
endpoint.py    the Invoke endpoint that they all call
report.py      RESULTS.md and chart.svg from results.json
"""
