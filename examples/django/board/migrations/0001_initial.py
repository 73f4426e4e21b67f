"""The two tables."""

from __future__ import annotations

from typing import ClassVar

import django.db.models.deletion
from django.db import migrations, models
from django.db.migrations.operations.base import Operation


class Migration(migrations.Migration):
    """Made by ``manage.py makemigrations``."""

    initial = True
    operations: ClassVar[list[Operation]] = [
        migrations.CreateModel(
            name="Position",
            fields=[
                ("id", models.BigAutoField(primary_key=True)),
                ("token_account", models.CharField(max_length=44)),
                ("opened_at_ms", models.BigIntegerField()),
                ("name", models.CharField(max_length=64)),
                ("is_open", models.BooleanField(default=True)),
            ],
            options={"unique_together": {("token_account", "opened_at_ms")}},
        ),
        migrations.CreateModel(
            name="Exit",
            fields=[
                ("id", models.BigAutoField(primary_key=True)),
                ("level", models.IntegerField()),
                ("reason", models.CharField(max_length=32)),
                ("profit_units", models.BigIntegerField(null=True)),
                ("received_at", models.DateTimeField(auto_now_add=True)),
                (
                    "position",
                    models.ForeignKey(
                        "board.Position",
                        django.db.models.deletion.CASCADE,
                        related_name="exits",
                    ),
                ),
            ],
            options={"unique_together": {("position", "level")}},
        ),
    ]
