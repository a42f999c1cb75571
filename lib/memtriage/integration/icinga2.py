"""Icinga 2: a CheckCommand for each check in the manner of the template library, and rules that apply services to hosts."""

from __future__ import annotations

from memtriage.integration.table import FRESH_S, PACES, STALE, Check, Line, Wanted, described, made_by, span, variables
from memtriage.options import Option

TIMEOUT = "30s"


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


def _apply(line: Line) -> str:
    pace = PACES[line.check.name]
    rows = [f"  vars.{name} = {value(text) if isinstance(text, str) else 'true'}" for name, text in variables(line).items()]
    return "\n".join([
        f"// {line.check.about}", f"// {pace.why[:1].upper() + pace.why[1:]}.",
        f"apply Service {string(service_name(line))} {{", '  import "memtriage-service"', "",
        f"  check_command = {string(command_name(line.check))}", f"  check_interval = {span(pace.every)}",
        f"  retry_interval = {span(pace.retry)}", f"  max_check_attempts = {pace.attempts}", *rows, "",
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

NOTIFICATION = """\
// The culprit stands in the first line of the output, which the mail of the sample configuration holds. Command and group of users are
// that configuration's too.
apply Notification "memtriage-mail" to Service {
  command = "mail-service-notification"
  user_groups = [ "icingaadmins" ]
  states = [ Warning, Critical, Unknown, OK ]
  types = [ Problem, Recovery, Acknowledgement, DowntimeStart, DowntimeEnd, DowntimeRemoved ]
  interval = 4h

  assign where match("memtriage-*", service.check_command)
}
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
                *(_processes(check) for check in wanted.checks if check.name == "check_proc_count")]
    files = {"memtriage-commands.conf": "\n".join(commands), "memtriage-services.conf": "\n".join(services)}
    if wanted.passive:
        files["memtriage-passive.conf"] = "\n".join([made_by("icinga2", "//"), PASSIVE, *(_passive(line) for line in wanted.remote())])
    if wanted.notifications:
        files["memtriage-notifications.conf"] = made_by("icinga2", "//") + "\n" + NOTIFICATION
    return files
