# SPDX-License-Identifier: Apache-2.0
"""The training loop: resumable at any step, stoppable at any moment."""

from __future__ import annotations

import math
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from fasthash.data import Augmentation, Batch, LabelledImages, PKBatchSampler
from fasthash.errors import FileFormatError
from fasthash.training import checkpoint as files
from fasthash.training.build import (
    make_loss,
    make_network,
    make_optimizer,
    network_facts,
    resolve_device,
    trained_parameters,
)
from fasthash.training.config import ConfigError, TrainConfig, differences
from fasthash.training.log import Record, TrainLog
from fasthash.training.losses import ON_LOGITS, end_epoch
from fasthash.training.schedule import cosine_with_warmup, linear
from fasthash.training.signals import STOP_SIGNALS, StopRequest

CHECKPOINT_NAME = "checkpoint.safetensors"
CONFIG_NAME = "config.toml"
LOG_NAME = "log.jsonl"


class TrainingError(ValueError):
    """Training cannot go on; the text says at which step and why."""


class Trainer:
    """Trains a hashing network: the configuration's loss + penalty weight x quantization penalty.

    Weights, batches and augmentation follow from ``config.seed``; learning rate and sharpness from the step. A run that
    is stopped and resumed gives, bit for bit, what an uninterrupted one gives on the same device with the same number
    of threads. It seeds torch's global random generator.

    Args:
        config: All settings; ``config.data`` is not read here.
        images: What to train on.
        run: Folder for ``config.toml``, ``checkpoint.safetensors`` and ``log.jsonl``; None writes nothing.
        on_step: Called after every step with the number of steps taken and, on logged steps, the record.

    Attributes:
        model: The network, on ``device``.
        step: Steps taken so far.
        steps: Steps in the whole run.
        log: The records.

    Raises:
        ConfigError: a setting cannot be met here, such as a GPU that is not there.
    """

    def __init__(
        self,
        config: TrainConfig,
        images: LabelledImages,
        run: Path | None = None,
        on_step: Callable[[int, Record | None], None] | None = None,
    ) -> None:
        self.config, self.images, self.run, self.on_step = config, images, run, on_step
        self.device = resolve_device(config.device)
        torch.manual_seed(config.seed)
        self.network = network_facts(config, images.shape)
        self.model = make_network(self.network)
        self.model.set_pixel_statistics(*images.channel_statistics())
        self.model.to(self.device)
        self.loss = make_loss(config, len(images.classes)).to(self.device)
        self.parameters = trained_parameters(self.model, self.loss)
        self.optimizer = make_optimizer(config, self.parameters.values())
        self.sampler = PKBatchSampler(images.labels, config.classes_per_batch, config.samples_per_class, config.seed)
        self.augment = Augmentation(config.flip, config.pad, config.seed)
        self.step = 0
        self.steps = config.epochs * self.sampler.batches_per_epoch
        self.log = TrainLog(None)
        self._fingerprint = images.fingerprint()

    @property
    def checkpoint_path(self) -> Path | None:
        """Where the checkpoint lies, if anywhere."""
        return None if self.run is None else self.run / CHECKPOINT_NAME

    def resume(self) -> None:
        """Takes up the run's checkpoint.

        Raises:
            FileNotFoundError: there is none.
            fasthash.errors.FileFormatError: it is truncated or foreign.
            ConfigError: configuration or data differ from those of the checkpoint in something that changes results.
        """
        path = self.checkpoint_path
        if path is None:
            raise ConfigError("resume: run must be a folder, got None")
        stored = files.load_checkpoint(path)
        try:
            self._refuse_differences(stored, path)
            files.restore_module(self.model, "model", stored, path)
            files.restore_module(self.loss, "loss", stored, path)
            files.restore_optimizer(self.optimizer, self.parameters, stored)
            files.restore_rng(stored, self.device)
            self.step = int(stored.facts["step"])
        except (KeyError, TypeError) as error:
            raise FileFormatError(f"{path}: expected a fasthash checkpoint, got one without {error}") from error

    def fit(self) -> signal.Signals | None:
        """Trains from the present step to the last one, or until SIGINT or SIGTERM asks to stop.

        With a run folder, a checkpoint is written after each epoch (or ``checkpoint_every`` steps), on a stop and at
        the end.

        Returns:
            The signal that stopped it, or None at the end.

        Raises:
            TrainingError: the loss is no longer finite.
            OSError: a checkpoint cannot be written.
        """
        if self.run is not None:
            self.run.mkdir(parents=True, exist_ok=True)
            self.config.save(self.run / CONFIG_NAME)
            self.log = TrainLog(self.run / LOG_NAME, keep_up_to=self.step if self.step else -1)
        try:
            with _repeatable_cudnn(), StopRequest(active=self.run is not None) as stop:
                self._run(stop)
                return stop.received
        finally:
            self.log.close()

    def save(self) -> None:
        """Writes the checkpoint; does nothing without a run folder."""
        path = self.checkpoint_path
        if path is None:
            return
        tensors = files.module_tensors(self.model, "model") | files.module_tensors(self.loss, "loss")
        tensors |= files.optimizer_tensors(self.optimizer, self.parameters)
        tensors |= files.rng_tensors(self.device)
        facts = {
            "step": self.step,
            "steps": self.steps,
            "config": self.config.as_dict(),
            "network": self.network,
            "image_size": list(self.images.shape[1:]),
            "classes": self.images.classes,
            "data": self._fingerprint,
            "torch": str(torch.__version__),
        }
        files.save_checkpoint(path, files.Checkpoint(tensors, facts))

    def _run(self, stop: StopRequest) -> None:
        saved_at = self.step if self.step else -1
        every = self.config.checkpoint_every or self.sampler.batches_per_epoch
        began = time.perf_counter()
        self.model.train()
        for images, labels in self._batches():
            record = self._train_step(images, labels, began)
            if record is not None:
                self.log.write(record)
            if self.on_step is not None:
                self.on_step(self.step, record)
            if self.step % every == 0 or stop.received is not None:
                self.save()
                saved_at = self.step
            if stop.received is not None:
                break
        if saved_at != self.step:
            self.save()

    def _batches(self) -> Iterator[Batch]:
        """The remaining batches of the run, from the present step on, as uint8 images on the CPU."""
        while self.step < self.steps:
            self.sampler.start_at(*divmod(self.step, self.sampler.batches_per_epoch))
            workers = 0 if self.images.pixels is not None else self.config.workers
            # A generator of its own: the loader's draws leave torch's generator, which checkpoints hold, alone.
            loader = DataLoader(
                self.images,
                batch_sampler=self.sampler,
                num_workers=workers,
                collate_fn=_as_it_is,
                worker_init_fn=_leave_stopping_to_the_parent,
                pin_memory=self.device.type == "cuda",
                generator=torch.Generator(),
            )
            with _no_worker_left():
                with _stop_signals_held_back():
                    batches = iter(loader)
                try:
                    yield from batches
                finally:
                    del batches  # asks its workers to end

    def _train_step(self, images: Tensor, labels: Tensor, began: float) -> Record | None:
        """One step of gradient descent; a record where one is due, since reading a number back waits for a GPU."""
        epoch, step_in_epoch = divmod(self.step, self.sampler.batches_per_epoch)
        images = images.to(self.device, non_blocking=True)
        labels = labels.to(self.device, non_blocking=True)
        rate = self._set_schedules()
        try:
            logits, codes, penalty = self.model(self.augment(images, epoch, step_in_epoch))
            term: Tensor = self.loss(logits if self.config.loss in ON_LOGITS else codes, labels)
        except ValueError as error:
            raise self._failed(str(error)) from error
        total = term + self.config.penalty_weight * penalty
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        self.optimizer.step()
        self.step += 1
        if self.step % self.sampler.batches_per_epoch == 0:
            end_epoch(self.loss)
        if self.step % self.config.log_every != 0 and self.step != self.steps:
            return None
        if not math.isfinite(total.item()):
            raise self._failed("the loss is not finite")
        return {
            "step": self.step,
            "epoch": epoch,
            "loss": total.item(),
            "term": term.item(),
            "penalty": penalty.item(),
            "learning_rate": rate,
            "sharpness": float(self.model.hash.sharpness),
            "seconds": round(time.perf_counter() - began, 3),
        }

    def _set_schedules(self) -> float:
        """Sets learning rate and sharpness for the coming step; returns the rate."""
        config = self.config
        rate = config.learning_rate * cosine_with_warmup(self.step, self.steps, config.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.model.hash.set_sharpness(linear(self.step, self.steps, config.sharpness, config.sharpness_end))
        return rate

    def _failed(self, reason: str) -> TrainingError:
        return TrainingError(f"training stopped at step {self.step}: {reason}; a lower learning_rate may help")

    def _refuse_differences(self, stored: files.Checkpoint, path: Path) -> None:
        changed = differences(TrainConfig.from_mapping(stored.facts["config"], str(path)), self.config)
        if changed:
            raise ConfigError(f"{path}: expected the configuration the run began with, got {'; '.join(changed)}")
        if stored.facts["data"] != self._fingerprint:
            raise ConfigError(
                f"{path}: expected the training images the run began with (hash {stored.facts['data']}), "
                f"got others (hash {self._fingerprint}: {len(self.images)} images, {len(self.images.classes)} classes)"
            )


@contextmanager
def _stop_signals_held_back() -> Iterator[None]:
    """Keeps the stop signals for later, and from processes that begin within it.

    Between its begin and `_leave_stopping_to_the_parent` a worker would die of one.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_PATIENCE = 5.0  # seconds that a worker may take to end


def _leave_stopping_to_the_parent(worker: int) -> None:
    """Ctrl-C reaches worker processes too; one that died of it would take the last step and its checkpoint along."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def _no_worker_left() -> Iterator[None]:
    """Ends the worker processes begun within it.

    One that has not ended when asked to ignores the signal that would end it with the program, which would wait for it
    for ever.
    """
    before = set(multiprocessing.active_children())
    try:
        yield
    finally:
        for worker in set(multiprocessing.active_children()) - before:
            worker.join(_PATIENCE)
            if worker.is_alive():
                worker.kill()


def _as_it_is(batch: Any) -> Any:
    """The set gives whole batches; nothing is left to collate."""
    return batch


@contextmanager
def _repeatable_cudnn() -> Iterator[None]:
    """CuDNN picks algorithms that give the same bits in every run."""
    before = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = before
