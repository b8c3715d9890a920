# SPDX-License-Identifier: Apache-2.0
"""Softmax classifiers over embeddings, the baselines of class-level hashing."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fasthash import _checks
from fasthash._autocast import without_autocast
from fasthash.losses._class_level import ClassLevelLoss, row_factors, soft_targets
from fasthash.losses._class_softmax import SoftmaxRule, class_logits, class_softmax
from fasthash.losses._corners import Corners
from fasthash.losses._inputs import shown_options
from fasthash.losses._renamed import OF_BASE, refuse_options

_INSTEAD = {
    **OF_BASE,
    "reducer": "the loss is the mean over the rows, as there by default",
    "distance": "it is the cosine, as there by default",
    "weight_regularizer": "add a term of the parameter `weight`",
    "weight_reg_weight": "add a term of the parameter `weight`",
    "weight_init_func": "call it on the parameter `weight`",
}


class ClassSoftmaxLoss(ClassLevelLoss):
    """A `ClassLevelLoss` whose class term is a softmax over `SoftmaxRule` logits; multi-hot rows are soft targets."""

    rule: SoftmaxRule

    def _classes(self, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
        """Class rows (C, K) and bias (C,) or None, in the dtype to compute in."""
        raise NotImplementedError

    def _corners(self, embeddings: Tensor) -> Corners | None:
        """The penalty of the embeddings that is added to the class term, None for none."""
        return None

    def _class_term(self, embeddings: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        rows, bias = self._classes(embeddings.dtype)
        labelled = None
        if labels.dim() == 2:
            labels, labelled = soft_targets(labels, embeddings.dtype)
        factors = row_factors(weights, labelled, embeddings.dtype)
        corners = self._corners(embeddings)
        return class_softmax(embeddings, rows, bias, labels, factors, self.rule, self.backend, corners)

    def _loss(self, embeddings: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        return self._class_term(embeddings, labels, weights)

    def get_logits(self, embeddings: Tensor) -> Tensor:
        """(B, C) logits of embeddings (B, K), without a margin: their largest names the class."""
        dtype = torch.float64 if embeddings.dtype == torch.float64 else torch.float32
        with without_autocast(embeddings):
            return class_logits(embeddings.to(dtype), *self._classes(dtype), self.rule)


class MarginSoftmaxLoss(ClassSoftmaxLoss):
    """A `ClassSoftmaxLoss` whose targets lose a margin, which can change while a network trains."""

    @property
    def margin(self) -> float:
        """What the targets' cosines lose."""
        return self.rule.margin

    def set_margin(self, value: float) -> None:
        """Changes the margin to a finite number, else ValueError; for `fasthash.nn.ScheduleDriver`."""
        _checks.require_finite_number(self._name, "margin", value)
        self.rule = self.rule._replace(margin=value)

    def extra_repr(self) -> str:
        """Shown by print(loss)."""
        return shown_options(self, margin=self.margin, scale=self.rule.scale)


class SoftmaxHashLoss(ClassSoftmaxLoss):
    """Cross-entropy of a linear classifier on the embeddings (relaxed codes, or logits).

        L = mean over i of -log softmax(W h_i / temperature + c)_{y_i}

    Multi-hot rows are targets `y / |y|_1`. With `normalize`, rows of W and embeddings have length 1 and there is no
    bias: pytorch-metric-learning's NormalizedSoftmaxLoss (there with temperature 0.05).

    Args:
        num_classes: C.
        embedding_size: K.
        temperature: a finite number > 0.
        normalize: cosines in place of products.
        check_finite: see `ClassLevelLoss`, as `gather` and `backend`.
        gather: see there.
        backend: see there.

    Attributes:
        weight: (C, K) parameter W; it goes to the optimizer, as does the bias.
        bias: (C,) parameter c, None with `normalize`.

    Raises:
        ValueError: an option out of its range; in the call, what `ClassLevelLoss.forward` refuses.

    Source: common practice; the baseline of section 4 in many hashing papers.

    Example:
        >>> loss_function = SoftmaxHashLoss(num_classes=100, embedding_size=64)
        >>> optimizer = torch.optim.AdamW([*model.parameters(), *loss_function.parameters()])
        >>> loss = loss_function(model(images).codes, labels)
    """

    def __init__(
        self,
        num_classes: int,
        embedding_size: int,
        temperature: float = 1.0,
        *,
        normalize: bool = False,
        check_finite: bool | None = None,
        gather: bool = False,
        backend: str = "fused",
    ) -> None:
        super().__init__(num_classes, embedding_size, check_finite=check_finite, gather=gather, backend=backend)
        _checks.require_finite_number(self._name, "temperature", temperature, positive=True)
        self.weight = nn.Parameter(torch.empty(num_classes, embedding_size))
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)
        self.bias = None if normalize else nn.Parameter(torch.zeros(num_classes))
        self.rule = SoftmaxRule(1 / temperature, normalize, normalize)

    def _classes(self, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
        if self.weight.dtype == dtype:
            return self.weight, self.bias
        return self.weight.to(dtype), None if self.bias is None else self.bias.to(dtype)

    def extra_repr(self) -> str:
        """Shown by print(loss)."""
        return shown_options(self, temperature=1 / self.rule.scale, normalize=self.rule.normalize_weights)


class CosFaceLoss(MarginSoftmaxLoss):
    """Cosine softmax with an additive margin: `L = mean of -log softmax(scale * (cos(x_i, w_c) - margin [c = y_i]))`.

    For multi-hot rows the margin goes to every label of the row, and the targets are `y / |y|_1`: that part is this
    library's own.

    Args:
        num_classes: C.
        embedding_size: K.
        margin: in units of the cosine, a finite number.
        scale: a finite number > 0.
        check_finite: see `ClassLevelLoss`, as `gather` and `backend`.
        gather: see there.
        backend: see there.
        theirs: other options of pytorch-metric-learning's loss; the error says what stands in place of each.

    Attributes:
        weight: (C, K) parameter; it goes to the optimizer.

    Raises:
        ValueError: an option out of its range; in the call, what `ClassLevelLoss.forward` refuses.

    Source: Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face Recognition", CVPR 2018 (arXiv 1801.09414).
    """

    def __init__(
        self,
        num_classes: int,
        embedding_size: int,
        margin: float = 0.35,
        scale: float = 64.0,
        *,
        check_finite: bool | None = None,
        gather: bool = False,
        backend: str = "fused",
        **theirs: object,
    ) -> None:
        refuse_options("CosFaceLoss", theirs, _INSTEAD)
        super().__init__(num_classes, embedding_size, check_finite=check_finite, gather=gather, backend=backend)
        _checks.require_finite_number(self._name, "scale", scale, positive=True)
        self.weight = nn.Parameter(torch.empty(num_classes, embedding_size))
        nn.init.xavier_uniform_(self.weight)
        self.rule = SoftmaxRule(scale, True, True)
        self.set_margin(margin)

    def _classes(self, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
        return self.weight.to(dtype), None
