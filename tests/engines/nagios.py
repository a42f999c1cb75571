"""A real Nagios 4 in the foreground: no network, all it writes below one folder, each result read from status.dat."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, NamedTuple

from tests.engines import foreground
from tests.engines.foreground import until

PROGRAM = "/usr/sbin/nagios4"
HOST = "box"
MAIN = """\
log_file={folder}/nagios.log
cfg_dir={folder}/objects
object_cache_file={folder}/objects.cache
resource_file={folder}/resource.cfg
status_file={folder}/status.dat
status_update_interval=1
nagios_user={user}
nagios_group={group}
check_external_commands=1
command_file={folder}/rw/nagios.cmd
lock_file={folder}/nagios.pid
temp_file={folder}/nagios.tmp
temp_path={folder}/tmp
query_socket={folder}/rw/nagios.qh
check_result_path={folder}/spool
state_retention_file={folder}/retention.dat
retain_state_information=0
use_syslog=0
check_for_updates=0
event_broker_options=0
service_inter_check_delay_method=n
max_concurrent_checks=0
service_check_timeout=90
execute_host_checks=0
enable_notifications=1
enable_event_handlers=0
enable_flap_detection=0
check_service_freshness=0
check_for_orphaned_services=0
check_for_orphaned_hosts=0
process_performance_data=1
illegal_object_name_chars=`~!$%^&*|'"<>?,()=
illegal_macro_output_chars={illegal}
"""
ILLEGAL = "`~$&|'\"<>"
"""Nagios takes these out of $SERVICEOUTPUT$ and its kin: Debian's own setting."""
BASE = r"""
define timeperiod {{
  timeperiod_name 24x7
  alias           always
  sunday    00:00-24:00
  monday    00:00-24:00
  tuesday   00:00-24:00
  wednesday 00:00-24:00
  thursday  00:00-24:00
  friday    00:00-24:00
  saturday  00:00-24:00
}}
define host {{
  host_name             {host}
{more}  address               127.0.0.1
  check_period          24x7
  max_check_attempts    1
  active_checks_enabled 0
  notifications_enabled 0
  contacts              admin
  notification_period   24x7
}}
define command {{
  command_name notify-host
  command_line /bin/true
}}
define command {{
  command_name notify-service
  command_line /usr/bin/printf "%b" "{mail}" > "{folder}/mail/$SERVICEDESC$"
}}
define contact {{
  contact_name                  admin
  host_notification_period      24x7
  service_notification_period   24x7
  host_notification_options     n
  service_notification_options  w,u,c
  host_notification_commands    notify-host
  service_notification_commands notify-service
}}
define service {{
  name                   tested
  register               0
  host_name              {host}
  check_period           24x7
  check_interval         1440
  retry_interval         1440
  max_check_attempts     1
  contacts               admin
  notification_period    24x7
  notification_interval  0
}}
"""


MAIL = r"State: $SERVICESTATE$\n\n$SERVICEOUTPUT$\n$LONGSERVICEOUTPUT$\n"


class Result(NamedTuple):
    state: int
    text: str
    perfdata: str
    long: str


def escaped(command: str) -> str:
    """A command line as it must stand in an object file, where ``;`` begins a comment and ``$`` a macro."""
    return command.replace("$", "$$").replace(";", "\\;")


def service(name: str, command: str, more: str = "") -> str:
    """A service with ``more`` directives, and a command of its own with the line as given, which a shell reads."""
    return (f"define command {{\n  command_name run_{name}\n  command_line {escaped(command)}\n}}\n"
            f"define service {{\n  use tested\n  service_description {name}\n  check_command run_{name}\n{more}}}\n")


def unescape(text: str) -> str:
    """status.dat writes a newline as backslash n and a backslash as two."""
    return text.replace("\\\\", "\0").replace("\\n", "\n").replace("\0", "\\")


def status(path: Path) -> dict[str, dict[str, str]]:
    """Every service's fields in status.dat."""
    found: dict[str, dict[str, str]] = {}
    block: dict[str, str] = {}
    with open(path, encoding="utf-8", newline="\n") as lines:
        for line in lines:
            if line.endswith(" {\n"):
                block = {}
            elif line == "\t}\n" and "service_description" in block:
                found[block["service_description"]] = block
            elif "=" in line:
                key, _, value = line.strip("\n").lstrip("\t").partition("=")
                block[key] = value
    return found


class Nagios:
    def __init__(self, folder: Path, names: Iterable[str], server: foreground.Server) -> None:
        self.folder = folder
        self.names = set(names)
        self.server = server

    def results(self, names: Iterable[str] = (), since: float = 0, seconds: float = foreground.SLOW) -> dict[str, Result]:
        """The results of ``names`` (default: all), each of a check that began after ``since``."""
        wanted = set(names) or self.names

        def all_there() -> dict[str, dict[str, str]] | None:
            try:
                found = status(self.folder / "status.dat")
            except OSError:
                return None
            ready = {name: fields for name, fields in found.items() if fields["has_been_checked"] == "1"
                     and float(fields["last_check"]) >= int(since)}
            return ready if wanted <= set(ready) else None

        found = until("Nagios's results", all_there, seconds, self.server.trouble)
        return {name: Result(int(fields["current_state"]), fields["plugin_output"], fields["performance_data"],
                             unescape(fields["long_plugin_output"])) for name, fields in found.items() if name in wanted}

    def ask(self, names: Iterable[str]) -> None:
        """Has them asked now, if what they depend on lets them."""
        with open(self.folder / "rw" / "nagios.cmd", "w", encoding="ascii") as pipe:
            for name in names:
                pipe.write(f"[{int(time.time())}] SCHEDULE_SVC_CHECK;{HOST};{name};{int(time.time())}\n")

    def again(self, names: Iterable[str]) -> dict[str, Result]:
        """Orders new checks and gives their results."""
        names = list(names)
        last = max(float(fields["last_check"]) for fields in status(self.folder / "status.dat").values())
        now = max(time.time(), last + 1)
        time.sleep(max(0.0, now - time.time()))
        with open(self.folder / "rw" / "nagios.cmd", "w", encoding="ascii") as pipe:
            for name in names:
                pipe.write(f"[{int(now)}] SCHEDULE_FORCED_SVC_CHECK;{HOST};{name};{int(now)}\n")
        return self.results(names, now)

    def mail(self, name: str) -> str:
        """The notification sent for a service."""
        path = self.folder / "mail" / name
        return until(f"the notification of {name}", lambda: path.read_text() if path.exists() and path.stat().st_size else None)


@contextmanager
def nagios(folder: Path, define: Callable[[Path], None], host: str = "") -> Iterator[Nagios]:
    """Nagios with the object files that ``define`` puts into a folder: services of the host ``box`` made from the template ``tested``.

    ``host`` are more lines of the host's own definition.
    """
    foreground.programs(PROGRAM)
    who = foreground.account()
    for name in ("objects", "rw", "spool", "tmp", "mail"):
        (folder / name).mkdir()
    (folder / "resource.cfg").write_text("")
    user, group = (who.pw_name, who.pw_gid) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    (folder / "nagios.cfg").write_text(MAIN.format(folder=folder, user=user, group=group, illegal=ILLEGAL))
    define(folder / "objects")
    files = "".join(path.read_text() for path in (folder / "objects").iterdir())
    names = re.findall(r"^\s*service_description\s+(\S.*)$", files, re.MULTILINE)
    (folder / "objects" / "base.cfg").write_text(BASE.format(folder=folder, host=HOST, more=host, mail=MAIL))
    foreground.own(folder)
    foreground.done([PROGRAM, "-v", folder / "nagios.cfg"])
    with foreground.running([PROGRAM, folder / "nagios.cfg"], folder / "output", {"PATH": "/usr/bin:/bin"}) as server:
        yield Nagios(folder, names, server)
