"""Walls: what needs them, what they keep, how they are built."""
