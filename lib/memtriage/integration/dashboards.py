"""Pictures of the perfdata: Grafana over Icinga 2's InfluxDB or Graphite writer, and graph templates for Icinga Web's graphite module."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from memtriage.integration.icinga2 import command_name
from memtriage.integration.table import PACES, Check, Wanted, made_by

SPANNED = 3
"""Values so many times apart as two checks should be are not joined any more: one check may be missing."""
TITLE = "memtriage: what is eating this host's memory"


class Curves(NamedTuple):
    """Labels of one check that are drawn alike. ``pattern`` is the beginning of labels that are named by the host."""

    check: str
    labels: tuple[str, ...] = ()
    pattern: str = ""
    per_service: bool = False
    """Whether several services of a host have these labels, so that the service's name tells them apart."""


class Panel(NamedTuple):
    key: str
    title: str
    unit: str
    """In Grafana's words."""
    curves: tuple[Curves, ...]
    stacked: bool = False


PANELS = (
    Panel("parts", "Where the memory is", "bytes", (Curves("check_free_mem", (
        "anon", "shmem", "page_cache", "slab_unreclaimable", "slab_reclaimable", "hugepages", "kernel_other", "unaccounted",
        "free")),), True),
    Panel("available", "Available", "percent", (Curves("check_free_mem", ("available_pct", "usable_pct")),)),
    Panel("gone", "Time until memory is gone, by a proven trend", "s", (Curves("check_free_mem", ("eta",)),)),
    Panel("promised", "Swap used, memory promised", "percent", (Curves("check_free_mem", ("swap_used_pct", "committed_pct")),)),
    Panel("slab", "Slab", "bytes", (Curves("check_slab_growth", ("slab_total", "slab_unreclaim", "pinned")),)),
    Panel("caches", "Largest slab caches", "bytes", (Curves("check_slab_growth", (), "s_"),)),
    Panel("growth", "Growth of slab caches an hour", "bytes", (Curves("check_slab_growth", ("growth_per_hour",), "g_"),)),
    Panel("pressure", "Time lost to the lack of memory", "percent", (Curves("check_mem_pressure", (
        "some_avg60", "full_avg60", "some_stalled", "full_stalled")),)),
    Panel("paging", "Paging", "binBps", (Curves("check_mem_pressure", (
        "swap_in_per_s", "swap_out_per_s", "reclaim_per_s", "refault_per_s")),)),
    Panel("kills", "OOM kills that alarm", "none", (Curves("check_oom_kill", ("kills_hold",)),)),
    Panel("processes", "Process groups: resident memory", "bytes", (Curves("check_proc_count", ("rss", "projected"), "", True),)),
    Panel("counts", "Process groups: how many", "none", (Curves("check_proc_count", (
        "procs", "headroom_workers", "uninterruptible"), "", True),)),
    Panel("recorder", "Flight recorder: age and gaps", "s", (Curves("check_mem_recorder", ("age", "gap_max_1h")),)),
)


def _influx(check: Check, curves: Curves) -> dict[str, Any]:
    names = [*curves.labels, *([curves.pattern + ".*"] if curves.pattern else [])]
    groups = '"service", "metric"' if curves.per_service else '"metric"'
    return {
        "rawQuery": True, "resultFormat": "time_series",
        "alias": "$tag_service: $tag_metric" if curves.per_service else "$tag_metric",
        "query": (f'SELECT mean("value") FROM "{command_name(check)}" '
                  f'WHERE ("hostname" =~ /^${{host:regex}}$/ AND "metric" =~ /^({"|".join(names)})$/) AND '
                  f"$timeFilter GROUP BY time($__interval), {groups} fill(null)"),
    }


def _graphite(check: Check, curves: Curves) -> dict[str, Any]:
    names = ",".join([*curves.labels, *([curves.pattern + "*"] if curves.pattern else [])])
    nodes = "3, 6" if curves.per_service else "6"
    return {"target": f"aliasByNode(icinga2.$host.services.*.{command_name(check)}.perfdata.{{{names}}}.value, {nodes})"}


def grafana(wanted: Wanted, kind: str) -> dict[str, Any]:
    """A dashboard as data; ``kind`` is ``influxdb`` or ``graphite``. One variable, ``host``; the data source is asked for at the import."""
    source = {"type": kind, "uid": "${DS_ICINGA2}"}
    known = {check.name: check for check in wanted.checks}
    panels: list[dict[str, Any]] = []
    for panel in PANELS:
        curves = [item for item in panel.curves if item.check in known]
        if not curves:
            continue
        place = len(panels)
        every = max(PACES[item.check].every for item in curves)
        query = _influx if kind == "influxdb" else _graphite
        panels.append({
            "id": place + 1, "type": "timeseries", "title": panel.title, "datasource": source,
            # No bucket shorter than the time between two checks: values with nothing between them would be points of no line.
            "interval": f"{every}s",
            "gridPos": {"h": 8, "w": 12, "x": 12 * (place % 2), "y": 8 * (place // 2)},
            "fieldConfig": {"overrides": [], "defaults": {"unit": panel.unit, **({"min": 0} if panel.stacked else {}), "custom": {
                "drawStyle": "line", "lineWidth": 1, "fillOpacity": 60 if panel.stacked else 0, "showPoints": "auto",
                "spanNulls": SPANNED * every * 1000,
                "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"}}}},
            "options": {"legend": {"displayMode": "list", "placement": "bottom", "calcs": []},
                        "tooltip": {"mode": "multi", "sort": "desc"}},
            "targets": [{"refId": "ABCDEF"[number], "datasource": source, **query(known[item.check], item)}
                        for number, item in enumerate(curves)],
        })
    hosts = f'SHOW TAG VALUES FROM "{command_name(wanted.checks[0])}" WITH KEY = "hostname"' if kind == "influxdb" else "icinga2.*"
    return {
        "__inputs": [{"name": "DS_ICINGA2", "label": "Icinga 2", "description": f"Where Icinga 2's writer for {kind} writes to",
                      "type": "datasource", "pluginId": kind, "pluginName": {"influxdb": "InfluxDB", "graphite": "Graphite"}[kind]}],
        "__requires": [{"type": "grafana", "id": "grafana", "name": "Grafana", "version": "8.5.0"},
                       {"type": "panel", "id": "timeseries", "name": "Time series", "version": ""},
                       {"type": "datasource", "id": kind, "name": kind, "version": "1.0.0"}],
        "id": None, "uid": f"memtriage-{kind}", "title": TITLE, "tags": ["memtriage", "icinga2"], "timezone": "browser", "editable": True,
        "graphTooltip": 1, "schemaVersion": 36, "version": 1, "refresh": "1m", "time": {"from": "now-24h", "to": "now"},
        "timepicker": {}, "annotations": {"list": []}, "links": [], "panels": panels,
        "templating": {"list": [{
            "name": "host", "label": "Host", "type": "query", "datasource": source, "query": hosts, "definition": hosts, "refresh": 2,
            "regex": "", "sort": 1, "hide": 0, "includeAll": False, "multi": False, "current": {}, "options": []}]},
    }


COLOURS = ("#1a7dd7", "#f0ab00", "#44bb77", "#d0021b", "#aa44ff", "#77aaff", "#8b572a", "#888888", "#cfd7e6")


def graphs(wanted: Wanted) -> str:
    """Templates for Icinga Web's graphite module: a graph a panel, one a cache, and one a service of processes."""
    known = {check.name: check for check in wanted.checks}
    text = [made_by("icingaweb2-graphite", ";") + "; For /etc/icingaweb2/modules/graphite/templates."]
    for panel in PANELS:
        for curves in panel.curves:
            if curves.check in known:
                text += _graph(known[curves.check], panel, curves)
    return "\n".join(text) + "\n"


def _graph(check: Check, panel: Panel, curves: Curves) -> list[str]:
    name = f"memtriage-{panel.key}"
    paths = [(label, label, label) for label in curves.labels]
    if curves.pattern:  # what the host names makes a graph of its own
        paths = [("one", f"$cache:{curves.pattern}*$", "$cache$")]
    look = {"title": panel.title + (": $cache$" if curves.pattern else ""), "lineWidth": "2",
            "areaMode": "stacked" if panel.stacked else "none", "yUnitSystem": "binary" if panel.unit in ("bytes", "binBps") else "none"}
    if panel.unit != "bytes" or panel.stacked:
        look["min"] = "0"
    return ["", f"[{name}.graph]", f'check_command = "{command_name(check)}"', "",
            f"[{name}.metrics_filters]", *(f'{key}.value = "$service_name_template$.perfdata.{path}.value"' for key, path, _ in paths), "",
            f"[{name}.urlparams]", *(f'{key} = "{value}"' for key, value in look.items()), "",
            f"[{name}.functions]",
            *(f"{key}.value = \"alias(color($metric$, '{COLOURS[place]}'), '{shown}')\"" for place, (key, _, shown) in enumerate(paths))]


def render_grafana(wanted: Wanted, kind: str) -> dict[str, str]:
    """``memtriage-grafana-KIND.json``."""
    return {f"memtriage-grafana-{kind}.json": json.dumps(grafana(wanted, kind), indent=2) + "\n"}


def render_graphs(wanted: Wanted) -> dict[str, str]:
    """``memtriage.ini``."""
    return {"memtriage.ini": graphs(wanted)}
