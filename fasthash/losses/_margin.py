# SPDX-License-Identifier: Apache-2.0
"""Margins that change while a network trains."""

from __future__ import annotations

from fasthash import _checks


class HasMargin:
    """A loss whose margin is read anew in each call; None is one that follows from the number of bits."""

    margin: float | None
    _margin_is_positive = False

    def set_margin(self, value: float) -> None:
        """Changes the margin to a number as the constructor takes it, else ValueError; for `nn.ScheduleDriver`.

        Under `torch.compile` each margin is a graph of its own.
        """
        _checks.require_finite_number(type(self).__name__, "margin", value, positive=self._margin_is_positive)
        self.margin = value
