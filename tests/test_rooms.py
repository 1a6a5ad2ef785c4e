"""The rooms of the house and the one rule between them: imports go down, or stay in their room without a circle."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import aelab

SOURCE = Path(aelab.__file__).parent
FLOORS = [  # from the door down; rooms of one floor do not know each other's neighbours above
    {"app", "api", "tasks", "sklearn", ""},
    {"sweep"},
    {"runs"},
    {"watch"},
    {"results"},
    {"models"},
    {"data"},
    {"rbm"},
    {"functional"},
    {"config"},
    {"errors", "files", "locks", "clock", "log", "loading", "progress", "signals", "ranges"},
]


def imports() -> dict[str, set[str]]:
    """Module → modules of ours that it imports anywhere, inside functions and for type checkers too."""
    modules = {".".join(p.relative_to(SOURCE).with_suffix("").parts).removesuffix("__init__").strip("."): p
               for p in SOURCE.rglob("*.py")}  # fmt: skip
    found: dict[str, set[str]] = {}
    for module, path in modules.items():
        names = found.setdefault(module, set())
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith("aelab."):
                inside = node.module.removeprefix("aelab").strip(".")
                whole = {f"{inside}.{alias.name}".strip(".") for alias in node.names}
                names |= {name if name in modules else inside for name in whole}
    return found


def test_imports_go_down():
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    up = [f"{module} -> {other}" for module, others in imports().items() for other in others
          if floor[other.split(".")[0]] < floor[module.split(".")[0]]]  # fmt: skip
    assert not up


def test_there_is_no_circle():
    TopologicalSorter({module: others - {module} for module, others in imports().items()}).prepare()
