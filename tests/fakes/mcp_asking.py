"""An MCP server made with the official SDK whose tool asks the user things. Run it: `python mcp_asking.py`.

`book` asks for a day, then whether it is sure. It notes each step in `booked.txt` in its working directory.
"""

from __future__ import annotations

from pathlib import Path

from mcp.server.mcpserver import Context, MCPServer
from pydantic import BaseModel

server = MCPServer("asking")


class Day(BaseModel):
    day: str


class Sure(BaseModel):
    sure: bool
    guests: int = 2


@server.tool()
async def book(table: int, context: Context) -> str:
    """Book a table."""
    note(f"begun {table}")
    day = await context.elicit("For which day?", Day)
    if day.action != "accept":
        return f"not booked: {day.action}"
    note(f"day {day.data.day}")
    sure = await context.elicit(f"Book table {table} for {day.data.day}?", Sure)
    if sure.action != "accept" or not sure.data.sure:
        return f"not booked: {sure.action}"
    note(f"booked for {sure.data.guests}")
    return f"Table {table} is yours on {day.data.day}"


def note(line: str) -> None:
    with Path("booked.txt").open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")


if __name__ == "__main__":
    server.run()
