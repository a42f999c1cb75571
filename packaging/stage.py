#!/usr/bin/python3
"""Lays out what a distribution's package holds, below --root: both packages are made by this one script.

Run in the root of a source tree of which a copy is enough: setuptools leaves its build folder there. Needs what packaging/debian/control
names in Build-Depends. The time stamps in what is made are SOURCE_DATE_EPOCH.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
EPOCH = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))


class Layout(NamedTuple):
    """Where a distribution wants what."""

    library: str
    plugins: str
    zsh: str
    nrpe: str
    nagios: str
    icinga: str
    installer: str
    users: tuple[str, ...]
    """Whom the distribution's engines run as."""


LAYOUTS = {
    "debian": Layout("/usr/lib/python3/dist-packages", "/usr/lib/nagios/plugins", "/usr/share/zsh/vendor-completions", "/etc/nagios/nrpe.d",
                     "/etc/nagios-plugins/config", "/usr/share/icinga2/include/plugins-contrib.d", "dpkg", ("nagios",)),
    "el": Layout("/usr/lib/python3.9/site-packages", "/usr/lib64/nagios/plugins", "/usr/share/zsh/site-functions", "/etc/nrpe.d",
                 "/etc/nagios/conf.d", "/usr/share/icinga2/include/plugins-contrib.d", "rpm", ("nagios", "nrpe", "icinga")),
}
COMMAND = """\
#!/usr/bin/python3 -s
import sys

from memtriage.cli import main

if __name__ == "__main__":
    sys.exit(main())
"""


class Stage:
    """The tree below ``root``."""

    def __init__(self, root: Path, layout: Layout) -> None:
        self.root = root
        self.layout = layout

    def write(self, path: str, content: str | bytes, mode: int = 0o644) -> None:
        """Makes one file; ``path`` is absolute in the package."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        file.chmod(mode)

    def library(self) -> None:
        """The wheel, unpacked. Its record of files is left out, so that pip leaves alone what another program installed."""
        from setuptools import build_meta  # noqa: PLC0415  # only where a package is built

        with tempfile.TemporaryDirectory() as folder:
            wheel = zipfile.ZipFile(Path(folder, build_meta.build_wheel(folder)))
            for name in wheel.namelist():
                top = name.split("/")[0]
                if top.endswith(".data") or name.endswith((".dist-info/RECORD", ".dist-info/LICENSE", ".dist-info/top_level.txt")):
                    continue
                if top.endswith(".dist-info"):
                    self.write(f"{self.layout.library}/{top}/INSTALLER", self.layout.installer + "\n")
                self.write(f"{self.layout.library}/{name}", wheel.read(name))

    def commands(self) -> list[str]:
        """The checks into the plugin folder, each a file of its own so that none has to follow a link; and the command."""
        checks = sorted(path.name for path in Path("bin").glob("check_*"))
        text = Path("bin", checks[0]).read_text()
        # The distribution's Python has the library and no other: PATH, PYTHONPATH and a user's own packages have no say.
        start, end = text.index("# The Python beside this file"), text.index('command -v "$python"')
        text = text[:start] + "python=/usr/bin/python3\n" + text[end:].replace('exec "$python"', 'exec "$python" -I', 1)
        for name in checks:
            self.write(f"{self.layout.plugins}/{name}", text, 0o755)
        self.write("/usr/bin/memtriage", COMMAND, 0o755)
        return checks

    def pages(self, checks: list[str]) -> None:
        """Manual pages and completions, from the library as it has just been staged."""
        sys.dont_write_bytecode = True
        sys.path.insert(0, str(self.root / self.layout.library.lstrip("/")))
        os.environ["COLUMNS"] = "80"
        for name in ("MEMTRIAGE_RECORDING", "MEMTRIAGE_STATE_DIR"):
            os.environ.pop(name, None)
        pages, parsers = importlib.import_module("pages"), importlib.import_module("parsers")
        memtriage, cli = importlib.import_module("memtriage"), importlib.import_module("memtriage.cli")
        check = {name: parsers.check(name) for name in checks}
        command = {"memtriage": parsers.front(), **{f"memtriage-{name}": parsers.subcommand(name) for name in cli.COMMANDS}}
        for name, text in pages.pages(check, command, memtriage.__version__, EPOCH).items():
            self.write(f"/usr/share/man/man1/{name}", text)
        for name, parser in {**check, "memtriage": parsers.command()}.items():
            self.write(f"/usr/share/bash-completion/completions/{name}", pages.completion(parser, "bash"))
            self.write(f"{self.layout.zsh}/_{name}", pages.completion(parser, "zsh"))

    def definitions(self) -> None:
        """What ``memtriage config`` makes: commands where the engines look for them, rules for which hosts as examples."""
        layout = self.layout
        examples = "/usr/share/doc/memtriage/examples"
        self.write(f"{layout.nrpe}/memtriage.cfg", config("nrpe", "--plugin-dir", layout.plugins)["memtriage-nrpe.cfg"])
        commands: list[str] = []
        services: list[str] = []
        for part in config("nagios")["memtriage-nagios.cfg"].split("\n\n"):
            (commands if part.startswith("# Made by") or "define command " in part else services).append(part.strip())
        self.write(f"{layout.nagios}/memtriage.cfg", "\n\n".join(commands) + "\n")
        self.write(f"{examples}/memtriage-services.cfg", "\n\n".join(services) + "\n")
        icinga = config("icinga2")
        self.write(f"{layout.icinga}/memtriage.conf", icinga["memtriage-commands.conf"])
        self.write(f"{examples}/memtriage-services.conf", icinga["memtriage-services.conf"])
        # Only behind sudo the path is a fixed one, there that of the rule below; elsewhere it is the engine's own constant.
        basket = config("director")["memtriage-basket.json"].replace("sudo -n /usr/lib/nagios/plugins/", f"sudo -n {layout.plugins}/")
        self.write(f"{examples}/memtriage-basket.json", basket)
        for target in ("grafana-influxdb", "grafana-graphite", "icingaweb2-graphite"):
            for name, text in config(target).items():
                self.write(f"{examples}/{name}", text)
        rule, who = config("sudoers", "--plugin-dir", layout.plugins)["memtriage-sudoers"], "nagios ALL=(root)"
        assert rule.count(who) == 1, rule
        self.write("/etc/sudoers.d/memtriage", rule.replace(who, f"{', '.join(layout.users)} ALL=(root)"), 0o440)
        self.write("/usr/lib/tmpfiles.d/memtriage.conf", config("tmpfiles")["memtriage-tmpfiles.conf"])
        unit = config("systemd", "--prefix", "/usr")["memtriage-record.service"]
        # Its first line says where to copy it to, and here it is in its place, with its page beside it.
        unit = unit.partition("\n")[2].replace("\nAfter=", "\nDocumentation=man:memtriage-record(1)\nAfter=", 1)
        self.write("/usr/lib/systemd/system/memtriage-record.service", "# The flight recorder of memtriage:\n" + unit)


def config(target: str, *options: str) -> dict[str, str]:
    """The files of ``memtriage config TARGET`` by name."""
    cli = importlib.import_module("memtriage.cli")
    with tempfile.TemporaryDirectory() as folder:
        if cli.main(["config", target, *options, "--output", folder]):
            raise SystemExit(1)
        return {path.name: path.read_text() for path in Path(folder).iterdir()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="the folder that stands for /")
    parser.add_argument("--layout", choices=LAYOUTS, required=True)
    parser.add_argument("--library", help="Python's folder for packages, where it is not the layout's")
    args = parser.parse_args()
    layout = LAYOUTS[args.layout]
    stage = Stage(args.root, layout._replace(library=args.library or layout.library))
    stage.library()
    stage.pages(stage.commands())
    stage.definitions()


if __name__ == "__main__":
    main()
