# SPDX-License-Identifier: Apache-2.0
"""Layers that end in hash codes."""

from fasthash.nn.dead_bits import dead_bits
from fasthash.nn.divide_and_encode import DivideAndEncode
from fasthash.nn.gradient_amplifier import GradientAmplifier
from fasthash.nn.hash_activation import HashActivation
from fasthash.nn.hash_layer import HashLayer
from fasthash.nn.schedules import Continuation, Doubling, Linear, ScheduleDriver, Stepwise
from fasthash.nn.straight_through import StraightThroughSign, straight_through_sign
from fasthash.types import HashOutput

__all__ = [
    "Continuation",
    "DivideAndEncode",
    "Doubling",
    "GradientAmplifier",
    "HashActivation",
    "HashLayer",
    "HashOutput",
    "Linear",
    "ScheduleDriver",
    "Stepwise",
    "StraightThroughSign",
    "dead_bits",
    "straight_through_sign",
]
