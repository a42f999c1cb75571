"""The Icinga Director: one basket with commands, their fields, service templates and a service set."""

from __future__ import annotations

import json
from typing import Any

from memtriage.integration.icinga2 import command_name, service_name
from memtriage.integration.table import PACES, Check, Line, Wanted, described, variables
from memtriage.options import Option

_TYPES = "Icinga\\Module\\Director\\DataType\\DataType"
FIRST_FIELD = 1
"""Numbers of fields count only within the basket: the Director maps them to its own."""


def _field(check: Check, option: Option) -> dict[str, Any]:
    return {
        "varname": check.variable(option),
        "caption": f"{check.short}: {option.flags[-1]}",
        "description": described(option),
        "datatype": _TYPES + ("String" if option.metavar else "Boolean"),
        "format": None,
        "settings": {},
    }


def _argument(check: Check, option: Option) -> dict[str, Any]:
    macro = f"${check.variable(option)}$"
    return {"description": described(option), **({"value": macro} if option.metavar else {"set_if": macro})}


def _command(check: Check, wanted: Wanted, first: int) -> dict[str, Any]:
    # Without a slash in front the Director puts the constant PluginDir before it.
    path = wanted.path(check) if wanted.plugin_dir or check.name in wanted.sudo else check.name
    return {
        "object_name": command_name(check), "object_type": "object", "methods_execute": "PluginCheck", "timeout": "30",
        "command": ("/usr/bin/sudo -n " if check.name in wanted.sudo else "") + path,
        "arguments": {option.flags[-1]: _argument(check, option) for option in check.arguments},
        "fields": [{"datafield_id": first + number, "is_required": "n", "var_filter": None} for number in range(len(check.arguments))],
        "imports": [], "vars": {}, "disabled": False, "is_string": None, "zone": None,
    }


def _template(check: Check) -> dict[str, Any]:
    pace = PACES[check.name]
    return {
        "object_name": command_name(check), "object_type": "template", "check_command": command_name(check), "imports": [],
        "check_interval": str(pace.every), "retry_interval": str(pace.retry), "max_check_attempts": str(pace.attempts),
        "enable_perfdata": True, "use_agent": True, "notes": check.about, "vars": {}, "fields": [],
    }


def _service(line: Line) -> dict[str, Any]:
    return {"object_name": service_name(line), "object_type": "object", "imports": [command_name(line.check)],
            "vars": {name: text.replace("$", "$$") if isinstance(text, str) else text for name, text in variables(line).items()}}


def basket(wanted: Wanted) -> dict[str, Any]:
    """The basket as data."""
    commands, fields, number = {}, {}, FIRST_FIELD
    for check in wanted.checks:
        commands[command_name(check)] = _command(check, wanted, number)
        for option in check.arguments:
            fields[str(number)] = _field(check, option)
            number += 1
    return {
        "Command": commands,
        "ServiceTemplate": {command_name(check): _template(check) for check in wanted.checks},
        "ServiceSet": {"memtriage": {
            "object_name": "memtriage", "object_type": "template", "assign_filter": None,
            "description": "What is eating this host's memory, and when will it be gone?",
            "services": {service_name(line): _service(line) for line in wanted.remote()},
        }},
        "Datafield": fields,
    }


def render(wanted: Wanted) -> dict[str, str]:
    """``memtriage-basket.json``, for Configuration Baskets or ``icingacli director basket restore``."""
    return {"memtriage-basket.json": json.dumps(basket(wanted), indent=2) + "\n"}
