"""Tags of an Expert, one by one: all of them, move one, remove one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perstack.definition import EXPERT_VERSION, MAX_SELECTOR, TAG
from perstack.registry import PREFIX

from ..queries import experts
from ..queries.experts import asked
from ..storage.repository import Session
from ..wire.http import (
    PRIVATE,
    PUBLIC_INDEX,
    Issue,
    Request,
    Response,
    answered,
    invalid,
    not_found,
    validated,
)
from ..wire.reading import Reading, matching
from ..wire.routing import Route
from ..writes.changes import drop_tag, put_tag
from .access import demand, required
from .asking import act_of, may_see, name_of, reader

if TYPE_CHECKING:
    from ..app import Context


async def get(request: Request, context: Context) -> Response:
    name = name_of(request)
    caller = await reader(request, context)

    def look(session: Session) -> tuple[dict[str, str], bool]:
        expert = experts.expert(session, name)
        if expert is None or expert.vacated or not may_see(caller, expert):
            raise not_found()
        return experts.tags(session, expert), expert.is_private

    tags, private = await context.repository.read(look)
    answer = answered({"data": {"tags": tags}}, cache=PRIVATE if private else PUBLIC_INDEX)
    return validated(request, answer)


async def put(request: Request, context: Context) -> Response:
    caller = await required(request, context, "tag")
    name, tag = name_of(request), _tag(request)
    demand(request, context, caller, "tag", name)
    read = Reading(await request.json())
    version = read.text(
        "version", MAX_SELECTOR, least=1, required=True, check=matching(EXPERT_VERSION, "a version")
    )
    read.end()
    context.admit(request, "tag", caller)
    act = act_of(request, context, caller)

    def write(session: Session) -> dict[str, str]:
        found = put_tag(session, act, asked(f"{name}@{version}"), tag)
        return experts.tags(session, experts.expert_by_n(session, found.expert.n))

    return answered({"data": {"tags": await context.repository.write(write)}}, cache="no-store")


async def delete(request: Request, context: Context) -> Response:
    caller = await required(request, context, "tag")
    name, tag = name_of(request), _tag(request)
    demand(request, context, caller, "tag", name)
    context.admit(request, "tag", caller)
    act = act_of(request, context, caller)
    await context.repository.write(lambda session: drop_tag(session, act, name, tag))
    return answered({}, cache="no-store")


def _tag(request: Request) -> str:
    tag = request.params["tag"]
    if not TAG.fullmatch(tag) or len(tag) > MAX_SELECTOR:
        raise invalid(Issue(("tag",), "invalid_string", "Invalid tag"))
    return tag


ROUTES = (
    Route("GET", f"{PREFIX}/experts/{{key}}/tags", get),
    Route("PUT", f"{PREFIX}/experts/{{key}}/tags/{{tag}}", put),
    Route("DELETE", f"{PREFIX}/experts/{{key}}/tags/{{tag}}", delete),
)
