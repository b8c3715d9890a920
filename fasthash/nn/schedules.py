# SPDX-License-Identifier: Apache-2.0
"""Numbers that change while a network trains: sharpness (continuation), margins, weights.

A schedule is a function of the step, `schedule(step) -> float`: it has nothing to save. A step is whatever the loop
counts, batches or epochs. `ScheduleDriver` counts the steps and passes the values on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fasthash import _checks


def linear(step: int, steps: int, start: float, end: float) -> float:
    """``start`` at step 0, ``end`` at the last of ``steps``, and a straight line in between."""
    return start + (end - start) * step / max(1, steps - 1)


@dataclass(frozen=True)
class Linear:
    """A straight line from `start` at step 0 to `end` at the last of `steps`, and `end` from there on."""

    start: float
    end: float
    steps: int

    def __post_init__(self) -> None:
        for argument, value in (("start", self.start), ("end", self.end)):
            _checks.require_finite_number("Linear", argument, value)
        _checks.require(self.steps >= 1, "Linear", "steps", ">= 1", self.steps)

    def __call__(self, step: int) -> float:
        """The value at `step` >= 0."""
        return linear(min(_checked("Linear", step), self.steps - 1), self.steps, self.start, self.end)


@dataclass(frozen=True)
class Stepwise:
    """Constant pieces: `values` maps the step from which a value holds to the value; one holds from step 0.

    Example:
        >>> Stepwise({0: 1.0, 20: 1.4, 40: 1.7})(25)
        1.4
    """

    values: Mapping[int, float]

    def __post_init__(self) -> None:
        known = ", ".join(map(str, self.values)) or "nothing"
        _checks.require(0 in self.values, "Stepwise", "values", "a mapping with a value from step 0 on", known)
        _checks.require(min(self.values) == 0, "Stepwise", "values", "a mapping of steps >= 0", known)

    def __call__(self, step: int) -> float:
        """The value at `step` >= 0."""
        _checked("Stepwise", step)
        return self.values[max(each for each in self.values if each <= step)]


@dataclass(frozen=True)
class Continuation:
    """`start * (1 + rate * t) ** power`, where t is the step rounded down to a multiple of `every`.

    The defaults are the sharpness of HashNet (Cao et al., ICCV 2017, released code): sqrt(1 + 0.005 t), renewed every
    200 iterations. `Continuation(rate=1 / 20, every=20)` over epochs is sqrt(floor(epoch / 20) + 1), as in
    DeepHash-pytorch.
    """

    start: float = 1.0
    rate: float = 0.005
    power: float = 0.5
    every: int = 200

    def __post_init__(self) -> None:
        _checks.require_finite_number("Continuation", "start", self.start, positive=True)
        _checks.require_finite_number("Continuation", "rate", self.rate, nonnegative=True)
        _checks.require_finite_number("Continuation", "power", self.power)
        _checks.require(self.every >= 1, "Continuation", "every", ">= 1", self.every)

    def __call__(self, step: int) -> float:
        """The value at `step` >= 0."""
        seen = _checked("Continuation", step) // self.every * self.every
        return float(self.start * (1 + self.rate * seen) ** self.power)


@dataclass(frozen=True)
class Doubling:
    """`start * factor ** (step // every)`, at most `maximum`: stages that each train at one sharpness.

    The continuation of our cohesion-weighted hashing (after CIDH, Han et al., Remote Sensing 2020, whose text speaks of
    stages; the doubling is this library's own).
    """

    every: int
    start: float = 1.0
    factor: float = 2.0
    maximum: float = 1e4

    def __post_init__(self) -> None:
        _checks.require(self.every >= 1, "Doubling", "every", ">= 1", self.every)
        _checks.require_finite_number("Doubling", "start", self.start, positive=True)
        _checks.require_finite_number("Doubling", "factor", self.factor, positive=True)
        _checks.require_finite_number("Doubling", "maximum", self.maximum)

    def __call__(self, step: int) -> float:
        """The value at `step` >= 0."""
        stage = _checked("Doubling", step) // self.every
        try:
            return min(float(self.start * self.factor**stage), self.maximum)
        except OverflowError:
            return self.maximum


class ScheduleDriver:
    """Counts steps, and passes the schedule's value on whenever it changes.

    The value of step 0 is set at once; each `step()` goes on by one. `state_dict` and `load_state_dict` are those of
    torch's learning-rate schedulers: loading sets the value that belongs to the step.

    Args:
        schedule: step -> value.
        targets: called with the value, such as `layer.set_sharpness`, or `set_margin` of a loss that has a margin.

    Raises:
        ValueError: there is no target.

    Example:
        >>> driver = ScheduleDriver(Continuation(), layer.set_sharpness)
        >>> for images, labels in loader:
        ...     train_step(images, labels)
        ...     driver.step()
    """

    def __init__(self, schedule: Callable[[int], float], *targets: Callable[[float], object]) -> None:
        _checks.require(len(targets) > 0, "ScheduleDriver", "targets", "at least one", "none")
        self.schedule = schedule
        self.targets = targets
        self.steps = 0
        self.value = schedule(0)
        self._set()

    def step(self) -> float:
        """Goes on to the next step; returns its value."""
        self.steps += 1
        value = self.schedule(self.steps)
        if value != self.value:
            self.value = value
            self._set()
        return value

    def state_dict(self) -> dict[str, int]:
        """How many steps were made."""
        return {"steps": self.steps}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Takes up the step of a `state_dict`, and sets its value."""
        self.steps = int(state["steps"])
        self.value = self.schedule(self.steps)
        self._set()

    def _set(self) -> None:
        for target in self.targets:
            target(self.value)


def _checked(name: str, step: int) -> int:
    _checks.require(step >= 0, name, "step", ">= 0", step)
    return step
