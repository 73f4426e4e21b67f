"""What is kept."""

from __future__ import annotations

from django.db import models


class Position(models.Model):
    """A position, from its opening on."""

    token_account = models.CharField(max_length=44)
    opened_at_ms = models.BigIntegerField()
    name = models.CharField(max_length=64)
    is_open = models.BooleanField(default=True)

    class Meta:  # noqa: D106
        unique_together = ("token_account", "opened_at_ms")


class Exit(models.Model):
    """An exit that the service asked for: of all, or of one level of the ladder."""

    position = models.ForeignKey(Position, models.CASCADE, related_name="exits")
    level = models.IntegerField()
    reason = models.CharField(max_length=32)
    profit_units = models.BigIntegerField(null=True)
    received_at = models.DateTimeField(auto_now_add=True)

    class Meta:  # noqa: D106
        unique_together = ("position", "level")
