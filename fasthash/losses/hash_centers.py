# SPDX-License-Identifier: Apache-2.0
"""Fixed codes for classes: Hadamard rows, random balanced codes, and codebooks far apart."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from fasthash import _checks

CODEBOOKS = ("bernoulli", "gaussian", "max_min", "hadamard")

_CANDIDATES = 512  # drawn at once
_FAILURES = 10_000  # candidates refused in a row before the asked distance goes down
_SETS = 100  # sets of random centres drawn until their mean distance is K / 2
_START = 0.61  # of `max_min`, as a share of the bits
_STEP = 0.01


def hadamard_matrix(order: int) -> Tensor:
    """(order, order) float32 of ±1 with orthogonal rows, after Sylvester: two rows differ in half of their places.

    Raises:
        ValueError: `order` is not a power of two.
    """
    _checks.require(_is_power_of_two(order), "hadamard_matrix", "order", "a power of two", order)
    matrix = torch.ones(1, 1)
    while matrix.shape[0] < order:
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    return matrix


def hadamard_centers(num_classes: int, bits: int, seed: int = 0) -> Tensor:
    """Centres of classes as CSQ builds them, (C, K) float32 of ±1.

    Where K is a power of two and C <= 2 K: the first C rows of `[H; -H]`, H the Hadamard matrix. Two of them are K / 2
    apart, a row and its negative K. Elsewhere: random centres with K / 2 bits (rounded down) of -1, any two more than
    K / 4 apart, drawn anew until their mean distance is at least K / 2 (after 100 sets, the best of them). Where that
    many so far apart are not found, 10,000 draws in a row being refused, the least distance goes down by a bit.

    Args:
        num_classes: C.
        bits: K.
        seed: of the random centres.

    Raises:
        ValueError: `num_classes` or `bits` < 1, or more classes than there are balanced codes.

    Source: CSQ (Yuan et al., CVPR 2020, released code); that the distance goes down is this library's own.
    """
    _check_sizes("hadamard_centers", num_classes, bits)
    if _is_power_of_two(bits) and num_classes <= 2 * bits:
        matrix = hadamard_matrix(bits)
        return torch.cat([matrix, -matrix])[:num_classes].clone()
    _require_enough("hadamard_centers", num_classes, _choose_half(bits))
    generator = torch.Generator().manual_seed(seed)
    best, best_mean = torch.empty(0), -1.0
    for _ in range(_SETS):
        found = _far_apart(num_classes, bits, bits // 4 + 1, generator, _balanced)
        mean = mean_distance(found)
        if mean > best_mean:
            best, best_mean = found, mean
        if best_mean >= bits / 2:
            break
    return best


def hash_codebook(num_classes: int, bits: int, method: str = "bernoulli", seed: int = 0) -> Tensor:
    """Codes of classes as OrthoHash builds them, (C, K) float32 of ±1, no two of them the same.

    Args:
        num_classes: C.
        bits: K.
        method: `bernoulli` draws every bit by a fair coin, `gaussian` takes the signs of normal numbers (the same
            distribution from other numbers), and codes that were there already are drawn anew. `max_min` draws codes
            one by one that are at least 0.61 K from all before and lowers that by 0.01 K after 10,000 refused draws,
            `hadamard` is `hadamard_centers`.
        seed: of the random methods.

    Raises:
        ValueError: another method, `num_classes` or `bits` < 1, or more classes than codes.

    Source: OrthoHash (Hoe et al., NeurIPS 2021, released code, where classes can share a code); `hadamard` is that of
    CSQ.
    """
    op = "hash_codebook"
    _check_sizes(op, num_classes, bits)
    _checks.require_choice(op, "method", method, CODEBOOKS)
    generator = torch.Generator().manual_seed(seed)
    if method == "hadamard":
        return hadamard_centers(num_classes, bits, seed)
    _require_enough(op, num_classes, 2**bits)
    if method == "bernoulli":
        return _distinct(num_classes, bits, generator, _fair)
    if method == "gaussian":
        return _distinct(num_classes, bits, generator, _normal_signs)
    return _far_apart(num_classes, bits, _START * bits, generator, _fair, step=_STEP * bits)


def mean_distance(codes: Tensor) -> float:
    """Mean Hamming distance over all pairs of (C, K) codes of ±1, 0 for a single code; no (C, C) matrix."""
    count, bits = codes.shape
    if count < 2:
        return 0.0
    total = codes.double().sum(0)
    return float((bits * count**2 - total.square().sum()) / 2 / (count * (count - 1)))


def _far_apart(
    count: int,
    bits: int,
    least: float,
    generator: torch.Generator,
    draw: Callable[[int, int, torch.Generator], Tensor],
    step: float = 1.0,
) -> Tensor:
    """`count` codes, any two at least `least` apart, which goes down by `step` for 10,000 refused draws in a row."""
    codes = torch.empty(count, bits)
    found = refused = 0
    while found < count:
        candidates = draw(_CANDIDATES, bits, generator)
        # Products of ±1: distance = (K - product) / 2.
        highest = bits - 2 * least
        free = (candidates @ codes[:found].T <= highest).all(1) if found else torch.ones(_CANDIDATES, dtype=torch.bool)
        passed = candidates[free]
        refused += _CANDIDATES - len(passed)
        before = found
        while len(passed) and found < count:
            codes[found] = passed[0]
            found += 1
            passed = passed[passed @ codes[found - 1] <= highest]
        if found > before:
            refused = 0
        elif refused >= _FAILURES:
            least, refused = max(1.0, least - step), 0
    return codes


def _balanced(count: int, bits: int, generator: torch.Generator) -> Tensor:
    """Random codes with half of their bits, rounded down, at -1."""
    order = torch.rand(count, bits, generator=generator).argsort(1)
    return torch.ones(count, bits).scatter_(1, order[:, : bits // 2], -1.0)


def _fair(count: int, bits: int, generator: torch.Generator) -> Tensor:
    return torch.randint(0, 2, (count, bits), generator=generator) * 2.0 - 1.0


def _normal_signs(count: int, bits: int, generator: torch.Generator) -> Tensor:
    return torch.where(torch.randn(count, bits, generator=generator) >= 0, 1.0, -1.0)


def _distinct(
    count: int, bits: int, generator: torch.Generator, draw: Callable[[int, int, torch.Generator], Tensor]
) -> Tensor:
    """`count` codes; those that repeat an earlier one are replaced from further draws of as many at once."""
    codes = draw(count, bits, generator)
    places = _repeats(codes).nonzero().squeeze(1)
    while len(places):
        taken = torch.ones(count, dtype=torch.bool).index_fill_(0, places, False)
        drawn = torch.cat([codes[taken], draw(count, bits, generator)])
        new = ~_repeats(drawn)
        new[: count - len(places)] = False
        found = drawn[new][: len(places)]
        codes[places[: len(found)]] = found
        places = places[len(found) :]
    return codes


def _repeats(codes: Tensor) -> Tensor:
    """(C,) bool: whether a row occurs before."""
    distinct, which = torch.unique(codes, dim=0, return_inverse=True)
    order = torch.arange(len(codes))
    first = torch.full((len(distinct),), len(codes)).scatter_reduce_(0, which, order, "amin")
    return first[which] != order


def _is_power_of_two(number: int) -> bool:
    return number >= 1 and number & (number - 1) == 0


def _choose_half(bits: int) -> int:
    return math.comb(bits, bits // 2)


def _check_sizes(op: str, num_classes: int, bits: int) -> None:
    _checks.require(num_classes >= 1, op, "num_classes", ">= 1", num_classes)
    _checks.require(bits >= 1, op, "bits", ">= 1", bits)


def _require_enough(op: str, num_classes: int, codes: int) -> None:
    _checks.require(
        num_classes <= codes, op, "num_classes", lambda: f"at most {codes}, the codes there are", num_classes
    )
