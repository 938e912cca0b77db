"""What is counted on the way, in plain numbers: cheaper than any library's, and read only when somebody asks.

Each object is written by one thread (the event loop's or the writer's). Who reads from another may see a sum that is one ahead
of its count; the next reading has both.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
COMMITS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
UNITS = (1, 2, 4, 8, 16, 32, 64)
GONE = 0
"""Status of a request whose client left before it was answered."""
CLASSES = ("gone", "1xx", "2xx", "3xx", "4xx", "5xx")
REFUSALS = (401, 403, 429)


class Histogram:
    """How often a value was at most each bound. The last count is of those above every bound."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    @property
    def cumulated(self) -> list[tuple[str, float]]:
        """Buckets as Prometheus has them."""
        found, total = [], 0
        for bound, count in zip((*map(str, map(float, self.bounds)), "+Inf"), self.counts, strict=True):
            total += count
            found.append((bound, float(total)))
        return found


class Answered:
    """Requests of one operation: by status class, and how long they took."""

    __slots__ = ("classes", "seconds")

    def __init__(self) -> None:
        self.classes = [0] * len(CLASSES)
        self.seconds = Histogram(SECONDS)


class DoorFigures:
    """Requests of one door."""

    __slots__ = ("in_flight", "operations", "refused", "streams")

    def __init__(self) -> None:
        self.operations: dict[str, Answered] = {}
        self.in_flight = 0
        self.streams = 0
        self.refused = dict.fromkeys(REFUSALS, 0)

    def answered(self, operation: str, status: int, seconds: float) -> None:
        """`operation` is a route's, or one of few other words: never anything a caller has made."""
        figures = self.operations.get(operation)
        if figures is None:
            figures = self.operations[operation] = Answered()
        figures.classes[status // 100] += 1
        figures.seconds.observe(seconds)
        if status in self.refused:
            self.refused[status] += 1


class EngineFigures:
    """What the engine of this node has done. Polls are counted on the event loop, all else on the writer's thread."""

    __slots__ = ("http_failed", "http_sent", "leases_expired", "polls_waiting", "step_ns", "steps")

    def __init__(self) -> None:
        self.steps = 0
        self.step_ns = 0
        """Spent in the decider."""
        self.leases_expired = 0
        self.polls_waiting = 0
        self.http_sent = 0
        self.http_failed = 0


class IdentityFigures:
    """What checking credentials has come to. Written on the event loop."""

    __slots__ = ("hashed", "hits", "log_ins", "misses", "refused")

    def __init__(self) -> None:
        self.hits = self.misses = 0
        self.hashed = 0
        self.log_ins = self.refused = 0
