"""What is measured of the registry server and of its peers, and what is aimed at."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import msgspec

from perstack.registry import PREFIX

from ..entries import PEERS
from ..figures import Aim, Figure, Spread
from .experts import EVERYWHERE, GRAPH, expert, name_of, node_of, questions
from .load import Load, NoLoad, cpu_of, load, message, resident_mb
from .load import there as wrk_there
from .seeding import key_for_writing, seed
from .servers import (
    GROWN,
    PACKAGES,
    VERSIONS,
    Failed,
    Running,
    install_pypiserver,
    install_verdaccio,
    perstack,
    pypiserver,
    verdaccio,
)

OURS = "perstack"
PATHS = 10_000
"""Different Experts that are read in turn."""

WRITTEN_PER_S = 1_000
"""Experts kept ready to be published, for each second."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """experts: how many there are. seconds: of each load. peers: whether they are measured."""

    experts: int
    rounds: int
    seconds: int
    peers: bool


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of load. connections: that ask at once; each waits for its answer."""

    id: str
    title: str
    connections: int


READ = Kind(id="read", title="an exact version", connections=32)
READ_ALONE = Kind(id="read-alone", title="an exact version, one client", connections=1)
READ_GZIP = Kind(id="read-gzip", title="an exact version, compressed", connections=32)
SAME = Kind(id="same", title="an exact version that the client has (304)", connections=32)
PUBLISH = Kind(id="publish", title="publish a new Expert, durably", connections=4)
RESOLVE = Kind(id="resolve", title=f"resolve a graph of {GRAPH} Experts", connections=1)
SEARCH = Kind(id="search", title="search", connections=1)

KINDS = (READ, READ_ALONE, READ_GZIP, SAME, PUBLISH, RESOLVE, SEARCH)


@dataclass(frozen=True, kw_only=True)
class Peer:
    """Another package server. install: why it cannot be; paths: what is read, by the name it is told under."""

    name: str
    install: Callable[[], str]
    start: Callable[[Path], AbstractContextManager[Running]]
    paths: Mapping[str, Sequence[str]]


VERDACCIO = "verdaccio"
GROWN_VERDACCIO = f"verdaccio, {VERSIONS} versions"
PEERS_HERE = (
    Peer(
        name=VERDACCIO,
        install=install_verdaccio,
        start=verdaccio,
        paths={
            VERDACCIO: [f"/package-{n:03}" for n in range(PACKAGES)],
            GROWN_VERDACCIO: [f"/grown-{n:03}" for n in range(GROWN)],
        },
    ),
    Peer(
        name="pypiserver",
        install=install_pypiserver,
        start=pypiserver,
        paths={"pypiserver": [f"/simple/package-{n:03}/" for n in range(PACKAGES)]},
    ),
)


class Bench:
    """Measures round by round. notes: what was left out, and why; broken: ours did not do its work."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.notes: list[str] = []
        self.broken = False
        self.loads: dict[tuple[str, str], list[Load]] = defaultdict(list)
        """By program and kind of load, one for each round."""
        self.starts: list[tuple[float, float]] = []
        """Seconds until the first answer, and of the processor until then."""
        self.resident: list[float] = []
        """MiB after all loads, at most."""

    def measure(self, database: Path | None) -> None:
        """All of the plan. database: where the filled registry is kept; made if it is not there."""
        if not wrk_there():
            self.notes.append("nothing was measured: wrk is not installed")
            return
        PEERS.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="registry-", dir=PEERS) as folder:
            own = Path(folder) / "registry.db"
            if database is not None and database.exists():
                shutil.copy(database, own)
            else:
                say(f"publishing {self.plan.experts:,} Experts")
                seed(own, self.plan.experts)
                if database is not None:
                    shutil.copy(own, database)
            scope, key = key_for_writing(own)
            peers = self._peers() if self.plan.peers else []
            for number in range(self.plan.rounds):
                say(f"round {number + 1}: {OURS}")
                try:
                    self._ours(own, number, scope, key)
                except (Failed, NoLoad) as error:
                    self.notes.append(f"{OURS} failed: {error}")
                    self.broken = True
                    return
                for peer in tuple(peers):
                    say(f"round {number + 1}: {peer.name}")
                    try:
                        self._peer(peer, Path(folder) / peer.name)
                    except (Failed, NoLoad) as error:
                        self.notes.append(f"{peer.name} left out: {error}")
                        peers.remove(peer)

    # Ours -------------------------------------------------------------------------------------------------

    def _ours(self, database: Path, number: int, scope: str, key: str) -> None:
        with perstack(database) as running:
            self.starts.append((running.started_s, cpu_of(running.pid)))
            reads = [_path_of(f"{name_of(n)}@1.0.0") for n in self._some()]
            self._load(OURS, running, READ, [message("GET", path) for path in reads])
            self._load(OURS, running, READ_ALONE, [message("GET", path) for path in reads])
            zipped = {"Accept-Encoding": "gzip"}
            self._load(OURS, running, READ_GZIP, [message("GET", path, zipped) for path in reads])
            self._load(OURS, running, SAME, self._known(running, reads))
            self._load(OURS, running, RESOLVE, [self._graph(running)])
            self._load(OURS, running, SEARCH, self._questions(running))
            self._load(OURS, running, PUBLISH, self._new(running, number, scope, key))
            self.resident.append(resident_mb(running.pid, "VmHWM"))

    def _some(self) -> list[int]:
        """Numbers of Experts, spread over all."""
        count = min(PATHS, self.plan.experts)
        step = self.plan.experts // count
        return [n * step for n in range(count)]

    def _known(self, running: Running, paths: Sequence[str]) -> list[bytes]:
        """Of fewer Experts, since each is asked for its ETag first."""
        found: list[bytes] = []
        for path in paths[:: max(1, len(paths) // 200)]:
            etag = _asked(running, "GET", path)[1]
            known = {"If-None-Match": etag}
            _asked(running, "GET", path, headers=known, status=304)
            found.append(message("GET", path, known))
        return found

    def _graph(self, running: Running) -> bytes:
        path, body = f"{PREFIX}/resolve", b'{"roots": ["%b@^1.0.0"]}' % node_of(0).encode()
        said = msgspec.json.decode(_asked(running, "POST", path, body)[0])
        if said["meta"]["nodes"] != GRAPH or said["data"].get("errors"):
            raise Failed(f"the graph is resolved to {said['meta']}")
        return message("POST", path, body=body)

    def _questions(self, running: Running) -> list[bytes]:
        path = f"{PREFIX}/search?"
        said = msgspec.json.decode(_asked(running, "GET", f"{path}q={'+'.join(EVERYWHERE)}")[0])
        if said["meta"]["total"] < self.plan.experts:
            raise Failed(f"a search for what all have finds {said['meta']['total']}")
        return [message("GET", path + question) for question in questions()]

    def _new(self, running: Running, number: int, scope: str, key: str) -> list[bytes]:
        path, sign = f"{PREFIX}/experts/", {"Authorization": f"Bearer {key}"}
        count = 1 + WRITTEN_PER_S * self.plan.seconds
        first, *others = (
            _body(10_000_000 + number * count + n, scope, number) for n in range(count)
        )
        _asked(running, "POST", path, first, sign)
        return [message("POST", path, sign, body) for body in others]

    # Load -------------------------------------------------------------------------------------------------

    def _load(self, program: str, running: Running, kind: Kind, messages: Sequence[bytes]) -> None:
        """One load of `program`. Raises Failed if an answer was an error, and NoLoad."""
        say(f"  {program}: {kind.title}, {kind.connections} connections")
        done = load(
            running.url,
            messages,
            connections=kind.connections,
            seconds=self.plan.seconds,
            pid=running.pid,
        )
        if done.refused:
            raise Failed(f"{done.refused} of {done.requests} answers were errors: {kind.title}")
        self.loads[program, kind.id].append(done)

    # Peers ------------------------------------------------------------------------------------------------

    def _peers(self) -> list[Peer]:
        """Those that are installed."""
        found: list[Peer] = []
        for peer in PEERS_HERE:
            if why := peer.install():
                self.notes.append(f"{peer.name} left out, it could not be installed: {why}")
            else:
                found.append(peer)
        return found

    def _peer(self, peer: Peer, folder: Path) -> None:
        """folder: its own, kept from round to round."""
        folder.mkdir(exist_ok=True)
        with peer.start(folder) as running:
            for program, paths in peer.paths.items():
                messages = [message("GET", path) for path in paths]
                for kind in (READ, READ_ALONE):
                    self._load(program, running, kind, messages)

    # Figures ----------------------------------------------------------------------------------------------

    def of(self, kind: Kind, value: Callable[[Load], float]) -> dict[str, list[float]]:
        """Values of this kind of load by program, one for each round."""
        return {
            program: [value(one) for one in loads]
            for (program, id), loads in self.loads.items()
            if id == kind.id
        }

    def figures(self) -> list[Figure]:
        """What was measured."""
        made: list[Figure] = []
        for kind in KINDS:
            head = f"{kind.title[0].upper()}{kind.title[1:]}, {kind.connections} at once"
            made += [
                Figure.of(f"{kind.id}:{id}", f"{head}: {what}", unit, self.of(kind, value))
                for id, what, unit, value in (
                    ("rate", "answers", "per second", _per_s),
                    ("p50", "half within", "ms", _p50),
                    ("p99", "99 of 100 within", "ms", _p99),
                    ("cpu", "processor for one", "µs", _cpu_us),
                    ("size", "one answer", "bytes", _bytes),
                )
                if any(program == OURS for program, id in self.loads if id == kind.id)
            ]
        for id, title, unit, values in (
            ("start", "From starting the process to its first answer", "s", self.starts),
            ("memory", "Memory after all that, at most", "MiB", self.resident),
        ):
            own = [value[0] if isinstance(value, tuple) else value for value in values]
            made.append(Figure.of(id, title, unit, {OURS: own}))
        made.append(
            Figure.of(
                "start:cpu",
                "Processor until the first answer",
                "s",
                {OURS: [cpu for _, cpu in self.starts]},
            )
        )
        return made

    def ratio(self, kind: Kind, what: Literal["rate", "cpu"], base: str) -> Spread | None:
        """Ours to that of `base`, round by round."""
        values = self.of(kind, _per_s if what == "rate" else _cpu_us)
        pairs = list(zip(values.get(OURS, ()), values.get(base, ()), strict=False))
        return Spread.of([mine / other for mine, other in pairs]) if pairs else None

    def ratios(self) -> list[tuple[str, int, str, str]]:
        """Peer, connections, and how our answers a second and our processor's time compare to its."""
        peers = dict.fromkeys(program for program, _ in self.loads if program != OURS)
        return [
            (
                peer,
                kind.connections,
                str(self.ratio(kind, "rate", peer) or ""),
                str(self.ratio(kind, "cpu", peer) or ""),
            )
            for peer in peers
            for kind in (READ, READ_ALONE)
        ]

    def aims(self) -> list[Aim]:
        by_id = {figure.id: figure for figure in self.figures()}
        made: list[Aim] = []
        for id, limit, least in (
            ("read:rate", 2_500, True),
            ("read:p99", 40, False),
            ("same:rate", 4_000, True),
            ("publish:rate", 150, True),
            ("publish:p99", 50, False),
            ("resolve:p99", 60, False),
            ("search:p99", 80, False),
            ("start", 1.5, False),
            ("memory", 250, False),
        ):
            figure = by_id.get(id)
            row = figure.row(OURS) if figure else None
            if figure and row:
                what = f"{figure.title}, {figure.unit}"
                made.append(Aim(what=what, value=row.value, limit=limit, least=least))
        if ratio := self.ratio(READ, "rate", GROWN_VERDACCIO):
            what = f"An exact version, 32 at once: answers, x {GROWN_VERDACCIO}"
            made.append(Aim(what=what, value=ratio, limit=4, least=True))
        return made


def _asked(
    running: Running,
    method: str,
    path: str,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
    status: int = 200,
) -> tuple[bytes, str]:
    """Body and ETag of an answer that has to have this status."""
    found, said, etag = running.ask(method, path, body, headers)
    if found != status:
        raise Failed(f"{method} {path} is answered {found}: {said[:300].decode(errors='replace')}")
    return said, etag


def _path_of(key: str) -> str:
    return f"{PREFIX}/experts/{quote(key, safe='')}"


def _body(n: int, scope: str, number: int) -> bytes:
    request: dict[str, Any] = msgspec.to_builtins(expert(n))
    request["name"] = f"{scope}/{request['name'].partition('/')[2]}-{number}"
    return msgspec.json.encode(request)


def _per_s(one: Load) -> float:
    return one.per_s


def _p50(one: Load) -> float:
    return one.p50_ms


def _p99(one: Load) -> float:
    return one.p99_ms


def _cpu_us(one: Load) -> float:
    return one.cpu_us


def _bytes(one: Load) -> float:
    return one.answer_bytes


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
