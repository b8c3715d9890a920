# SPDX-License-Identifier: Apache-2.0
"""DCWH: Gaussian classes around centres near the corners of a cube."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fasthash import _checks
from fasthash.losses._class_centers import ClassCenterLoss
from fasthash.losses._class_softmax import SoftmaxRule
from fasthash.losses._corners import Corners
from fasthash.losses._inputs import shown_options

STAGES = ("establish", "refine", "both")
UPDATES = ("mean", "gradient")


class DCWHLoss(ClassCenterLoss):
    """Class-wise Gaussian loss with a cubic and a vertex constraint, for the logits of a linear hash layer (no tanh).

        L1 = mean over i of -log( exp(-|r_i - mu_{y_i}|^2 / (2 v)) / sum over c of exp(-|r_i - mu_c|^2 / (2 v)) )
        L2 = mean over i of the sum over k of max(0, |r_ik| - e)                          inside the cube [-e, e]^K
        L3 = mean over i of |sgn(r_i) - r_i|^2                                            at its corners

    The stage `establish` is `L1 + cube_weight L2`, `refine` is `L1 + vertex_weight L3`, and `both` keeps both terms, as
    the released code does all the time. Multi-hot rows are targets `y / |y|_1` (this library's own). Constraints are
    means over all rows, whatever a miner's weights.

    Centres mu start as normal numbers. They are the class means of the whole training set, renewed every other epoch:

        loss_function.recompute_centers(loader, model)         # a full pass, in evaluation mode
        loss_function.update_centers()                         # or: from sums of the batches since the last time

    Args:
        num_classes: C.
        embedding_size: K.
        variance: v, a finite number > 0. Corners that differ in one bit are at squared distance 4.
        cube_weight: of L2.
        vertex_weight: of L3.
        cube: half the side e of the cube.
        stage: `establish`, `refine` or `both`; changed by `set_stage` and saved in `state_dict`.
        update: `mean` keeps `centers` as a buffer. `gradient` makes it a parameter, which goes to the optimizer.
        accumulate: add every batch to the sums in training mode, for `update_centers`.
        check_finite: see `ClassLevelLoss`, as `gather` and `backend`.
        gather: see there.
        backend: see there.

    Attributes:
        centers: (C, K) buffer (or parameter) mu.

    Raises:
        ValueError: an option out of its range; in the call, what `ClassLevelLoss.forward` refuses.

    Numerics: the squared distances are expanded to products, `r·mu - |mu|^2 / 2`; in float32 their error grows with the
    square of the centres' length, which L2 keeps near sqrt(K).

    Source: DCWH (Zhe, Chen, Yan, IEEE TNNLS 2019, arXiv 1803.04137), formulas, e = 1.1, weights and updates as in code
    of a co-author's group. That the paper has the two stages apart follows from its abstract.
    """

    def __init__(
        self,
        num_classes: int,
        embedding_size: int,
        *,
        variance: float = 1.0,
        cube_weight: float = 10.0,
        vertex_weight: float = 0.01,
        cube: float = 1.1,
        stage: str = "both",
        update: str = "mean",
        accumulate: bool = False,
        check_finite: bool | None = None,
        gather: bool = False,
        backend: str = "fused",
    ) -> None:
        super().__init__(num_classes, embedding_size, check_finite=check_finite, gather=gather, backend=backend)
        _checks.require_finite_number(self._name, "variance", variance, positive=True)
        for argument, value in (("cube_weight", cube_weight), ("vertex_weight", vertex_weight), ("cube", cube)):
            _checks.require_finite_number(self._name, argument, value, nonnegative=True)
        _checks.require_choice(self._name, "update", update, UPDATES)
        centers = torch.randn(num_classes, embedding_size)
        if update == "mean":
            self.register_buffer("centers", centers)
        else:
            self.centers = nn.Parameter(centers)
        self._start(accumulate)
        self.rule = SoftmaxRule(1 / variance)
        self.cube_weight, self.vertex_weight, self.cube = cube_weight, vertex_weight, cube
        self.set_stage(stage)

    def set_stage(self, stage: str) -> None:
        """Changes the stage to `establish`, `refine` or `both`, else ValueError. A compiled loss compiles once more."""
        _checks.require_choice(self._name, "stage", stage, STAGES)
        self.stage = stage

    def _classes(self, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
        centers = self.centers.to(dtype)
        return centers, centers.square().sum(1) * (-0.5 * self.rule.scale)

    def _corners(self, embeddings: Tensor) -> Corners | None:
        cube = 0.0 if self.stage == "refine" else self.cube_weight / embeddings.shape[0]
        vertex = 0.0 if self.stage == "establish" else self.vertex_weight / embeddings.shape[0]
        return Corners(l2=vertex, outside=cube, edge=self.cube) if cube or vertex else None

    def get_extra_state(self) -> Tensor:
        """The stage, for `state_dict`."""
        return torch.tensor(STAGES.index(self.stage))

    def set_extra_state(self, state: Tensor) -> None:
        """Takes up the stage of a `state_dict`."""
        self.set_stage(STAGES[int(state)])

    def extra_repr(self) -> str:
        """Shown by print(loss)."""
        return shown_options(self, variance=1 / self.rule.scale)
