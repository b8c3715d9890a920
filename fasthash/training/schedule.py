# SPDX-License-Identifier: Apache-2.0
"""Learning rate and sharpness as functions of the step: nothing to save, nothing to restore."""

from __future__ import annotations

import math


def cosine_with_warmup(step: int, steps: int, warmup: float) -> float:
    """The share of the highest learning rate at ``step`` of ``steps``, in [0, 1].

    It rises linearly over the first ``warmup * steps`` steps, then falls to 0 along half a cosine.
    """
    rising = round(warmup * steps)
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def linear(step: int, steps: int, start: float, end: float) -> float:
    """``start`` at step 0, ``end`` at the last of ``steps``, and a straight line in between."""
    return start + (end - start) * step / max(1, steps - 1)
