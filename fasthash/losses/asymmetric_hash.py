# SPDX-License-Identifier: Apache-2.0
"""Relaxed codes of a batch against the binary codes of all items."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fasthash import _checks, ops
from fasthash._autocast import without_autocast
from fasthash._labels import as_comparable, check_kind, shares_label
from fasthash.losses._distributed import gather_batch
from fasthash.losses._inputs import check_embeddings, check_labels, packed_labels, shown_options
from fasthash.losses._sums import total
from fasthash.losses.discrete_codes import DiscreteCodes
from fasthash.ops.discrete_code_update import balance
from fasthash.reference.discrete_code_update import similarities
from fasthash.reference.label_sums import related_labels

_NAME = "AsymmetricHashLoss"


class AsymmetricHashLoss(nn.Module):
    """Inner products of a batch's relaxed codes with all items' binary codes, against K times their similarity.

        L = 1 / (B N) * [ sum over i, j of (u_i·v_j - K S_ij)^2  +  quantization * sum over i of |u_i - v_i|^2 ]

    `S_ij` is 1 where i and j share a label and `-dissimilar` elsewhere. Only the u have a gradient. The squares are
    multiplied out: `sum_j (u·v_j)^2 = u^T (V^T V) u`, and `sum_j S_ij v_j` is a sum over classes, so that with
    `DiscreteCodes`, which keeps both sums, a step takes O(B K^2) whatever N is, and no B x N matrix is made.

    Args:
        dissimilar: 0 or more; 1 makes similarities ±1. None balances them so that they sum to 0: over the pairs of the
            call; with `ref_codes` it is theirs.
        quantization: weight of the distance between an anchor's relaxed code and its own binary code; needs
            `ref_codes` and positions. That of `ref_codes`, for their updates, is of its own: give both the same.
        length_scale: multiply by 12 / K, as code of ExchNet's group does, so that the loss does not grow with K.
        gather: take the batch of all ranks; see `losses` about what that means for gradients.
        check_finite: refuse NaN and infinite embeddings and multi-hot labels; None does so on the CPU, but not on CUDA
            nor under `torch.compile`.
        backend: `fused` as above; `reference` is plain PyTorch over the B x N matrix, for `torch.func`.

    Raises:
        ValueError: an option that is none of those named.

    Numerics: everything is summed in float64, since the loss is a small difference of large numbers; the result is
    float32, or float64 for float64 embeddings.

    Source: Jiang, Li, "Asymmetric Deep Supervised Hashing", AAAI 2018, and Cui et al., "ExchNet", ECCV 2020 (the loss);
    the balanced similarities and the scale follow code of the latter's group.

    Example:
        >>> loss = AsymmetricHashLoss()(layer(features).codes, ref_codes=codes, positions=positions)
    """

    def __init__(
        self,
        dissimilar: float | None = None,
        quantization: float = 0.0,
        *,
        length_scale: bool = False,
        gather: bool = False,
        check_finite: bool | None = None,
        backend: str = "fused",
    ) -> None:
        super().__init__()
        if dissimilar is not None:
            _checks.require_finite_number(_NAME, "dissimilar", dissimilar, nonnegative=True)
        _checks.require_finite_number(_NAME, "quantization", quantization, nonnegative=True)
        _checks.require_choice(_NAME, "backend", backend, ("fused", "reference"))
        self.dissimilar = dissimilar
        self.quantization = quantization
        self.length_scale = length_scale
        self.gather = gather
        self.check_finite = check_finite
        self.backend = backend

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor | None = None,
        indices_tuple: Sequence[Tensor] | None = None,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
        *,
        ref_codes: DiscreteCodes | None = None,
        positions: Tensor | None = None,
    ) -> Tensor:
        """Loss of a batch against all items.

        Args:
            embeddings: (B, K) relaxed codes, any floating dtype.
            labels: (B,) integer ids or (B, C) multi-hot rows. Not needed where positions are given.
            indices_tuple: must be None: every pair counts.
            ref_emb: (N, K) codes of the items, int8 or floating; they get no gradient. None takes the signs of the
                batch itself.
            ref_labels: labels of `ref_emb`, of the same kind as `labels`.
            ref_codes: the items as `DiscreteCodes`, in place of `ref_emb` and `ref_labels`.
            positions: (B,) int64, which of the items of `ref_codes` the anchors are.

        Returns:
            () float32, or float64 for float64 embeddings.

        Raises:
            ValueError: shapes, dtypes or devices that do not fit, values that are not finite, labels that are missing.
        """
        _checks.require(indices_tuple is None, _NAME, "indices_tuple", "None: every pair counts", "a tuple")
        if isinstance(ref_emb, Tensor) and not ref_emb.is_floating_point():
            ref_emb = ref_emb.to(torch.float32)
        check_embeddings(_NAME, embeddings, ref_emb, self.check_finite)
        self._check_items(embeddings, ref_emb, ref_codes, positions)
        if self.gather:
            embeddings, labels, positions = _gathered(embeddings, labels, positions)
        wide = embeddings.double()
        bits = wide.shape[1]
        with without_autocast(wide):
            if ref_codes is None:
                squares, pairs = self._against_items(wide, labels, ref_emb, ref_labels)
            else:
                squares, pairs = self._against_codes(wide, labels, ref_codes, positions)
        loss = squares / pairs * (12.0 / bits if self.length_scale else 1.0)
        return loss if embeddings.dtype == torch.float64 else loss.float()

    def _check_items(
        self, embeddings: Tensor, ref_emb: Tensor | None, ref_codes: DiscreteCodes | None, positions: Tensor | None
    ) -> None:
        if ref_codes is None:
            _checks.require(positions is None, _NAME, "positions", "None where ref_codes is None", "a tensor")
            _checks.require(self.quantization == 0, _NAME, "quantization", "0 without ref_codes", self.quantization)
            return
        _checks.require(ref_emb is None, _NAME, "ref_emb", "None where ref_codes is given", "a tensor")
        fits = embeddings.shape[1] == ref_codes.bits
        _checks.require(fits, _NAME, "embeddings", f"of {ref_codes.bits} bits like ref_codes", embeddings.shape[1])
        _checks.require_same_device(_NAME, "ref_codes", ref_codes.codes, embeddings.device)
        ours, theirs = self.dissimilar, ref_codes.dissimilar
        _checks.require(ours in (None, theirs), _NAME, "dissimilar", f"None or that of ref_codes ({theirs})", ours)
        if positions is not None:
            ref_codes.check_positions(_NAME, positions, embeddings)
        elif self.quantization:
            raise ValueError(f"{_NAME}: positions must be given where quantization is not 0, got None")

    def _against_codes(
        self, u: Tensor, labels: Tensor | None, codes: DiscreteCodes, positions: Tensor | None
    ) -> tuple[Tensor, int]:
        """The sum of squares, and the number of pairs."""
        if labels is not None and positions is None:
            check_kind(_NAME, "labels", labels, self.check_finite)
        if self.dissimilar is None:
            b = codes.dissimilarity()
        else:
            b = torch.full((), self.dissimilar, dtype=torch.float64, device=u.device)
        if self.backend == "reference":
            related = _related_to_codes(labels, codes, positions)
            loss = _naive(u, codes.codes.double(), related, b)
        else:
            related, counts = codes.related_sums(labels, positions)
            everyone = codes.sums[:, :-1].sum(0).double()
            loss = _expanded(u, codes.gram.double(), related, counts, everyone, len(codes), b)
        if self.quantization:
            loss = loss + self.quantization * total((u - codes.codes[positions].double()).square())
        return loss, u.shape[0] * len(codes)

    def _against_items(
        self, u: Tensor, labels: Tensor | None, ref_emb: Tensor | None, ref_labels: Tensor | None
    ) -> tuple[Tensor, int]:
        v = torch.where(u.detach() < 0, -1.0, 1.0).double() if ref_emb is None else ref_emb.detach().double()
        batch, items = u.shape[0], v.shape[0]
        labels = check_labels(_NAME, labels, ref_labels, u, ref_emb, self.check_finite)
        others = labels if ref_labels is None else ref_labels
        if self.backend == "reference":
            related = shares_label(as_comparable(labels), as_comparable(others))
            return _naive(u, v, related, self.dissimilar), batch * items
        sums, counts = ops.label_sums(v, packed_labels(_NAME, others), packed_labels(_NAME, labels))
        if self.dissimilar is None:
            b = balance(counts.sum(), batch * items)
        else:
            b = torch.full((), self.dissimilar, dtype=torch.float64, device=u.device)
        return _expanded(u, v.T @ v, sums, counts.double(), v.sum(0), items, b), batch * items

    def extra_repr(self) -> str:
        """Shown by print(loss)."""
        return shown_options(self)


def _expanded(
    u: Tensor, gram: Tensor, related: Tensor, counts: Tensor, everyone: Tensor, items: int, b: Tensor
) -> Tensor:
    """`sum of (u_i·v_j - K S_ij)^2` from sums over j: of v v^T, of the related v, of all v."""
    bits = u.shape[1]
    similar = counts.sum()
    wanted = (1.0 + b) * related - b * everyone
    squares = similar + b.square() * (u.shape[0] * items - similar)
    return total(u * (u @ gram - 2.0 * bits * wanted)) + bits * bits * squares


def _naive(u: Tensor, v: Tensor, related: Tensor, dissimilar: float | Tensor | None) -> Tensor:
    similarity = similarities(related, dissimilar)
    return total((u @ v.T - u.shape[1] * similarity).square())


def _related_to_codes(labels: Tensor | None, codes: DiscreteCodes, positions: Tensor | None) -> Tensor:
    asked = packed_labels(_NAME, labels) if positions is None else codes.labels[positions]
    return related_labels(_NAME, codes.labels, asked)


def _gathered(
    embeddings: Tensor, labels: Tensor | None, positions: Tensor | None
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    if positions is not None:
        joined, positions = gather_batch(_NAME, embeddings, positions)
        return joined, None, positions
    if labels is None:
        raise ValueError(f"{_NAME}: labels or positions must be given, got neither")
    joined, labels = gather_batch(_NAME, embeddings, labels)
    return joined, labels, None
