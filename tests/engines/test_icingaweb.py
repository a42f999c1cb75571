"""What a person sees in Icinga Web 2 over Icinga DB, in a real browser: state and culprit, in the list and on the service's page.

Pictures of every page go to the folder ``MEMTRIAGE_SCREENSHOTS``, to be looked at.
"""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines import foreground, icinga2, icingaweb
from tests.engines.icingaweb import Browser
from tests.engines.services import BAD, LIVE, STATES, Table, shown_name

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.needs_root]
LIST = "/icingadb/services?limit=100&sort=service.display_name"
LABELS = "return [...document.querySelectorAll('.performance-data-table td.title')].map((cell) => cell.textContent)"
PAGES = [name for name in BAD if name.endswith(("_critical", "_evil_vv"))] + ["free_mem_unknown", "pressure_unknown", "proc_warning"]


@pytest.fixture(scope="module")
def browser(table: Table, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser beside a monitoring site that has looked at everything."""
    pictures = Path(os.environ.get("MEMTRIAGE_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    pictures.mkdir(parents=True, exist_ok=True)
    with foreground.folder("web") as folder:
        for name in ("web", "icinga2", "browser"):
            (folder / name).mkdir()
        with icingaweb.web(folder / "web") as site:
            node = icingaweb.node(folder / "icinga2", icinga2.MASTER, table.plugins, site.writer)
            table.definitions("icinga2", node.folder / "objects.d")
            node.watch()
            node.certify(node)
            with icinga2.started(node) as engine:
                engine.up()
                engine.again()
                opened = Browser(folder / "browser", site.port, pictures)
                try:
                    names = {shown_name(name) for name in table.services}

                    def complete() -> bool:
                        opened.show(LIST)
                        found = opened.listed()
                        return names <= set(found) and not any("pending" in text.lower() for text in found.values())

                    foreground.until("Icinga Web", complete, alive=engine.server.trouble, every=0.5)
                    yield opened
                finally:
                    opened.close()


@pytest.fixture(scope="module")
def listed(browser: Browser) -> dict[str, str]:
    browser.driver.set_window_size(1400, 4500)
    browser.show(LIST)
    browser.keep("list")
    return browser.listed()


@pytest.mark.parametrize("name", BAD)
def test_the_list_says_the_state_and_who_is_to_blame(browser: Browser, table: Table, listed: dict[str, str], name: str) -> None:
    """Of the output a list has room for two lines."""
    service = table.services[name]
    assert service.state is not None
    assert f"is\n{STATES[service.state]}\n" in listed[name]
    assert f" {STATES[service.state]} - " in listed[name]
    assert browser.seen(service.culprit, ".content .list-item .caption", name), listed[name]


def test_what_the_list_cuts_off_counts_as_unseen(browser: Browser, listed: dict[str, str]) -> None:
    """Lest the test above cannot fail: the whole output is in the page, but for two lines out of sight."""
    assert "slab cache 'radix_tree_node' 6.56 MiB" in listed["free_mem_critical"]
    assert not browser.seen("slab cache 'radix_tree_node'", ".content .list-item .caption", "free_mem_critical")


def test_the_list_shows_this_very_host(listed: dict[str, str], table: Table) -> None:
    for name in LIVE:
        assert table.answers[name].text.split(" ")[0] in listed[shown_name(name)]


@pytest.mark.parametrize("name", PAGES)
def test_the_page_says_the_state_and_who_is_to_blame(browser: Browser, table: Table, listed: dict[str, str], name: str) -> None:
    """The page folds output of more than five lines; names from the host are no markup in it."""
    service = table.services[name]
    assert service.state is not None
    browser.driver.set_window_size(1400, 1400)
    text = browser.show(f"/icingadb/service?name={urllib.parse.quote(name)}&host.name={icinga2.MASTER}")
    browser.keep(name)
    assert f"is\n{STATES[service.state]}\n" in text
    assert browser.seen(service.culprit, ".object-detail .collapsible, .object-detail .plugin-output"), text
    assert table.answers[name].text in text
    assert not browser.driver.execute_script("return document.querySelector('.plugin-output b, .plugin-output img')")
    labels = browser.driver.execute_script(LABELS)
    assert sorted(labels) == sorted(item.partition("=")[0] for item in table.answers[name].perfdata.split())
