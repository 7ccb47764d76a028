"""Another vendor's program as the runtime.

It asks its own model and uses its own tools, and we write down what it says.
"""

from __future__ import annotations

from .run import LONGEST_S, run_foreign
from .vendors import VENDORS, Vendor, prompt_of

__all__ = ["LONGEST_S", "VENDORS", "Vendor", "prompt_of", "run_foreign"]
