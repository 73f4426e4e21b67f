"""Positions, deadlines and events on top of one stream."""
