"""A plain install can do all but serve; it says what is missing, and how to get it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SERVE = ("serve", "--port", "0", "--database")
LIST = ("org", "list", "--database")


@pytest.mark.parametrize(
    ("without", "words", "url"),
    [
        ("jinja2", SERVE, "registry.db"),
        ("psycopg", LIST, "postgresql://127.0.0.1:1/none"),
    ],
)
def test_a_missing_part_is_named_with_the_way_to_get_it(
    tmp_path: Path, without: str, words: tuple[str, ...], url: str
) -> None:
    program = (
        f"import sys; sys.modules[{without!r}] = None\n"
        "from perstack.cli.main import status_of\n"
        f"sys.exit(status_of(['registry', *{words!r}, {url!r}]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr.strip().endswith(f"({without}): pip install 'perstack[server]'")
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_looking_after_a_file_needs_no_more_than_the_plain_install(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "for name in ('jinja2', 'nh3', 'uvloop', 'psycopg'): sys.modules[name] = None\n"
        "from perstack.cli.main import status_of\n"
        "sys.exit(status_of(['registry', 'org', 'create', 'acme', '--database', 'registry.db']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("acme")
