"""How fast lambda_adapter is beside what people would use instead; ``python -m benchmarks --help`` says how to run it.

__main__.py      the command line
parts.py         what is measured, against what, with which target
measure.py       one fresh process for each measurement, peers and ours in turn, the endpoint beside them
environments.py  a virtual environment for each peer that lambda_adapter's own cannot hold
tasks.py         what a measuring process does
processes.py     what a whole Python process costs: instructions under callgrind, CPU time
peers.py         one call of each peer, blocking or awaitable
endpoint.py      the Invoke endpoint that they all call
report.py        RESULTS.md from results.json
chart.py         chart.svg from results.json
"""
