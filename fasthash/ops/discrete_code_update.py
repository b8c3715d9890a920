# SPDX-License-Identifier: Apache-2.0
"""discrete_code_update: codes of ±1 by discrete cyclic coordinate descent."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from fasthash import _checks
from fasthash._labels import as_ids
from fasthash.ops import _registration
from fasthash.ops.label_sums import label_sums
from fasthash.types import DiscreteCodeUpdate

_OP = "discrete_code_update"


class LabelGroups(NamedTuple):
    """Items by their labels: those of a group have the same.

    Attributes:
        group_of: (N,) int64, the group of each item.
        labels: (P,) or (P, C), the labels of each group.
        sizes: (P,) int64, how many items it has.
    """

    group_of: Tensor
    labels: Tensor
    sizes: Tensor


def group_labels(labels: Tensor) -> LabelGroups:
    """Groups of items with equal labels: ids (N,), or packed multi-hot rows (N, C), which take a sort of all rows."""
    words = _as_words(labels)
    if words.dim() == 1:
        _, index, sizes = torch.unique(words, return_inverse=True, return_counts=True)
    else:
        _, index, sizes = torch.unique(words, dim=0, return_inverse=True, return_counts=True)
    member = torch.empty(len(sizes), dtype=torch.int64, device=labels.device)
    # All members of a group have the same labels, so that it does not matter which one is written last.
    member[index] = torch.arange(len(labels), device=labels.device)
    return LabelGroups(index, labels[member], sizes)


def discrete_code_update(
    codes: Tensor,
    relaxed: Tensor,
    labels: Tensor | LabelGroups,
    relaxed_labels: Tensor,
    *,
    positions: Tensor | None = None,
    quantization: float = 0.0,
    dissimilar: float | Tensor | None = None,
    sweeps: int = 1,
) -> DiscreteCodeUpdate:
    r"""Codes V of all items from the relaxed codes U of a sample, bit by bit, so that the asymmetric loss falls.

        L(V) = sum over samples i, items j of (u_i·v_j - K S_ij)^2 + quantization * sum over i of |u_i - v_pos(i)|^2
        for k = 1..K:  v_k = sgn(Q_k - sum over l != k of v_l G_lk),   Q = K S^T U (+ quantization * U at `positions`)

    with `G = U^T U`. `S_ij` is 1 where i and j share a label, and `-dissimilar` elsewhere. Neither S nor anything else
    of the size of samples times items is held: S^T U is a sum over classes, or over rows of bits.

    Rows do not depend on one another. L never rises, in exact arithmetic: a bit changes only where its sum is larger
    than rounding can have made it, and keeps its old value otherwise, also where it is zero or NaN.

    Args:
        codes: (N, K) int8, below zero is -1, all else +1; K at most 1024. Any strides.
        relaxed: (S, K) relaxed codes U, float32, bfloat16, float16, or float64, which is rounded to float32.
        labels: labels of all items: (N,) class ids of any integer dtype, or (N, C) uint8 packed multi-hot rows, as
            `pack_codes` makes them of a bool matrix. Or what `group_labels` made of them, which saves sorting again.
        relaxed_labels: (S,) or (S, C) labels of the sample, of the same kind.
        positions: (S,) int64, which item each sample is, no one twice; needed where `quantization` is not 0.
        quantization: weight of the distance between a sample's relaxed code and its own code, finite, not negative.
        dissimilar: 0 or more, a number or a 0-d tensor on the device of codes; 1 makes similarities ±1. None balances
            them: the number of pairs that share a label over the number of those that do not, so that S sums to 0.
        sweeps: how often to go through all bits.

    Returns:
        `DiscreteCodeUpdate`: codes (N, K) int8 of -1 and +1, and changed () int64, how many entries differ from the
        ones given. They have no gradient.

    Raises:
        ValueError: an argument is not as described; the text names it, what was expected and what came. Positions are
            looked at on the CPU only.

    Numerics: sums over samples in float64, the descent in float32, in one order everywhere; products with ±1 are exact.
    So codes are equal on every machine variant, device and number of threads.

    Cost: O(N K^2) for each sweep beside the sums of `label_sums`.

    Source: the update is that of Jiang, Li, "Asymmetric Deep Supervised Hashing", AAAI 2018, as Cui et al., "ExchNet",
    ECCV 2020, use it; the balanced similarities follow code of the latter's group. The rule for bits that rounding
    might have decided is this library's own.
    """
    for name, each in (("codes", codes), ("relaxed", relaxed), ("relaxed_labels", relaxed_labels)):
        _checks.require_tensor(_OP, name, each)
    labels = labels if isinstance(labels, LabelGroups) else group_labels(_checked_labels(codes, labels))
    targets, target_of = _targets(codes, relaxed, labels, relaxed_labels, dissimilar)
    _checks.require(0 <= quantization < float("inf"), _OP, "quantization", "a finite number, 0 or more", quantization)
    if quantization:
        positions = _checked_positions(codes, relaxed, positions)
        own = targets[target_of[positions]] + quantization * relaxed.double()
        target_of = target_of.index_copy(0, positions, len(targets) + torch.arange(len(own), device=own.device))
        targets = torch.cat((targets, own))
    updated = torch.ops.fasthash.discrete_code_update.default(codes, relaxed, targets.float(), target_of, sweeps)
    return DiscreteCodeUpdate(*updated)


def _targets(
    codes: Tensor, relaxed: Tensor, groups: LabelGroups, relaxed_labels: Tensor, dissimilar: float | Tensor | None
) -> tuple[Tensor, Tensor]:
    """(P, K) float64 targets `K * sum of S_ij u_i` of groups of items, and (N,) which one an item has."""
    bits = codes.shape[1]
    sums, counts = label_sums(relaxed, relaxed_labels, groups.labels)
    everyone = torch.zeros(len(relaxed) + 1, dtype=torch.int64, device=relaxed.device)
    total = label_sums(relaxed, everyone[:-1], everyone[-1:]).sums
    if dissimilar is None:
        dissimilar = balance((groups.sizes * counts).sum(), len(codes) * len(relaxed))
    return bits * ((1.0 + dissimilar) * sums - dissimilar * total), groups.group_of


def balance(similar: Tensor, pairs: int | Tensor) -> Tensor:
    """() float64 b, so that similarities, 1 and -b, of all pairs sum to 0; 0 where all pairs are similar."""
    others = pairs - similar
    return torch.where(others > 0, similar.double() / others.clamp(min=1), 0.0)


def _as_words(labels: Tensor) -> Tensor:
    """Ids as they are; packed rows as int64 words, (N,) where one is enough."""
    if labels.dim() == 1:
        return labels
    width = -(-labels.shape[1] // 8) * 8
    words = torch.nn.functional.pad(labels, (0, width - labels.shape[1])).contiguous().view(torch.int64)
    return words.squeeze(1) if width == 8 else words


def _checked_labels(codes: Tensor, labels: Tensor) -> Tensor:
    _checks.require_tensor(_OP, "labels", labels)
    labels = as_ids(labels)
    packed = labels.dim() == 2 and labels.dtype == torch.uint8 and labels.shape[1] > 0
    fits = packed or (labels.dim() == 1 and labels.dtype == torch.int64)
    got = f"{str(labels.dtype).removeprefix('torch.')} of shape {tuple(labels.shape)}"
    _checks.require(fits, _OP, "labels", "1-D integer ids or 2-D packed multi-hot rows of uint8", got)
    _checks.require(len(labels) == len(codes), _OP, "labels", f"of length {len(codes)} like codes", len(labels))
    return labels


def _checked_positions(codes: Tensor, relaxed: Tensor, positions: Tensor | None) -> Tensor:
    if positions is None:
        raise ValueError(f"{_OP}: positions must be given where quantization is not 0, got None")
    _checks.require_dtype(_OP, "positions", positions, (torch.int64,))
    length = len(relaxed)
    _checks.require(positions.shape == (length,), _OP, "positions", f"of shape ({length},)", tuple(positions.shape))
    _checks.require_same_device(_OP, "positions", positions, codes.device)
    if positions.device.type == "cpu" and length:
        low, high = (int(value) for value in positions.aminmax())
        _checks.require(low >= 0 and high < len(codes), _OP, "positions", f"in 0..{len(codes) - 1}", f"{low}..{high}")
        repeated = length - len(positions.unique())
        _checks.require(repeated == 0, _OP, "positions", "without repetitions", f"{repeated} repeated")
    return positions


@torch.library.register_fake("fasthash::discrete_code_update")
def _fake(codes: Tensor, relaxed: Tensor, targets: Tensor, target_of: Tensor, sweeps: int) -> tuple[Tensor, Tensor]:
    return codes.new_empty(codes.shape, dtype=torch.int8), codes.new_empty((), dtype=torch.int64)


_registration.not_differentiable(_OP)
