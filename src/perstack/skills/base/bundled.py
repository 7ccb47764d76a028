"""Whether `@perstack/base` means the one in this process, or a version that somebody pinned."""

from __future__ import annotations

from perstack.definition import BASE_SKILL, StdioSkill


def is_bundled(skill: StdioSkill) -> bool:
    """Whether this entry named `@perstack/base` asks for no version of its own and no other command.

    A version is pinned by an `@` inside `packageName`, or by an argument `@perstack/base@<version>`.
    """
    if skill.command != "npx":
        return False
    pinned = f"{BASE_SKILL}@"
    package = skill.package_name or ""
    return "@" not in package[1:] and not any(
        argument.startswith(pinned) and argument != pinned for argument in skill.args
    )
