# SPDX-License-Identifier: Apache-2.0
"""Options of pytorch-metric-learning's losses of the same names that have another place here."""

from __future__ import annotations

from collections.abc import Mapping

_WRAPPED = "MetricLearningLoss(loss, ...) of fasthash.integrations.metric_learning takes it"
OF_BASE = {
    "embedding_regularizer": _WRAPPED,
    "embedding_reg_weight": _WRAPPED,
    "collect_stats": "no statistics are collected",
}


def refuse_options(name: str, given: Mapping[str, object], instead: Mapping[str, str]) -> None:
    """Says of each option what stands in its place; one that is theirs no more than ours is a TypeError, as ever.

    Args:
        name: of the loss, for the error text.
        given: keyword arguments that the loss does not have.
        instead: what to do, by their names for options.
    """
    for option in given:
        if option not in instead:
            raise TypeError(f"{name}.__init__() got an unexpected keyword argument {option!r}")
        raise ValueError(f"{name}: {option} must be left out: {instead[option]}")
