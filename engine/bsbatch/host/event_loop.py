"""One asyncio event loop for the whole process, in a thread of its own."""

import asyncio
import threading
from collections.abc import Coroutine
from functools import cache
from typing import Any, TypeVar

Out = TypeVar("Out")


def wait_for(coroutine: Coroutine[Any, Any, Out]) -> Out:
    """Run a coroutine and wait for its result. Any thread may call it, one with a running loop (Jupyter) too."""
    pending = asyncio.run_coroutine_threadsafe(coroutine, _loop())
    try:
        return pending.result()
    finally:
        pending.cancel()  # after Ctrl-C; otherwise it has ended


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="bsbatch-loop", daemon=True).start()
    return loop
