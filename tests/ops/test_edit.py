"""A perstack.toml is edited so that its author finds everything else as it was."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.errors import UserError
from perstack.ops.packages.edit import edit_file, with_delegates, without_delegates

FILE = '''\
# Ours.
model = "x"   # the big one

[experts.lead]
instruction = """
Lead [them].
# Not a comment.
"""   # mind this

# What it may use
[experts.lead.skills."@perstack/base"]
type = "mcpStdioSkill"

[experts."@acme/reader"]
delegates = [
    "@acme/a@^1.0.0",  # the first
    # between
    "b",
]
instruction = 'Read.'
'''


def added(text: str, after: str) -> list[str]:
    """The lines `after` has that `text` has not; all others must be there, in order."""
    lines, new = text.splitlines(), list[str]()
    for line in after.splitlines():
        if lines and line == lines[0]:
            lines.pop(0)
        else:
            new.append(line)
    assert lines == []
    return new


def test_the_first_delegate_stands_below_the_last_key() -> None:
    after = with_delegates(FILE, "lead", ["@acme/a@^1.2.0", "b"])
    assert added(FILE, after) == ['delegates = ["@acme/a@^1.2.0", "b"]']
    assert '"""   # mind this\ndelegates = [' in after


def test_another_delegate_stands_in_line_with_those_there_are() -> None:
    after = with_delegates(FILE, "@acme/reader", ["c@1.0.0"])
    assert added(FILE, after) == ['    "c@1.0.0",']
    assert '    "b",\n    "c@1.0.0",\n]' in after


def test_a_delegate_is_replaced_in_its_place() -> None:
    after = with_delegates(FILE, "@acme/reader", ["@acme/a@^2.0.0"])
    assert after == FILE.replace("@acme/a@^1.0.0", "@acme/a@^2.0.0")
    assert with_delegates(after, "@acme/reader", ["b"]) == after


def test_a_delegate_is_removed_and_all_else_stays() -> None:
    after = without_delegates(FILE, "@acme/reader", ["b"])
    assert after == FILE.replace('    "b",\n', "")
    last = without_delegates(after, "@acme/reader", ["@acme/a", "nobody"])
    assert tomllib.loads(last)["experts"]["@acme/reader"]["delegates"] == []
    assert "# between" in last
    assert without_delegates(FILE, "lead", ["b"]) == FILE


@pytest.mark.parametrize(
    "text",
    [
        'experts.lead.instruction = "x"\nexperts.b.instruction = "y"\n',
        '[experts]\nlead = {instruction = "x"}',
        '[experts]\nlead = {instruction = "x", delegates = []} # c\n',
        '[experts.lead]\ninstruction = "x"\n[other]\n[experts.lead.skills.s]\na = 1\n[experts.b]\n',
        '[experts.lead.skills.s]\na = 1\n# c\n[experts.lead]\ninstruction = "x"',
        "[experts.lead]\n# nothing\n\n# yet\n[other]\n",
        '[experts.lead]\n  instruction = "x"\n  delegates = ["old@1.0.0",]\n',
        '[experts."lead"]\ndelegates = [\n]\n',
        '[experts.lead]\ndelegates = [ # c\n  "z" # d\n  , "y"\n]',
    ],
)
def test_every_way_to_write_an_expert_can_be_edited(text: str) -> None:
    after = with_delegates(text, "lead", ["@acme/a@^1.2.0"])
    meant = tomllib.loads(text)
    meant["experts"]["lead"]["delegates"] = [
        *meant["experts"]["lead"].get("delegates", []),
        "@acme/a@^1.2.0",
    ]
    assert tomllib.loads(after) == meant
    assert text.count("#") == after.count("#")
    back = without_delegates(after, "lead", ["@acme/a"])
    assert (
        tomllib.loads(back)["experts"]["lead"]["delegates"]
        == meant["experts"]["lead"]["delegates"][:-1]
    )


def test_lines_end_as_they_did(tmp_path: Path) -> None:
    path = tmp_path / "perstack.toml"
    path.write_bytes(b"\xef\xbb\xbf" + FILE.replace("\n", "\r\n").encode())
    path.chmod(0o640)
    assert edit_file(path, lambda text: with_delegates(text, "lead", ["b"]))
    data = path.read_bytes()
    assert data.startswith(b"\xef\xbb\xbf#")
    assert data.count(b"\n") == data.count(b"\r\n") == FILE.count("\n") + 1
    assert path.stat().st_mode & 0o777 == 0o640
    assert not edit_file(path, lambda text: with_delegates(text, "lead", ["b"]))
    assert [each.name for each in tmp_path.iterdir()] == ["perstack.toml"]


def test_what_cannot_be_edited_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r'no Expert "nobody"\. It has: "lead", "@acme/reader"'):
        with_delegates(FILE, "nobody", ["b"])
    with pytest.raises(UserError, match="not TOML"):
        with_delegates("[", "lead", ["b"])
    with pytest.raises(UserError, match='no Expert "lead"'):
        with_delegates("experts = 1", "lead", ["b"])
    with pytest.raises(UserError, match="no list"):
        with_delegates('[experts.lead]\ndelegates = "b"', "lead", ["c"])
    path = tmp_path / "perstack.toml"
    path.write_bytes(b"\xff")
    with pytest.raises(UserError, match="UTF-8"):
        edit_file(path, lambda text: text)
    path.write_text("x = 1")

    def meanwhile(text: str) -> str:
        path.write_text("x = 2")
        return "x = 3"

    with pytest.raises(UserError, match="somebody else"):
        edit_file(path, meanwhile)
    assert path.read_text() == "x = 2"
    with pytest.raises(UserError, match="cannot be edited"):
        edit_file(tmp_path / "none.toml", lambda text: text)


# Laws ------------------------------------------------------------------------------------------------------

SPEC = st.sampled_from(("a", "a@^1.0.0", "@s/a", "@s/a@2.0.0", "b@beta", "c@sha256:" + "0" * 64))
COMMENT = st.sampled_from(("", " # here", "\n# above", "\n\n"))


@st.composite
def delegates(draw: st.DrawFn) -> str:
    """An array in some layout."""
    items = draw(st.lists(SPEC, max_size=4, unique_by=lambda s: s[:1] + s[1:].partition("@")[0]))
    if draw(st.booleans()):
        return f"[{draw(st.sampled_from(('', ' ')))}{', '.join(repr(item) for item in items)}]"
    lines = [f"  '{item}',{draw(COMMENT)}\n" for item in items]
    return f"[{draw(COMMENT)}\n{''.join(lines)}]"


@st.composite
def files(draw: st.DrawFn) -> str:
    """A project file with an Expert "lead" somewhere in it."""
    line = f"delegates = {draw(delegates())}{draw(COMMENT)}\n" if draw(st.booleans()) else ""
    body = [f"instruction = 'x'{draw(COMMENT)}\n", line]
    lead = f"[experts.lead]{draw(COMMENT)}\n{''.join(draw(st.permutations(body)))}{draw(COMMENT)}\n"
    skill = f"[experts.lead.skills.s]{draw(COMMENT)}\ntype = 'x'\n"
    other = f"[experts.other]\ndelegates = {draw(delegates())}\n"
    top = f"model = 'm'{draw(COMMENT)}\n"
    text = top + "".join(draw(st.permutations([lead, skill, other])))
    return text.replace("\n", draw(st.sampled_from(("\n", "\r\n"))))


@given(files(), SPEC)
def test_an_edit_changes_what_was_meant_and_nothing_else(text: str, spec: str) -> None:
    name = spec[:1] + spec[1:].partition("@")[0]
    before = tomllib.loads(text)
    after = with_delegates(text, "lead", [spec])
    now = tomllib.loads(after)
    assert spec in now["experts"]["lead"].pop("delegates")
    before["experts"]["lead"].pop("delegates", None)
    assert now == before
    assert with_delegates(after, "lead", [spec]) == after
    assert after.count("#") == text.count("#")
    assert ("\r\n" in after) == ("\r\n" in text)
    assert (
        after.replace("\r\n", "").count("\n") == text.replace("\r\n", "").count("\n")
        or "\r" not in text
    )
    gone = tomllib.loads(without_delegates(after, "lead", [name]))["experts"]["lead"]["delegates"]
    assert not [each for each in gone if each[:1] + each[1:].partition("@")[0] == name]
