# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
import errno
import signal

import pytest
import safetensors.torch
import torch

from fasthash.data import digits
from fasthash.errors import FileFormatError
from fasthash.training import ConfigError, TrainConfig, Trainer, TrainingError, encode_images, load_run
from fasthash.training import checkpoint as files
from fasthash.training.log import TrainLog, read_log
from fasthash.training.losses import LOSSES

CONFIG = TrainConfig(
    data="sklearn:digits",
    bits=12,
    width=4,
    grayscale=True,
    epochs=2,
    samples_per_class=4,
    flip=True,
    pad=1,
    device="cpu",
)
ALL = digits(0).train
IMAGES = ALL.subset(torch.arange(0, len(ALL), 4))


class StopError(Exception):
    pass


@pytest.fixture(autouse=True, params=[1])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


def _stop_at(last):
    def on_step(step, record):
        if step == last:
            raise StopError

    return on_step


def _state(trainer):
    return {
        **files.module_tensors(trainer.model, "model"),
        **files.module_tensors(trainer.loss, "loss"),
        **files.optimizer_tensors(trainer.optimizer, trainer.parameters),
    }


def _assert_same_bits(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


@pytest.mark.parametrize(
    ("optimizer", "last", "threads"), [("adamw", 2, 1), ("adamw", 13, 2), ("sgd", 9, 1)], indirect=["threads"]
)
def test_a_resumed_run_gives_the_bits_of_an_uninterrupted_one(tmp_path, optimizer, last, threads):
    config = dataclasses.replace(CONFIG, optimizer=optimizer, checkpoint_every=1, batch_norm=True)
    whole = Trainer(config, IMAGES, tmp_path / "whole")
    assert whole.steps == 18
    assert whole.fit() is None
    stopped = Trainer(config, IMAGES, tmp_path / "parts", _stop_at(last))
    with pytest.raises(StopError):
        stopped.fit()
    torch.manual_seed(99)
    resumed = Trainer(config, IMAGES, tmp_path / "parts")
    resumed.resume()
    assert resumed.step == last - 1
    resumed.fit()
    _assert_same_bits(_state(whole), _state(resumed))
    assert torch.equal(encode_images(whole.model, IMAGES), encode_images(resumed.model, IMAGES))
    logs = [read_log(tmp_path / name / "log.jsonl") for name in ("whole", "parts")]
    for log in logs:
        for record in log:
            del record["seconds"]
    assert logs[0] == logs[1]


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_trains_and_resumes_to_the_bit(tmp_path, loss):
    config = dataclasses.replace(CONFIG, bits=16, loss=loss, checkpoint_every=1)
    whole = Trainer(config, IMAGES, tmp_path / "whole")
    before = {name: parameter.clone() for name, parameter in whole.parameters.items()}
    whole.fit()
    assert all(not torch.equal(parameter, before[name]) for name, parameter in whole.parameters.items())
    stopped = Trainer(config, IMAGES, tmp_path / "parts", _stop_at(12))  # in the second of two epochs
    with pytest.raises(StopError):
        stopped.fit()
    torch.manual_seed(99)
    resumed = Trainer(config, IMAGES, tmp_path / "parts")
    resumed.resume()
    resumed.fit()
    _assert_same_bits(_state(whole), _state(resumed))


def test_centers_of_classes_follow_the_images_of_an_epoch():
    trainer = Trainer(dataclasses.replace(CONFIG, loss="von_mises_fisher", epochs=1), IMAGES)
    before = trainer.loss.centers.clone()
    trainer.fit()
    assert not torch.isclose(trainer.loss.centers, before).all(1).any()


@pytest.mark.parametrize(
    ("loss", "on_logits"), [("dsh", True), ("greedy_hash", True), ("dhn", False), ("hashnet", False)]
)
def test_a_loss_is_given_logits_or_codes(loss, on_logits):
    trainer = Trainer(dataclasses.replace(CONFIG, loss=loss, epochs=1), IMAGES)
    largest = []
    trainer.loss.register_forward_pre_hook(lambda _, given: largest.append(given[0].abs().max().item()))
    trainer.fit()
    assert (max(largest) > 1) == on_logits  # codes are at most 1


def test_a_loss_is_made_with_its_options():
    config = dataclasses.replace(CONFIG, loss="dsh", margin=3.0, loss_options={"quantization": 0.5})
    loss = Trainer(config, IMAGES).loss
    assert (loss.margin, loss.quantization) == (3.0, 0.5)
    with pytest.raises(ConfigError, match=r"loss tie_aware_ranking: .*metric must be one of"):
        Trainer(dataclasses.replace(CONFIG, loss="tie_aware_ranking", loss_options={"metric": "map"}), IMAGES)


def test_the_seed_decides_everything():
    runs = [Trainer(dataclasses.replace(CONFIG, seed=seed), IMAGES) for seed in (1, 1, 2)]
    for run in runs:
        run.fit()
    _assert_same_bits(_state(runs[0]), _state(runs[1]))
    assert runs[0].log.records[-1]["loss"] != runs[2].log.records[-1]["loss"]


def test_images_read_from_disk_train_alike(tmp_path):
    def read(index):
        return IMAGES.image(index)

    lazy = dataclasses.replace(IMAGES, pixels=None, read=read)
    held, fresh = Trainer(CONFIG, IMAGES), Trainer(dataclasses.replace(CONFIG, workers=1), lazy)
    held.fit()
    fresh.fit()
    _assert_same_bits(_state(held), _state(fresh))


def test_a_finished_run_resumes_to_itself(tmp_path):
    first = Trainer(CONFIG, IMAGES, tmp_path)
    first.fit()
    again = Trainer(CONFIG, IMAGES, tmp_path)
    again.resume()
    assert again.fit() is None
    assert again.step == again.steps
    _assert_same_bits(_state(first), _state(again))
    assert len(read_log(tmp_path / "log.jsonl")) == first.steps


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_after_the_step_and_saves(tmp_path, number):
    def on_step(step, record):
        if step == 3:
            signal.raise_signal(number)

    before = signal.getsignal(number)
    trainer = Trainer(CONFIG, IMAGES, tmp_path, on_step)
    assert trainer.fit() == number
    assert trainer.step == 3
    assert files.load_checkpoint(tmp_path / "checkpoint.safetensors").facts["step"] == 3
    assert signal.getsignal(number) is before


def test_a_second_signal_is_obeyed_at_once(tmp_path):
    def on_step(step, record):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        Trainer(CONFIG, IMAGES, tmp_path, on_step).fit()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bits": 24}, "bits: was 12, is 24"),
        ({"epochs": 3, "seed": 1}, "epochs: was 2, is 3; seed: was 0, is 1"),
    ],
)
def test_another_configuration_is_refused(tmp_path, change, message):
    Trainer(CONFIG, IMAGES, tmp_path).save()
    other = Trainer(dataclasses.replace(CONFIG, **change), IMAGES, tmp_path)
    with pytest.raises(ConfigError, match=message):
        other.resume()


def test_other_images_are_refused(tmp_path):
    Trainer(CONFIG, IMAGES, tmp_path).save()
    other = Trainer(CONFIG, IMAGES.subset(torch.arange(len(IMAGES) - 1)), tmp_path)
    with pytest.raises(ConfigError, match="expected the training images the run began with"):
        other.resume()


def test_damaged_checkpoints_are_refused(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    trainer = Trainer(CONFIG, IMAGES, tmp_path)
    trainer.save()
    whole = path.read_bytes()
    for length in (0, 7, 1000, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(FileFormatError, match=r"checkpoint\.safetensors: expected a fasthash checkpoint"):
            trainer.resume()
        with pytest.raises(FileFormatError):
            load_run(tmp_path)
    torch.save({"step": 3}, path)
    with pytest.raises(FileFormatError):
        trainer.resume()
    path.write_bytes(safetensors.torch.save({"x": torch.zeros(1)}, {"format": "pt"}))
    with pytest.raises(FileFormatError, match="got pt"):
        trainer.resume()
    path.unlink()
    with pytest.raises(FileNotFoundError, match="expected a checkpoint, got no such file"):
        trainer.resume()


@pytest.mark.parametrize("missing", ["rng/cpu", "model/hash.linear.weight"])
def test_checkpoints_without_a_part_are_refused(tmp_path, missing):
    path = tmp_path / "checkpoint.safetensors"
    trainer = Trainer(CONFIG, IMAGES, tmp_path)
    trainer.save()
    stored = files.load_checkpoint(path)
    del stored.tensors[missing]
    files.save_checkpoint(path, stored)
    with pytest.raises(FileFormatError):
        trainer.resume()


def test_a_full_disk_keeps_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.safetensors"
    trainer = Trainer(CONFIG, IMAGES, tmp_path)
    trainer.save()
    whole = path.read_bytes()

    def no_space(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    trainer.step = 5
    monkeypatch.setattr("os.fsync", no_space)
    with pytest.raises(OSError, match="no space left for the checkpoint; the checkpoint written before is intact"):
        trainer.save()
    assert path.read_bytes() == whole
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_loss_that_is_not_finite_stops_the_run():
    trainer = Trainer(dataclasses.replace(CONFIG, learning_rate=100.0, optimizer="sgd"), IMAGES)
    with torch.no_grad():
        trainer.model.hash.linear.weight.fill_(torch.nan)
    with pytest.raises(TrainingError, match=r"training stopped at step 0: .* a lower learning_rate may help"):
        trainer.fit()


def test_cuda_without_a_gpu_is_refused():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ConfigError, match="device must be available, got cuda although"):
        Trainer(dataclasses.replace(CONFIG, device="cuda"), IMAGES)


@pytest.mark.parametrize("penalty", ["none", "cubic"])
def test_reference_and_fused_ops_learn_alike(penalty):
    config = dataclasses.replace(CONFIG, penalty=penalty, width=8, epochs=4, learning_rate=3e-3, flip=False, pad=0)
    losses = []
    for backend in ("fused", "reference"):
        trainer = Trainer(dataclasses.replace(config, backend=backend), IMAGES)
        trainer.fit()
        losses.append([record["loss"] for record in trainer.log.records])
    assert losses[0][:3] == pytest.approx(losses[1][:3], rel=1e-3)
    assert losses[0][-1] == pytest.approx(losses[1][-1], rel=0.5)
    assert losses[0][-1] < 0.3 * losses[0][0]


def test_a_run_reads_back(tmp_path):
    trainer = Trainer(CONFIG, IMAGES, tmp_path)
    trainer.fit()
    run = load_run(tmp_path)
    assert (run.classes, run.step, run.steps, run.image_size) == (IMAGES.classes, 18, 18, (8, 8))
    assert run.config == CONFIG
    codes = encode_images(run.model, IMAGES, batch_size=64)
    assert codes.shape == (len(IMAGES), 2)
    assert torch.equal(codes, encode_images(trainer.model, IMAGES, batch_size=64))


def test_the_log_survives_a_cut_line(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.5}\n{"step": 3, "lo')
    log = TrainLog(path, keep_up_to=1)
    log.write({"step": 2, "loss": 1.0})
    log.close()
    assert [record["loss"] for record in read_log(path)] == [2.0, 1.0]
