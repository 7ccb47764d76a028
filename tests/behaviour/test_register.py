"""The register and the tests are held to each other, both ways. Nothing is imported: the tests are read."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from .register import promises

TESTS = Path(__file__).parents[1]


@cache
def proofs() -> tuple[tuple[str, str, str], ...]:
    """(promise, file, test) for each name in a `@proves(...)`."""
    return tuple(
        (promise, str(path.relative_to(TESTS)), test)
        for path in sorted(TESTS.rglob("test_*.py"))
        for promise, test in _proofs_in(ast.parse(path.read_text(encoding="utf-8")))
    )


def _proofs_in(module: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(module):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for decorator in node.decorator_list:
            match decorator:
                case ast.Call(func=ast.Name(id="proves"), args=args):
                    for arg in args:
                        assert isinstance(arg, ast.Constant), f"{node.name}: say the id itself"
                        yield str(arg.value), node.name
                case _:
                    pass


def test_every_promise_is_proved():
    assert promises().keys() - {promise for promise, _, _ in proofs()} == set()


def test_nothing_is_proved_that_is_not_promised():
    known = promises().keys()
    assert [proof for proof in proofs() if proof[0] not in known] == []


def test_only_tests_prove():
    assert [test for _, _, test in proofs() if not test.startswith("test_")] == []


def test_a_promise_is_a_sentence():
    for id, sentence in promises().items():
        assert not sentence.endswith("."), id
        assert len(sentence.split()) >= 4, id
