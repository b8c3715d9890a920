# SPDX-License-Identifier: Apache-2.0
"""Benchmarks of every op against its reference and its peers, in one run.

`python -m bench` measures on the CPU and writes `bench/results/<machine>.json`; `bench/gpu.sh` does so on a GPU;
`python -m bench.report` makes the tables from the result files. See `bench.plan` for how a benchmark is written.
"""
