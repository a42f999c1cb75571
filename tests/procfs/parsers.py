"""Finds every parser of the package by walking it, so that none can be forgotten, and says whether what it did was allowed."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from types import ModuleType
from typing import Any, Callable

import memtriage.procfs
from memtriage.procfs.files import ProcfsError

Parser = Callable[[bytes], Any]
PREFIX = "memtriage.procfs."


def modules() -> dict[str, ModuleType]:
    """All modules, by name below the package."""
    found = pkgutil.walk_packages(memtriage.procfs.__path__, PREFIX)
    return {info.name[len(PREFIX):]: importlib.import_module(info.name) for info in found}


def parsers() -> dict[str, Parser]:
    """All public functions that turn bytes into something: by ``module`` for ``parse``, else by ``module:function``."""
    found: dict[str, Parser] = {}
    for name, module in modules().items():
        for member, function in inspect.getmembers(module, inspect.isfunction):
            if member.startswith("_") or function.__module__ != module.__name__:
                continue
            parameters = list(inspect.signature(function).parameters.values())
            others = [parameter for parameter in parameters[1:] if parameter.default is parameter.empty]
            if parameters and parameters[0].annotation == "bytes" and not others:
                found[name if member == "parse" else f"{name}:{member}"] = function
    return found


def failure(parser: Parser, data: bytes) -> str | None:
    """Says what went wrong where the parser raised anything but ProcfsError, else ``None``. The answer must be fit to be printed."""
    try:
        _encode(parser(data))
    except ProcfsError as error:
        str(error).encode()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def _encode(value: object) -> None:
    """Raises UnicodeEncodeError where a text in ``value`` could not be printed."""
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, dict):
        _encode(list(value.items()))
    elif isinstance(value, (tuple, list)):
        for part in value:
            _encode(part)
