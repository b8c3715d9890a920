# SPDX-License-Identifier: Apache-2.0
"""The whole way on scikit-learn's handwritten digits: train, encode, index, search, compare."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

import fasthash
from fasthash import ops
from fasthash.baselines import PCAITQ, SignRandomProjection
from fasthash.data import ImageSplits, LabelledImages, digits
from fasthash.index import HammingIndex
from fasthash.report import Method, Report, choose_examples
from fasthash.training import TrainConfig, Trainer, encode_images
from fasthash.training.evaluation import measure, queries_per_second
from fasthash.training.log import Record


def demo_config(bits: int = 32, epochs: int = 30, seed: int = 0, device: str = "auto") -> TrainConfig:
    """The settings that suit 8 x 8 digits: no mirroring, shifts by one pixel, a high learning rate."""
    return TrainConfig(
        data="sklearn:digits",
        bits=bits,
        epochs=epochs,
        seed=seed,
        device=device,
        grayscale=True,
        learning_rate=3e-3,
        flip=False,
        pad=1,
    )


def run_demo(config: TrainConfig, on_step: Callable[[int, int, Record | None], None] | None = None) -> Report:
    """Trains on the digits and measures the codes beside two that are not trained for the classes.

    The database holds the training images only; the queries are a held-out part of every class, drawn by
    ``config.seed``. Sign-random-projection and PCA-ITQ see the raw pixels of the same images, and are fitted on the
    training part.

    Args:
        config: From `demo_config`, perhaps changed.
        on_step: Called after every step with (step, steps, record).
    """
    splits = digits(config.seed)
    trainer = Trainer(config, splits.train, on_step=lambda step, record: _tell(on_step, step, trainer.steps, record))
    began = time.perf_counter()
    with _one_thread():
        trainer.fit()
    seconds = time.perf_counter() - began
    learned = encode_images(trainer.model, splits.test), encode_images(trainer.model, splits.train)
    index = HammingIndex(config.bits)
    index.add(learned[1])
    return Report(
        title=f"fasthash demo: {config.bits}-bit codes for handwritten digits",
        summary=(
            f"A small convolutional network was trained for {trainer.steps} steps ({seconds:.0f} s) with the fused "
            "tanh quantization and the order-aware triplet loss. Its codes are searched beside those of two encoders "
            "that know no classes."
        ),
        methods=[
            _method("fasthash (learned)", *learned, splits, config.bits),
            *(
                _method(name, *_pixel_codes(encoder, splits), splits, config.bits)
                for name, encoder in (
                    ("PCA-ITQ", PCAITQ(config.bits, seed=config.seed)),
                    ("sign random projection", SignRandomProjection(config.bits, seed=config.seed)),
                )
            ),
        ],
        examples=choose_examples(splits.test, splits.train, index.search(learned[0], 10)),
        records=trainer.log.records,
        share_of_ones=ops.unpack_codes(learned[1], config.bits).gt(0).float().mean(0),
        facts=_facts(config, splits, trainer, seconds),
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    """On images this small, threads wait for one another more than they work; badly so on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _tell(
    on_step: Callable[[int, int, Record | None], None] | None, step: int, steps: int, record: Record | None
) -> None:
    if on_step is not None:
        on_step(step, steps, record)


def _method(name: str, query_codes: Tensor, database_codes: Tensor, splits: ImageSplits, bits: int) -> Method:
    scores = measure(query_codes, database_codes, splits.test.labels, splits.train.labels)
    return Method(name, scores, queries_per_second(query_codes, database_codes, bits))


def _pixel_codes(encoder: PCAITQ | SignRandomProjection, splits: ImageSplits) -> tuple[Tensor, Tensor]:
    """Codes of queries and database from raw pixels."""
    database = _flat(splits.train)
    encoder.fit(database)
    return encoder.encode(_flat(splits.test)), encoder.encode(database)


def _flat(images: LabelledImages) -> Tensor:
    assert images.pixels is not None
    return images.pixels.flatten(1).float() / 255


def _facts(config: TrainConfig, splits: ImageSplits, trainer: Trainer, seconds: float) -> list[tuple[str, str]]:
    parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    return [
        ("images", "handwritten digits of scikit-learn, 8 x 8 pixels, 10 classes"),
        ("database", f"{len(splits.train)} training images"),
        ("queries", f"{len(splits.test)} held-out images, the same number of each class"),
        ("network", f"{config.model}, {parameters:,} parameters, {config.bits} bits"),
        ("training", f"{trainer.steps} steps of {trainer.sampler.batch_size} images in {seconds:.1f} s"),
        ("seed", str(config.seed)),
        ("ties", "mAP is the expectation over the orders of equally distant images"),
        ("queries per second", "search of the ten nearest packed codes, without encoding"),
        ("device", f"{trainer.device}; one thread in training, {torch.get_num_threads()} in search"),
        ("versions", f"fasthash {fasthash.__version__}, torch {torch.__version__}, Python {platform.python_version()}"),
    ]
