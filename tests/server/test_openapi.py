"""The API's description is true: whatever it lets one send is answered as it says."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio.from_thread
import httpx
import jsonschema
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from perstack.server import Settings, make_app
from perstack.server.extensions import operations
from perstack.server.wire import openapi

from .house import Registry, open_registry

APP = make_app(Settings())
DOCUMENT = openapi.document(operations.routes(APP.context), "http://registry.test")

# its types are known in part only, which is worse than not at all
schemathesis: Any = import_module("schemathesis")
general: Any = import_module("schemathesis.checks")
special: Any = import_module("schemathesis.specs.openapi.checks")
core: Any = import_module("schemathesis.core")
failures: Any = import_module("schemathesis.core.failures")

CHECKS = [
    general.not_a_server_error,
    special.status_code_conformance,
    special.content_type_conformance,
    special.response_schema_conformance,
]
OPERATIONS: dict[str, Any] = {
    found.ok().label: found.ok()
    for found in schemathesis.openapi.from_dict(DOCUMENT).get_all_operations()
}
NAMES = st.sampled_from(["@acme/triage", "@acme/triage@1.0.0", "@acme/triage@^1", "acme", "stable"])


class Asked:
    """A registry that synchronous tests ask. key: an administrator's."""

    def __init__(self, portal: anyio.from_thread.BlockingPortal, registry: Registry) -> None:
        self._portal = portal
        self._registry = registry
        self.key = portal.call(self._fill)

    async def _fill(self) -> str:
        key = await self._registry.key("acme")
        await self._registry.publish("@acme/triage", key=key, tags=["stable"])
        await self._registry.publish(
            "@acme/lead", key=key, delegates=["@acme/triage@^1.0.0"], visibility="private"
        )
        return await self._registry.key("acme", type="serviceAdmin", account="ann")

    def send(self, sent: dict[str, Any]) -> httpx.Response:
        async def ask() -> httpx.Response:
            return await self._registry.http.request(**sent)

        return self._portal.call(ask)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    database: Path = tmp_path_factory.mktemp("registry") / "registry.db"
    with (
        anyio.from_thread.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(open_registry(str(database))) as registry,
    ):
        yield Asked(portal, registry)


def test_every_route_is_described() -> None:
    """Of the API; pages are for people."""
    told = {
        (method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods
    }
    there = {(route.method, route.pattern) for route in APP.router.routes}
    assert {route for route in there if route[1].startswith("/api")} <= told <= there


def test_the_description_is_openapi() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    for name, schema in DOCUMENT["components"]["schemas"].items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert name


def test_the_description_is_served(asked: Asked) -> None:
    answer = asked.send({"method": "GET", "url": "/api/registry/v1/openapi.json"})
    assert answer.json()["paths"] == DOCUMENT["paths"]


@pytest.mark.parametrize("label", sorted(OPERATIONS))
def test_requests_made_of_the_description_are_answered_as_it_says(label: str, asked: Asked) -> None:
    operation = OPERATIONS[label]

    @settings(
        max_examples=25,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
    )
    @given(
        case=operation.as_strategy(),
        name=NAMES,
        known=st.booleans(),
        keyed=st.sampled_from([True] * 4 + [False]),
    )
    def play(case: Any, name: str, known: bool, keyed: bool) -> None:
        if known:  # else hardly any request would name something that is there
            case.path_parameters = dict.fromkeys(case.path_parameters or {}, name)
        sent = case.as_transport_kwargs(base_url="http://registry.test")
        sent = {part: sent[part] for part in ("method", "url", "params", "json") if part in sent}
        if case.body is not core.NOT_SET:
            sent["json"] = case.body
        sent["headers"] = {"authorization": f"Bearer {asked.key}"} if keyed else {}
        answer = asked.send(sent)
        case.validate_response(answer, checks=CHECKS)

    play()


def test_a_lie_in_the_description_is_noticed(asked: Asked) -> None:
    lying = copy.deepcopy(DOCUMENT)
    schema = lying["components"]["schemas"]["IndexConfig"]
    schema["required"].append("somethingElse")
    path = "/api/registry/v1/index/config.json"
    case = schemathesis.openapi.from_dict(lying)[path]["GET"].Case()
    answer = asked.send({"method": "GET", "url": path})
    with pytest.raises(failures.FailureGroup, match="somethingElse"):
        case.validate_response(answer, checks=CHECKS)
