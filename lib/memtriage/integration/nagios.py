"""Nagios 4: commands, services for a host group (through NRPE) or for one host, and what depends on what."""

from __future__ import annotations

import shlex

from memtriage.integration.table import FRESH_S, PACES, STALE, Line, Wanted, made_by

GROUP = "memtriage"


def quoted(words: list[str]) -> str:
    """A command line for the shell, in an object definition: ``;`` would begin a comment, ``$`` a macro."""
    return " ".join(shlex.quote(word) for word in words).replace("$", "$$").replace(";", "\\;")


def define(kind: str, **directives: object) -> str:
    rows = [f"    {name:<30} {value}" for name, value in directives.items() if value is not None]
    return "\n".join([f"define {kind} {{", *rows, "}"])


def service_name(line: Line) -> str:
    return PACES[line.check.name].service if line.name == line.check.name else line.name.replace("check_", "", 1)


def command_name(line: Line) -> str:
    return "memtriage_" + line.name.replace("check_", "", 1)


def minutes(seconds: int) -> str:
    """Nagios counts in units of interval_length, a minute unless changed."""
    return f"{seconds / 60:g}"


def _service(line: Line, wanted: Wanted) -> str:
    pace = PACES[line.check.name]
    asked = f"memtriage_nrpe!{line.name}" if wanted.local is None else command_name(line)
    # Only a state that is still soft has Nagios look at what the service depends on before anybody is told.
    attempts = pace.attempts if wanted.local is not None else max(2, pace.attempts)
    more = "" if attempts == pace.attempts else "# Two looks all the same: after the first Nagios asks NRPE itself, which may be gone.\n"
    return f"# {line.check.about}\n# {pace.why[:1].upper() + pace.why[1:]}.\n{more}" + define(
        "service", use=wanted.template, **_where(wanted), service_description=service_name(line), check_command=asked,
        check_interval=minutes(pace.every), retry_interval=minutes(pace.retry), max_check_attempts=attempts, process_perf_data=1,
        passive_checks_enabled=1 if wanted.passive else None)


def _passive(wanted: Wanted) -> list[str]:
    """Services of hosts that only send, each with a clock: Nagios asks ``memtriage_stale`` once no result came for so long."""
    said = quoted(["/bin/sh", "-c", f'echo "UNKNOWN - {STALE % (FRESH_S // 60)}"; exit 3'])
    return [
        "# Hosts in this group only send results (memtriage record --passive). check_service_freshness=1 is needed, and Nagios' default.\n"
        "# It needs a member too.\n"
        + define("hostgroup", hostgroup_name=GROUP + "-passive", alias="Hosts that send results about their memory"),
        define("command", command_name="memtriage_stale", command_line=said),
        *(f"# {line.check.about}\n" + define(
            "service", use=wanted.template, hostgroup_name=GROUP + "-passive", service_description=service_name(line),
            check_command="memtriage_stale", active_checks_enabled=0, passive_checks_enabled=1, check_freshness=1,
            freshness_threshold=FRESH_S, max_check_attempts=1, check_interval=minutes(FRESH_S), retry_interval=minutes(FRESH_S),
            process_perf_data=1) for line in wanted.remote())]


def _where(wanted: Wanted) -> dict[str, object]:
    return {"hostgroup_name": GROUP} if wanted.local is None else {"host_name": wanted.local}


def render(wanted: Wanted) -> dict[str, str]:
    """``memtriage-nagios.cfg``."""
    text = [made_by("nagios", "#")]
    folder = wanted.plugin_dir or "$USER1$"
    for line in wanted.lines:
        sudo = "/usr/bin/sudo -n " if line.check.name in wanted.sudo else ""
        options = " " + quoted(list(line.words)) if line.words else ""
        text.append(define("command", command_name=command_name(line), command_line=f"{sudo}{folder}/{line.check.name}{options}"))
    services = [_service(line, wanted) for line in wanted.remote()]
    dependent = [",".join(service_name(line) for line in wanted.remote())] if services else []
    passive = _passive(wanted) if wanted.passive else []
    if wanted.local is not None:
        return {"memtriage-nagios.cfg": "\n\n".join([*text, *services, *passive]) + "\n"}
    client = f"{folder}/check_nrpe -H $HOSTADDRESS$ -t 30"
    text += [
        "# Longer than the checks' own time-out, so that it is the check that says what hangs. -u: without an answer nothing is known\n"
        "# of the memory, which is UNKNOWN; it is the service NRPE that is CRITICAL then.\n"
        + define("command", command_name="memtriage_nrpe", command_line=f"{client} -u -c $ARG1$"),
        "# Says the daemon's version.\n" + define("command", command_name="memtriage_nrpe_alive", command_line=client),
        "# A host is watched when its definition says: hostgroups +memtriage. Nagios refuses an empty group unless\n"
        "# allow_empty_hostgroup_assignment=1.\n" + define("hostgroup", hostgroup_name=GROUP, alias="Hosts whose memory is watched"),
        *services,
        "# One message instead of one for each service where the daemon itself is gone.\n" + define(
            "service", use=wanted.template, hostgroup_name=GROUP, service_description="NRPE", check_command="memtriage_nrpe_alive",
            check_interval="1", retry_interval=minutes(5), max_check_attempts=3),
        *(define("servicedependency", hostgroup_name=GROUP, service_description="NRPE", dependent_service_description=names,
                 execution_failure_criteria="w,u,c", notification_failure_criteria="w,u,c") for names in dependent),
        *passive,
    ]
    return {"memtriage-nagios.cfg": "\n\n".join(text) + "\n"}
