# SPDX-License-Identifier: Apache-2.0
"""What class-level losses share: the call, its checks, labels as targets, weights from mined indices."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fasthash import _checks
from fasthash._labels import check_kind
from fasthash.losses._class_softmax import BACKENDS
from fasthash.losses._distributed import gather_batch
from fasthash.losses._inputs import check_embeddings, shown_options
from fasthash.losses.relation import check_index, check_number

_NAMES = {3: ("a", "p", "n"), 4: ("a1", "p", "a2", "n")}  # what a miner's triplets and pairs are made of


class ClassLevelLoss(nn.Module):
    """Compares embeddings (B, K) with one row for each of C classes; the batch may hold any part of the classes.

    The call is that of pytorch-metric-learning. Half precisions and autocast regions are computed in float32, float64
    stays float64. What the loss learns are its parameters, and what it keeps are its buffers: parameters go to an
    optimizer together with the network's (`itertools.chain(model.parameters(), loss.parameters())`), both are in
    `state_dict()` and move with `.to()`.

    Args:
        num_classes: C.
        embedding_size: K.
        check_finite: refuse NaN and infinite embeddings or labels, ids outside of 0..C-1, and mined indices that are no
            rows; None does so on the CPU, but not on CUDA, where it would wait for the device, nor under
            `torch.compile`.
        gather: join the batches of all ranks of a distributed run first, see `losses._distributed`.
        backend: `fused`, or `reference` in plain PyTorch for double backward and `torch.func`.

    Raises:
        ValueError: `num_classes` or `embedding_size` < 1, or another `backend`.
    """

    def __init__(
        self,
        num_classes: int,
        embedding_size: int,
        *,
        check_finite: bool | None = None,
        gather: bool = False,
        backend: str = "fused",
    ) -> None:
        super().__init__()
        self._require(num_classes >= 1, "num_classes", ">= 1", num_classes)
        self._require(embedding_size >= 1, "embedding_size", ">= 1", embedding_size)
        _checks.require_choice(self._name, "backend", backend, BACKENDS)
        self.num_classes = num_classes
        self.embedding_size = embedding_size
        self.check_finite = check_finite
        self.gather = gather
        self.backend = backend

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _require(self, condition: bool, argument: str, expected: str, got: object) -> None:
        _checks.require(condition, self._name, argument, expected, got)

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor | None = None,
        indices_tuple: Sequence[Tensor] | None = None,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
    ) -> Tensor:
        """Loss of a batch.

        Args:
            embeddings: (B, K), any floating dtype.
            labels: (B,) integer ids in 0..C-1, or (B, C) multi-hot rows of any dtype, where any entry > 0 sets
                the label. A row without any label has no class term; it is left out of the mean.
            indices_tuple: what a miner of pytorch-metric-learning returned. As there, an item weighs as often as it is
                named, relative to the one that is named most; without any index all weigh 1.
            ref_emb: has to be None: there is nothing to compare with but classes.
            ref_labels: has to be None.

        Returns:
            () float32, or float64 for float64 embeddings.

        Raises:
            ValueError: shapes, dtypes, devices, ids or indices that do not fit, values that are not finite, no labels,
                or reference embeddings.
            TypeError: an argument that is no tensor.
        """
        if ref_emb is not None or ref_labels is not None:
            argument = "ref_labels" if ref_emb is None else "ref_emb"
            raise ValueError(f"{self._name}: {argument} must be None in a loss over classes, got a tensor")
        _checks.require_tensor(self._name, "embeddings", embeddings)
        checking = self._checks_values(embeddings)
        # Looking at the result costs next to nothing; what it hides, or what it would spoil, is looked at first.
        late = checking and self._shows_bad_values() and embeddings.device.type == "cpu"
        labels = self._checked(embeddings, labels, checking and not late)
        if self.gather:
            self._require(indices_tuple is None, "indices_tuple", "None where gather=True", "a tuple")
            embeddings, labels = gather_batch(self._name, embeddings, labels)
        if indices_tuple is not None:
            self._check_indices(indices_tuple, embeddings.shape[0], checking)
        if not late:
            return self._computed(embeddings, labels, indices_tuple)
        try:
            loss = self._computed(embeddings, labels, indices_tuple)
        except (IndexError, RuntimeError, ValueError):  # the second from scatter, the third from an operator of ours
            self._check_values(embeddings, labels)
            raise
        if not math.isfinite(loss.item()):
            self._check_values(embeddings, labels)
        return loss

    def _computed(self, embeddings: Tensor, labels: Tensor, indices_tuple: Sequence[Tensor] | None) -> Tensor:
        dtype = torch.float64 if embeddings.dtype == torch.float64 else torch.float32
        weights = None if indices_tuple is None else _weights(indices_tuple, embeddings.shape[0], labels, dtype)
        kind = embeddings.device.type
        # A region costs as much as two operators, and so does a conversion that changes nothing.
        if embeddings.dtype == dtype and not torch.is_autocast_enabled(kind):
            return self._loss(embeddings, labels, weights)
        with torch.autocast(kind, enabled=False):
            return self._loss(embeddings.to(dtype), labels, weights)

    def _loss(self, embeddings: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        """The loss of (B, K) in the dtype to compute in, (B,) int64 ids or (B, C) labels, and (B,) weights or None."""
        raise NotImplementedError

    def _shows_bad_values(self) -> bool:
        """Whether bad embeddings always make the loss NaN or infinite, bad ids raise, and none is kept."""
        return True

    def _checks_values(self, embeddings: Tensor) -> bool:
        if self.check_finite is None:
            return embeddings.device.type == "cpu" and not torch.compiler.is_compiling()
        return self.check_finite

    def _check_values(self, embeddings: Tensor, labels: Tensor) -> None:
        _checks.require_finite(True, self._name, "embeddings", embeddings)
        if labels.dim() == 1:
            low, high, last = int(labels.min()), int(labels.max()), self.num_classes - 1
            self._require(low >= 0 and high <= last, "labels", f"ids in 0..{last}", f"{low}..{high}")

    def _check_indices(self, indices_tuple: Sequence[Tensor], batch: int, values: bool) -> None:
        check_number(self._name, indices_tuple)
        for name, index in zip(_NAMES[len(indices_tuple)], indices_tuple, strict=True):
            check_index(self._name, name, index, batch, values=values)

    def _checked(self, embeddings: Tensor, labels: Tensor | None, values: bool) -> Tensor:
        """The labels, ids as int64, after all checks; those of values on request."""
        if isinstance(labels, Tensor) and self._is_usual(embeddings, labels):
            if values:
                self._check_values(embeddings, labels)
            return labels
        check_embeddings(self._name, embeddings, None, False)
        width = embeddings.shape[1]
        _checks.require(
            width == self.embedding_size, self._name, "embeddings", lambda: f"of {self.embedding_size} columns", width
        )
        labels = self._checked_labels(embeddings, labels)
        if values:
            self._check_values(embeddings, labels)
        return labels

    def _is_usual(self, embeddings: Tensor, labels: Tensor) -> bool:
        """Whether one look finds everything in order, as it nearly always is: each check with its text costs more."""
        return (
            embeddings.dim() == 2
            and labels.dim() == 1
            and embeddings.shape[0] == labels.shape[0] > 0
            and embeddings.shape[1] == self.embedding_size
            and labels.dtype == torch.int64
            and embeddings.dtype in _checks.FLOATS
            and labels.device == embeddings.device
        )

    def _checked_labels(self, embeddings: Tensor, labels: Tensor | None) -> Tensor:
        name, classes, batch = self._name, self.num_classes, embeddings.shape[0]
        if labels is None:
            raise ValueError(f"{name}: labels must be given, got None")
        check_kind(name, "labels", labels, self.check_finite)
        shape = tuple(labels.shape)
        if labels.dim() == 2:
            _checks.require(shape == (batch, classes), name, "labels", lambda: f"of shape {(batch, classes)}", shape)
        else:
            _checks.require(shape == (batch,), name, "labels", lambda: f"{batch} ids or {batch} multi-hot rows", shape)
        _checks.require_same_device(name, "labels", labels, embeddings.device)
        return labels if labels.dim() == 2 else labels.long()

    def extra_repr(self) -> str:
        """Shown by print(loss)."""
        return shown_options(self)


def soft_targets(labels: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Multi-hot rows (B, C) as distributions, each label one over their number; and which rows have one (B,) bool."""
    present = (labels > 0).to(dtype)
    number = present.sum(1, keepdim=True)
    return present / number.clamp(min=1), number.squeeze(1) > 0


def row_factors(weights: Tensor | None, labelled: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """(B,) factors of the rows' losses, whose sum is the mean over labelled rows; None for the plain mean."""
    if labelled is None:
        return None if weights is None else weights / weights.shape[0]
    share = labelled.to(dtype) / labelled.sum().clamp(min=1)
    return share if weights is None else share * weights


def _weights(indices_tuple: Sequence[Tensor], batch: int, labels: Tensor, dtype: torch.dtype) -> Tensor:
    indices = torch.cat([each.to(labels.device).long() for each in indices_tuple])
    counts = torch.zeros(batch, dtype=torch.int64, device=labels.device)
    counts = counts.scatter_add(0, indices, torch.ones_like(indices))
    highest = counts.max()
    return torch.where(highest > 0, counts.to(dtype) / highest.clamp(min=1), 1.0)
