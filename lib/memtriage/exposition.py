"""A check's figures in Prometheus' text format, for the textfile folder of its node exporter."""

from __future__ import annotations

from memtriage import labels

_ABOUT_STATE = "0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN"


def metric(check: str, label: str, about: labels.Label) -> tuple[str, str, float]:
    """The metric's name, its type, and what to multiply the value by: base units, as Prometheus asks for them."""
    name = label
    for ending in ("_pct", "_total") if about.unit in ("%", "us", "c") else ():
        if name.endswith(ending):
            name = name[: -len(ending)]
    name = {"s_*": "cache", "g_*": "cache_growth_per_hour"}.get(name, name)
    if name.endswith("_per_s"):
        name += "econd"
    ending, kind, factor = {"B": ("_bytes", "gauge", 1.0), "s": ("_seconds", "gauge", 1.0), "%": ("_ratio", "gauge", 0.01),
                            "us": ("_seconds_total", "counter", 1e-6), "c": ("_total", "counter", 1.0)}.get(about.unit, ("", "gauge", 1.0))
    return f"memtriage_{check.lower()}_{name}{ending}", kind, factor


def text(check: str, state: int, perfdata: list[str], service: str = "") -> bytes:
    """The state and every figure of a check. ``service`` tells apart several runs of one check on one host."""
    own = [f'service="{service}"'] if service else []
    lines: list[str] = []
    said: set[str] = set()
    for item in sorted(perfdata, key=lambda item: item.split("=")[0][:2] == "g_"):  # the samples of one metric stand together
        label, _, rest = item.partition("=")
        about = labels.find(check, label)
        if about is None:
            continue
        pattern = label if label in labels.LABELS[check] else label[:2] + "*"
        name, kind, factor = metric(check, pattern, about)
        if name not in said:
            said.add(name)
            lines += [f"# HELP {name} {about.about[:1].upper() + about.about[1:]}", f"# TYPE {name} {kind}"]
        value = float(rest.partition(";")[0].rstrip("Bsc%"))
        tags = [f'cache="{label[2:]}"', *own] if pattern.endswith("*") else own
        lines.append(_sample(name, tags, value * factor if factor != 1 else value))
    name = f"memtriage_{check.lower()}_state"
    lines += [f"# HELP {name} State of the check: {_ABOUT_STATE}", f"# TYPE {name} gauge", _sample(name, own, state)]
    return ("\n".join(lines) + "\n").encode("ascii")


def _sample(name: str, tags: list[str], value: float) -> str:
    return f"{name}{'{' + ','.join(tags) + '}' if tags else ''} {'%d' % value if value == int(value) else '%.6f' % value}"
