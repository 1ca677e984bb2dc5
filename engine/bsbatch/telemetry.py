"""Where the seconds of a run go."""

import threading
import time
from collections import Counter, defaultdict
from types import TracebackType


class Telemetry:
    """Busy seconds by stage, added up over all threads; safe to use from several of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._items: Counter[str] = Counter()

    def measure(self, stage: str, items: int = 1) -> "_Timing":
        """Count the time inside a ``with`` block, and what it worked on, towards a stage."""
        return _Timing(self, stage, items)

    def add(self, stage: str, seconds: float, items: int) -> None:
        """Count busy seconds and items towards a stage."""
        with self._lock:
            self._seconds[stage] += seconds
            self._items[stage] += items

    def report(self) -> dict[str, dict[str, float]]:
        """For each stage: busy seconds, items, and items for each busy second."""
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
    """One block; a class, because a generator takes three times as long to enter and leave."""

    __slots__ = ("_items", "_stage", "_started", "_telemetry")

    def __init__(self, telemetry: Telemetry, stage: str, items: int) -> None:
        self._telemetry, self._stage, self._items = telemetry, stage, items

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._telemetry.add(self._stage, time.perf_counter() - self._started, self._items)
