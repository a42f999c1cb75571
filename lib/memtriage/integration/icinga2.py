"""Icinga 2: a CheckCommand for each check in the manner of the template library, and rules that apply services to hosts."""

from __future__ import annotations

from memtriage.integration.table import FRESH_S, PACES, STALE, Check, Line, Wanted, described, made_by, span, variables
from memtriage.options import Option

TIMEOUT = "30s"
AGENT = "memory agent"
"""The service that says whether an agent is there."""


def string(text: str) -> str:
    """A string literal."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t") + '"'


def value(text: str) -> str:
    """A literal whose text must arrive as it is: macros are looked for in the values of variables too."""
    return string(text.replace("$", "$$"))


def command_name(check: Check) -> str:
    return "memtriage-" + check.short.replace("_", "-")


def program(check: Check, wanted: Wanted) -> str:
    path = string(wanted.path(check)) if wanted.plugin_dir else f'PluginDir + "/{check.name}"'
    return '"/usr/bin/sudo", "-n", ' + path if check.name in wanted.sudo else path


def _argument(check: Check, option: Option) -> str:
    key = "value" if option.metavar else "set_if"
    return (f"    {string(option.flags[-1])} = {{\n"
            f"      {key} = {string('$' + check.variable(option) + '$')}\n"
            f"      description = {string(described(option))}\n"
            "    }\n")


def check_command(check: Check, wanted: Wanted) -> str:
    arguments = "".join(_argument(check, option) for option in check.arguments)
    sudo = ("// Run by sudo, which allows the lines that memtriage config sudoers prints: what changed variables make of it\n"
            "// needs a line of its own there (--add).\n")
    return (f"// {check.about}\n" + (sudo if check.name in wanted.sudo else "")
            + f"object CheckCommand {string(command_name(check))} {{\n"
            f"  command = [ {program(check, wanted)} ]\n"
            f"  timeout = {TIMEOUT}\n\n"
            "  arguments = {\n" + arguments + "  }\n}\n")


def service_name(line: Line) -> str:
    return PACES[line.check.name].service if line.name == line.check.name else line.name.replace("check_", "", 1)


TWICE = """\
  // By an agent twice: after the first look the agent itself is looked at, which may be gone. What a host sends by itself is told at once.
  if (host.vars.agent_endpoint && !host.vars.memtriage_passive) { max_check_attempts = 2 }"""
SENT = """\
  // Longer than the minute in which a host sends it all, so that an agent is asked only where that fails.
  if (host.vars.agent_endpoint && host.vars.memtriage_passive) { check_interval = 90s }"""


def _apply(line: Line) -> str:
    pace = PACES[line.check.name]
    rows = [f"  vars.{name} = {value(text) if isinstance(text, str) else 'true'}" for name, text in variables(line).items()]
    return "\n".join([
        f"// {line.check.about}", f"// {pace.why[:1].upper() + pace.why[1:]}.",
        f"apply Service {string(service_name(line))} {{", '  import "memtriage-service"', "",
        f"  check_command = {string(command_name(line.check))}", f"  check_interval = {span(pace.every)}",
        f"  retry_interval = {span(pace.retry)}", f"  max_check_attempts = {pace.attempts}",
        *([TWICE] if pace.attempts == 1 else []), *([SENT] if pace.every == 60 else []), *rows, "",
        '  assign where host.vars.os == "Linux" && (host.vars.agent_endpoint || host.name == NodeName)',
        "  ignore where host.vars.memtriage == false", "}", ""])


def _processes(check: Check) -> str:
    pace = PACES[check.name]
    return f"""// One service for each entry of the host's own list, such as:
//   vars.memtriage_processes["httpd"] = {{
//     {check.short}_command = "httpd"
//     {check.short}_warning = "1:150"
//     {check.short}_max_workers = "250"
//   }}
apply Service "processes " for (name => config in host.vars.memtriage_processes) {{
  import "memtriage-service"

  check_command = {string(command_name(check))}
  check_interval = {span(pace.every)}
  retry_interval = {span(pace.retry)}
  max_check_attempts = {pace.attempts}
  vars += config

  assign where host.vars.agent_endpoint || host.name == NodeName
  ignore where host.vars.memtriage == false
}}
"""


TEMPLATE = """\
// The checks look at the host they run on: a host with an agent has them run there (vars.agent_endpoint); without one they are applied to
// this very node alone.
template Service "memtriage-service" {
  command_endpoint = host.vars.agent_endpoint
  enable_perfdata = true
}
"""

HEALTH = """\
// One message instead of one for each service where an agent is gone: CRITICAL, and what it should be asked waits until it is back. WARNING
// where the host sends results by itself (memtriage record --passive): Icinga 2 takes none for a service that waits, so none waits there.
// That it sends is said by vars.memtriage_passive, else known by results of the last minutes. vars.memtriage_agent = false: none of this.
apply Service %(agent)s {
  check_command = "dummy"
  check_interval = 30s
  retry_interval = 10s
  max_check_attempts = 4
  vars.dummy_state = {{
    var agent = get_object(Endpoint, host.vars.agent_endpoint)
    if (agent.connected || host.vars.agent_endpoint == NodeName) { return 0 }
    if (host.vars.memtriage_passive) { return 1 }
    for (name in %(names)s) {
      var one = get_service(host.name, name)
      if (one && one.last_check_result) {
        var last = one.last_check_result
        if (!last.active && last.execution_end > get_time() - %(fresh)d) { return 1 }
      }
    }
    return 2
  }}
  vars.dummy_text = {{
    var said = [ "connected", "not connected: the host sends results by itself", "not connected: its checks wait until it is" ]
    return "agent '" + host.vars.agent_endpoint + "' is " + said[number(macro("$dummy_state$"))]
  }}

  assign where host.vars.os == "Linux" && host.vars.agent_endpoint
  ignore where host.vars.memtriage == false || host.vars.memtriage_agent == false
}

apply Dependency "memtriage-agent" to Service {
  parent_service_name = %(agent)s
  states = [ OK, Warning, Unknown ]
  ignore_soft_states = false
  disable_checks = true
  disable_notifications = false

  assign where match("memtriage-*", service.check_command) && host.vars.os == "Linux" && host.vars.agent_endpoint
  ignore where host.vars.memtriage == false || host.vars.memtriage_agent == false
}
"""


def _health(wanted: Wanted) -> str:
    names = ", ".join(string(service_name(line)) for line in wanted.remote())
    return HEALTH % {"agent": string(AGENT), "names": f"[ {names} ]" if names else "[]", "fresh": FRESH_S}


NOTIFICATION = f"""\
// The culprit stands in the first line of the output, which the mail of the sample configuration holds. Command and group of users are
// that configuration's too.
apply Notification "memtriage-mail" to Service {{
  command = "mail-service-notification"
  user_groups = [ "icingaadmins" ]
  states = [ Warning, Critical, Unknown, OK ]
  types = [ Problem, Recovery, Acknowledgement, DowntimeStart, DowntimeEnd, DowntimeRemoved ]
  interval = 4h

  assign where match("memtriage-*", service.check_command) || service.name == {string(AGENT)}
}}
"""


PASSIVE = f"""\
// Results that memtriage record --passive icinga2 sends by itself. It may do that and nothing else, and for these services alone. For one
// host alone add: && host.name == "..."; a user for each host is safer than one for all.
// The password is a constant of yours, for constants.conf: const MemtriagePassword = "..."
object ApiUser "memtriage" {{
  password = MemtriagePassword
  permissions = [ {{
    permission = "actions/process-check-result"
    filter = {{{{ service && match("memtriage-*", service.check_command) }}}}
  }} ]
}}

// What is said where a host that only sends falls silent. Runs nothing.
object CheckCommand "memtriage-stale" {{
  import "dummy-check-command"

  vars.dummy_state = 3
  vars.dummy_text = {string("UNKNOWN - " + STALE % (FRESH_S // 60))}
}}

// Hosts with vars.memtriage_passive and no agent have passive results alone. Where the checks run too, these services exist already, and
// take both.
template Service "memtriage-passive-service" {{
  check_command = "memtriage-stale"
  enable_active_checks = true // only when no result came for so long:
  check_interval = {span(FRESH_S)}
  retry_interval = {span(FRESH_S)}
  max_check_attempts = 1
  enable_perfdata = true
}}
"""


def _passive(line: Line) -> str:
    return "\n".join([
        f"// {line.check.about}", f"apply Service {string(service_name(line))} {{", '  import "memtriage-passive-service"', "",
        "  assign where host.vars.memtriage_passive && !host.vars.agent_endpoint && host.name != NodeName",
        "  ignore where host.vars.memtriage == false", "}", ""])


def render(wanted: Wanted) -> dict[str, str]:
    """``memtriage-commands.conf`` for a global zone, since agents need it too, and ``memtriage-services.conf`` for the master."""
    commands = [made_by("icinga2", "//") + "// Agents need these too: put them into a global zone such as global-templates.\n",
                *(check_command(check, wanted) for check in wanted.checks)]
    services = [made_by("icinga2", "//") + "// Rules for the master.\n", TEMPLATE, *(_apply(line) for line in wanted.remote()),
                *(_processes(check) for check in wanted.checks if check.name == "check_proc_count"), _health(wanted)]
    files = {"memtriage-commands.conf": "\n".join(commands), "memtriage-services.conf": "\n".join(services)}
    if wanted.passive:
        files["memtriage-passive.conf"] = "\n".join([made_by("icinga2", "//"), PASSIVE, *(_passive(line) for line in wanted.remote())])
    if wanted.notifications:
        files["memtriage-notifications.conf"] = made_by("icinga2", "//") + "\n" + NOTIFICATION
    return files
