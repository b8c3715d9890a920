# SPDX-License-Identifier: Apache-2.0
"""Losses whose class rows are means of embeddings, taken over the training set."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from fasthash.losses.softmax import ClassSoftmaxLoss

Model = Callable[[Tensor], object]


class ClassSums(nn.Module):
    """Sums of embeddings (C, K) and their number (C,) for each class, float64 buffers that are saved with the rest."""

    total: Tensor
    count: Tensor

    def __init__(self, num_classes: int, embedding_size: int) -> None:
        super().__init__()
        self.register_buffer("total", torch.zeros(num_classes, embedding_size, dtype=torch.float64))
        self.register_buffer("count", torch.zeros(num_classes, dtype=torch.float64))

    def add(self, embeddings: Tensor, labels: Tensor) -> None:
        """Adds (B, K) embeddings under (B,) int64 ids, or under every label of (B, C) multi-hot rows.

        The sums come in the order of the batch, on a GPU too.
        """
        wide = embeddings.detach().to(self.total.dtype)
        if labels.dim() == 2:
            present = (labels > 0).to(wide.dtype)
            self.total += present.T @ wide
            self.count += present.sum(0)
        else:
            self.total.index_put_((labels,), wide, accumulate=True)
            self.count.index_put_((labels,), torch.ones_like(labels, dtype=wide.dtype), accumulate=True)

    def reset(self) -> None:
        """Forgets everything."""
        self.total.zero_()
        self.count.zero_()

    def reduce(self) -> None:
        """Adds up the sums of all ranks of a distributed run."""
        torch.distributed.all_reduce(self.total)
        torch.distributed.all_reduce(self.count)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> ClassSums:
        """Moves with the loss, but stays float64: `loss.half()` would lose what was added."""
        total, count = self.total, self.count
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self.total.dtype != torch.float64:
            self.total, self.count = total.to(self.total.device), count.to(self.count.device)
        return self


class ClassCenterLoss(ClassSoftmaxLoss):
    """A softmax over classes whose rows, `centers` (C, K), come from sums over the training set.

    Two ways lead to new centres, and neither sends a gradient: `recompute_centers` reads a whole data set once, and
    `update_centers` takes what `accumulate` (or every training batch, with `accumulate=True`) has added up since the
    last time, at no further pass, from embeddings of a network that changed meanwhile. A class that was not seen keeps
    its centre.
    """

    centers: Tensor
    sums: ClassSums

    def _start(self, accumulate: bool) -> None:
        self.sums = ClassSums(self.num_classes, self.embedding_size)
        self.accumulates = accumulate

    def _point(self, embeddings: Tensor) -> Tensor:
        """What is summed for an embedding."""
        return embeddings

    def _centers_of(self, total: Tensor, count: Tensor) -> Tensor:
        """Centres (C, K) from sums and numbers; NaN where there is none."""
        return total / count.unsqueeze(1)

    def _shows_bad_values(self) -> bool:
        return not self.accumulates

    def _loss(self, embeddings: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        if self.accumulates and self.training:
            self.sums.add(self._point(embeddings.detach()), labels)
        return self._class_term(embeddings, labels, weights)

    @torch.no_grad()
    def accumulate(self, embeddings: Tensor, labels: Tensor) -> None:
        """Adds a batch to the sums: embeddings (B, K) and labels as the call takes them."""
        labels = self._checked(embeddings, labels, self._checks_values(embeddings))
        self.sums.add(self._point(embeddings.to(torch.float64)), labels)

    @torch.no_grad()
    def update_centers(self) -> None:
        """Sets the centres to those of the sums, and starts new sums. With `gather` the sums of all ranks count."""
        if self.gather:
            self.sums.reduce()
        found = self._centers_of(self.sums.total, self.sums.count)
        self.centers.copy_(torch.where(found.isfinite().all(1, keepdim=True), found, self.centers.to(found.dtype)))
        self.sums.reset()

    @torch.no_grad()
    def recompute_centers(self, batches: Iterable[tuple[Tensor, Tensor]], model: Model | None = None) -> None:
        """Sets the centres from one pass over a data set; sums that were begun are forgotten.

        Args:
            batches: pairs (embeddings, labels), or, with a model, (inputs, labels); more elements are not looked at.
            model: makes embeddings of inputs; of a `HashOutput` the logits are taken. A module runs in evaluation mode
                and is put back as it was. Inputs and labels are moved to the device of the centres.

        Raises:
            ValueError: there is no batch, or what the call refuses.
        """
        modules = list(model.modules()) if isinstance(model, nn.Module) else []
        modes = [module.training for module in modules]
        for module in modules:
            module.training = False
        self.sums.reset()
        batch = None
        try:
            for batch in batches:
                inputs, labels = (each.to(self.centers.device) for each in batch[:2])
                output = inputs if model is None else model(inputs)
                self.accumulate(_embeddings(output), labels)
        finally:
            for module, mode in zip(modules, modes, strict=True):
                module.training = mode
        self._require(batch is not None, "batches", "at least one", "none")
        self.update_centers()


def _embeddings(output: object) -> Tensor:
    found = getattr(output, "logits", output)
    assert isinstance(found, Tensor), "a model returns a tensor, or something with logits"
    return found
