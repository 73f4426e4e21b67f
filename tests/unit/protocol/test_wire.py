from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from types import ModuleType

import attrs
import pytest

from lasersell.protocol import client, market, mirror, server, strategy, wire
from lasersell.protocol.wire import defaults_on_class

_MODULES = [client, market, mirror, server, strategy, wire]


def _undocumented(module: ModuleType) -> Iterator[str]:
    for cls in ast.parse(inspect.getsource(module)).body:
        if isinstance(cls, ast.ClassDef):
            for statement, following in zip(
                cls.body, [*cls.body[1:], None], strict=True
            ):
                if _is_field(statement) and not isinstance(following, ast.Expr):
                    yield f"{cls.name}: {ast.unparse(statement)}"


def _is_field(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.AnnAssign) and "ClassVar" not in ast.unparse(
        statement
    )


@pytest.mark.parametrize("module", _MODULES, ids=lambda module: module.__name__)
def test_every_field_is_documented(module: ModuleType) -> None:
    """Each field of each class says what it is and in which unit."""
    assert list(_undocumented(module)) == []


@pytest.mark.parametrize("module", _MODULES, ids=lambda module: module.__name__)
def test_every_class_is_an_immutable_value(module: ModuleType) -> None:
    """Each class of the wire takes its fields by name, and is frozen."""
    for cls in vars(module).values():
        if isinstance(cls, type) and attrs.has(cls):
            assert all(attribute.kw_only for attribute in attrs.fields(cls))
            assert cls.__setattr__ is not object.__setattr__


def test_defaults_on_a_class_are_those_of_its_fields() -> None:
    """Only fields that have a default get one on the class."""

    @defaults_on_class
    @attrs.frozen(kw_only=True, slots=False)
    class Hot:
        needed: int
        optional: int | None = None
        flag: bool = False

    assert (Hot.optional, Hot.flag) == (None, False)
    assert not hasattr(Hot, "needed")
    assert Hot(needed=1, flag=True).flag
