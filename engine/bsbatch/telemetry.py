"""Busy seconds and item counts of a run, by stage."""

import threading
import time
from collections import Counter, defaultdict
from types import TracebackType


class Telemetry:
    """Busy seconds by stage, summed over all threads. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._items: Counter[str] = Counter()

    def measure(self, stage: str, items: int = 1) -> "_Timing":
        """Add the time of a ``with`` block and its number of items to a stage."""
        return _Timing(self, stage, items)

    def add(self, stage: str, seconds: float, items: int) -> None:
        """Add busy seconds and items to a stage."""
        with self._lock:
            self._seconds[stage] += seconds
            self._items[stage] += items

    def drain(self) -> dict[str, tuple[float, int]]:
        """Return busy seconds and items of each stage since the last call, and start from zero."""
        with self._lock:
            drained = {stage: (seconds, self._items[stage]) for stage, seconds in self._seconds.items()}
            self._seconds.clear()
            self._items.clear()
            return drained

    def report(self) -> dict[str, dict[str, float]]:
        """Return busy seconds, items and items per busy second of each stage."""
        with self._lock:
            return {
                stage: {
                    "seconds": round(seconds, 3),
                    "items": self._items[stage],
                    "items_per_second": round(self._items[stage] / seconds, 3) if seconds > 0 else 0.0,
                }
                for stage, seconds in sorted(self._seconds.items())
            }


class _Timing:
    """Measures one ``with`` block. A class, because a generator takes three times as long to enter and leave."""

    __slots__ = ("_items", "_stage", "_started", "_telemetry")

    def __init__(self, telemetry: Telemetry, stage: str, items: int) -> None:
        self._telemetry, self._stage, self._items = telemetry, stage, items

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._telemetry.add(self._stage, time.perf_counter() - self._started, self._items)
