"""From API objects to hosts: what the real checks print is understood, and nothing else is taken for it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memtriage.fleet import hosts, perfdata, variables
from memtriage.fleet.trouble import Trouble
from tests.checks.command import FIXTURES, on

NOW = 1_780_000_000.0
SLAB = ["slab_total=500B;;;0;900", "slab_unreclaim=400B;9;9;0;900", "growth_per_hour=70B;;;0", "s_dentry=30B", "g_dentry=90B", "g_filp=70B"]
ANYTHING: Any = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
                             lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4))


def row(host: str = "a", **result: Any) -> dict[str, Any]:
    last = {"state": 0, "output": "SLAB_GROWTH OK - x\nKernel memory: y; Linux 6.1.0-13-amd64.", "performance_data": SLAB,
            "execution_end": NOW}
    return {"name": "slab growth", "host_name": host, "check_command": "x", "check_interval": 300, "last_check_result": {**last, **result}}


def fleet(*rows: dict[str, Any], **more: Any) -> hosts.Host:
    found = hosts.Fleet(NOW, **more)
    found.add_hosts([{"name": "a", "vars": {"role": "web"}, "groups": ["g"], "zone": "z"}])
    found.add_services(rows)
    return found.hosts["a"]


SCENARIOS = sorted(path.parent.name for path in FIXTURES.glob("*/SOURCE"))


@pytest.mark.parametrize("scenario", [pytest.param(name, marks=[pytest.mark.slow] if place % 6 else [])
                                      for place, name in enumerate(SCENARIOS)])
def test_all_that_our_checks_print_is_ours(scenario: str, tmp_path: Any) -> None:
    for check in ("check_slab_growth", "check_free_mem"):
        answer = on(scenario, check, "--state-dir", str(tmp_path)).sound()
        items = answer.out.partition("\n")[0].partition(" | ")[2].split()
        assert perfdata.parse(items).odd == 0, items
        if answer.code != 3:
            output = answer.out.replace(" | " + " ".join(items), "")
            host = fleet({**row(), "name": "x", "last_check_result": {"state": answer.code, "output": output, "performance_data": items,
                                                                     "execution_end": NOW}})
            found = host.slab if check == "check_slab_growth" else host.memory
            assert found is not None and found.state == hosts.OK
            assert host.attributes.get("kernel") == ("6.1.0-28-amd64" if check == "check_slab_growth" else None) or "3.10" in output \
                or "2.6" in output


def test_a_result() -> None:
    host = fleet(row())
    assert host.state == hosts.OK and not host.kernel_grows and host.eta is None
    assert host.attributes == {"role": "web", "group[g]": "yes", "zone": "z", "kernel": "6.1.0-13-amd64"}
    assert host.growth == {"dentry": 90, "filp": 70}
    assert host.culprit == "filp"  # the suspect's rate, not the fastest
    host = fleet(row(performance_data=[*SLAB, "eta=3600s;1;2;0"]))
    assert host.kernel_grows and host.eta == 3600


def memory(*items: str) -> dict[str, Any]:
    return {**row(output="FREE_MEM OK - x", performance_data=["available=1B", *items]), "name": "mem"}


def test_programs_grow_where_slab_does_not() -> None:
    assert fleet(row(), memory("eta=60s")).programs_grow
    assert not fleet(row(), memory()).programs_grow
    assert not fleet(row(performance_data=[*SLAB, "eta=70s"]), memory("eta=60s")).programs_grow
    alone = fleet(memory("eta=60s"))  # of what, only check_slab_growth could tell
    assert (alone.state, alone.programs_grow, alone.kernel_grows, alone.eta) == (None, False, False, 60)


def test_a_host_variable_wins_over_what_the_check_says() -> None:
    found = hosts.Fleet(NOW)
    found.add_hosts([{"name": "a", "vars": {"kernel": "mine"}}])
    found.add_services([row()])
    assert found.hosts["a"].attributes["kernel"] == "mine"


@pytest.mark.parametrize(("change", "state"), [
    ({}, hosts.OK), ({"state": 2}, hosts.OK), ({"state": 3}, hosts.UNKNOWN), ({"state": 99}, hosts.UNKNOWN),
    ({"state": None}, hosts.UNKNOWN), ({"state": "0"}, hosts.UNKNOWN),
    ({"performance_data": []}, hosts.UNKNOWN), ({"performance_data": None}, hosts.UNKNOWN),
    ({"performance_data": "slab_total=1B"}, hosts.UNKNOWN), ({"execution_end": NOW - 900}, hosts.OK),
    ({"execution_end": NOW - 901}, hosts.SILENT),
    ({"execution_end": NOW - 901, "state": 3}, hosts.SILENT), ({"execution_end": None}, hosts.EMPTY), ({"execution_end": -1}, hosts.EMPTY),
    ({"execution_end": float("inf")}, hosts.EMPTY), ({"execution_end": NOW + 9999}, hosts.OK), ({"output": None}, hosts.OK),
    ({"output": "<Timeout exceeded.>", "performance_data": [], "state": 3}, hosts.UNKNOWN),
])
def test_states(change: dict[str, Any], state: str) -> None:
    host = fleet(row(**change))
    assert host.state == state
    if state != hosts.OK:
        assert not host.growth and not host.kernel_grows and host.eta is None


def test_never_checked_and_no_such_service() -> None:
    assert fleet({**row(), "last_check_result": None}).state == hosts.EMPTY
    assert fleet().state is None
    assert fleet(row(host="somebody else")).state is None


def test_of_two_services_the_one_that_can_be_judged() -> None:
    assert fleet(row(state=3), row(), row(state=3)).state == hosts.OK


def test_silence_goes_by_the_checks_interval() -> None:
    old = row(execution_end=NOW - 3000)
    assert fleet(old).state == hosts.SILENT
    assert fleet({**old, "check_interval": 1200}).state == hosts.OK
    assert fleet(old, intervals=20).state == hosts.OK
    assert fleet({**old, "check_interval": "x"}).state == hosts.SILENT


@pytest.mark.parametrize("item", ["eta=nan", "eta=inf", "eta=-inf", "eta=1e9", "eta=0x10", "eta=", "eta", "=1", "eta=1;", "eta=U", "a b=1",
                                  "eta=1,5", "eta=" + "9" * 400, "ETA=1", "eta=1KB", "eta=-5s", "slab_unreclaim=-1B", "s_filp=-1B",
                                  "eta=\u0661", 7, None, {"label": "eta", "value": 1},
                                  ["eta=1"]])
def test_items_that_are_none(item: Any) -> None:
    found = perfdata.parse([item])
    if item == "eta=1;":
        assert found.values == {"eta": 1.0} and not found.odd
    else:
        assert found == ({}, {}, {}, 1)


@given(ANYTHING, ANYTHING, ANYTHING)
def test_whatever_the_api_holds(last: Any, tree: Any, name: Any) -> None:
    found = hosts.Fleet(NOW)
    found.add_hosts([{"name": name, "vars": tree, "groups": tree, "zone": last}, {"name": "a", "vars": tree}, {}])
    found.add_services([{**row(), "last_check_result": last}, row(performance_data=last, output=tree, execution_end=name),
                        {"host_name": last}, {**row(), "check_interval": name, "name": tree, "check_command": last}, {}])
    for host in found.hosts.values():
        assert host.state in (None, hosts.OK, hosts.SILENT, hosts.EMPTY, hosts.UNKNOWN)
        assert all(isinstance(key, str) and isinstance(value, str) for key, value in host.attributes.items())
        assert host.eta is None and host.culprit in (None, "filp", "dentry")


def test_variables() -> None:
    tree = {"os": {"kernel": "6.1", "n": 3, "f": 1.5}, "roles": ["web", "db", ["x"]], "b": True, "none": None, "text": "x" * 200,
            "snmp_community": "s", "deep": {"a": {"b": {"c": {"d": {"e": "too deep"}}}}}, "db": {"password": "s", "port": 3306}}
    assert variables.flat(tree) == {"os.kernel": "6.1", "os.n": "3", "os.f": "1.5", "roles[web]": "yes", "roles[db]": "yes", "b": "true",
                                    "db.port": "3306"}
    assert variables.flat(tree, frozenset(["snmp_community"]))["snmp_community"] == "s"
    assert len(variables.flat({str(number): "x" for number in range(5000)})) == variables.MOST
    assert variables.flat([1, 2]) == variables.flat("x") == variables.flat(None) == {}


def test_growth_may_be_below_nothing() -> None:
    assert perfdata.parse(["growth_per_hour=-7B", "g_filp=-8B"]) == ({"growth_per_hour": -7.0}, {}, {"filp": -8}, 0)


def test_secrets_are_no_properties() -> None:
    """Neither by their key nor by what they look like."""
    tree = {"api_key": "s1", "ssh_host_key": "s2", "key": "s3", "db_pwd": "s4", "Key": {"x": "s5"}, "licensekey": "s6",
            "args": ["--password=s7", "-H", "x"], "command": "check -p s8 --token: s9", "repository": "https://me:s10@example.net/x",
            "note": "Password: s11", "pem": "-----BEGIN PRIVATE s12"}
    kept = {"monkey": "a", "keyboard": "de", "network": "private", "url": "https://example.net:8443/a@b", "stage": "passive"}
    found = variables.flat({**tree, **kept})
    assert found == {**kept, "args[-H]": "yes", "args[x]": "yes"}
    assert variables.flat(tree, frozenset(["ssh_host_key", "args"])) == {"ssh_host_key": "s2", "args[--password=s7]": "yes",
                                                                       "args[-H]": "yes", "args[x]": "yes"}


def test_too_many_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "MOST", 3)
    with pytest.raises(Trouble, match="more than 3 hosts: name fewer with --filter"):
        hosts.Fleet(NOW).add_hosts({"name": str(number)} for number in range(9))


@pytest.mark.parametrize(("text", "release"), [
    ("x; Linux 6.1.0-28-amd64.", "6.1.0-28-amd64"), ("x; Linux 3.10.0-1160.el7.x86_64.\nmore", "3.10.0-1160.el7.x86_64"),
    ("Linux 6.5.0-0.deb12.4-amd64.", "6.5.0-0.deb12.4-amd64"), ("; Linux 6.8.0+.", None), ("Linux memory", None), ("Linux 6", None),
    ("aLinux 6.1.", None), ("; Linux 6.1.\r", "6.1"), ("; Linux 6.1<b>.", None), ("; Linux 6." + "1" * 90 + ".", None)])
def test_the_release(text: str, release: str | None) -> None:
    found = hosts.RELEASE.search(text)
    assert (found.group(1) if found else None) == release
