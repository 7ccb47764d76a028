"""What the benchmarks say of the machine they ran on must not stop them."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench.registry.__main__ import is_first


@pytest.mark.parametrize(
    ("says", "first"),
    [("/autogroup-85 nice -5\n", True), ("/autogroup-85 nice 0\n", False), ("", False)],
)
def test_a_session_that_goes_first_is_told_from_one_that_does_not(
    tmp_path: Path, says: str, first: bool
) -> None:
    file = tmp_path / "autogroup"
    file.write_text(says, encoding="ascii")

    assert is_first(file) is first


def test_a_kernel_without_groups_is_no_fault(tmp_path: Path) -> None:
    assert is_first(tmp_path / "autogroup") is False
