# SPDX-License-Identifier: Apache-2.0
"""Von Mises-Fisher classes on the sphere, around mean directions of the training set."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from fasthash import _checks
from fasthash.losses._class_centers import ClassCenterLoss
from fasthash.losses._class_level import row_factors, soft_targets
from fasthash.losses._class_softmax import SoftmaxRule
from fasthash.losses._inputs import shown_options
from fasthash.reference.class_softmax import unit_rows
from fasthash.special import log_vmf_normalizer

LEARNED = ("none", "shared", "class")

_CANCELLED = 1e-12  # mean resultant length below which a sum has no direction


class VonMisesFisherLoss(ClassCenterLoss):
    """Posterior of von Mises-Fisher classes over directions `x_i = z_i / |z_i|` in R^d.

        p(x | c) = C_d(kappa_c) exp(kappa_c mu_c·x)
        L        = mean over i of -log( p(x_i | y_i) / sum over c of p(x_i | c) )

    With one kappa for all classes the normaliser cancels: that is a cosine softmax of temperature 1 / kappa whose
    prototypes are not learned. Multi-hot rows are targets `y / |y|_1` (this library's own).

    Mean directions mu start at random. They are `S_c / |S_c|`, S_c the sum of the directions of class c over the whole
    training set, renewed about once an epoch (the mean-direction algorithm):

        loss_function.recompute_centers(loader, model)         # a full pass, in evaluation mode
        loss_function.update_centers()                         # or: from sums of the batches since the last time

    For codes `sgn(z)` the bits should be balanced, by batch normalisation for example: mean directions are not.

    Args:
        num_classes: C.
        embedding_size: d, at least 2.
        kappa: concentration, a finite number > 0; small ones cannot tell many classes apart. With C classes in a
            simplex the best posterior is `1 / (1 + (C - 1) exp(-kappa C / (C - 1)))`.
        learn_kappa: `none`; `shared` makes one kappa a parameter; `class` makes it one for each class, where the
            normalisers no longer cancel.
        likelihood_weight: of `mean over i of -log p(x_i | y_i)`, which alone ties a shared kappa to the spread of the
            classes: its maximum-likelihood value makes `A_d(kappa)` their mean resultant length, while the posterior
            alone drives kappa up as long as the classes can be told apart. This term is this library's own.
        accumulate: add every batch to the sums in training mode, for `update_centers`.
        check_finite: see `ClassLevelLoss`, as `gather` and `backend`.
        gather: see there.
        backend: see there.

    Attributes:
        centers: (C, d) buffer, the mean directions mu.
        log_kappa: () or (C,), a parameter, which goes to the optimizer; None where kappa is not learned.

    Raises:
        ValueError: an option out of its range; in the call, what `ClassLevelLoss.forward` refuses.

    Numerics: log C_d comes from `fasthash.special.log_vmf_normalizer`, in float64 whatever the embeddings. An embedding
    of 0 has no direction: its cosines and its gradient are 0.

    Source: Zhe, Chen, Yan, "Directional Statistics-based Deep Metric Learning for Image Classification and Retrieval",
    Pattern Recognition 2019 (arXiv 1802.09662), as in third-party code; kappa = 15 is that code's. Learned kappas with
    their normaliser are this library's own addition.
    """

    def __init__(
        self,
        num_classes: int,
        embedding_size: int,
        kappa: float = 15.0,
        *,
        learn_kappa: str = "none",
        likelihood_weight: float = 0.0,
        accumulate: bool = False,
        check_finite: bool | None = None,
        gather: bool = False,
        backend: str = "fused",
    ) -> None:
        super().__init__(num_classes, embedding_size, check_finite=check_finite, gather=gather, backend=backend)
        self._require(embedding_size >= 2, "embedding_size", ">= 2", embedding_size)
        _checks.require_finite_number(self._name, "kappa", kappa, positive=True)
        _checks.require_finite_number(self._name, "likelihood_weight", likelihood_weight, nonnegative=True)
        _checks.require_choice(self._name, "learn_kappa", learn_kappa, LEARNED)
        self.learn_kappa = learn_kappa
        self.likelihood_weight = likelihood_weight
        self.register_buffer("centers", nn.functional.normalize(torch.randn(num_classes, embedding_size)))
        self._start(accumulate)
        learned = learn_kappa != "none"
        shape = (num_classes,) if learn_kappa == "class" else ()
        self.log_kappa = nn.Parameter(torch.full(shape, math.log(kappa))) if learned else None
        self.rule = SoftmaxRule(1.0 if learned else kappa, normalize_embeddings=True)

    @property
    def kappa(self) -> Tensor:
        """() or (C,), the concentration as it is now."""
        if self.log_kappa is None:
            return torch.tensor(self.rule.scale, device=self.centers.device)
        return self.log_kappa.exp()

    def resultant_lengths(self) -> Tensor:
        """(C,) float64 `|S_c| / n_c` of the sums so far: 1 for a class of one direction, NaN for one not seen."""
        lengths: Tensor = torch.linalg.vector_norm(self.sums.total, dim=1)
        return lengths / self.sums.count

    def _point(self, embeddings: Tensor) -> Tensor:
        return unit_rows(embeddings)

    def _centers_of(self, total: Tensor, count: Tensor) -> Tensor:
        lengths = torch.linalg.vector_norm(total, dim=1, keepdim=True)
        return total / torch.where(lengths < _CANCELLED * count.unsqueeze(1), math.nan, lengths)

    def _classes(self, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
        if self.log_kappa is None:
            return self.centers.to(dtype), None
        kappa = self.kappa.to(dtype)
        rows = self.centers.to(dtype) * kappa.unsqueeze(-1)
        return rows, log_vmf_normalizer(self.embedding_size, kappa) if self.learn_kappa == "class" else None

    def _loss(self, embeddings: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        loss = super()._loss(embeddings, labels, weights)
        if self.likelihood_weight:
            loss = loss + self.likelihood_weight * self._negative_log_likelihood(embeddings, labels, weights)
        return loss

    def _negative_log_likelihood(self, embeddings: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        kappa = self.kappa.to(embeddings.dtype).expand(self.num_classes)
        normalizers = log_vmf_normalizer(self.embedding_size, kappa)
        rows = self.centers.to(embeddings.dtype) * kappa.unsqueeze(1)
        labelled = None
        if labels.dim() == 2:
            targets, labelled = soft_targets(labels, embeddings.dtype)
            row, normalizer = targets @ rows, targets @ normalizers
        else:
            row, normalizer = rows[labels], normalizers[labels]
        values = -(normalizer + (self._point(embeddings) * row).sum(1))
        factors = row_factors(weights, labelled, embeddings.dtype)
        return values.mean() if factors is None else (values * factors).sum()

    def extra_repr(self) -> str:
        """Shown by print(loss); a learned kappa lives in a tensor and is not read here."""
        return shown_options(self) if self.log_kappa is not None else shown_options(self, kappa=self.rule.scale)
