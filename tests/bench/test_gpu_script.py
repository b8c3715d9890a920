# SPDX-License-Identifier: Apache-2.0
"""bench/gpu.sh: what can be tried without a GPU."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from bench import results, stages
from tests.native import ROOT


def gpu_sh(folder, *wanted, **environment):
    env = {**os.environ, "PYTHON": sys.executable, "OUT": str(folder / "out")}
    env |= {"FASTHASH_GPU_SH_WORK": str(folder / "work"), **environment}
    command = ["bash", "bench/gpu.sh", *wanted]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_it_says_so(tmp_path):
    run = gpu_sh(tmp_path)
    assert run.returncode == 2
    assert "no CUDA device" in run.stderr
    assert not (tmp_path / "out").exists()


def test_stages_run_and_leave_one_result_file_though_one_fails(tmp_path):
    run = gpu_sh(tmp_path, "environment", "native", "sanitizers", "bench-pack_codes", FASTHASH_GPU_SH_DEVICE="cpu")
    assert run.returncode == 1, run.stdout + run.stderr
    log, path = sorted((tmp_path / "out").iterdir(), key=lambda p: p.suffix == ".json")
    assert (log.suffix, path.suffix) == (".log", ".json")
    result = results.read(path)
    outcomes = {stage["name"]: stage["outcome"] for stage in result["stages"]}
    assert outcomes == {
        "environment": "passed",
        "native": "failed",
        "sanitizers": "missing",
        "bench-pack_codes": "passed",
    }
    assert result["machine"]["name"].startswith("self-test-")
    assert results.is_quick(result)
    assert {limit["name"] for limit in result["limits"]} == {"copy", "read"}
    assert {row["op"] for row in result["rows"]} == {"pack_codes", "unpack_codes"}
    assert all(row["agrees"] and row["wall"] > 0 for row in result["rows"])
    assert "cuda_device_tests" in next(s for s in result["stages"] if s["name"] == "native")["tail"][-1]
    assert "unpack_codes" in run.stdout


def test_without_time_a_stage_is_skipped_and_the_file_still_comes(tmp_path):
    run = gpu_sh(tmp_path, "environment", FASTHASH_GPU_SH_DEVICE="cpu", FASTHASH_GPU_SH_LIMIT="3")
    assert run.returncode == 1
    (path,) = (tmp_path / "out").glob("*.json")
    (stage,) = results.read(path)["stages"]
    assert (stage["outcome"], stage["tail"]) == ("skipped", ["no time left"])


def test_join_takes_what_is_there(tmp_path):
    stages.note(tmp_path, "build", "timeout", 124, 240.0, tmp_path / "no.log")
    results.write(tmp_path / "part-a.json", {"rows": [{"op": "a"}], "missing": []})
    results.write(tmp_path / "part-b.json", {"rows": [], "missing": [{"op": "b", "library": "torch", "reason": "-"}]})
    result = results.read(stages.join(tmp_path, tmp_path))
    assert result["rows"] == [{"run": 1, "op": "a"}]
    assert [m["op"] for m in result["missing"]] == ["b"]
    assert result["runs"][0]["settings"]["seconds"] == 240


def test_tail_is_short_and_plain(tmp_path):
    log = tmp_path / "some.log"
    log.write_text("".join(f"line {i}\n" for i in range(100)) + "\x1b[31mred\x1b[0m\n")
    assert stages.tail(log)[-1] == "red"
    assert len(stages.tail(log)) == stages.TAIL_LINES


def test_small_ops_agree_on_the_same_device():
    from bench import sanitize_ops

    assert sanitize_ops.failures("cpu") == []


def test_the_tail_of_a_log_does_not_say_where_the_repository_lies(tmp_path):
    log = tmp_path / "build.log"
    log.write_text(f"\x1b[32mLinking {stages.REPOSITORY}/fasthash/_C.so\x1b[0m\n")
    assert stages.tail(log) == ["Linking fasthash/_C.so"]
