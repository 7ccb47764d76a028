"""Servers that stand in for the world: real sockets, scripted answers."""
