"""Benchmarks that anyone can rerun: `python -m benchmarks`, or `make bench`.

Everything that is compared runs side by side in one process tree, in turn, several times; medians
and the spread are recorded, warm-up outside. Ratios are what to quote: absolute times differ
between machines. Full-size towers with seeded random weights are used where the time of the
network counts, because speed does not depend on the values. Results are JSON in
`benchmarks/results/`, with hardware, versions and weights recorded.
"""
