"""What users script against, as text: options, perfdata labels, exit codes, subcommands, metrics, formats.

``python -m tests.contract`` prints it; ``--write`` (``make contract``) makes tests/contract.txt of it. A change there is a
change for somebody's scripts: it belongs into CHANGELOG.md.
"""

from __future__ import annotations

import argparse
import ast
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from memtriage import cli, exposition, labels, thinning
from memtriage.integration import table
from memtriage.recording import layout

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "contract.txt"
EXPECTED = ROOT / "tests" / "checks" / "expected"


def checks() -> Iterator[str]:
    for name in sorted(table.CHECKS):
        check = table.check(name)
        for option in check.options:
            words = " ".join(filter(None, (" ".join(option.flags), option.metavar)))
            yield f"{name} option {words}" + (f", by default {option.default}" if option.default is not None else "")
        for label, about in labels.LABELS[check.title].items():
            yield f"{name} perfdata {label}{' ' + ('c' if about.unit == 'us' else about.unit) if about.unit else ''}"
        for label, about in labels.LABELS[check.title].items():
            metric, kind, _ = exposition.metric(check.title, label, about)
            yield f"{name} metric {metric}{'{cache}' if label.endswith('*') else ''} {kind}"
        yield f"{name} metric memtriage_{check.short}_state gauge"
        for path in sorted(EXPECTED.glob(f"*.{name}.txt")):
            yield f"{name} on {path.name.split('.')[0]}: {path.read_text().splitlines()[0]}"


def commands() -> Iterator[str]:
    for name in sorted(cli.COMMANDS):
        yield f"memtriage {name}"
        for action in cli.subcommand(name)[1]._actions:
            yield f"memtriage {name} {described(action)}"


def described(action: argparse.Action) -> str:
    """One option or word, the same on every Python."""
    text = "option " + " ".join(action.option_strings) if action.option_strings else f"word {action.dest}"
    if action.nargs != 0:
        text += " " + str(action.metavar or ("|".join(map(str, action.choices)) if action.choices else action.dest.upper()))
        text += f" ({action.nargs})" if action.nargs is not None else ""
    default: Any = action.default
    if default not in (None, False, "", argparse.SUPPRESS) and default != []:
        text += f", by default {','.join(default) if isinstance(default, tuple) else default}"
    return text + (", required" if action.required and action.option_strings else "")


def whole() -> str:
    for name in ("MEMTRIAGE_RECORDING", "MEMTRIAGE_STATE_DIR"):
        os.environ.pop(name, None)  # they change defaults
    lines = [*checks(), *commands(), f"format state {thinning.FORMAT}", f"format recording {layout.VERSION}"]
    return "\n".join(lines) + "\n"


# --- what the checks' own code says of perfdata ---

Binding = dict[str, Any]


def emitted(path: Path) -> set[tuple[str, str]]:
    """Label and unit of every ``Metric`` that a check's code makes, loops over literals unrolled; ``*`` where this cannot tell."""
    tree = ast.parse(path.read_text())
    rows: dict[str, list[Any]] = {}  # names of lists and tuples, wherever they are assigned or added to
    for node in ast.walk(tree):
        if isinstance(node, (ast.Assign, ast.AugAssign)) and isinstance(node.value, (ast.List, ast.Tuple)):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name):
                rows.setdefault(target.id, []).extend(node.value.elts)
        if (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "append"
                and isinstance(node.func.value, ast.Name)):
            rows.setdefault(node.func.value.id, []).append(node.args[0])
    return set(_within(tree, [{}], rows))


def _within(node: ast.AST, bindings: list[Binding], rows: dict[str, list[Any]]) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.For):
        bindings = [{**binding, **more} for binding in bindings for more in _bound(node, rows)]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "Metric":
        each = any(word.arg == "context" and isinstance(word.value, ast.Constant) and word.value.value == "each" for word in node.keywords)
        for binding in bindings if not each else ():  # that context judges, and shows nothing
            unit = _value(node.args[2], binding) if len(node.args) > 2 else ""
            yield str(_value(node.args[0], binding)), str(unit)
    for child in ast.iter_child_nodes(node):
        yield from _within(child, bindings, rows)


def _bound(loop: ast.For, rows: dict[str, list[Any]]) -> list[Binding]:
    over = loop.iter
    items = rows.get(over.id) if isinstance(over, ast.Name) else over.elts if isinstance(over, (ast.Tuple, ast.List)) else None
    if items is None:
        return [{}]
    names = [target.id for target in loop.target.elts if isinstance(target, ast.Name)] if isinstance(loop.target, ast.Tuple) else None
    if names is not None:
        return [{name: _value(part, {}) for name, part in zip(names, item.elts)} for item in items if isinstance(item, ast.Tuple)]
    return [{loop.target.id: _value(item, {})} for item in items if isinstance(loop.target, ast.Name)]


def _value(node: ast.expr, binding: Binding) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return binding.get(node.id, "*")
    if isinstance(node, ast.JoinedStr):
        return "".join(str(_value(part.value if isinstance(part, ast.FormattedValue) else part, binding)) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return f"{_value(node.left, binding)}{_value(node.right, binding)}"
    return "*"


if __name__ == "__main__":
    if "--write" in sys.argv:
        GOLDEN.write_text(whole())
    else:
        sys.stdout.write(whole())
