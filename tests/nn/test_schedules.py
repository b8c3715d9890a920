# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from fasthash.losses import CosFaceLoss
from fasthash.nn import Continuation, Doubling, HashLayer, Linear, ScheduleDriver, Stepwise
from fasthash.training import schedule


def test_linear():
    line = Linear(1.0, 3.0, 5)
    assert [line(step) for step in range(7)] == [1.0, 1.5, 2.0, 2.5, 3.0, 3.0, 3.0]
    assert [line(step) for step in range(5)] == [schedule.linear(step, 5, 1.0, 3.0) for step in range(5)]
    assert Linear(1.0, 3.0, 1)(0) == 1.0


def test_stepwise():
    pieces = Stepwise({40: 1.7, 0: 1.0, 20: 1.4})
    assert [pieces(step) for step in (0, 19, 20, 39, 40, 999)] == [1.0, 1.0, 1.4, 1.4, 1.7, 1.7]


def test_continuation_is_that_of_hashnet():
    hashnet = Continuation()
    assert hashnet(0) == hashnet(199) == 1.0
    assert hashnet(200) == hashnet(399) == math.sqrt(2.0)
    assert hashnet(10_000) == math.sqrt(51.0)
    by_epoch = Continuation(rate=1 / 20, every=20)
    for epoch in range(100):
        assert by_epoch(epoch) == pytest.approx(math.sqrt(epoch // 20 + 1))


def test_doubling():
    stages = Doubling(every=10, maximum=16.0)
    assert [stages(step) for step in (0, 9, 10, 29, 30, 50, 10**6)] == [1.0, 1.0, 2.0, 4.0, 8.0, 16.0, 16.0]


def test_driver_moves_a_layer_and_a_margin():
    layer, loss = HashLayer(4, 8), CosFaceLoss(3, 8)
    seen = []
    driver = ScheduleDriver(Continuation(every=2), layer.set_sharpness, seen.append)
    for _ in range(5):
        driver.step()
    assert layer.sharpness.item() == pytest.approx(math.sqrt(1.02))
    assert seen == [1.0, math.sqrt(1.01), math.sqrt(1.02)]  # only where it changes
    margins = ScheduleDriver(Linear(0.0, 0.4, 3), loss.set_margin)
    margins.step()
    assert loss.margin == 0.2


def test_driver_state_dict():
    first, second = HashLayer(4, 8), HashLayer(4, 8)
    driver = ScheduleDriver(Doubling(every=3), first.set_sharpness)
    for _ in range(7):
        driver.step()
    other = ScheduleDriver(Doubling(every=3), second.set_sharpness)
    other.load_state_dict(driver.state_dict())
    assert torch.equal(second.sharpness, first.sharpness)
    assert second.sharpness.item() == 4.0
    assert [other.step() for _ in range(4)] == [driver.step() for _ in range(4)]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Linear(0.0, 1.0, 0), "Linear: steps must be >= 1, got 0"),
        (lambda: Linear(0.0, 1.0, 3)(-1), "Linear: step must be >= 0, got -1"),
        (lambda: Stepwise({5: 1.0}), "Stepwise: values must be a mapping with a value from step 0 on, got 5"),
        (lambda: Stepwise({}), "got nothing"),
        (lambda: Stepwise({0: 1.0, -3: 2.0}), "values must be a mapping of steps >= 0, got 0, -3"),
        (lambda: Stepwise({0: 1.0})(-1), "Stepwise: step must be >= 0"),
        (lambda: Continuation(every=0), "Continuation: every must be >= 1, got 0"),
        (lambda: Continuation(rate=-1.0), "rate must be a finite number >= 0, got -1.0"),
        (lambda: Continuation(start=-1), "Continuation: start must be a finite number > 0, got -1"),
        (lambda: Continuation(power="a"), "Continuation: power must be a finite number, got 'a'"),
        (lambda: Linear(0.0, math.nan, 3), "Linear: end must be a finite number, got nan"),
        (lambda: Doubling(every=1, start=0.0), "Doubling: start must be a finite number > 0, got 0.0"),
        (lambda: Continuation()(-1), "Continuation: step must be >= 0"),
        (lambda: Doubling(every=0), "Doubling: every must be >= 1, got 0"),
        (lambda: Doubling(every=1, factor=0.0), "factor must be a finite number > 0, got 0.0"),
        (lambda: Doubling(every=1, maximum=math.inf), "maximum must be a finite number, got inf"),
        (lambda: Doubling(every=1)(-1), "Doubling: step must be >= 0"),
        (lambda: ScheduleDriver(Continuation()), "ScheduleDriver: targets must be at least one, got none"),
    ],
)
def test_errors(make, text):
    with pytest.raises(ValueError, match=text):
        make()
