"""Characters of texts of others that are never shown as they are, on any terminal.

Controls move the cursor, clear the screen, or set its title. Marks of direction turn letters around, so that one
command is read as another (UAX #9; CVE-2021-42574). Tabs and line breaks are none of these.
"""

from __future__ import annotations

CONTROLS = tuple(code for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n")
DIRECTIONS = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
UNSHOWN = (*CONTROLS, *DIRECTIONS)
