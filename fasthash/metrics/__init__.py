# SPDX-License-Identifier: Apache-2.0
"""Retrieval quality of packed codes, correct where distances tie."""

from fasthash.metrics.average_precision import mean_average_precision
from fasthash.metrics.precision import (
    PrecisionRecallCurve,
    precision_at_k,
    precision_recall_curve,
    precision_within_radius,
)

__all__ = [
    "PrecisionRecallCurve",
    "mean_average_precision",
    "precision_at_k",
    "precision_recall_curve",
    "precision_within_radius",
]
