"""Tests of the base skill."""
