# SPDX-License-Identifier: Apache-2.0
"""The definitions once more, as loops over Python numbers: what the reference is compared with."""

from __future__ import annotations

import math
from itertools import product

PENALTIES = {
    "l2": lambda h: (abs(h) - 1) ** 2,
    "l1": lambda h: abs(abs(h) - 1),
    "log_cosh": lambda h: math.log(math.cosh(abs(h) - 1)),
    "cubic": lambda h: abs(abs(h) - 1) ** 3,
}


def tanh_gradient(z, upstream, sharpness, amplifier, amplification, inverse, threshold):
    """Surrogate gradient of one element, without its penalty."""
    h = math.tanh(sharpness * z)
    flatness = 1 / math.cosh(sharpness * z) ** 2
    gradient = upstream * sharpness * flatness
    side = 1 if z >= 0 else -1
    gate = {"none": False, "magnitude": True, "wrong_side": gradient * side > 0}[amplifier]
    if gate and abs(h) > threshold:
        gradient *= min(1 / flatness, amplification) if inverse else amplification
    return gradient


def penalty_gradient(z, sharpness, kind, step=1e-6):
    """d penalty / d z of one element by a central difference in h."""
    h = math.tanh(sharpness * z)
    difference = (PENALTIES[kind](h + step) - PENALTIES[kind](h - step)) / (2 * step)
    return difference * sharpness / math.cosh(sharpness * z) ** 2


def hamming(a, b):
    return sum((x ^ y).bit_count() for x, y in zip(a, b, strict=True))


def average_precision(relevance, ranks):
    """A positive counts the positives of smaller rank, and half of those of its own and one half."""
    hits = [rank for rank, relevant in zip(ranks, relevance, strict=True) if relevant]
    before = [sum(other < rank for other in hits) + (sum(other == rank for other in hits) + 1) / 2 for rank in hits]
    return sum(count / rank for count, rank in zip(before, hits, strict=True)) / len(hits)


def ndcg(relevance, ranks):
    """Of gains; without any it is 0."""
    best = sum(gain / math.log2(rank + 1) for rank, gain in enumerate(sorted(relevance, reverse=True), 1))
    return sum(gain / math.log2(rank + 1) for rank, gain in zip(ranks, relevance, strict=True)) / (best or 1.0)


def swap_weight(weighting, relevance, ranks, first, second):
    """How much the measure of the list changes when the items at two places swap, by doing it."""
    if weighting == "none":
        return 1.0
    if weighting == "rank_difference":
        return abs(1 / ranks[first] - 1 / ranks[second])
    swapped = list(relevance)
    swapped[first], swapped[second] = swapped[second], swapped[first]
    measure = {"delta_ap": average_precision, "delta_ndcg": ndcg}[weighting]
    return abs(measure(swapped, ranks) - measure(relevance, ranks))


def ranks_of(hammings, ties):
    """Of a sorted list."""
    if ties == "index":
        return list(range(1, len(hammings) + 1))
    return [sum(h < own for h in hammings) + (hammings.count(own) + 1) / 2 for own in hammings]


def anchor_triplets(distances, ranked_distances, relation, gains, hamming_row, margin, weighting, normalize, ties):
    """(omega_hat, hinge) of every triplet of one anchor."""
    items = [i for i, kind in enumerate(relation) if kind != 0]
    items.sort(key=lambda i: (hamming_row[i], ranked_distances[i], i))
    relevance = [gains[i] if relation[i] > 0 else 0 for i in items]
    ranks = ranks_of([hamming_row[i] for i in items], ties)
    place = {item: rank for rank, item in enumerate(items)}
    pairs = list(product([i for i in items if relation[i] > 0], [i for i in items if relation[i] < 0]))
    omegas = [swap_weight(weighting, relevance, ranks, place[p], place[n]) for p, n in pairs]
    mean = sum(omegas) / max(1, len(pairs)) if normalize else 1.0
    mean = mean if mean > 1e-12 else 1.0  # all items tie: every weight is 0
    return [(w / mean, max(0.0, margin + distances[p] - distances[n])) for (p, n), w in zip(pairs, omegas, strict=True)]


def order_aware_triplet(
    distances,
    ranked,
    relation,
    anchor_codes,
    item_codes,
    margin,
    weighting,
    squared,
    reduction,
    normalize=True,
    ties="index",
    gains=None,
):
    """All arguments but the options are nested lists; `ranked` are the distances that the ranks are taken from."""
    terms = []
    gains = gains or [[1] * len(row) for row in distances]
    for row, ranks, kinds, own_gains, code in zip(distances, ranked, relation, gains, anchor_codes, strict=True):
        hamming_row = [hamming(code, item) for item in item_codes]
        terms += anchor_triplets(row, ranks, kinds, own_gains, hamming_row, margin, weighting, normalize, ties)
    total = sum(weight * hinge ** (2 if squared else 1) for weight, hinge in terms)
    positive = sum(hinge > 0 for _, hinge in terms)
    return total / max(1, {"mean": len(terms), "avg_nonzero": positive, "sum": 1}[reduction])


def semi_hard_negative(row, positive, negatives):
    """The nearest negative farther away than the positive, else the farthest; among equals the first."""
    farther = [n for n in negatives if row[n] > row[positive]]
    return min(farther, key=lambda n: row[n]) if farther else max(negatives, key=lambda n: row[n])


def mined_triplets(row, kinds, mining):
    """The pairs (positive, negative) of one anchor that count."""
    positives = [m for m, kind in enumerate(kinds) if kind > 0]
    negatives = [m for m, kind in enumerate(kinds) if kind < 0]
    if not positives or not negatives:
        return []
    if mining == "hard":
        return [(max(positives, key=lambda p: row[p]), min(negatives, key=lambda n: row[n]))]
    if mining == "semi_hard":
        return [(p, semi_hard_negative(row, p, negatives)) for p in positives]
    return list(product(positives, negatives))


def triplet_margin(distances, relation, margin, mining, swap, smooth, reduction):
    """distances and relation are nested lists."""
    values = []
    for row, kinds in zip(distances, relation, strict=True):
        for p, n in mined_triplets(row, kinds, mining):
            to_negative = min(row[n], distances[p][n]) if swap else row[n]
            x = margin + row[p] - to_negative
            values.append(math.log1p(math.exp(x)) if smooth else max(0.0, x))
    positive = sum(value > 0 for value in values)
    return sum(values) / max(1, {"mean": len(values), "avg_nonzero": positive, "sum": 1}[reduction])
