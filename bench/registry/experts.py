"""Made-up Experts: always the same ones, with documents of about two kilobytes, spread over many owners."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from perstack.registry import PublishRequest

SCOPES = 40
GRAPH = 200
"""Experts of the graph that batch resolve walks, besides the others."""

GRAPH_SCOPE = "@graph"
EVERYWHERE = ("expert", "careful")
"""Words that each Expert has in its description."""

_DOING = """
    read review write summarise translate compare classify extract plan schedule test measure refactor document
    explain search collect rank verify forecast draft edit format migrate monitor price route score trace tag
""".split()
_ABOUT = """
    invoices contracts letters tickets logs schemas recipes maps papers forms budgets shipments orders surveys
    transcripts tables charts releases incidents patients courses claims leases receipts slides sketches themes
    queries pipelines clusters queues indexes certificates keys accounts payments refunds returns parcels drivers
    warehouses harvests forecasts sensors meters bridges tunnels rivers species stars samples reactions proteins
""".split()
_PLAIN = """
    when what with from into over each first then before after until unless only every never always again
    source result question answer reason place list name value number part whole line page file folder step
    check keep leave name ask tell say give take find sort group count note mark quote cite add drop split join
    short long small large early late open closed known unknown same other next last clear plain exact rough
""".split()
_PACKAGES = ("@acme/mail", "@acme/sheets", "@tools/browser", "@tools/sql", "pdf-reader", "tickets")


def scope_of(n: int) -> str:
    return f"@team-{n % SCOPES:02}"


def name_of(n: int) -> str:
    """The name of Expert `n`. No two owners have names that could be mistaken for each other."""
    draw = Random(f"name {n}")
    return f"{scope_of(n)}/{draw.choice(_ABOUT)}-{draw.choice(_DOING)}er-{n:06}"


def expert(n: int, *, below: int = 0) -> PublishRequest:
    """Expert `n`, version 1.0.0.

    below: Experts of a smaller number are there to be its delegates; a few of them are everybody's.
    """
    draw = Random(f"expert {n}")
    delegates: dict[str, str] = {}
    if below and draw.random() < 0.3:
        for _ in range(draw.randint(1, 3)):
            other = int(below * draw.random() ** 4)
            delegates[name_of(other)] = f"{name_of(other)}@^1.0.0"
    return _request(name_of(n), "1.0.0", draw, tuple(delegates.values()))


def graph() -> Iterator[PublishRequest]:
    """The graph, three versions of each Expert, leaves first: whatever it delegates to is there before it."""
    for n in reversed(range(GRAPH)):
        below = [2 * n + 1, 2 * n + 2, 2 * n + 7]
        delegates = tuple(f"{node_of(m)}@^1.0.0" for m in below if m < GRAPH)
        for minor in range(3):
            yield _request(node_of(n), f"1.{minor}.0", Random(f"node {n} {minor}"), delegates)


def node_of(n: int) -> str:
    return f"{GRAPH_SCOPE}/node-{n:03}"


def _request(
    name: str, version: str, draw: Random, delegates: tuple[str, ...] = ()
) -> PublishRequest:
    doing, about = draw.choice(_DOING), draw.choice(_ABOUT)
    skills: dict[str, dict[str, object]] = {
        "@perstack/base": {
            "type": "mcpStdioSkill",
            "description": "Files, images and programs of the workspace",
            "command": "npx",
            "packageName": "@perstack/base",
        }
    }
    for package in draw.sample(_PACKAGES, draw.choice((0, 1, 1, 2))):
        skills[package] = {
            "type": "mcpStdioSkill",
            "description": f"What is needed to {doing} {about}",
            "command": "npx",
            "packageName": package,
            "pick": [f"{doing}One", f"{doing}All"],
            "requiredEnv": [f"{package.rpartition('/')[2].replace('-', '_').upper()}_TOKEN"],
        }
    return PublishRequest(
        name=name,
        version=version,
        min_runtime_version="v1.0",
        description=f"A {' '.join(reversed(EVERYWHERE))} that can {doing} {about}",
        instruction=" ".join(_sentence(draw) for _ in range(22)),
        skills=skills,
        delegates=delegates,
        keywords=(doing, about),
        readme=" ".join(_sentence(draw) for _ in range(4)),
    )


def _sentence(draw: Random) -> str:
    words = [*draw.choices(_PLAIN, k=9), draw.choice(_DOING), draw.choice(_ABOUT)]
    draw.shuffle(words)
    return f"{' '.join(words).capitalize()}."


def questions() -> Iterator[str]:
    """What people search for, as queries of a URL: rare, common, everywhere, by trait."""
    draw = Random("questions")
    for _ in range(40):
        yield f"q={draw.choice(_DOING)}+{draw.choice(_ABOUT)}"
        yield f"q={'+'.join(EVERYWHERE)}"
        yield f"q={draw.choice(_ABOUT)}"
        yield f"q={draw.choice(_PLAIN)}+{draw.choice(_ABOUT)}&scope=team-{draw.randrange(SCOPES):02}"
        yield f"q={draw.randrange(1000):06}"
