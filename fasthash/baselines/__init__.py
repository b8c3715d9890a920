# SPDX-License-Identifier: Apache-2.0
"""Binary encoders that are not trained for classes: what learned codes have to beat."""

from fasthash.baselines.pca_itq import PCAITQ
from fasthash.baselines.sign_random_projection import SignRandomProjection

__all__ = ["PCAITQ", "SignRandomProjection"]
