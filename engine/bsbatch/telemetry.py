"""Where the seconds of a run go."""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager


class Telemetry:
    """Busy seconds by stage, added up over all threads; safe to use from several of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._items: Counter[str] = Counter()

    @contextmanager
    def timed(self, stage: str, items: int = 1) -> Iterator[None]:
        """Count the time inside the block, and what it worked on, towards a stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            elapsed = time.perf_counter() - started
            with self._lock:
                self._seconds[stage] += elapsed
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
