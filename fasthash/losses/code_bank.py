# SPDX-License-Identifier: Apache-2.0
"""Embeddings of earlier batches, to compare a batch with more than itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fasthash import _checks
from fasthash._labels import check_kind

_NAME = "CodeBank"
_REASON = "a CodeBank has one shape, and so one graph, only from where it is full"
_eager = torch.compiler.disable(reason=_REASON)  # type: ignore[no-untyped-call]


class CodeBank(nn.Module):
    """Embeddings and labels of items seen before, as buffers: all of it is in `state_dict()` and moves with `.to()`.

    With `update(embeddings, labels, indices)` a slot belongs to a training item, as DPSH keeps the latest output for
    each; with `update(embeddings, labels)` the oldest entries make room (first in, first out), as in cross-batch
    memory. Slots that were never filled are not part of what it gives.

    Args:
        size: number of slots N.
        bits: K of the embeddings.
        classes: number of columns C of multi-hot labels; None for class ids.
        check_finite: refuse NaN and infinite embeddings or labels; None does so on the CPU, but not on CUDA, where it
            would wait for the device, nor under `torch.compile`.

    Raises:
        ValueError: a size below 1, one class; in calls, shapes or dtypes that do not fit, indices outside of 0..N-1, or
            values that are not finite.

    Memory: 4 N K bytes, and 8 N or N C of labels.

    torch.compile: until it is full, what it gives changes its shape with its contents: the graph breaks there, which
    `fullgraph=True` refuses. From where a call or `len(bank)` has found it full it is part of one graph.

    Example:
        >>> bank = CodeBank(len(dataset), 64)
        >>> bank.update(logits, labels, indices)
        >>> loss = DPSHLoss()(logits, labels, ref_emb=bank.embeddings(), ref_labels=bank.labels())
    """

    rows: Tensor
    row_labels: Tensor
    filled: Tensor
    pointer: Tensor

    def __init__(self, size: int, bits: int, classes: int | None = None, *, check_finite: bool | None = None) -> None:
        super().__init__()
        for argument, value in (("size", size), ("bits", bits)):
            _checks.require(value >= 1, _NAME, argument, ">= 1", value)
        _checks.require(classes is None or classes > 1, _NAME, "classes", "> 1, or None for ids", classes)
        self.register_buffer("rows", torch.zeros(size, bits))
        shape, dtype = ((size,), torch.int64) if classes is None else ((size, classes), torch.int8)
        self.register_buffer("row_labels", torch.zeros(shape, dtype=dtype))
        self.register_buffer("filled", torch.zeros(size, dtype=torch.bool))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.int64))
        self.check_finite = check_finite
        self._full = False  # once it is, nothing is chosen, and no device waited for

    def __len__(self) -> int:
        """Number of filled slots; on CUDA it waits for the device."""
        count = int(self.filled.sum())
        self._full = count == len(self.filled)
        return count

    @torch.no_grad()
    def update(self, embeddings: Tensor, labels: Tensor, indices: Tensor | None = None) -> None:
        """Keeps a batch, detached.

        Args:
            embeddings: (B, K) of any floating dtype, kept as float32.
            labels: (B,) ids, or (B, C) multi-hot rows where the bank has classes.
            indices: (B,) integer slots, one for each item; where one occurs twice, which item stays is not specified.
                None takes the next slots in turn.
        """
        size, bits = self.rows.shape
        _checks.require_dtype(_NAME, "embeddings", embeddings, _checks.FLOATS)
        _checks.require_tensor(_NAME, "labels", labels)
        batch = embeddings.shape[0]
        shape = tuple(embeddings.shape)
        fits = embeddings.dim() == 2 and embeddings.shape[1] == bits
        _checks.require(fits, _NAME, "embeddings", f"of shape (batch, {bits})", shape)
        expected = (batch, *self.row_labels.shape[1:])
        _checks.require(tuple(labels.shape) == expected, _NAME, "labels", f"of shape {expected}", tuple(labels.shape))
        check_kind(_NAME, "labels", labels, self.check_finite)
        _checks.require_finite(self.check_finite, _NAME, "embeddings", embeddings)
        if indices is None:
            _checks.require(batch <= size, _NAME, "embeddings", f"at most {size} rows, the size of the bank", batch)
            indices = (self.pointer + torch.arange(batch, device=self.rows.device)) % size
            self.pointer.add_(batch).remainder_(size)
        else:
            _checks.require_dtype(_NAME, "indices", indices, _checks.SIGNED_INTEGERS)
            given = tuple(indices.shape)
            _checks.require(given == (batch,), _NAME, "indices", f"of shape {(batch,)}", given)
            indices = indices.to(self.rows.device, torch.int64)
            if indices.device.type == "cpu" and batch > 0 and not torch.compiler.is_compiling():
                low, high = int(indices.min()), int(indices.max())
                _checks.require(low >= 0 and high < size, _NAME, "indices", f"in 0..{size - 1}", f"{low}..{high}")
        kept = labels if labels.dim() == 1 else labels > 0
        self.rows.index_copy_(0, indices, embeddings.detach().to(self.rows.dtype))
        self.row_labels.index_copy_(0, indices, kept.to(self.row_labels.dtype))
        self.filled.index_fill_(0, indices, True)

    def embeddings(self) -> Tensor:
        """(M, K) of the M filled slots, by slot."""
        return self.rows if self._full or self._becomes_full() else self.rows[self.filled]

    def labels(self) -> Tensor:
        """(M,) or (M, C) labels of the filled slots, by slot."""
        return self.row_labels if self._full or self._becomes_full() else self.row_labels[self.filled]

    def clear(self) -> None:
        """Empties it."""
        self.filled.zero_()
        self.pointer.zero_()
        self._full = False

    @_eager  # type: ignore[untyped-decorator]
    def _becomes_full(self) -> bool:
        self._full = bool(self.filled.all())
        return self._full

    def _load_from_state_dict(self, *args: object, **kwargs: object) -> None:
        self._full = False
        super()._load_from_state_dict(*args, **kwargs)

    def extra_repr(self) -> str:
        """Shown by print(bank)."""
        return f"size={self.rows.shape[0]}, bits={self.rows.shape[1]}"


class CrossBatchLoss(nn.Module):
    """Another loss, of a batch against a bank of earlier ones.

    With indices the batch is kept first and compared with the whole bank, itself included, as DPSH trains. Without, it
    is compared with what earlier batches left and kept then; the first batch is compared with itself. For
    `torch.compile(fullgraph=True)` the bank has to be full, see there.

    Args:
        loss: called as `loss(embeddings, labels, ref_emb=..., ref_labels=...)`.
        bank: a `CodeBank`.

    Example:
        >>> loss_function = CrossBatchLoss(DPSHLoss(), CodeBank(len(dataset), 64))
        >>> loss = loss_function(layer(features).logits, labels, indices)
    """

    def __init__(self, loss: nn.Module, bank: CodeBank) -> None:
        super().__init__()
        self.loss = loss
        self.bank = bank

    def forward(self, embeddings: Tensor, labels: Tensor, indices: Tensor | None = None) -> Tensor:
        """Loss () of a batch (B, K) with labels (B,) or (B, C), and the slots (B,) of its items, or None."""
        if indices is not None:
            self.bank.update(embeddings, labels, indices)
        seen, of_seen = self.bank.embeddings(), self.bank.labels()
        if len(seen) == 0:
            loss: Tensor = self.loss(embeddings, labels)
        else:
            # Copies: the bank changes before backward.
            loss = self.loss(embeddings, labels, ref_emb=seen.clone(), ref_labels=of_seen.clone().to(labels.dtype))
        if indices is None:
            self.bank.update(embeddings, labels)
        return loss
