"""Text that is not what it seems to be: blobs of data, and words meant for other tools or kept from people.

The words are patterns, each a way in which instructions were seen to be smuggled into descriptions. They find what
is written plainly; who paraphrases well is not found. That is why findings are told and not believed.
"""

from __future__ import annotations

import re

BLOB = 512
"""From as many characters of base64 on, text is data."""

_RUN = re.compile(r"[A-Za-z0-9+/_-]{40,}={0,2}(?:[ \t]*\r?\n[ \t]*[A-Za-z0-9+/_-]{20,}={0,2})*")


def blob_in(text: str) -> str:
    """The first run of more than BLOB characters that looks like base64, also over several lines; else empty."""
    for found in _RUN.finditer(text):
        run = re.sub(r"\s", "", found[0])
        if len(run) > BLOB and _mixed(run):
            return run
    return ""


def _mixed(run: str) -> bool:
    """Whether letters and digits are mixed as chance does, and not as in a path, a word or a line of dashes."""
    digits, upper = sum(map(str.isdigit, run)), sum(map(str.isupper, run))
    return len(set(run)) >= 20 and digits > len(run) // 50 and upper > len(run) // 20


def _any_of(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns).replace(" ", r"\s+"), re.IGNORECASE)


_TOOL = r"(?:tool|skill|function)s?\b"
_OTHER_TOOLS = rf"(?:(?:any|all|every|each|the|of) ){{0,2}}other {_TOOL}"
_PEOPLE = r"(?:users?|humans?|operators?|people)\b"
_TELL = r"(?:tell|inform|mention|reveal|show|alert|notify|ask|warn)(?:ing)?"

_TO_ANYONE = _any_of(
    r"\b(?:ignore|disregard|override|overrule|forget)\b[^.\n]{0,40}\b(?:tool|skill)s?(?:'s?)?"
    r" (?:descriptions?|definitions?|rules?|schemas?|documentation)",
    r"\b(?:ignore|disregard|forget|override) (?:(?:any|all|every|each|the|of|your|these|those) ){0,3}"
    r"(?:previous|prior|above|earlier|preceding|system) (?:instructions?|prompts?|rules?|messages?|guidelines?)",
    rf"\bdescriptions? of {_OTHER_TOOLS} (?:is|are) (?:wrong|outdated|obsolete|incorrect|superseded)",
)
_TO_OTHERS = _any_of(
    r"\b(?:before|whenever|when|after|every time|each time) (?:you )?"
    r"(?:use|using|call|calling|invoke|invoking|run|running)"
    rf" (?:any|all|every|each|another|other|the other) (?:other )?{_TOOL}",
    rf"\b(?:any|all|every|each) other {_TOOL} (?:must|should|may|will|has|have|is|are)\b",
    rf"\b(?:do not|don't|never|must not) (?:use|call|invoke|trust|run) {_OTHER_TOOLS}",
    r"\b(?:always|must|only) (?:use|call|run) this(?: tool| skill)? (?:first|instead|before|rather)\b"
    r"[^.\n]{0,60}\b(?:other|another|any|every|instead of)\b",
    r"\binstead of (?:the )?[`\"']?[\w.-]+[`\"']? (?:tool|skill)\b",
    rf"\b(?:do not|don't|never|without) (?:ever )?{_TELL}\b[^.\n]{{0,30}}\b{_PEOPLE}",
    rf"\b(?:hide|conceal|keep)\b[^.\n]{{0,30}}\bfrom (?:the )?{_PEOPLE}",
    r"<\s*(?:/\s*)?(?:important|system|secret|hidden|admin)\s*>",
    r"\b(?:read|send|include|attach|pass|append|put)\b[^.\n]{0,60}"
    r"(?:~/\.ssh|\bid_rsa|\.aws/credentials|\.env\b|\bmcp\.json|\.netrc|\bprivate keys?\b)",
)


def addressed_in(text: str, *, of_a_skill: bool) -> str:
    """Words in `text` that tell how to treat other tools, or to keep something from people; else empty.

    of_a_skill: whether it stands in a skill. There nothing of the kind belongs; an Expert's own instruction may
    well say which tool to use when.
    """
    found = _TO_ANYONE.search(text) or (_TO_OTHERS.search(text) if of_a_skill else None)
    return found[0] if found else ""
