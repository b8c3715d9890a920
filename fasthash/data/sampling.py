# SPDX-License-Identifier: Apache-2.0
"""Batches of P classes with K images each, the same for the same seed, from any step on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.utils.data import Sampler

Positions = npt.NDArray[np.int64]


class PKBatchSampler(Sampler[list[int]]):
    """Batches of ``classes_per_batch`` classes x ``samples_per_class`` images, so that every anchor has positives.

    An epoch deals every class's images out in a random order, in hands of ``samples_per_class``; a batch takes a hand
    of each of the classes that have most hands left (ties at random), so that an epoch shows nearly every image once.
    A class whose images run out is shuffled and dealt again; one with fewer images than a hand repeats some. The
    batches are a function of (seed, epoch) alone: training can stop at any step and go on with the same ones.

    Args:
        labels: Class of each image, (N,) int64.
        classes_per_batch: P; lowered to the number of classes where that is smaller. At least 2.
        samples_per_class: K, at least 2.
        seed: With the epoch, decides every batch.

    Raises:
        ValueError: fewer than two classes, or P or K below 2.
    """

    def __init__(self, labels: Tensor, classes_per_batch: int, samples_per_class: int, seed: int = 0) -> None:
        if classes_per_batch < 2 or samples_per_class < 2:
            raise ValueError(
                "PKBatchSampler: classes_per_batch and samples_per_class must be at least 2, "
                f"got {classes_per_batch} and {samples_per_class}"
            )
        numbers = labels.numpy()
        self._members = [np.flatnonzero(numbers == label) for label in np.unique(numbers)]
        if len(self._members) < 2:
            raise ValueError(f"PKBatchSampler: labels must hold at least 2 classes, got {len(self._members)}")
        self.classes_per_batch = min(classes_per_batch, len(self._members))
        self.samples_per_class = samples_per_class
        self.seed = seed
        self.epoch = 0
        self.first_step = 0
        self._batches_per_epoch = max(1, len(numbers) // self.batch_size)

    @property
    def batch_size(self) -> int:
        """Images in a batch, P x K."""
        return self.classes_per_batch * self.samples_per_class

    @property
    def batches_per_epoch(self) -> int:
        """Batches in a whole epoch, about N / (P K) and at least 1."""
        return self._batches_per_epoch

    def start_at(self, epoch: int, step: int = 0) -> None:
        """The next iteration gives the batches of ``epoch`` from number ``step`` on."""
        self.epoch, self.first_step = epoch, step

    def __len__(self) -> int:
        return self._batches_per_epoch - self.first_step

    def __iter__(self) -> Iterator[list[int]]:
        """The batches as lists of positions, grouped by class."""
        random = np.random.default_rng((self.seed, self.epoch))
        hands: list[list[Positions]] = [self._deal(members, random) for members in self._members]
        for step in range(self._batches_per_epoch):
            batch = [hands[chosen].pop() for chosen in self._choose(hands, random)]
            if step >= self.first_step:
                yield np.concatenate(batch).tolist()

    def _choose(self, hands: list[list[Positions]], random: np.random.Generator) -> list[int]:
        """The classes of the next batch; those among them with no hand left are dealt anew."""
        left = np.array([len(of_class) for of_class in hands])
        chosen = np.lexsort((random.random(len(left)), -left))[: self.classes_per_batch]
        for label in chosen:
            if not hands[label]:
                hands[label] = self._deal(self._members[label], random)
        return [int(label) for label in random.permutation(chosen)]

    def _deal(self, members: Positions, random: np.random.Generator) -> list[Positions]:
        """A class's images in random order, cut into hands; the remainder sits out, unless there is nothing else."""
        shuffled = random.permutation(members)
        size = self.samples_per_class
        if len(shuffled) < size:
            return [np.resize(shuffled, size)]
        return [shuffled[start : start + size] for start in range(0, len(shuffled) - size + 1, size)]
