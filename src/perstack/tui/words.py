"""Numbers and states in as many words as a screen has room for. Pure."""

from __future__ import annotations

from .account import Line

STATE_GLYPHS = {
    "running": "●",
    "thinking": "●",
    "acting": "●",
    "asking": "?",
    "waiting": "?",
    "completed": "✔",
    "failed": "✗",
    "cancelled": "✗",
    "stopped": "■",
    "interrupted": "■",
    "idle": "■",
    "unreadable": "!",
}
STATE_TONES = {
    "running": "live",
    "thinking": "live",
    "acting": "live",
    "asking": "warn",
    "waiting": "warn",
    "completed": "good",
    "failed": "bad",
    "cancelled": "bad",
    "stopped": "warn",
    "interrupted": "warn",
    "idle": "warn",
    "unreadable": "bad",
}


def glyph_of_state(state: str) -> str:
    return STATE_GLYPHS.get(state, "·")


def tone_of_state(state: str) -> str:
    return STATE_TONES.get(state, "muted")


def standing(line: Line) -> str:
    """How a run stands: "thinking", "3 steps"."""
    if line.state in ("thinking", "acting", "asking"):
        return line.state
    if line.state in ("failed", "cancelled"):
        return line.state
    return counted(line.steps, "step")


def counted(number: int, one: str) -> str:
    return f"{number} {one}{'' if number == 1 else 's'}"


def tokens_of(count: int) -> str:
    """Tokens for people: "812 tok", "12.3k tok"."""
    return f"{short_number(count)} tok"


def short_number(count: int) -> str:
    """A number in at most five characters: 812, 12.3k, 1.2M."""
    if count < 1_000:
        return f"{count}"
    if count < 999_950:
        return f"{count / 1_000:.1f}k"
    return f"{count / 1_000_000:.1f}M"


def elapsed(seconds: float) -> str:
    """How long: "4 s", "3:04", "2:05:09"."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def ago(seconds: float) -> str:
    """How long since: "just now", "4 min ago", "3 h ago", "12 d ago"."""
    if seconds < 60:
        return "just now"
    if seconds < 3_600:
        return f"{seconds // 60:.0f} min ago"
    if seconds < 86_400:
        return f"{seconds // 3_600:.0f} h ago"
    return f"{seconds // 86_400:.0f} d ago"


def dollars(millionths: int) -> str:
    """US dollars: "$0.0042", "$1.20"."""
    amount = millionths / 1_000_000
    return f"${amount:.2f}" if amount >= 0.1 else f"${amount:.4f}"


def bar(share: float, width: int) -> str:
    """A share between 0 and 1 as a bar of so many cells."""
    full = round(min(max(share, 0.0), 1.0) * width)
    return "━" * full + "╌" * (width - full)
