# SPDX-License-Identifier: Apache-2.0
"""Learning rate and sharpness as functions of the step: nothing to save, nothing to restore."""

from __future__ import annotations

import math

from fasthash.nn.schedules import linear as linear


def cosine_with_warmup(step: int, steps: int, warmup: float) -> float:
    """The share of the highest learning rate at ``step`` of ``steps``, in [0, 1].

    It rises linearly over the first ``warmup * steps`` steps, then falls to 0 along half a cosine.
    """
    rising = round(warmup * steps)
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))
