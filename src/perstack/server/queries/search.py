"""The search index: what it holds of each Expert, and what it finds.

Finding is two things. *Matching* gives the numbers of all Experts that have every word and every trait asked for;
that is quick even where each Expert has the word, since nothing is ranked. *Ranking* reads the texts of some
hundred matches: those most used, and those with the words in their name. So the cost has a bound, and for words
that every Expert has, use decides.

A private Expert stands in the index under the negative of its number, so that neither finds the other by mistake.
"""

from __future__ import annotations

import math
import re
import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Literal

import msgspec

from perstack.definition import scope_of

from ..storage.repository import Session
from ..storage.rows import EXPERT, VERSION, Found, found

Kind = Literal["skill", "package", "env", "tag", "status", "scope"]

RANKED = 300
"""Matches whose texts are read."""

MAX_WORDS = 12
MAX_WORD = 64
FIELDS = (10, 5, 5, 2, 1)
"""What a word weighs in the name, the description, the keywords, the readme, the instruction."""


def words_of(text: str) -> list[str]:
    """The words of a text as the index has them: letters and digits, small, without accents."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return [word[:MAX_WORD] for word in re.findall(r"[^\W_]+", bare)]


# Writing --------------------------------------------------------------------------------------------------


class _Said(msgspec.Struct, frozen=True):
    instruction: str = ""
    skills: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict[str, dict[str, Any]])


def index(session: Session, n: int) -> None:
    """Brings the index up to date about one Expert. Within a write."""
    session.run("DELETE FROM traits WHERE expert IN (?, ?)", n, -n)
    if session.dialect == "sqlite":
        session.run("DELETE FROM search WHERE rowid IN (?, ?)", n, -n)
    else:
        session.run("DELETE FROM search WHERE expert IN (?, ?)", n, -n)
    row = session.one(
        "SELECT e.name, e.visibility, e.listed, e.keywords, e.readme, v.description, v.tags, v.status, d.body"
        " FROM experts e JOIN versions v ON v.n = e.latest LEFT JOIN documents d ON d.digest = v.digest"
        " WHERE e.n = ?",
        n,
    )
    if row is None or row[8] is None or not (row[2] or row[1] == "private"):
        return
    name, visibility, _, keywords, readme, description, tags, status, body = row
    said = msgspec.json.decode(bytes(body), type=_Said)
    place = -n if visibility == "private" else n
    texts = (name, description, " ".join(msgspec.json.decode(keywords)), readme, said.instruction)
    if session.dialect == "sqlite":
        session.run(
            "INSERT INTO search (rowid, name, description, keywords, readme, instruction)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            place,
            *texts,
        )
    else:
        session.run(
            "INSERT INTO search (expert, words) VALUES (?, setweight(to_tsvector('simple', ?), 'A')"
            " || setweight(to_tsvector('simple', ?), 'B') || setweight(to_tsvector('simple', ?), 'C')"
            " || setweight(to_tsvector('simple', ?), 'D'))",
            place,
            *(
                " ".join(words_of(text))
                for text in (name, f"{description} {texts[2]}", readme, said.instruction)
            ),
        )
    traits = _traits(name, tags, status, said)
    session.run_many(
        "INSERT INTO traits (kind, value, expert) VALUES (?, ?, ?)",
        [(kind, value, place) for kind, value in sorted(traits)],
    )


def _traits(name: str, tags: str, status: str, said: _Said) -> set[tuple[Kind, str]]:
    traits: set[tuple[Kind, str]] = {("status", status), ("scope", scope_of(name) or "")}
    traits |= {("tag", tag) for tag in tags.split()}
    for skill, parts in said.skills.items():
        traits.add(("skill", skill))
        if package := parts.get("packageName"):
            traits.add(("package", bare(package)))
        traits |= {("env", variable) for variable in parts.get("requiredEnv", ())}
    return traits


def bare(package: str) -> str:
    """A package without its version."""
    return package[:1] + package[1:].partition("@")[0]


# Matching -------------------------------------------------------------------------------------------------


def matches(
    session: Session,
    words: Sequence[str],
    traits: Sequence[tuple[Kind, str]],
    *,
    private: bool = False,
) -> set[int]:
    """All listed Experts with all these words and traits; or, of all owners, all private ones.

    There must be a word or a trait.
    """
    first, *others = _sets(session, words, traits, "<" if private else ">")
    common = set(first).intersection(*others)
    return {-n for n in common} if private else common


def _sets(
    session: Session, words: Sequence[str], traits: Sequence[tuple[Kind, str]], sign: str
) -> Iterable[Iterable[int]]:
    if words:
        yield _with_words(session, _query(session, words), sign)
    for kind, value in traits:
        sql = f"SELECT expert FROM traits WHERE kind = ? AND value = ? AND expert {sign} 0"
        yield _numbers(session, sql, kind, value)


def named(session: Session, words: Sequence[str]) -> list[int]:
    """Some listed Experts that have all these words in their name."""
    if not words:
        return []
    if session.dialect == "sqlite":
        query = f"name : ({_query(session, words)})"
    else:
        query = " & ".join(f"{word}:A" for word in words)
    return _with_words(session, query, ">", limit=f" LIMIT {RANKED}")


def _query(session: Session, words: Sequence[str]) -> str:
    if session.dialect == "sqlite":
        return " AND ".join(f'"{word}"' for word in words)
    return " & ".join(words)


def _with_words(session: Session, query: str, sign: str, limit: str = "") -> list[int]:
    if session.dialect == "sqlite":
        sql = f"SELECT rowid AS expert FROM search WHERE search MATCH ? AND rowid {sign} 0{limit}"
    else:
        sql = f"SELECT expert FROM search WHERE words @@ to_tsquery('simple', ?) AND expert {sign} 0{limit}"
    return _numbers(session, sql, query)


def _numbers(session: Session, sql: str, *values: str) -> list[int]:
    """The column `expert` of a query, in one piece: many rows are slow to hand over one by one."""
    gather = "json_group_array(expert)" if session.dialect == "sqlite" else "json_agg(expert)::text"
    row = session.one(f"SELECT {gather} FROM ({sql}) found", *values)
    return msgspec.json.decode(row[0], type=list[int]) if row and row[0] else []


# Ranking --------------------------------------------------------------------------------------------------


class Order:
    """All listed Experts, the most used first, as of some seconds ago: only an order, so it may be old."""

    def __init__(self, session: Session, at: int) -> None:
        self.at = at
        rows = session.all("SELECT n FROM experts WHERE listed = 1 ORDER BY weight DESC, n DESC")
        self._numbers = array("q", (row[0] for row in rows))

    def most_used(self, numbers: set[int], most: int) -> list[int]:
        """Of `numbers`; those that are newer than this order come last."""
        found = list(islice((n for n in self._numbers if n in numbers), most))
        if len(found) < min(most, len(numbers)):
            found += sorted(numbers.difference(found), reverse=True)[: most - len(found)]
        return found


def most_used(session: Session, most: int) -> list[int]:
    """Of all listed Experts."""
    rows = session.all(
        "SELECT n FROM experts WHERE listed = 1 ORDER BY weight DESC, n DESC LIMIT ?", most
    )
    return [row[0] for row in rows]


def count(session: Session) -> int:
    """How many Experts are listed."""
    row = session.one("SELECT count(*) FROM experts WHERE listed = 1")
    return row[0] if row else 0


def newest(session: Session, numbers: set[int] | None, most: int) -> list[int]:
    """Of `numbers`, or of all listed Experts, those that changed last."""
    found: list[int] = []
    start, page = 0, most
    while len(found) < most:
        rows = session.all(
            "SELECT n FROM experts WHERE listed = 1 ORDER BY latest_updated_at DESC, name DESC"
            " LIMIT ? OFFSET ?",
            page,
            start,
        )
        found += (row[0] for row in rows if numbers is None or row[0] in numbers)
        if len(rows) < page:
            break
        start, page = start + page, 10_000
    return found[:most]


def weights(session: Session, numbers: Sequence[int]) -> dict[int, int]:
    """How much each is used."""
    if not numbers:
        return {}
    marks = ", ".join("?" * len(numbers))
    rows = session.all(f"SELECT n, weight FROM experts WHERE n IN ({marks})", *numbers)
    return {row[0]: row[1] for row in rows}


def relevance(
    session: Session, words: Sequence[str], numbers: Sequence[int], weights: Mapping[int, int]
) -> dict[int, float]:
    """How well each fits. numbers: a few hundred; negative for private ones."""
    texts = _scores(session, words, numbers) if words and numbers else dict.fromkeys(numbers, 1.0)
    return {
        abs(n): score * (1 + math.log2(1 + weights.get(abs(n), 0)) / 8)
        for n, score in texts.items()
    }


def _scores(session: Session, words: Sequence[str], numbers: Sequence[int]) -> dict[int, float]:
    marks = ", ".join("?" * len(numbers))
    if session.dialect != "sqlite":
        rows = session.all(
            "SELECT expert, ts_rank('{0.1, 0.2, 0.5, 1.0}', words, to_tsquery('simple', ?)) FROM search"
            f" WHERE expert IN ({marks})",
            _query(session, words),
            *numbers,
        )
        return {row[0]: float(row[1]) for row in rows}
    rows = session.all(
        f"SELECT rowid, name, description, keywords, readme, instruction FROM search WHERE rowid IN ({marks})",
        *numbers,
    )
    return {row[0]: _score(words, row[1:]) for row in rows}


def _score(words: Sequence[str], texts: Sequence[str]) -> float:
    """Each word counts in each field once and, less and less, again; a whole name counts double."""
    score = 0.0
    for weight, text in zip(FIELDS, texts, strict=True):
        lowered = text.casefold()
        for word in words:
            if count := lowered.count(word):
                score += weight * (2 - 1 / count)
    name = words_of(texts[0])
    return score * 2 if list(words) in (name, name[1:]) else score


# Reading --------------------------------------------------------------------------------------------------


def hits(session: Session, numbers: Sequence[int]) -> list[tuple[Found, list[str], int]]:
    """In this order, each in its latest version: with keywords and weight. What is gone is left out."""
    if not numbers:
        return []
    rows = session.all(
        f"SELECT {EXPERT}, {VERSION}, e.keywords, e.weight FROM experts e"
        " JOIN organizations o ON o.id = e.organization JOIN versions v ON v.n = e.latest"
        f" WHERE e.n IN ({', '.join('?' * len(numbers))})",
        *numbers,
    )
    told = {
        (one := found(tuple(row[:-2]))).expert.n: (
            one,
            msgspec.json.decode(row[-2], type=list[str]),
            row[-1],
        )
        for row in rows
    }
    return [told[n] for n in numbers if n in told]


def facet(session: Session, kind: Kind, numbers: Sequence[int]) -> Counter[str]:
    """How many of these have each value of a trait."""
    if not numbers:
        return Counter()
    marks = ", ".join("?" * len(numbers))
    rows = session.all(
        f"SELECT kind, value FROM traits WHERE expert IN ({marks})",
        *numbers,
    )
    return Counter(row[1] for row in rows if row[0] == kind)
