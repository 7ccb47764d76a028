"""Measures Perstack beside bare loops and other libraries. Not a part of the package."""
