"""Numbers about a running server, as Prometheus reads them (text format 0.0.4).

Counted in memory, one set a process, without names of people, Experts or keys: a label is a route, a method, a
status, an action.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

KIND = "text/plain; version=0.0.4; charset=utf-8"

Labels = tuple[tuple[str, str], ...]


class Metrics:
    """What happened since the server started."""

    def __init__(self) -> None:
        self._answers: Counter[tuple[str, str, int]] = Counter()
        self._seconds: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}
        self._events: Counter[tuple[str, Labels]] = Counter()

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Counts one answer. route: the pattern, never the path."""
        self._answers[route, method, status] += 1
        counts = self._seconds.setdefault(route, [0] * (len(BOUNDS_S) + 1))
        counts[bisect_left(BOUNDS_S, seconds)] += 1
        self._sums[route] = self._sums.get(route, 0.0) + seconds

    def count(self, name: str, **labels: str) -> None:
        """Counts one of something else, e.g. `count("refused", action="search")`."""
        self._events[name, tuple(sorted(labels.items()))] += 1

    def render(self, gauges: Iterable[tuple[str, str, float]] = ()) -> str:
        """The whole text. gauges: name without prefix, what it is, value."""
        return "\n".join((*self._lines(gauges), ""))

    def _lines(self, gauges: Iterable[tuple[str, str, float]]) -> Iterator[str]:
        yield "# HELP perstack_registry_requests_total Answers, by route, method and status."
        yield "# TYPE perstack_registry_requests_total counter"
        for (route, method, status), count in sorted(self._answers.items()):
            labels = _labels((("route", route), ("method", method), ("status", str(status))))
            yield f"perstack_registry_requests_total{labels} {count}"
        name = "perstack_registry_request_seconds"
        yield f"# HELP {name} Seconds until the answer was ready, by route."
        yield f"# TYPE {name} histogram"
        for route, counts in sorted(self._seconds.items()):
            total = 0
            for bound, count in zip((*BOUNDS_S, "+Inf"), counts, strict=True):
                total += count
                yield f"{name}_bucket{_labels((('route', route), ('le', str(bound))))} {total}"
            yield f"{name}_sum{_labels((('route', route),))} {self._sums[route]:.6f}"
            yield f"{name}_count{_labels((('route', route),))} {total}"
        told = ""
        for (event, labels), count in sorted(self._events.items()):
            if event != told:
                yield f"# TYPE perstack_registry_{event}_total counter"
                told = event
            yield f"perstack_registry_{event}_total{_labels(labels)} {count}"
        for gauge, about, value in gauges:
            yield f"# HELP perstack_registry_{gauge} {about}"
            yield f"# TYPE perstack_registry_{gauge} gauge"
            yield f"perstack_registry_{gauge} {value:g}"


def _labels(pairs: Labels) -> str:
    told = ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs)
    return f"{{{told}}}" if told else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
