"""Definitions for monitoring engines, sudo and systemd, made from the checks' own option tables.

  nrpe       command[...] lines with fixed arguments
  nagios     Nagios 4: commands, services through NRPE, dependencies
  icinga2    CheckCommands with every option, rules that apply services
  director   a basket for the Icinga Director (JSON)
  sudoers    the exact command lines the others run as root
  systemd    the unit of the flight recorder
  tmpfiles   the folder of what the checks remember

  grafana-influxdb, grafana-graphite   a dashboard over Icinga 2's writer for either (JSON)
  icingaweb2-graphite                  graph templates for Icinga Web's graphite module
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from typing import Callable

from memtriage import wholefile
from memtriage.cli import Failure
from memtriage.integration import dashboards, director, icinga2, nagios, nrpe, sudoers, systemd, table, tmpfiles

TARGETS: dict[str, Callable[[table.Wanted], dict[str, str]]] = {
    "nrpe": nrpe.render,
    "nagios": nagios.render,
    "icinga2": icinga2.render,
    "director": director.render,
    "sudoers": sudoers.render,
    "systemd": systemd.render,
    "tmpfiles": tmpfiles.render,
    "grafana-influxdb": lambda wanted: dashboards.render_grafana(wanted, "influxdb"),
    "grafana-graphite": lambda wanted: dashboards.render_grafana(wanted, "graphite"),
    "icingaweb2-graphite": dashboards.render_graphs,
}
_PATH = re.compile(r"(/[A-Za-z0-9._+-]+)+")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9._-]{0,31}")


def _path(text: str) -> str:
    path = text.rstrip("/")
    if not _PATH.fullmatch(path):
        raise argparse.ArgumentTypeError(f"'{text}' is no absolute path of plain letters")
    return path


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(f"'{text}' is no name")
    return text


def _checks(text: str) -> tuple[str, ...]:
    names = tuple(name for name in text.split(",") if name and name != "none")
    unknown = [name for name in names if name not in table.CHECKS]
    if unknown:
        raise argparse.ArgumentTypeError(f"'{unknown[0]}' is none of {', '.join(table.CHECKS)}")
    return names


def options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("target", choices=TARGETS, metavar="TARGET", help=", ".join(TARGETS))
    add("-o", "--output", metavar="PATH",
        help="write here instead of to stdout: into a folder if PATH is one or ends in /, else into one file")
    add("--checks", metavar="CHECKS", type=_checks, default=table.CHECKS, help="only these, comma-separated (default: all)")
    add("--add", metavar="NAME=CHECK OPTIONS", action="append", default=[],
        help="one more command and service, such as 'check_httpd=check_proc_count -C httpd -w 1:150'; "
             "with a check's own name: instead of it")
    add("--sudo", metavar="CHECKS", type=_checks, default=table.SUDO,
        help=f"run these as root, comma-separated, or none (default: {','.join(table.SUDO)})")
    add("--plugin-dir", metavar="DIR", type=_path,
        help=f"where the checks are (default: the engine's own constant for it, else {table.PLUGIN_DIR})")
    add("--prefix", metavar="DIR", type=_path, default="/usr/local", help="systemd: the command is DIR/bin/memtriage (default: /usr/local)")
    add("--user", type=_name, default="nagios", help="whom the monitoring engine runs as (default: nagios)")
    add("--group", type=_name, help="its group (default: as --user)")
    add("--local", metavar="HOST", type=_name, help="nagios: services of this host without NRPE: the one Nagios runs on")
    add("--template", metavar="NAME", type=_name, default="generic-service", help="nagios: what services use (default: generic-service)")
    add("--passive", action="store_true",
        help="icinga2, nagios: also what takes the results of memtriage record --passive: services that notice silence, an API user "
             "with one permission; systemd: also what the recorder's unit needs to send them")
    add("--notifications", action="store_true", help="icinga2: also a rule that sends mail")


def run(args: argparse.Namespace) -> int:
    try:
        if not args.checks:
            raise table.Refused("--checks leaves no check to be defined")
        checks = [table.check(name) for name in args.checks]
        wanted = table.Wanted(checks, table.lines(checks, args.add), args.plugin_dir, args.prefix, args.user, args.group or args.user,
                              args.sudo, args.template, args.local, args.notifications, args.passive)
        files = TARGETS[args.target](wanted)
    except (table.Refused, ValueError) as error:
        raise Failure(str(error)) from None
    if args.output is None:
        sys.stdout.write("\n".join(files.values()))
        return 0
    try:
        mode = 0o440 if args.target == "sudoers" else 0o644
        if args.output.endswith("/") or os.path.isdir(args.output):
            os.makedirs(args.output, exist_ok=True)
            for name, text in files.items():
                wholefile.write(os.path.join(args.output, name), text.encode(), mode)
        else:
            wholefile.write(args.output, "\n".join(files.values()).encode(), mode)
    except OSError as error:
        raise Failure(f"{args.output}: {error.strerror}") from None
    return 0
