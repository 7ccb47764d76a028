"""Buckets of tokens, with a clock of our own; and the numbers of a server as text."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.errors import UserError
from perstack.server.metrics import Metrics
from perstack.server.screening.limits import DEFAULTS, Buckets, Rate, rates_of


def test_a_burst_is_let_through_and_then_one_at_a_time() -> None:
    buckets = Buckets({"publish": Rate(60, 3)})
    assert [buckets.take("publish", ["k"], 100) for _ in range(4)] == [0, 0, 0, 60]
    assert buckets.take("publish", ["k"], 159) == 1
    assert buckets.take("publish", ["k"], 160) == 0
    assert buckets.take("publish", ["k"], 160) == 60


def test_each_has_a_bucket_of_ones_own() -> None:
    buckets = Buckets({"publish": Rate(60, 1), "search": Rate(60, 1)})
    assert buckets.take("publish", ["a"], 0) == 0
    assert buckets.take("publish", ["b"], 0) == 0
    assert buckets.take("search", ["a"], 0) == 0
    assert buckets.take("publish", ["a"], 0) == 60


def test_who_is_refused_has_used_nothing() -> None:
    buckets = Buckets({"publish": Rate(60, 1)})
    buckets.take("publish", ["full"], 0)
    assert buckets.take("publish", ["full", "other"], 0) == 60
    assert buckets.take("publish", ["other"], 0) == 0


def test_what_has_no_rate_is_not_limited() -> None:
    buckets = Buckets({})
    assert {buckets.take("read", ["a"], 0) for _ in range(1000)} == {0}
    assert len(buckets) == 0


@given(
    st.lists(st.floats(0, 50), max_size=60),
    st.floats(0.1, 20),
    st.integers(1, 6),
    st.floats(0, 300),
)
def test_never_more_than_the_burst_and_what_time_brought(
    steps: list[float], every_s: float, burst: int, start: float
) -> None:
    buckets, now, let = Buckets({"x": Rate(every_s, burst)}), start, list[float]()
    for step in steps:
        now += step
        wait = buckets.take("x", ["k"], now)
        if wait == 0:
            let.append(now)
        else:
            assert buckets.take("x", ["k"], now + wait + 1e-6) == 0
            let.append(now := now + wait + 1e-6)
    for first in range(len(let)):
        for last in range(first, len(let)):
            most = burst + (let[last] - let[first]) / every_s
            assert last - first + 1 <= most + 1e-3


def test_full_buckets_are_forgotten() -> None:
    buckets = Buckets({"x": Rate(1, 1)}, keep=10)
    for n in range(10):
        buckets.take("x", [str(n)], 0)
    buckets.take("x", ["late"], 100)
    assert len(buckets) == 1


def test_the_setting_says_what_is_limited() -> None:
    assert rates_of("off") == rates_of("") == {}
    assert rates_of("default") == DEFAULTS
    assert rates_of("search=120/5 publish-new=0")["search"] == Rate(0.5, 5)
    assert "publish-new" not in rates_of("search=120/5 publish-new=0")


@pytest.mark.parametrize(
    "setting", ["on", "search", "search=x", "search=5/0", "find=5/1", "search=-1", "search=nan"]
)
def test_a_setting_that_cannot_be_read_is_refused(setting: str) -> None:
    with pytest.raises(UserError, match="rate limit"):
        rates_of(setting)


LINE = re.compile(
    r'# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{([a-z]+="([^"\\\n]|\\["\\n])*",?)+\})? [0-9.e+]+(inf)?'
)


def test_the_numbers_are_told_as_prometheus_reads_them() -> None:
    metrics = Metrics()
    metrics.answered("GET", "/experts/{key}", 200, 0.004)
    metrics.answered("GET", "/experts/{key}", 404, 9.0)
    metrics.answered("POST", 'odd"\\\n', 200, 0.001)
    metrics.count("refused", action="search")

    text = metrics.render([("log_size", "Entries in the transparency log.", 12)])

    assert text.endswith("perstack_registry_log_size 12\n")
    assert all(LINE.fullmatch(line) for line in text.splitlines())
    assert 'requests_total{route="/experts/{key}",method="GET",status="404"} 1\n' in text
    assert 'request_seconds_bucket{route="/experts/{key}",le="0.005"} 1\n' in text
    assert 'request_seconds_bucket{route="/experts/{key}",le="+Inf"} 2\n' in text
    assert 'request_seconds_sum{route="/experts/{key}"} 9.004000\n' in text
    assert 'perstack_registry_refused_total{action="search"} 1\n' in text
