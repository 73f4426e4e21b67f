from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import lasersell

PROGRAM = """
import sys, threading, types
from lasersell._decode import decode_json

SOURCE = compile('''
from __future__ import annotations
import msgspec
from typing import Literal

class Inner(msgspec.Struct, omit_defaults=True):
    key: str
    raw: msgspec.Raw
    number: int
    status: Literal["open", "closed"] = "open"
    reason: str | None = None
    attempts: list[tuple[int | None, int]] = []

class Outer(msgspec.Struct, omit_defaults=True):
    message: msgspec.Raw
    at: float
    kind: str | None = None
    inner: Inner | None = None
    attempt: int | None = None
''', "made_up", "exec")
RAW = b'{"message":{},"at":1.5,"inner":{"key":"k","raw":{},"number":1},"attempt":1}'

sys.setswitchinterval(1e-6)
for number in range(100):
    module = types.ModuleType(f"made_up_{number}")
    sys.modules[module.__name__] = module
    exec(SOURCE, module.__dict__)
    together, decoded = threading.Barrier(2), []

    def decode():
        together.wait()
        decoded.append(decode_json(RAW, module.Outer).inner.number)

    threads = [threading.Thread(target=decode) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert decoded == [1, 1]
print("alive")
"""


def test_two_threads_may_decode_a_class_for_the_first_time_at_once() -> None:
    """Left to itself, msgspec takes the process down within a few tries."""
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout) == (0, "alive\n"), run.stderr


def test_nobody_else_has_msgspec_look_at_a_class_while_threads_run() -> None:
    """Decoders are made in one place, or while their module is imported."""
    for path in Path(lasersell.__file__).parent.rglob("*.py"):
        if path.name == "_decode.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            if name.startswith("msgspec.") and name.endswith(("decode", "convert")):
                assert len(node.args) + len(node.keywords) == 1, (
                    f"{path.name}:{node.lineno} decodes to a class by itself"
                )
