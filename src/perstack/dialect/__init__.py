"""The same, in the reference's words."""

from __future__ import annotations

from .heard import tell_notice
from .records import (
    checkpoints,
    job_record_of,
    place_of,
    run_setting_of,
    tell,
    voice_of,
)
from .schema import load_schema
from .speak import checkpoint_of, encode_wire, speak, take_up
from .stream import RunEvent, RuntimeEvent, WireEvent
from .types import Checkpoint, JobRecord, RunSetting
from .voice import Voice

__all__ = [
    "Checkpoint",
    "JobRecord",
    "RunEvent",
    "RunSetting",
    "RuntimeEvent",
    "Voice",
    "WireEvent",
    "checkpoint_of",
    "checkpoints",
    "encode_wire",
    "job_record_of",
    "load_schema",
    "place_of",
    "run_setting_of",
    "speak",
    "take_up",
    "tell",
    "tell_notice",
    "voice_of",
]
