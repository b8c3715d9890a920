# SPDX-License-Identifier: Apache-2.0
"""Stopping when the user, or the machine, asks for it, but not in the middle of something."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """While it is entered, Ctrl-C (SIGINT) and SIGTERM are noted instead of obeyed; the second one is obeyed.

    Outside the main thread, where Python allows no signal handlers, it notes nothing.

    Args:
        active: False notes nothing and leaves the signals alone.

    Attributes:
        received: The signal that asked to stop, or None.
    """

    def __init__(self, active: bool = True) -> None:
        self._active = active
        self.received: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        if self._active and threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in STOP_SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            raise KeyboardInterrupt
        self.received = signal.Signals(number)
