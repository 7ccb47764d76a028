"""What of a broken lock still counts: what its own digests hold, and what both sides of a merge agree on."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from msgspec.structs import replace

from perstack.definition import Expert
from perstack.errors import LockError
from perstack.lock import (
    Lock,
    LockFile,
    Pin,
    PinnedTool,
    decode_lock,
    encode_lock,
    pinned,
    salvaged,
    with_tools,
)

from .test_codec import FILE


def pin(key: str, instruction: str = "Do it.") -> Pin:
    expert = Expert(key=key, name=key.partition("@")[0], instruction=instruction)
    return with_tools(pinned(expert), {"s": [PinnedTool(name="t", schema={"type": "object"})]})


def file(*pins: Pin, at: int = 1, **resolutions: str) -> LockFile:
    return LockFile(
        lock=Lock(experts={pin.expert.key: pin for pin in pins}, resolutions=resolutions),
        generated_at=at,
    )


def test_what_the_digests_hold_is_kept_and_the_rest_is_not() -> None:
    text = encode_lock(file(pin("a"), pin("b"), pin("c"), to_b="b", to_c="c"))
    broken = text.replace("Do it.", "Do evil.", 2).replace("Do evil.", "Do it.", 1)
    found = salvaged(broken)
    assert found is not None
    assert found.lock.experts == {"a": pin("a"), "c": pin("c")}
    assert found.lock.resolutions == {"to_c": "c"}
    assert not found.says_the_same_as(file(pin("a"), pin("c"), to_c="c"))  # so it is written anew


def test_a_lock_that_is_whole_is_kept_whole() -> None:
    found = salvaged(encode_lock(FILE))
    assert found is not None
    assert found.lock == FILE.lock


@pytest.mark.parametrize(
    "text", ["", "version = ", 'version = "1"', 'version = "1"\nlockFormat = 3\nexperts = 1']
)
def test_of_what_is_no_lock_nothing_counts(text: str) -> None:
    assert salvaged(text) is None


def merged(place: Path, base: LockFile, ours: LockFile, theirs: LockFile, style: str) -> str:
    """The text that version control leaves of two sides that changed one file."""
    git = shutil.which("git")
    assert git
    for name, told in (("ours", ours), ("base", base), ("theirs", theirs)):
        (place / name).write_text(encode_lock(told))
    done = subprocess.run(
        [git, "merge-file", "-p", *style.split(), "ours", "base", "theirs"],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode > 0  # conflicts
    return done.stdout


@pytest.mark.parametrize("style", ["--diff3", "-q"])
def test_of_a_merge_counts_what_neither_side_contradicts(tmp_path: Path, style: str) -> None:
    same, torn = pin("same"), [pin("torn", f"Do {how}.") for how in ("it", "this", "that")]
    base = file(same, torn[0], at=1, to_same="same")
    ours = file(
        same, torn[1], pin("ours"), at=2, to_same="same", to_ours="ours", both="ours", torn="torn"
    )
    theirs = file(same, torn[2], pin("theirs"), at=3, to_same="same", both="theirs", torn="torn")
    text = merged(tmp_path, base, ours, theirs, style)
    with pytest.raises(LockError, match="both sides of a merge"):
        decode_lock(text, "perstack.lock")
    found = salvaged(text)
    assert found is not None
    assert found.lock.experts == {key: pin(key) for key in ("same", "ours", "theirs")}
    assert found.lock.resolutions == {"to_same": "same", "to_ours": "ours"}


def test_an_instruction_that_shows_a_conflict_is_no_conflict() -> None:
    shown = pin("a", "Mend this:\n<<<<<<< ours\n1\n=======\n2\n>>>>>>> theirs\n")
    text = encode_lock(file(shown, pin("b")))
    assert decode_lock(text, "perstack.lock").lock.experts["a"] == shown
    broken = salvaged(replace_once(text, "Do it.", "Do evil."))
    assert broken is not None
    assert broken.lock.experts == {"a": shown}


def replace_once(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1
    return text.replace(old, new)


def test_the_hash_of_the_whole_is_not_asked_for() -> None:
    text = encode_lock(replace(FILE, generated_at=1)).replace("generatedAt = 1", "generatedAt = 2")
    found = salvaged(text)
    assert found is not None
    assert found.lock == FILE.lock
