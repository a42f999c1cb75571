"""Monitoring engines of the distribution on definitions that ``memtriage config`` made: in the foreground, in a folder of the test."""

from __future__ import annotations

import io
import json
import os
import pwd
import re
import shutil
import subprocess
import time
from contextlib import AbstractContextManager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from memtriage import cli
from tests.conftest import ROOT
from tests.engines import foreground, icinga2

SYSTEM = {"PATH": foreground.PATH}


def config(*words: str, code: int = 0) -> str:
    """What ``memtriage config`` prints; where ``code`` is another than 0, what it complains of."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            left = cli.main(["config", *words])
        except SystemExit as usage:
            left = int(usage.code or 0)
    assert left == code, (left, err.getvalue())
    return err.getvalue() if code else out.getvalue()


def program(name: str, package: str) -> str:
    found = shutil.which(name, path=SYSTEM["PATH"])
    if found is None:
        pytest.skip(f"needs {name}: apt-get install {package}")
    return found


def daemon_user() -> pwd.struct_passwd:
    """Whom the engines run as: their own user, where the test is root."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    for name in ("nagios", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise AssertionError("no user nobody")


def own(folder: Path) -> None:
    if os.geteuid() == 0:
        who = daemon_user()
        for path in (folder, *folder.rglob("*")):
            os.chown(path, who.pw_uid, who.pw_gid)


def dumpers(folder: Path) -> Path:
    """A plugin folder in which each check only writes down its arguments. Returns the folder of what they wrote."""
    seen = folder / "seen"
    seen.mkdir()
    seen.chmod(0o1777)
    (folder / "plugins").mkdir()
    for check in (ROOT / "checks").glob("check_*.py"):
        path = folder / "plugins" / check.stem
        path.write_text(f"#!/bin/sh\nread id </proc/sys/kernel/random/uuid\nprintf '%s\\0' \"${{0##*/}}\" \"$@\" >{seen}/new.$id\n"
                        f"mv {seen}/new.$id {seen}/$id\necho 'DUMP OK - written down | x=1'\n")
        path.chmod(0o755)
    return seen


def arguments(seen: Path) -> set[tuple[str, ...]]:
    """Every command line the dumpers were run with."""
    return {tuple(path.read_bytes().decode().split("\0")[:-1]) for path in seen.iterdir() if not path.name.startswith("new.")}


def wait_for(seen: Path, wanted: set[tuple[str, ...]], seconds: float) -> set[tuple[str, ...]]:
    end = time.monotonic() + seconds
    while time.monotonic() < end and not wanted <= arguments(seen):
        time.sleep(0.1)
    return arguments(seen)


def running(*line: str, env: dict[str, str] | None = None, log: Path) -> AbstractContextManager[foreground.Server]:
    return foreground.running(line, log, env)


class Icinga:
    """Icinga 2 in one folder; ``more`` is configuration beside what stands in ``definitions``."""

    def __init__(self, folder: Path, definitions: Path, more: str = "") -> None:
        self.program = program("icinga2", "icinga2-bin icinga2-common")
        self.folder = folder
        paths = icinga2.laid_out(folder)
        (folder / "icinga2.conf").write_text(
            'const NodeName = "hub"\nconst ZoneName = NodeName\n'
            'const PluginDir = "/usr/lib/nagios/plugins"\ninclude <itl>\ninclude <plugins>\n'
            "object Endpoint NodeName { }\nobject Zone ZoneName { endpoints = [ NodeName ] }\n"
            f'include "{definitions}/*.conf"\n{more}\n')
        self.env = icinga2.environment()
        self.line = [self.program, "daemon", "-c", str(folder / "icinga2.conf"), *paths]
        own(folder)

    def keys(self) -> None:
        """Makes what its API needs: an authority, and a certificate for itself."""
        icinga2.certify(self.folder, "hub")

    def validate(self, *unused: str) -> str:
        """``icinga2 daemon -C``, which must find nothing to say but that it is done, and that rules of these names match nothing."""
        done = subprocess.run([*self.line, "-C"], capture_output=True, text=True, timeout=120, check=False,
                              env={**SYSTEM, **self.env})
        text = done.stdout + done.stderr
        warned = re.findall(r"warning/(?:ApplyRule: Apply rule '([^']*)' .* does not match anywhere!$)?", text, re.MULTILINE)
        assert done.returncode == 0 and "critical/" not in text and sorted(warned) == sorted(unused), text
        return text

    def objects(self, kind: str) -> dict[str, dict[str, Any]]:
        """Properties of all objects of one kind, as the engine understood them."""
        data = (self.folder / "cache" / "icinga2.debug").read_bytes()
        found = {}
        while data:
            length, _, data = data.partition(b":")
            item = json.loads(data[: int(length)])
            data = data[int(length) + 1 :].lstrip()
            if item["type"] == kind:
                host = item["properties"].get("host_name")
                name = item["name"] if not host or item["name"].startswith(host + "!") else f"{host}!{item['name']}"
                found[name if kind not in ("Notification", "Dependency") else str(len(found))] = item["properties"]
        return found


NAGIOS = """\
log_file={folder}/nagios.log
cfg_dir={folder}/objects
object_cache_file={folder}/objects.cache
resource_file={folder}/resource.cfg
status_file={folder}/status.dat
status_update_interval=1
nagios_user={user}
nagios_group={group}
check_external_commands=0
lock_file={folder}/nagios.pid
temp_file={folder}/nagios.tmp
temp_path={folder}/tmp
query_socket={folder}/nagios.qh
check_result_path={folder}/spool
retain_state_information=0
use_syslog=0
check_for_updates=0
event_broker_options=0
interval_length=1
execute_host_checks=0
enable_notifications=0
service_inter_check_delay_method=n
illegal_object_name_chars=`~!$%^&*|'"<>?,()=
illegal_macro_output_chars=`~$&|'"<>
"""
BASE = """\
define timeperiod {
  timeperiod_name always
  alias always
  sunday 00:00-24:00
  monday 00:00-24:00
  tuesday 00:00-24:00
  wednesday 00:00-24:00
  thursday 00:00-24:00
  friday 00:00-24:00
  saturday 00:00-24:00
}
define command {
  command_name true
  command_line /bin/true
}
define contact {
  contact_name admin
  host_notification_period always
  service_notification_period always
  host_notification_options n
  service_notification_options n
  host_notification_commands true
  service_notification_commands true
}
define host {
  host_name hub
  address 127.0.0.1
  check_command true
  check_period always
  max_check_attempts 1
  contacts admin
  notification_period always
  HOSTGROUP
}
define service {
  name generic-service
  register 0
  check_period always
  contacts admin
  notification_period always
  notification_interval 0
}
"""


def nagios(folder: Path, definitions: str, plugins: str, hostgroup: bool = True) -> list[str]:
    """Writes a configuration around ``definitions`` and returns the command line that starts Nagios on it."""
    found = program("nagios4", "nagios4-core")
    for name in ("objects", "tmp", "spool"):
        (folder / name).mkdir(parents=True)
    who = daemon_user()
    (folder / "nagios.cfg").write_text(NAGIOS.format(folder=folder, user=who.pw_name, group=who.pw_gid))
    (folder / "resource.cfg").write_text(f"$USER1$={plugins}\n")
    (folder / "objects" / "base.cfg").write_text(BASE.replace("HOSTGROUP", "hostgroups +memtriage" if hostgroup else ""))
    (folder / "objects" / "memtriage.cfg").write_text(definitions)
    own(folder)
    return [found, str(folder / "nagios.cfg")]
