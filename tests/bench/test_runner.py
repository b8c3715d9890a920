# SPDX-License-Identifier: Apache-2.0
"""Processes take turns, and a quick run brings a whole result file."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import fasthash
from bench import machine, results, runner
from bench.plan import Benchmark, Case, Library, chosen_files, files, nodes_of, shown
from tests.native import ROOT


def benchmark(**libraries):
    return Benchmark("some_op", "things", [Case({"rows": 1}, 1, 1, quick=True)], libraries, check=float)


def library(**options):
    return Library(lambda values, device: int, **options)


def test_libraries_take_turns_and_each_round_begins_with_another():
    jobs = [runner.Job(("a",), "x"), runner.Job(("a",), "y"), runner.Job(("b",), "x")]
    order = [(number, job.files[0], job.library) for number, job in runner.schedule(jobs, 2)]
    assert order == [(0, "a", "x"), (0, "a", "y"), (1, "a", "y"), (1, "a", "x"), (0, "b", "x"), (1, "b", "x")]


def test_every_library_gets_a_process_and_absent_ones_are_named():
    found, missing = runner.jobs({"a": [benchmark(x=library(), y=library(needs="no_such_module"))]}, quick=False)
    assert found == [runner.Job(("a",), "x")]
    assert missing == [{"op": "some_op", "library": "y", "reason": "No module named 'no_such_module'"}]


def test_a_library_slow_in_all_its_cases_takes_part_once():
    slow = library(slow=lambda case, device: True)
    found, _ = runner.jobs({"a": [benchmark(x=library(), y=slow, z=slow), benchmark(z=library())]}, quick=False)
    assert [job.library for job in found if job.once] == ["y"]
    order = [(number, job.library) for number, job in runner.schedule(found, 2)]
    assert order == [(0, "x"), (0, "y"), (0, "z"), (1, "z"), (1, "x")]


def test_what_needs_an_environment_has_a_process_of_its_own():
    plan = benchmark(x=library(), y=library(environment={"A": "1"}))
    found, _ = runner.jobs({"a": [plan]}, quick=False)
    assert [dict(job.environment) for job in found] == [{}, {"A": "1"}]
    assert plan.selected("y", "cpu", quick=True) == []


def test_what_the_machine_lacks_is_named():
    _, missing = runner.jobs({"a": [benchmark(x=library(lacks=lambda: "no such unit"))]}, quick=False)
    assert missing == [{"op": "some_op", "library": "x", "reason": "no such unit"}]


@pytest.mark.skipif(len(machine.usable_cores()) < 2, reason="threads cannot have cores of their own")
def test_openmp_threads_are_bound_where_there_are_cores(monkeypatch):
    assert runner._bound(2)["OMP_PROC_BIND"] == "true"
    assert runner._bound(10_000) == {}


_SEARCH_ONCE = """
import sys
from bench.plan import files
values = {"bits": 64, "N": 100, "Q": 2, "k": 3, "data": "random"}
call = files()["hamming_topk"][0].libraries[sys.argv[1]].prepare(values, "cpu")
print("found", tuple(call().shape))
"""


def search_once(name, environment):
    command = [sys.executable, "-c", _SEARCH_ONCE, name]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    return run.stdout + run.stderr


@pytest.mark.parametrize("name", ["fasthash_avx2", "faiss_hc_avx2"])
def test_avx2_takes_effect_or_is_refused(name):
    chosen = files()["hamming_topk"][0].libraries[name]
    if reason := chosen.missing():
        pytest.skip(reason)
    plain = {name: value for name, value in os.environ.items() if name not in chosen.environment}
    assert "found (2, 3)" in search_once(name, plain | chosen.environment)
    if fasthash.build_info()["machines"]["available"][-1] != "avx2":
        assert "was to use AVX2" in search_once(name, plain)


def test_a_missing_attribute_is_named():
    assert library(needs="bench.plan:no_such_op").missing() == "bench.plan has no no_such_op"
    assert library(needs="bench.plan:Library").missing() is None


def test_cases_follow_device_fit_and_quick():
    plan = benchmark(x=library(fits=lambda case, device: device == "cuda"), y=library(devices=("cpu",), quick=False))
    assert plan.selected("x", "cpu", quick=False) == []
    assert len(plan.selected("x", "cuda", quick=True)) == 1
    assert plan.selected("y", "cpu", quick=True) == []
    assert plan.selected("y", "cuda", quick=False) == []
    assert plan.selected("z", "cpu", quick=False) == []


def test_only_takes_files_and_ops():
    assert [[b.name for b in one] for one in chosen_files(["unpack_codes"]).values()] == [["unpack_codes"]]
    assert list(chosen_files(["unpack_codes"])) == ["pack_codes"]
    assert chosen_files(["hamming_topk"]) == {"hamming_topk": files()["hamming_topk"]}
    assert nodes_of("hamming_topk", files()["hamming_topk"]) == ["bench/bench_hamming_topk.py"]
    one = chosen_files(["hamming_topk_one"])["hamming_topk"]
    assert nodes_of("hamming_topk", one) == ["bench/bench_hamming_topk.py::test_hamming_topk_one"]
    assert chosen_files([]) == files()
    with pytest.raises(ValueError, match="--only must be one of"):
        chosen_files(["unheard_of"])


def test_every_benchmark_can_be_compared():
    for benchmarks in files().values():
        for plan in benchmarks:
            assert "fasthash" in plan.libraries
            assert plan.selected("fasthash", "cpu", quick=True), plan.name
            texts = [case.text for case in plan.cases]
            assert len(set(texts)) == len(texts)


@pytest.mark.parametrize(
    ("value", "text"), [(54_000, "54,000"), (1_000_000, "1 M"), (1_500_000, "1,500,000"), ("x", "x")]
)
def test_sizes_are_shown_as_people_write_them(value, text):
    assert shown(value) == text


def test_quick_run_measures_every_op(tmp_path):
    command = [sys.executable, "-m", "bench", "--quick", "--output", str(tmp_path)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "CXX": "false"})
    assert run.returncode == 0, run.stdout + run.stderr
    (path,) = tmp_path.iterdir()
    result = results.read(path)
    assert results.is_quick(result)
    assert [m["op"] for m in result["missing"] if m["library"] == "native"] == ["limits"]
    ours = {row["op"] for row in result["rows"] if row["library"] == "fasthash"}
    assert ours == {plan.name for plans in files().values() for plan in plans}
    assert [row for row in result["rows"] if row["agrees"] is False] == []
    other_functions = {row["library"] for row in result["rows"] if row["agrees"] is None}
    assert other_functions - {"arcface"} == {"topk_1", "product", "no loss"}
    assert all(row["cpu"] > 0 and row["cores"] > 0 for row in result["rows"])


def test_limits_of_the_machine_are_measured(tmp_path):
    from bench import limits

    measured = limits.measure(limits.build_native(tmp_path), [1, 2], quick=True)
    assert {(limit["name"], limit["threads"]) for limit in measured} == {
        (name, threads) for name in ("copy", "read", "scan") for threads in (1, 2)
    }
    assert all(limit["per_second"] > 0 for limit in measured)
