"""A tool-calling agent of smolagents, one thread for each; it does not delegate here. arguments: url jobs"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

from shared import QUERY, raise_file_limit, read_text_file
from smolagents import OpenAIModel, Tool, ToolCallingAgent


class Read(Tool):
    name = "readTextFile"
    description = "Read a text file"
    inputs: ClassVar = {"path": {"type": "string", "description": "The path"}}
    output_type = "string"

    def forward(self, path: str) -> str:
        return read_text_file(path)


def converse(model: OpenAIModel, query: str) -> str:
    agent = ToolCallingAgent(tools=[Read()], model=model, max_steps=10_000, verbosity_level=-1)
    return str(agent.run(query))


def main(url: str, jobs: int) -> None:
    model = OpenAIModel(model_id="gpt", api_base=f"{url}/v1", api_key="x")
    with ThreadPoolExecutor(jobs) as threads:
        for text in threads.map(lambda _: converse(model, QUERY), range(jobs)):
            print(text)


raise_file_limit()
main(sys.argv[1], int(sys.argv[2]))
