"""Empathy-R1, reproduced: the thin library behind the six notebooks."""

__version__ = "0.1.0"
