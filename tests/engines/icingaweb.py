"""Icinga Web 2 over Icinga DB: Redis, MariaDB, Icinga DB's daemon and PHP's own web server, all on loopback; and a browser to see it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.engines import foreground
from tests.engines.foreground import done, running, until
from tests.engines.icinga2 import Node
from tests.engines.nrpe import free_port

SCHEMA = "/usr/share/icingadb/schema/mysql/schema.sql"
PUBLIC = "/usr/share/icingaweb2/public"
MODULE = "/usr/share/icingaweb2/modules/icingadb"
WRITER = """\
object IcingaDB "icingadb" {{
  host = "127.0.0.1"
  port = {port}
}}
"""
DAEMON = """\
database:
  type: mysql
  host: {folder}/mysql/sock
  database: icingadb
  user: web
  password: web
redis:
  host: 127.0.0.1
  port: {port}
"""
# Files that exist are served, all else is Icinga Web's; whoever asks is logged in.
ROUTER = """\
<?php
$_SERVER['REMOTE_USER'] = 'admin';
$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
if ($path !== '/' && is_file($_SERVER['DOCUMENT_ROOT'] . $path)) {
    return false;
}
$_SERVER['SCRIPT_NAME'] = '/index.php';
$_SERVER['SCRIPT_FILENAME'] = $_SERVER['DOCUMENT_ROOT'] . '/index.php';
require $_SERVER['SCRIPT_FILENAME'];
"""
WEB = {
    "config.ini": '[global]\nconfig_backend = "none"\nmodule_path = "/usr/share/icingaweb2/modules"\n'
                  '[logging]\nlog = "file"\nlevel = "ERROR"\nfile = "{folder}/web.log"\n',
    "resources.ini": '[icingadb]\ntype = "db"\ndb = "mysql"\nhost = "localhost"\ndbname = "icingadb"\nusername = "web"\n'
                     'password = "web"\ncharset = "utf8mb4"\n',
    "authentication.ini": '[external]\nbackend = "external"\n',
    "roles.ini": '[all]\nusers = "*"\npermissions = "*"\n',
    "modules/icingadb/config.ini": '[icingadb]\nresource = "icingadb"\n',
    "modules/icingadb/redis.ini": '[redis1]\nhost = "127.0.0.1"\nport = "{port}"\n',
}


class Web(NamedTuple):
    """``port`` is the web server's; ``writer`` the object that Icinga 2 needs."""

    port: int
    writer: str


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except OSError:
        return False
    return True


@contextmanager
def web(folder: Path) -> Iterator[Web]:
    """All but Icinga 2 itself."""
    foreground.programs("redis-server", "mariadbd", "mariadb-install-db", "icingadb", "php")
    for needed in (SCHEMA, PUBLIC, MODULE):
        if not Path(needed).exists():
            pytest.skip(f"needs {needed}")
    redis, port = free_port(), free_port()
    for name in ("redis", "mysql/data", "web/modules/icingadb", "web/enabledModules", "sessions"):
        (folder / name).mkdir(parents=True)
    for name, text in WEB.items():
        (folder / "web" / name).write_text(text.format(folder=folder, port=redis))
    (folder / "web" / "enabledModules" / "icingadb").symlink_to(MODULE)
    (folder / "router.php").write_text(ROUTER)
    (folder / "icingadb.yml").write_text(DAEMON.format(folder=folder, port=redis))
    with ExitStack() as stack:
        def start(name: str, *command: str | Path, **more: Any) -> foreground.Server:
            return stack.enter_context(running(command, folder / f"{name}.out", **more))

        store = start("redis", "redis-server", "--bind", "127.0.0.1", "--port", str(redis), "--dir", folder / "redis",
                      "--save", "", "--appendonly", "no")
        _database(folder, stack)
        until("Redis", lambda: listens(redis), alive=store.trouble)
        start("icingadb", "icingadb", "-c", folder / "icingadb.yml")
        socket_of = [f"-d{key}.default_socket={folder}/mysql/sock" for key in ("pdo_mysql", "mysqli")]
        server = start("php", "php", f"-dsession.save_path={folder}/sessions", "-derror_reporting=8191", *socket_of,
                       "-S", f"127.0.0.1:{port}", "-t", PUBLIC, folder / "router.php",
                       env={"ICINGAWEB_CONFIGDIR": str(folder / "web"), "PHP_CLI_SERVER_WORKERS": "2"})
        until("the web server", lambda: listens(port), alive=server.trouble)
        yield Web(port, WRITER.format(port=redis))


def _database(folder: Path, stack: ExitStack) -> None:
    done(["chown", "-R", "mysql", folder / "mysql"])
    place = ["--no-defaults", f"--datadir={folder}/mysql/data", "--user=mysql"]
    done(["mariadb-install-db", *place, "--auth-root-authentication-method=normal", "--skip-test-db"])
    server = stack.enter_context(running(
        ["mariadbd", *place, f"--socket={folder}/mysql/sock", f"--pid-file={folder}/mysql/pid", "--skip-networking",
         "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=64M", "--innodb-flush-method=nosync"], folder / "mariadb.out"))
    client = ["mariadb", "--no-defaults", "-u", "root", f"--socket={folder}/mysql/sock"]

    def answers() -> bool:
        try:
            done([*client, "-e", "SELECT 1"])
        except RuntimeError:
            return False
        return True

    until("MariaDB", answers, alive=server.trouble)
    for line in ("CREATE DATABASE icingadb", "CREATE USER web@localhost IDENTIFIED BY 'web'", "GRANT ALL ON icingadb.* TO web@localhost"):
        done([*client, "-e", line])
    done([*client, "icingadb"], stdin=Path(SCHEMA).read_bytes())


class Browser:
    """Chromium without a screen."""

    def __init__(self, folder: Path, port: int, pictures: Path) -> None:
        webdriver = pytest.importorskip("selenium.webdriver")
        foreground.programs("chromium", "chromedriver")
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1400,1000",
                     f"--user-data-dir={folder}/browser", "--no-first-run", "--disable-background-networking"):
            options.add_argument(word)
        service = webdriver.ChromeService("/usr/bin/chromedriver", env={"PATH": foreground.PATH, "HOME": str(folder)})
        self.driver = webdriver.Chrome(options, service)
        self.driver.set_page_load_timeout(foreground.SLOW)
        self.port = port
        self.pictures = pictures

    def close(self) -> None:
        self.driver.quit()

    def show(self, path: str) -> str:
        """Opens a page and gives the text that is to be seen."""
        self.driver.get(f"http://127.0.0.1:{self.port}{path}")
        return self.text()

    def text(self) -> str:
        return str(self.driver.execute_script("return document.body.innerText"))

    def keep(self, name: str) -> Path:
        """A picture of the page."""
        path = self.pictures / (name + ".png")
        self.driver.save_screenshot(str(path))
        return path

    def seen(self, words: str, within: str, subject: str = "") -> bool:
        """Whether ``words`` can be read: no box around them, up to one that the selector ``within`` finds, cuts them off.

        With ``subject`` only what stands under that heading of a list counts.
        """
        return bool(self.driver.execute_script(SEEN, words, within, subject))

    def listed(self) -> dict[str, str]:
        """The text of each item of a list by its subject."""
        found: dict[str, str] = self.driver.execute_script(LISTED)
        return found


LISTED = """
const items = [...document.querySelectorAll('.content .list-item')];
return Object.fromEntries(items.map((item) => [item.querySelector('.subject').innerText.trim(), item.innerText]));
"""
SEEN = """
const [words, within, subject] = arguments;
for (const box of document.querySelectorAll(within)) {
    if (subject && box.closest('.list-item').querySelector('.subject').innerText.trim() !== subject) continue;
    const walker = document.createTreeWalker(box, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const node = walker.currentNode, at = node.data.indexOf(words);
        if (at < 0) continue;
        const range = document.createRange();
        range.setStart(node, at);
        range.setEnd(node, at + words.length);
        const edges = [];
        for (let outer = node.parentElement; outer; outer = outer.parentElement) {
            edges.push(outer.getBoundingClientRect());
            if (outer === box) break;
        }
        const inside = (rect) => rect.width > 0 && edges.every((edge) => rect.left >= edge.left - 1 && rect.right <= edge.right + 1
            && rect.top >= edge.top - 2 && rect.bottom <= edge.bottom + 2);
        if ([...range.getClientRects()].every(inside)) return true;
    }
}
return false;
"""


def node(folder: Path, name: str, plugins: Path, writer: str) -> Node:
    """A node of Icinga 2 that writes for Icinga DB."""
    made = Node(folder, name, plugins)
    (folder / "objects.d" / "icingadb.conf").write_text(writer)
    return made
