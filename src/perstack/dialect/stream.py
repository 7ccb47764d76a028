"""The reference's events, as structs: what is written to stdout, one a line.

As in `types`, names are the reference's and absent members are left out. Import this module as it is and name its
structs by it (`stream.StartRun`): some of the names mean notices in `job`.
"""

from __future__ import annotations

from typing import Literal, TypedDict

from perstack._value import Value, camel_tag

from .types import (
    Checkpoint,
    Error,
    Message,
    Step,
    ToolCall,
    ToolResult,
    Usage,
)

# --- state events: one run segment moving -----------------------------------------------------------------------


class RunHead(TypedDict):
    """What every event of a run begins with."""

    id: str
    expert_key: str
    timestamp: int
    job_id: str
    run_id: str
    step_number: int


class RunEvent(Value, frozen=True, kw_only=True, tag=camel_tag, tag_field="type"):
    """timestamp: milliseconds since 1970."""

    id: str
    expert_key: str
    timestamp: int
    job_id: str
    run_id: str
    step_number: int


class StartRun(RunEvent, frozen=True, kw_only=True):
    initial_checkpoint: Checkpoint
    input_messages: tuple[Message, ...]


class StartGeneration(RunEvent, frozen=True, kw_only=True):
    """messages: None in the compact telling."""

    messages: tuple[Message, ...] | None = None


class ResumeToolCalls(RunEvent, frozen=True, kw_only=True):
    pending_tool_calls: tuple[ToolCall, ...]
    partial_tool_results: tuple[ToolResult, ...]


class FinishAllToolCalls(RunEvent, frozen=True, kw_only=True):
    new_messages: tuple[Message, ...]


class Retry(RunEvent, frozen=True, kw_only=True):
    """reason: JSON text of {"error", "message"}."""

    reason: str
    new_messages: tuple[Message, ...]
    usage: Usage
    tool_calls: tuple[ToolCall, ...] | None = None
    tool_results: tuple[ToolResult, ...] | None = None


class CallTools(RunEvent, frozen=True, kw_only=True):
    new_message: Message
    tool_calls: tuple[ToolCall, ...]
    usage: Usage


class AttemptCompletion(RunEvent, frozen=True, kw_only=True):
    tool_result: ToolResult


class ResolveToolResults(RunEvent, frozen=True, kw_only=True):
    tool_results: tuple[ToolResult, ...]


class CallDelegate(RunEvent, frozen=True, kw_only=True):
    new_message: Message
    tool_calls: tuple[ToolCall, ...]
    usage: Usage


class CallInteractiveTool(RunEvent, frozen=True, kw_only=True):
    new_message: Message
    tool_call: ToolCall
    usage: Usage


class FinishToolCall(RunEvent, frozen=True, kw_only=True):
    new_messages: tuple[Message, ...]


class ContinueToNextStep(RunEvent, frozen=True, kw_only=True):
    checkpoint: Checkpoint
    step: Step
    next_checkpoint: Checkpoint


class CompleteRun(RunEvent, frozen=True, kw_only=True):
    """usage: of the last reply alone; zeros where the reply that called for completion held the answer."""

    checkpoint: Checkpoint
    step: Step
    text: str
    usage: Usage


class StopRunByInteractiveTool(RunEvent, frozen=True, kw_only=True):
    checkpoint: Checkpoint
    step: Step


class StopRunByDelegate(RunEvent, frozen=True, kw_only=True):
    checkpoint: Checkpoint
    step: Step


class StopRunByExceededMaxSteps(RunEvent, frozen=True, kw_only=True):
    checkpoint: Checkpoint
    step: Step


class StopRunByError(RunEvent, frozen=True, kw_only=True):
    checkpoint: Checkpoint
    step: Step
    error: Error


# --- streaming events: words as they arrive --------------------------------------------------------------------


class StartStreamingReasoning(RunEvent, frozen=True, kw_only=True):
    pass


class StreamReasoning(RunEvent, frozen=True, kw_only=True):
    delta: str


class CompleteStreamingReasoning(RunEvent, frozen=True, kw_only=True):
    text: str


class StartStreamingRunResult(RunEvent, frozen=True, kw_only=True):
    pass


class StreamRunResult(RunEvent, frozen=True, kw_only=True):
    delta: str


class CompleteStreamingRunResult(RunEvent, frozen=True, kw_only=True):
    text: str


# --- runtime events: what goes on around the runs ---------------------------------------------------------------


class RuntimeHead(TypedDict):
    """What every runtime event begins with."""

    id: str
    timestamp: int
    job_id: str
    run_id: str


class RuntimeEvent(Value, frozen=True, kw_only=True, tag=camel_tag, tag_field="type"):
    """timestamp: milliseconds since 1970. There is no `expertKey`: that is how readers tell the families apart."""

    id: str
    timestamp: int
    job_id: str
    run_id: str


class InteractiveToolCall(Value, frozen=True, kw_only=True):
    """The result with which a stopped run goes on."""

    tool_call_id: str
    tool_name: str
    skill_name: str
    text: str


class InitializeRuntime(RuntimeEvent, frozen=True, kw_only=True):
    """timeout: milliseconds. experts: keys."""

    runtime_version: str
    runtime: str
    expert_name: str
    experts: tuple[str, ...]
    model: str
    max_steps: int
    max_retries: int
    timeout: int
    query: str | None = None
    interactive_tool_call: InteractiveToolCall | None = None


class SkillStarting(RuntimeEvent, frozen=True, kw_only=True):
    skill_name: str
    command: str
    args: tuple[str, ...]


class ServerInfo(Value, frozen=True, kw_only=True):
    name: str
    version: str


class SkillConnected(RuntimeEvent, frozen=True, kw_only=True):
    skill_name: str
    server_info: ServerInfo | None = None
    spawn_duration_ms: int | None = None
    handshake_duration_ms: int | None = None
    tool_discovery_duration_ms: int | None = None
    connect_duration_ms: int | None = None
    total_duration_ms: int | None = None


class SkillStderr(RuntimeEvent, frozen=True, kw_only=True):
    skill_name: str
    message: str


class SkillDisconnected(RuntimeEvent, frozen=True, kw_only=True):
    skill_name: str


class DockerBuildProgress(RuntimeEvent, frozen=True, kw_only=True):
    stage: Literal["pulling", "building", "complete", "error"]
    service: str
    message: str
    progress: float | None = None


class DockerContainerStatus(RuntimeEvent, frozen=True, kw_only=True):
    status: Literal["starting", "running", "healthy", "unhealthy", "stopped", "error"]
    service: str
    message: str | None = None


class ProxyAccess(RuntimeEvent, frozen=True, kw_only=True):
    action: Literal["allowed", "blocked"]
    domain: str
    port: int
    reason: str | None = None


WireEvent = RunEvent | RuntimeEvent
