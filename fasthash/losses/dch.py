# SPDX-License-Identifier: Apache-2.0
"""DCH: a Cauchy distribution of Hamming distances."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from fasthash import _checks
from fasthash.losses._likelihood import cauchy, cosine_cauchy
from fasthash.losses._pairs import Balance, Pairs, PairwiseLoss, Rule, mean_of_pairs
from fasthash.losses._sums import total

_FORMS = ("paper", "released")
_SMALLEST_SHARE = 0.005  # of K: distances below do not pull any further


class DCHLoss(PairwiseLoss):
    """Cross-entropy of the Cauchy probability `p = gamma / (gamma + d)` that a pair of relaxed codes is similar.

        L = 1/|S| * sum over i, j of w_ij (s_ij log(d_ij / gamma) + log(1 + gamma / d_ij))
            + quantization * mean over i of log(1 + d(|h_i|, 1) / gamma)
        d(a, b) = K / 2 * (1 - cos(a, b)),   w as in `HashNetLoss`

    Distances below 0.005 K count as that much, so that the logarithm stays finite. `form="released"` is what the
    authors' code trains: d_ij = |h_i - h_j|^2, weights |S| / |S_1| of similar pairs and 1 of others, and the mean of
    (|h_ik| - 1)^2 for quantization.

    Args:
        gamma: distance at which p is one half, in bits (or squared length where `released`).
        quantization: weight of the second term; None means 0.1, and 0 where `released`.
        form: `paper` or `released`.
        check_finite, gather, backend: see `DPSHLoss`.

    Raises:
        ValueError: `gamma` not a finite number > 0, `quantization` not one >= 0, another `form` or `backend`; what the
            call refuses is listed at `forward`.

    Source: Cao, Long, Liu, Wang, "Deep Cauchy Hashing for Hamming Space Retrieval", CVPR 2018, the paper's form with
    gamma and quantization of published reproductions; the released form confirmed from the authors' code. The smallest
    distance is that of reproductions.

    Example:
        >>> loss = DCHLoss(gamma=20)(layer(features).codes, labels)
    """

    def __init__(
        self,
        gamma: float = 20.0,
        quantization: float | None = None,
        form: str = "paper",
        *,
        check_finite: bool | None = None,
        gather: bool = False,
        backend: str = "fused",
    ) -> None:
        super().__init__(check_finite, gather, backend)
        _checks.require_finite_number(self._name, "gamma", gamma, positive=True)
        _checks.require_choice(self._name, "form", form, _FORMS)
        if quantization is not None:
            _checks.require_finite_number(self._name, "quantization", quantization, nonnegative=True)
        self.gamma = gamma
        self.form = form
        self.quantization = (0.1 if form == "paper" else 0.0) if quantization is None else quantization

    @property
    def _of_distances(self) -> bool:  # type: ignore[override]
        return self.form == "released"

    def _rule(self, bits: int) -> Rule:
        smallest = _SMALLEST_SHARE * bits
        return cauchy(self.gamma, smallest) if self._of_distances else cosine_cauchy(bits, self.gamma, smallest)

    def _mean(self, x: Tensor, y: Tensor, pairs: Pairs) -> Tensor:
        if self.form == "paper":
            unit = functional.normalize(x)
            x, y = unit, unit if y is x else functional.normalize(y)
        return mean_of_pairs(x, y, pairs, self._rule(x.shape[1]), self._of_distances, self.backend == "fused")

    @property
    def _balance(self) -> Balance:  # type: ignore[override]
        return Balance("both" if self.form == "paper" else "similar")

    def _quantization(self, x: Tensor, y: Tensor) -> Tensor | float:
        if self.quantization == 0:
            return 0.0
        if self.form == "released":
            return self.quantization * total((x.abs() - 1).square()) / x.numel()
        bits = x.shape[1]
        cosines = functional.normalize(x).abs().sum(1) / bits**0.5
        distances = (bits / 2) * (1 - cosines)
        penalty: Tensor = self.quantization * (distances.clamp(min=0) / self.gamma).log1p().mean()
        return penalty
