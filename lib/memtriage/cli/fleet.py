"""Is it the kernel, or is it us? Asks an Icinga 2 for what check_slab_growth and check_free_mem said on all its hosts.

Says on how many hosts memory grows, what that goes with (kernel release, any host variable), with the odds, and who runs out first.

  memtriage fleet --api https://master:5665 --credentials fleet.credentials --ca /var/lib/icinga2/certs/ca.crt
"""

from __future__ import annotations

import argparse
import json
import sys
import time

from memtriage.cli import Failure
from memtriage.cli.simulate import checked
from memtriage.fleet import api, credentials, hosts, past, schema, screen, summary
from memtriage.fleet.trouble import Trouble
from memtriage.wording import line


def number(text: str) -> int:
    found = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else -1
    if found < 0:
        raise ValueError(f"'{text}' is no number from 0 to 99999")
    return found


def keys(text: str) -> list[str]:
    found = [key.strip() for key in text.split(",") if key.strip()]
    if not found:
        raise ValueError("no attribute is named")
    return found


def intervals(text: str) -> int:
    found = number(text)
    if not 1 <= found <= 1000:
        raise ValueError(f"'{text}' is no number from 1 to 1000")
    return found


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--api", required=True, metavar="URL", help="https://HOST:5665 of an Icinga 2 master or satellite")
    parser.add_argument("--credentials", required=True, metavar="FILE", help="user:password of an API user; nobody else may read it")
    parser.add_argument("--ca", metavar="FILE", help="certificate of the authority to trust (default: the system's)")
    parser.add_argument("--name", metavar="NAME", help="the name in the certificate, if it is not HOST (Icinga's: the node's name)")
    parser.add_argument("--filter", metavar="EXPR", help='only hosts of this Icinga 2 filter, such as host.vars.os == "Linux"')
    parser.add_argument("--services", metavar="EXPR", default=hosts.SERVICES,
                        help="which services are the two checks (default: those named so, by name, command or output)")
    parser.add_argument("--by", type=checked(keys), default=[], metavar="KEYS",
                        help="compare by these attributes only, such as kernel,role,os.release (default: all with few different values)")
    parser.add_argument("--kernel-var", metavar="KEY",
                        help="the host variable that holds the kernel's release (default: what the check says)")
    parser.add_argument("--silent", type=checked(intervals), default=3, metavar="N",
                        help="a result older than N check intervals is too old to judge (default: 3)")
    parser.add_argument("--history", metavar="FILE", help="remember this run, and use earlier ones: slow growth, and since when")
    parser.add_argument("--top", type=checked(number), default=10, metavar="N", help="how many of those that run out first (default: 10)")
    parser.add_argument("--all", action="store_true", help="a table of every attribute, and what was not compared")
    parser.add_argument("--json", action="store_true", help="the same as JSON, with a version (docs/fleet.md)")
    parser.add_argument("-o", "--output", metavar="FILE", help="a picture of it: .png, .svg or .pdf (needs matplotlib)")


def run(args: argparse.Namespace) -> int:
    try:
        return _run(args)
    except Trouble as trouble:
        raise Failure(str(trouble)) from None


def _run(args: argparse.Namespace) -> int:
    draw = None
    if args.output:
        from memtriage.fleet import figure  # noqa: PLC0415 - matplotlib, only where a picture is wanted

        draw = figure.drawer(args.output)  # before the question: a missing library must not cost the answer
    at = api.where(args.api, args.name)
    who = credentials.read(args.credentials)
    asked = frozenset([*args.by, *([args.kernel_var] if args.kernel_var else [])])
    fleet = hosts.Fleet(time.time(), args.silent, asked)
    with api.Api(at, args.ca, who) as server:
        fleet.add_hosts(server.objects("hosts", hosts.HOST_ATTRS, args.filter))
        wanted = f"({args.services}) && ({args.filter})" if args.filter else args.services
        fleet.add_services(server.objects("services", hosts.SERVICE_ATTRS, wanted))
    started = None
    if args.history:
        before = past.read(args.history, fleet.now)
        past.write(args.history, past.follow(before, fleet))
        started = before.started
    found = summary.summarise(fleet, args.api, args.by, args.kernel_var, started)
    if args.json:
        json.dump(schema.tree(found), sys.stdout, indent=1)
        sys.stdout.write("\n")
    else:
        for row in screen.lines(found, args.top, args.all):
            sys.stdout.write(line(row) + "\n")
    if draw:
        draw(found)
    return 0
