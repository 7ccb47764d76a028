"""The reference's words: what its events carry, and its records, as structs. The events are in `stream`.

Names here are the reference's names. Members that may be absent have the default None (or an empty string,
false) and are left out then; `null` is never written. Only what we tell is here; what a reader may meet besides
is in `schema.json`. Import this module as `wire`: half of its names exist in `job` too, and mean ours there.
"""

from __future__ import annotations

from typing import Any, Literal

from perstack._value import Value

Json = Any
"""Any JSON value."""

Status = Literal[
    "init",
    "proceeding",
    "completed",
    "stoppedByInteractiveTool",
    "stoppedByDelegate",
    "stoppedByExceededMaxSteps",
    "stoppedByError",
]
JobStatus = Literal[
    "running", "completed", "stoppedByMaxSteps", "stoppedByInteractiveTool", "stoppedByError"
]


# --- what is said: parts and messages -------------------------------------------------------------------------


class TextPart(Value, frozen=True, kw_only=True, tag="textPart", tag_field="type"):
    id: str
    text: str


class ImageInlinePart(Value, frozen=True, kw_only=True, tag="imageInlinePart", tag_field="type"):
    """encoded_data: base64."""

    id: str
    encoded_data: str
    mime_type: str


class FileInlinePart(Value, frozen=True, kw_only=True, tag="fileInlinePart", tag_field="type"):
    """encoded_data: base64."""

    id: str
    encoded_data: str
    mime_type: str


class ThinkingPart(Value, frozen=True, kw_only=True, tag="thinkingPart", tag_field="type"):
    id: str
    thinking: str
    signature: str = ""


class ToolCallPart(Value, frozen=True, kw_only=True, tag="toolCallPart", tag_field="type"):
    id: str
    tool_call_id: str
    tool_name: str
    args: dict[str, Json]


ContentPart = TextPart | ImageInlinePart | FileInlinePart


class ToolResultPart(Value, frozen=True, kw_only=True, tag="toolResultPart", tag_field="type"):
    id: str
    tool_call_id: str
    tool_name: str
    contents: tuple[ContentPart, ...]
    is_error: bool = False


class InstructionMessage(
    Value, frozen=True, kw_only=True, tag="instructionMessage", tag_field="type"
):
    id: str
    contents: tuple[TextPart, ...]
    cache: bool = False


class UserMessage(Value, frozen=True, kw_only=True, tag="userMessage", tag_field="type"):
    id: str
    contents: tuple[ContentPart, ...]


class ProviderTool(Value, frozen=True, kw_only=True):
    """What a tool of the provider did within a reply. The reference knows no such thing."""

    tool: str
    asked: str = ""
    gave: str = ""
    failed: bool = False


class ExpertMessage(Value, frozen=True, kw_only=True, tag="expertMessage", tag_field="type"):
    """contents: thinking, then at most one text, then calls: tools, delegates, questions."""

    id: str
    contents: tuple[ThinkingPart | TextPart | ToolCallPart, ...]
    provider_tools: tuple[ProviderTool, ...] = ()


class ToolMessage(Value, frozen=True, kw_only=True, tag="toolMessage", tag_field="type"):
    """All results of one reply."""

    id: str
    contents: tuple[ToolResultPart, ...]


Message = InstructionMessage | UserMessage | ExpertMessage | ToolMessage


# --- what is counted and carried ------------------------------------------------------------------------------


class Usage(Value, frozen=True, kw_only=True):
    input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    total_tokens: int
    cached_input_tokens: int


class ToolCall(Value, frozen=True, kw_only=True):
    id: str
    skill_name: str
    tool_name: str
    args: dict[str, Json]


class ToolResult(Value, frozen=True, kw_only=True):
    """id: of the call it answers."""

    id: str
    skill_name: str
    tool_name: str
    result: tuple[ContentPart, ...]


class ExpertRef(Value, frozen=True, kw_only=True):
    key: str
    name: str
    version: str


class DelegatedBy(Value, frozen=True, kw_only=True):
    """expert, checkpoint_id, run_id: the parent, where it stopped, and as which run."""

    expert: ExpertRef
    tool_call_id: str
    tool_name: str
    checkpoint_id: str
    run_id: str


class DelegationTarget(Value, frozen=True, kw_only=True):
    expert: ExpertRef
    tool_call_id: str
    tool_name: str
    query: str


class Error(Value, frozen=True, kw_only=True):
    name: str
    message: str
    status_code: int | None = None
    is_retryable: bool


class Checkpoint(Value, frozen=True, kw_only=True):
    """messages: None in the compact telling."""

    id: str
    job_id: str
    run_id: str
    expert: ExpertRef
    step_number: int
    status: Status
    messages: tuple[Message, ...] | None = None
    usage: Usage
    context_window: int | None = None
    context_window_usage: float | None = None
    retry_count: int | None = None
    delegate_to: tuple[DelegationTarget, ...] | None = None
    delegated_by: DelegatedBy | None = None
    pending_tool_calls: tuple[ToolCall, ...] | None = None
    partial_tool_results: tuple[ToolResult, ...] | None = None
    metadata: dict[str, Json] | None = None
    error: Error | None = None


class Step(Value, frozen=True, kw_only=True):
    step_number: int
    input_messages: tuple[Message, ...] | None = None
    new_messages: tuple[Message, ...]
    tool_calls: tuple[ToolCall, ...] | None = None
    tool_results: tuple[ToolResult, ...] | None = None
    pending_tool_calls: tuple[ToolCall, ...] | None = None
    partial_tool_results: tuple[ToolResult, ...] | None = None
    usage: Usage
    started_at: int
    finished_at: int | None = None


# --- records -----------------------------------------------------------------------------------------------------


class JobRecord(Value, frozen=True, kw_only=True):
    """What the reference calls a job, in `job.json`."""

    id: str
    status: JobStatus
    coordinator_expert_key: str
    total_steps: int
    max_steps: int
    usage: Usage
    started_at: int
    finished_at: int | None = None


class RunInput(Value, frozen=True, kw_only=True):
    text: str


class RunSetting(Value, frozen=True, kw_only=True):
    """What a run was asked to do, in `run-setting.json`. Secrets are told as REDACTED, `env` as empty."""

    model: str
    provider_config: dict[str, Json]
    job_id: str
    run_id: str
    expert_key: str
    input: RunInput
    experts: dict[str, dict[str, Json]]
    reasoning_budget: str | int
    max_steps: int
    max_retries: int
    timeout: int
    started_at: int
    updated_at: int
    perstack_api_base_url: str
    env: dict[str, str]
