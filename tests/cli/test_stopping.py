# SPDX-License-Identifier: Apache-2.0
"""Stopping a training process from outside, full disks included."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from fasthash.training.checkpoint import load_checkpoint
from tests.images import write_folder

OPTIONS = [
    "--bits",
    "16",
    "--epochs",
    "80",
    "--device",
    "cpu",
    "--set",
    "width=4",
    "--set",
    "samples_per_class=4",
    "--set",
    "checkpoint_every=100",
]


def command(*arguments):
    return [sys.executable, "-m", "fasthash", *map(str, arguments)]


def environment():
    return os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200", "PYTHONPATH": os.pathsep.join(sys.path)}


def wait_for_steps(log, count, process):
    for _ in range(6000):
        if log.exists() and len(log.read_text().splitlines()) >= count:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    pytest.fail(f"no {count} steps in five minutes")


def stop_after_three_steps(images, run, number, *options):
    """Output and exit code of a training whose processes all get a signal once three steps are logged."""
    with subprocess.Popen(
        command("train", "--data", images, "--out", run, *OPTIONS, *options),
        start_new_session=True,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_for_steps(run / "log.jsonl", 3, process)
        os.killpg(process.pid, number)
        out, err = process.communicate()
    assert err == ""
    return out, process.returncode


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_says_how_to_go_on(tmp_path, number, code):
    run = tmp_path / "run"
    workers = ["--workers", "2", "--set", "cache_mb=0"]
    out, returned = stop_after_three_steps(write_folder(tmp_path / "images"), run, number, *workers)
    assert returned == code
    assert f"fasthash train --out {run} --resume" in out
    step = load_checkpoint(run / "checkpoint.safetensors").facts["step"]
    assert 3 <= step < 240
    assert len((run / "log.jsonl").read_text().splitlines()) == step


def test_a_stopped_run_resumes_to_the_same_bits(tmp_path):
    images = write_folder(tmp_path / "images")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    stop_after_three_steps(images, parts, signal.SIGINT)
    for arguments in (["--out", parts, "--resume"], ["--data", images, "--out", whole, *OPTIONS]):
        subprocess.run(command("train", *arguments), env=environment(), check=True, capture_output=True)
    first, second = (load_checkpoint(run / "checkpoint.safetensors") for run in (whole, parts))
    assert first.facts["step"] == second.facts["step"] == 240
    for name, tensor in first.tensors.items():
        assert torch.equal(tensor, second.tensors[name]), name


@pytest.mark.parametrize(
    ("every", "message"),
    [
        (1, "checkpoint.safetensors: no space left for the checkpoint; nothing was written"),
        (1000, "log.jsonl: the log cannot be written (File too large); a checkpoint written before is intact"),
    ],
)
def test_a_full_disk_is_one_clear_line(tmp_path, every, message):
    images = write_folder(tmp_path / "images")
    run = tmp_path / "run"
    options = ["--data", str(images), "--out", str(run), *OPTIONS, "--set", f"checkpoint_every={every}"]
    # Limits the size of files the way a full disk does: writing beyond fails.
    limited = (
        "import resource, sys; from fasthash.cli import main;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000));"
        f"sys.argv = ['fasthash', 'train', *{options!r}]; main()"
    )
    result = subprocess.run([sys.executable, "-c", limited], env=environment(), capture_output=True, text=True)
    assert result.returncode == 2, result.stderr
    assert result.stderr.splitlines() == [f"Error: {run}/{message}"]
    assert not (run / "checkpoint.safetensors").exists()
    assert not list(run.glob(".*"))
