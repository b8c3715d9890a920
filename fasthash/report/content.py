# SPDX-License-Identifier: Apache-2.0
"""What a report shows, before it has a look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from fasthash.data import LabelledImages
from fasthash.training.evaluation import Scores
from fasthash.training.log import Record
from fasthash.types import HammingTopK


@dataclass
class Method:
    """One way to make codes, and how well it searched.

    Attributes:
        name: In words.
        scores: Retrieval quality.
        queries_per_second: Searches of packed codes, without encoding.
    """

    name: str
    scores: Scores
    queries_per_second: float


@dataclass
class Hit:
    """One image found: pixels (C, H, W) uint8, class name, Hamming distance, and whether the class is right."""

    pixels: Tensor
    label: str
    distance: int
    right: bool


@dataclass
class Example:
    """One query, pixels (C, H, W) uint8 and class name, and what was found for it, nearest first."""

    pixels: Tensor
    label: str
    hits: list[Hit]

    @property
    def wrong(self) -> int:
        """Hits of another class."""
        return sum(not hit.right for hit in self.hits)


@dataclass
class Report:
    """Everything on the page.

    Attributes:
        title: Heading.
        summary: A sentence or two below it.
        methods: The learned codes first, then what they are compared with.
        examples: Queries and their nearest images.
        records: The training log.
        share_of_ones: For each bit the share of database images in which it is 1, (K,).
        facts: Name and value of what else is worth knowing: sizes, settings, versions.
    """

    title: str
    summary: str
    methods: list[Method]
    examples: list[Example]
    records: Sequence[Record]
    share_of_ones: Tensor
    facts: list[tuple[str, str]]


def choose_examples(
    queries: LabelledImages, database: LabelledImages, found: HammingTopK, classes: int = 10, worst: int = 2
) -> list[Example]:
    """The first query of each of ``classes`` classes, and the ``worst`` others with most wrong images found.

    Args:
        queries: The queries.
        database: What was searched; the ids of ``found`` are positions in it.
        found: (Q, k) nearest images of every query.
        classes: Show no more than so many classes; the first ones.
        worst: How many of the worst to add.
    """
    wrong = (database.labels[found.ids] != queries.labels[:, None]).sum(1)
    first = [int((queries.labels == label).nonzero()[0, 0]) for label in sorted(set(queries.labels.tolist()))[:classes]]
    ranked = wrong.argsort(descending=True, stable=True).tolist()
    failing = [row for row in ranked if row not in first and int(wrong[row]) > 0][:worst]
    return [_example(queries, database, found, row) for row in first + failing]


def _example(queries: LabelledImages, database: LabelledImages, found: HammingTopK, row: int) -> Example:
    label = int(queries.labels[row])
    hits = []
    for number, distance in zip(found.ids[row].tolist(), found.distances[row].tolist(), strict=True):
        other = int(database.labels[number])
        hits.append(Hit(database.image(number), database.classes[other], distance, other == label))
    return Example(queries.image(row), queries.classes[label], hits)
