# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import fasthash
from fasthash import cli
from fasthash.cli.app import app
from fasthash.data import CodeSet
from fasthash.index import HammingIndex
from fasthash.training import load_config
from tests.images import write_folder

COMMANDS = ("demo", "info", "train", "encode", "search", "evaluate")
SMALL = ["--set", "width=4", "--set", "classes_per_batch=3", "--set", "samples_per_class=4", "--device", "cpu"]


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def fails(*arguments):
    """The error of a command that has to fail the way users' errors do."""
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("Error: ")
    return lines[0]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def trained(images, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    result = run("train", "--data", images, "--out", out, "--bits", 12, "--epochs", 20, "--seed", 3, *SMALL)
    assert result.exit_code == 0, result.output
    return out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_shows_an_example(command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"Example: fasthash {command}" in result.output


def test_version_and_no_arguments():
    assert run("--version").output.strip() == fasthash.__version__
    assert all(command in run().output for command in COMMANDS)


def test_info():
    result = run("info")
    assert result.exit_code == 0
    for word in (fasthash.__version__, torch.__version__, "machines", "threads", "cuda"):
        assert word in result.output
    assert json.loads(run("info", "--json").output)["threads"] == torch.get_num_threads()


def test_train_writes_a_run(trained):
    assert sorted(path.name for path in trained.iterdir()) >= ["checkpoint.safetensors", "config.toml", "log.jsonl"]
    config = load_config(trained / "config.toml")
    assert (config["bits"], config["epochs"], config["seed"], config["width"]) == (12, 20, 3, 4)
    records = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == list(range(1, len(records) + 1))
    assert records[-1]["loss"] < records[0]["loss"]


def test_a_run_knows_where_its_images_lie(images, tmp_path, monkeypatch):
    monkeypatch.chdir(images)
    result = run("train", "--data", ".", "--out", tmp_path, "--epochs", 1, "--bits", 8, *SMALL)
    assert result.exit_code == 0, result.output
    assert load_config(tmp_path / "config.toml")["data"] == str(images)


def test_encode_search_evaluate(trained, images, tmp_path):
    assert "fasthash encode --run" in fails("search", "--run", trained, images / "test" / "dots" / "000.png")
    result = run("encode", "--run", trained, "--index", tmp_path / "index.safetensors")
    assert result.exit_code == 0, result.output
    codes = CodeSet.load(trained / "codes-train.safetensors")
    assert codes.codes.shape == (36, 2)
    assert codes.names[13] == "dots/001.png"
    assert codes.class_name(13) == "dots"
    assert len(HammingIndex.load(tmp_path / "index.safetensors")) == 36

    query = images / "train" / "dots" / "001.png"
    (tmp_path / "x.png").write_text("no image")
    assert "x.png: expected an image" in fails("search", "--run", trained, query, tmp_path / "x.png")
    result = run("search", "--run", trained, "-k", 3, "--query", query, query)
    assert result.exit_code == 0, result.output
    assert result.output.count("Nearest to") == 2
    assert "dots" in result.output
    result = run("search", "--run", trained, "--index", tmp_path / "index.safetensors", "-k", 99, query)
    assert result.exit_code == 0, result.output
    assert result.output.count(" │ ") == 2 * 36
    everything = ("search", "--run", trained, query, "--radius", 12)
    result = run(*everything)
    assert result.exit_code == 0, result.output
    assert "Within 12 bits of" in result.output
    assert result.output.count("dots/") == 12 + 1
    np.save(tmp_path / "ids.npy", np.array([13, 2, 999], dtype=np.int32))
    result = run(*everything, "--allow", tmp_path / "ids.npy")
    assert re.findall(r"(dots|bars)/(\d+)", result.output)[1:] == [("dots", "001"), ("bars", "002")]
    np.save(tmp_path / "floats.npy", np.zeros(3))
    assert "floats.npy: expected whole numbers in one dimension, got float64 (3,)" in (
        fails(*everything, "--allow", tmp_path / "floats.npy")
    )
    assert "x.png: expected a NumPy file" in fails(*everything, "--allow", tmp_path / "x.png")
    assert "No such file" in fails(*everything, "--allow", tmp_path / "none.npy")

    result = run("evaluate", "--run", trained, "--report", tmp_path / "report.html")
    assert result.exit_code == 0, result.output
    numbers = json.loads((trained / "evaluation.json").read_text())
    assert (numbers["database"], numbers["queries"], numbers["bits"]) == (36, 12, 12)
    assert numbers["mean_average_precision"] > 0.8
    assert f"{numbers['mean_average_precision']:.4f}" in result.output
    assert "precision at recall 0.5" in result.output
    page = (tmp_path / "report.html").read_text()
    assert "12-bit codes of run" in page
    assert page.count('class="row"') >= 3


def test_encode_other_images(trained, images, tmp_path):
    result = run("encode", "--run", trained, "--data", images / "test", "--out", tmp_path / "codes")
    assert result.exit_code == 0, result.output
    codes = CodeSet.load(tmp_path / "codes")
    assert set(codes.labels.tolist()) == {-1}
    result = run("encode", "--run", trained, "--data", images)
    assert result.exit_code == 0, result.output
    assert CodeSet.load(trained / "codes-train.safetensors").names[0] == "bars/000.png"
    result = run("encode", "--run", trained, "--data", images, "--split", "test", "--out", tmp_path / "codes2")
    assert result.exit_code == 0, result.output
    labelled = CodeSet.load(tmp_path / "codes2")
    assert labelled.names == codes.names
    assert torch.equal(labelled.codes, codes.codes)


def test_a_file_of_settings_and_flags_over_it(images, tmp_path):
    file = tmp_path / "photos.toml"
    file.write_text(f'data = "{images}"\nbits = 8\nepochs = 9\npenalty = "l1"\n')
    out = tmp_path / "run"
    result = run("train", "--config", file, "--out", out, "--epochs", 1, *SMALL)
    assert result.exit_code == 0, result.output
    config = load_config(out / "config.toml")
    assert (config["bits"], config["epochs"], config["penalty"]) == (8, 1, "l1")
    assert "expected a new folder" in fails("train", "--config", file, "--out", out)
    assert "bits: was 8, is 16" in fails("train", "--out", out, "--resume", "--bits", 16)
    result = run("train", "--out", out, "--resume")
    assert result.exit_code == 0, result.output


def test_broken_images_are_named_and_counted(images, tmp_path):
    folder = tmp_path / "images"
    shutil.copytree(images, folder)
    (folder / "train" / "dots" / "000.png").write_bytes(b"")
    result = run("train", "--data", folder, "--out", tmp_path / "run", "--epochs", 1, *SMALL)
    assert result.exit_code == 0, result.output
    assert "left out" in result.output
    assert "dots/000.png" in result.output
    assert "1 broken image left out in all" in result.output
    refused = fails("train", "--data", folder, "--out", tmp_path / "other", "--set", "on_broken=fail")
    assert "dots/000.png: expected an image" in refused


def test_what_users_get_wrong(trained, images, tmp_path):
    out = tmp_path / "run"
    assert "no such folder" in fails("train", "--data", tmp_path / "none", "--out", out)
    assert "data must name a folder" in fails("train", "--out", out)
    assert "did you mean epochs?" in fails("train", "--data", images, "--out", out, "--set", "epoch=3")
    assert "bits must be between" in fails("train", "--data", images, "--out", out, "--bits", 0)
    assert "got no checkpoint.safetensors in it" in fails("train", "--out", out, "--resume")
    assert "expected a checkpoint" in fails("evaluate", "--run", out)
    assert "--split must be train or test, got val" in fails("encode", "--run", trained, "--split", "val")
    assert "--query must name" in fails("search", "--run", trained)
    query = images / "test" / "bars" / "000.png"
    assert "expected a codes file" in fails("search", "--run", trained, "--codes", tmp_path / "none", query)
    foreign = fails("search", "--run", trained, "--codes", trained / "log.jsonl", query)
    assert "log.jsonl: expected a fasthash codes file, got a truncated or foreign one" in foreign
    if not torch.cuda.is_available():
        assert "got cuda although" in fails("evaluate", "--run", trained, "--device", "cuda")


def test_truncated_files_are_refused(trained, images, tmp_path):
    copy = tmp_path / "run"
    copy.mkdir()
    (copy / "checkpoint.safetensors").write_bytes((trained / "checkpoint.safetensors").read_bytes()[:3000])
    assert "expected a fasthash checkpoint" in fails("evaluate", "--run", copy)
    shutil.copy(trained / "config.toml", copy)
    assert "expected a fasthash checkpoint" in fails("train", "--out", copy, "--resume", "--data", images)


def test_debug_shows_the_traceback(tmp_path):
    result = run("evaluate", "--run", tmp_path, "--debug")
    assert isinstance(result.exception, FileNotFoundError)


def test_without_the_extra_one_line_says_how_to_get_it(monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "typer" else object())
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    assert capsys.readouterr().err == "The command line needs typer: pip install 'fasthash[train]'\n"


def test_demo(tmp_path):
    report, figure = tmp_path / "report.html", tmp_path / "demo.png"
    result = run("demo", "--out", report, "--figure", figure, "--epochs", 2, "--device", "cpu")
    assert result.exit_code == 0, result.output
    for words in ("mAP", "precision@10", "queries per second", "sign random projection", "PCA-ITQ", "fasthash"):
        assert words in result.output
    assert figure.read_bytes().startswith(b"\x89PNG")
    page = report.read_text()
    assert page.count("<figure") >= 110
    assert "http" not in page.replace("http://www.w3.org", "")
