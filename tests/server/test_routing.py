"""Paths are matched as they were sent."""

from __future__ import annotations

import pytest

from perstack.server.app import Context
from perstack.server.wire.http import Refused, Request, Response
from perstack.server.wire.routing import Route, Router


async def handler(request: Request, context: Context) -> Response:
    raise NotImplementedError


ROUTER = Router(
    Route(method, pattern, handler)
    for method, pattern in (
        ("GET", "/"),
        ("GET", "/experts"),
        ("POST", "/experts"),
        ("GET", "/experts/{key}"),
        ("GET", "/experts/{key}/versions"),
        ("PUT", "/experts/{key}/tags/{tag}"),
        ("GET", "/orgs/{org}/audit"),
        ("GET", "/index/config.json"),
        ("GET", "/index/{scope}/{name}"),
    )
)


@pytest.mark.parametrize(
    ("path", "pattern", "params"),
    [
        ("/", "/", {}),
        ("//", "/", {}),
        ("/experts", "/experts", {}),
        ("//experts/", "/experts", {}),
        ("/experts/a", "/experts/{key}", {"key": "a"}),
        ("/experts/%40a%2Fb%40^1", "/experts/{key}", {"key": "@a/b@^1"}),
        ("/experts/@a/b", "/experts/{key}", {"key": "@a/b"}),
        ("/experts/@a/versions", "/experts/{key}", {"key": "@a/versions"}),
        ("/experts/%40a/versions", "/experts/{key}", {"key": "@a/versions"}),
        ("/experts/%40a%2Fversions", "/experts/{key}", {"key": "@a/versions"}),
        ("/experts/@a/b/versions", "/experts/{key}/versions", {"key": "@a/b"}),
        ("/experts/%40a%2Fb/versions/", "/experts/{key}/versions", {"key": "@a/b"}),
        ("/experts/a/versions", "/experts/{key}/versions", {"key": "a"}),
        ("/experts/@a", "/experts/{key}", {"key": "@a"}),
        ("/experts/%E2%82%AC", "/experts/{key}", {"key": "€"}),
        ("/index/config.json", "/index/config.json", {}),
        ("/index/@a/b", None, 404),
        ("/index/_/b", "/index/{scope}/{name}", {"scope": "_", "name": "b"}),
        ("/experts//a", None, 404),
        ("/experts/a/b", None, 404),
        ("/Experts", None, 404),
        ("/orgs/x", None, 404),
        ("/experts/%FF", None, 422),
        ("/experts/a%00", None, 422),
        ("/orgs/%00/audit", None, 422),
    ],
)
def test_paths(path: str, pattern: str | None, params: dict[str, str] | int):
    if pattern is None:
        with pytest.raises(Refused) as caught:
            ROUTER.find("GET", path)
        assert caught.value.status == params
        return
    route, found = ROUTER.find("GET", path)
    assert (route.pattern, found) == (pattern, params)


def test_methods():
    assert ROUTER.find("HEAD", "/experts")[0].method == "GET"
    assert ROUTER.find("PUT", "/experts/a/tags/b")[1] == {"key": "a", "tag": "b"}
    with pytest.raises(Refused) as caught:
        ROUTER.find("DELETE", "/experts")
    assert caught.value.status == 405
    assert caught.value.headers == {"Allow": "GET, HEAD, POST"}
    with pytest.raises(ValueError, match="two routes"):
        Router([Route("GET", "/a/{b}", handler), Route("GET", "/a/{c}", handler)])
