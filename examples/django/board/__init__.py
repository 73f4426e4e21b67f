"""Positions and their exits, kept and shown."""
