"""MCP servers over HTTP on this machine. Run one: `python mcp_http.py KIND [PORT]`; it prints its port.

| Kind | What it is |
| --- | --- |
| streamable | Streamable HTTP at /mcp, of the SDK. /forget ends all sessions, /seen tells of requests |
| sse | Server-Sent Events at /mcp, of the SDK |
| modern | knows only the 2026-07-28 revision |
| locked | wants authorization |
| guarded | as streamable, with OAuth. /expire ends access tokens, /revoke all, /asked tells what OAuth was asked |
| broken | always answers 500 |
| moved | redirects to another origin, whose port is in OTHER |
| flood | answers every request with more JSON than anybody wants |
"""

# ruff: noqa: T201  # a program, not a part of the package

from __future__ import annotations

import asyncio  # noqa: TID251  # the server is nobody's test subject
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import ToolAnnotations
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SEEN: list[dict[str, Any]] = []
FORGOTTEN: set[str] = set()
SESSIONS: set[str] = set()


def sdk_server() -> MCPServer:
    server = MCPServer("http-fake", version="1.2.3", log_level="ERROR")

    def echo(words: str) -> str:
        """Says it again."""
        return words

    def header(name: str, ctx: Context) -> str:
        """What a header of the request says."""
        return (ctx.headers or {}).get(name, "")

    def big(size: int) -> str:
        """So many characters."""
        return "x" * size

    async def slow(times: int, pause: float, ctx: Context) -> str:
        """Reports progress, then answers."""
        for step in range(times):
            await asyncio.sleep(pause)
            await ctx.report_progress(step, times)
        return "done"

    async def hang() -> str:
        """Never answers."""
        await asyncio.sleep(3600)
        return "never"

    async def die() -> str:
        """Ends the server in the middle of the call."""
        os._exit(3)

    server.add_tool(echo, annotations=ToolAnnotations(read_only_hint=True))
    for function in (header, big, slow, hang, die):
        server.add_tool(function)
    return server


def streamable() -> App:
    app = sdk_server().streamable_http_app(streamable_http_path="/mcp")

    async def outer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        headers = {key.decode(): value.decode() for key, value in scope["headers"]}
        session = headers.get("mcp-session-id", "")
        match scope["path"]:
            case "/forget":
                FORGOTTEN.update(SESSIONS)
                await Response("forgotten")(scope, receive, send)
            case "/seen":
                await JSONResponse(SEEN)(scope, receive, send)
            case _ if session in FORGOTTEN:
                await Response("no such session", status_code=404)(scope, receive, send)
            case _:
                SESSIONS.update({session} - {""})
                SEEN.append({"method": scope["method"], "headers": headers})
                await app(scope, receive, send)

    return outer


def sse() -> App:
    return sdk_server().sse_app(sse_path="/mcp")


async def modern(request: Request) -> Response:
    if request.method != "POST":
        return Response(status_code=405)
    message = await request.json()
    if "id" not in message:
        return Response(status_code=202)
    head = {"jsonrpc": "2.0", "id": message["id"]}
    done = {"resultType": "complete", "ttlMs": 0, "cacheScope": "public"}
    match message["method"]:
        case "server/discover":
            info = {"io.modelcontextprotocol/serverInfo": {"name": "modern", "version": "1"}}
            capabilities: dict[str, Any] = {"tools": {}}
            known: dict[str, Any] = {
                "supportedVersions": ["2026-07-28"],
                "capabilities": capabilities,
            }
            return JSONResponse({**head, "result": {**done, **known, "_meta": info}})
        case "tools/list":
            tools = [{"name": "echo", "inputSchema": {"type": "object"}}]
            return JSONResponse({**head, "result": {**done, "tools": tools}})
        case "tools/call":
            text = json.dumps(message["params"]["arguments"])
            content = [{"type": "text", "text": text}]
            return JSONResponse({**head, "result": {**done, "content": content}})
        case _:
            data = {"supported": ["2026-07-28"], "requested": "2025-11-25"}
            error = {"code": -32022, "message": "Unsupported protocol version", "data": data}
            return JSONResponse({**head, "error": error}, status_code=400)


def guarded() -> App:
    """Signs in whoever comes to /authorize."""
    inner = streamable()
    good: dict[str, set[str]] = {"access": set(), "refresh": set(), "code": set()}
    asked: list[str] = []

    def fresh(kind: str) -> str:
        made = f"{kind}-{len(asked)}-{os.urandom(8).hex()}"
        good[kind].add(made)
        return made

    async def answer(request: Request) -> Response | None:
        base = str(request.base_url).rstrip("/")
        match request.url.path.strip("/").split("/"):
            case [".well-known", "oauth-protected-resource", *_]:
                return JSONResponse({"resource": f"{base}/mcp", "authorization_servers": [base]})
            case [".well-known", "oauth-authorization-server"]:
                there = os.environ.get("ELSEWHERE", base)
                ends = {f"{end}_endpoint": f"{there}/o/{end}" for end in ("authorization", "token")}
                more = {"issuer": base, "registration_endpoint": f"{base}/register"}
                known = {"code_challenge_methods_supported": ["S256"]}
                return JSONResponse({**ends, **more, **known, "response_types_supported": ["code"]})
            case ["register"]:
                asked.append("register")
                return JSONResponse({**await request.json(), "client_id": "c-1"}, status_code=201)
            case ["o", "authorization"]:
                query = request.query_params
                said = (
                    {"code": fresh("code")}
                    if "REFUSES" not in os.environ
                    else {"error": "access_denied"}
                )
                back = urlencode({**said, "state": query["state"]})
                return RedirectResponse(f"{query['redirect_uri']}?{back}", status_code=302)
            case ["o", "token"]:
                form = dict(parse_qsl((await request.body()).decode()))
                kind = form["grant_type"]
                asked.append(kind)
                used = form.get("code", form.get("refresh_token", ""))
                if used not in good["code"] | good["refresh"]:
                    return JSONResponse({"error": "invalid_grant"}, status_code=400)
                for tokens in good.values():
                    tokens.discard(used)
                made = {f"{kind}_token": fresh(kind) for kind in ("access", "refresh")}
                return JSONResponse({**made, "token_type": "Bearer", "expires_in": 3600})
            case ["expire"]:
                good["access"].clear()
                return Response("expired")
            case ["revoke"]:
                good["access"].clear()
                good["refresh"].clear()
                return Response("revoked")
            case ["asked"]:
                return JSONResponse(asked)
            case _:
                token = request.headers.get("authorization", "").removeprefix("Bearer ")
                if token in good["access"] or token == "static":
                    return None
                where = f"{base}/.well-known/oauth-protected-resource/mcp"
                challenge = {"WWW-Authenticate": f'Bearer resource_metadata="{where}"'}
                return Response("who are you?", status_code=401, headers=challenge)

    async def outer(scope: Scope, receive: Receive, send: Send) -> None:
        said = await answer(Request(scope, receive)) if scope["type"] == "http" else None
        await (said or inner)(scope, receive, send)

    return outer


async def locked(_: Request) -> Response:
    return Response("who are you?", status_code=401, headers={"WWW-Authenticate": "Bearer"})


async def broken(_: Request) -> Response:
    return Response("oh no", status_code=500)


async def moved(_: Request) -> Response:
    return RedirectResponse(f"http://127.0.0.1:{os.environ['OTHER']}/mcp", status_code=307)


async def flood(_: Request) -> Response:
    async def noise() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 1_000_000

    return StreamingResponse(noise(), media_type="application/json")


def app_of(kind: str) -> App:
    match kind:
        case "streamable":
            return streamable()
        case "sse":
            return sse()
        case "guarded":
            return guarded()
        case _:
            answer = {
                "modern": modern,
                "locked": locked,
                "broken": broken,
                "moved": moved,
                "flood": flood,
            }[kind]
            methods = ["GET", "POST", "DELETE"]
            return Starlette(routes=[Route("/{path:path}", answer, methods=methods)])


def main(kind: str, port: int = 0) -> None:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    config = uvicorn.Config(app_of(kind), log_level="error", lifespan="on")
    listening.listen()
    print(listening.getsockname()[1], flush=True)
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
