"""What the APIs in OpenAI's manner share: addresses, credentials, names of tools, and how they fail."""

from __future__ import annotations

import re

import msgspec

from perstack.definition import ProviderAccess
from perstack.errors import ModelError
from perstack.job import Json

from .loose import obj
from .url import versioned
from .wire import excerpt, failed, merged

TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

encode = msgspec.json.Encoder().encode


def endpoint(access: ProviderAccess, model: str, path: str) -> str:
    """Where the provider of `access` serves `path`, e.g. "responses"."""
    base = access.base_url
    match access.provider:
        case "deepseek":  # serves the same with and without a version
            return f"{(base or 'https://api.deepseek.com').rstrip('/')}/{path}"
        case "ollama":
            base = (base or "http://localhost:11434").rstrip("/").removesuffix("/api")
        case "azure-openai":
            return _azure_endpoint(access, model, path)
        case _:
            base = base or "https://api.openai.com"
    return f"{versioned(base, 'v1')}/{path}"


def _azure_endpoint(access: ProviderAccess, model: str, path: str) -> str:
    base = access.base_url or f"https://{access.settings.get('resourceName', '')}.openai.azure.com"
    base = base.rstrip("/")
    if re.fullmatch(r"https?://[^/]+", base):
        base += "/openai"
    version = access.settings.get("apiVersion")
    if access.settings.get("useDeploymentBasedUrls"):
        return f"{base}/deployments/{model}/{path}?api-version={version or '2025-04-01-preview'}"
    return f"{versioned(base, 'v1')}/{path}" + (f"?api-version={version}" if version else "")


def credentials(access: ProviderAccess) -> dict[str, str]:
    """The headers that say who asks; the user's own come last."""
    headers: dict[str, str] = {}
    if access.api_key and access.provider == "azure-openai":
        headers["api-key"] = access.api_key
    elif access.api_key:
        headers["authorization"] = f"Bearer {access.api_key}"
    if access.provider == "openai":
        for setting in ("organization", "project"):
            if value := access.settings.get(setting):
                headers[f"openai-{setting}"] = str(value)
    return merged(headers, access.headers)


def parameters(schema: dict[str, Json]) -> dict[str, Json]:
    """A tool's schema as the API takes it: MCP allows an object without properties, OpenAI does not."""
    return schema if "properties" in schema else {"type": "object", **schema, "properties": {}}


_BY_CODE: dict[str, tuple[str, int]] = {
    # Codes and types alike → our name, and the status they come with. An exhausted quota comes with 429 too,
    # but waiting does not help.
    "insufficient_quota": ("PaymentRequired", 402),
    "billing_hard_limit_reached": ("PaymentRequired", 402),
    "billing_not_active": ("PaymentRequired", 402),
    "credit_balance_exhausted": ("PaymentRequired", 402),
    "organization_spend_limit_exceeded": ("PaymentRequired", 402),
    "project_spend_limit_exceeded": ("PaymentRequired", 402),
    "organization_usage_limit_exceeded": ("PaymentRequired", 402),
    "exceeded_current_quota_error": ("PaymentRequired", 402),
    "rate_limit_exceeded": ("RateLimited", 429),
    "rate_limit_error": ("RateLimited", 429),
    "too_many_requests": ("RateLimited", 429),
    "server_error": ("ServerError", 500),
    "internal_server_error": ("ServerError", 500),
    "vector_store_timeout": ("Timeout", 504),
    "service_unavailable": ("Overloaded", 503),
    "service_unavailable_error": ("Overloaded", 503),
    "server_is_overloaded": ("Overloaded", 503),
    "overloaded": ("Overloaded", 503),
    "overloaded_error": ("Overloaded", 503),
    "slow_down": ("Overloaded", 503),
    "context_length_exceeded": ("ContextTooLong", 400),
    "invalid_api_key": ("Unauthorized", 401),
    "authentication_error": ("Unauthorized", 401),
    "model_not_found": ("NotFound", 404),
    "content_filter": ("ContentFiltered", 400),
    "content_policy_violation": ("ContentFiltered", 400),
    "image_content_policy_violation": ("ContentFiltered", 400),
    "misalignment_policy_violation": ("ContentFiltered", 400),
    "bio_policy": ("ContentFiltered", 400),
    "invalid_prompt": ("BadRequest", 400),
    "invalid_request_error": ("BadRequest", 400),
}

_WAIT = re.compile(r"try again in (?:(\d+)m(?!s))?(\d+(?:\.\d+)?)(ms|s)")


def failure(status: int, body: bytes) -> ModelError:
    """What an answer other than 2xx means."""
    try:
        error: Json = msgspec.json.decode(body)
    except msgspec.DecodeError:
        error = excerpt(body)
    return reported(obj(error).get("error", error), status)


def reported(error: Json, status: int | None = None) -> ModelError:
    """An error object as the provider sends it, with an answer or in the middle of a stream.

    status: the HTTP status, None in mid-stream; what breaks a stream and has no name may pass.
    """
    fields = obj(error) or {"message": error}
    message = str(fields.get("message") or fields.get("detail") or "")[:2000]
    code, kind = str(fields.get("code") or ""), str(fields.get("type") or "")
    if status is None and code.isdigit() and 400 <= int(code) < 600:
        status = int(code)  # gateways send the HTTP status as the code
    if "maximum context length" in message:
        code = "context_length_exceeded"
    known = _BY_CODE.get(code)
    if known is None and (status is None or kind != "invalid_request_error"):
        # OpenAI gives this type to all of 4xx, so there the status says more
        known = _BY_CODE.get(kind)
    name, status = known if known else (None, status or 500)
    error = failed(status, message or f"the provider answered with HTTP {status}", name=name)
    error.retry_after_s = _wait(message) if error.retryable else None
    return error


def _wait(message: str) -> float | None:
    found = _WAIT.search(message)
    if found is None:
        return None
    minutes, amount, unit = found.groups()
    return int(minutes or 0) * 60 + float(amount) / (1000 if unit == "ms" else 1)
