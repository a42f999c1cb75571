"""A fleet's answer as a picture: the odds of each group with their interval, and how fast slab grows on the hosts of each kernel.

matplotlib's objects only, without its state machine, so that nothing here depends on a display or on the user's settings.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from math import log10

from memtriage.fleet import attribution, screen
from memtriage.fleet.attribution import Finding
from memtriage.fleet.summary import Summary
from memtriage.fleet.trouble import Trouble
from memtriage.record import TYPE_CHECKING
from memtriage.wording import clean

if TYPE_CHECKING:
    from typing import Any, Callable

FORMATS = (".png", ".svg", ".pdf")
ROWS = 14
"""Groups, and values of the kernel, at most."""
ENDS = 1e-3, 1e5
"""Odds beyond these are drawn at the edge."""
COLOURS = {attribution.CAUSE: "#c0392b", attribution.INSEPARABLE: "#e08e0b", attribution.EXPLAINED: "#7f8c8d",
           attribution.PLAIN: "#b8c4cc"}
WORDS = {attribution.CAUSE: "growth goes with it", attribution.INSEPARABLE: "cannot be told from that",
         attribution.EXPLAINED: "only the same hosts", attribution.PLAIN: "no more than chance, or less often"}
POINTS = 400
"""Hosts drawn of each kernel at most; quarters and median are those of all."""
MIB = 1024.0**2


def drawer(path: str) -> Callable[[Summary], None]:
    """What draws a summary into ``path``. Raises :class:`~memtriage.fleet.trouble.Trouble` at once where it could not."""
    if not path.endswith(FORMATS):
        raise Trouble(f"{path}: a picture is a {', '.join(FORMATS)}")
    try:
        from matplotlib import figure, rcsetup  # noqa: F401, PLC0415 - an extra
    except ImportError:
        raise Trouble("a picture needs matplotlib: pip install 'memtriage[report]', or the distribution's python3-matplotlib") from None
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK):
        raise Trouble(f"{path}: the folder is not there, or not writable")
    return lambda found: _save(draw(found), path)


def _save(figure: Any, path: str) -> None:
    import matplotlib as mpl  # noqa: PLC0415

    try:
        with mpl.rc_context({"svg.hashsalt": "memtriage", "svg.fonttype": "none"}):  # the same bytes each time, text as text
            figure.savefig(path, dpi=130, metadata={"Date": None} if path.endswith(".svg") else None)
    except OSError as error:
        raise Trouble(f"{path}: {error.strerror or error}") from None


def draw(found: Summary) -> Any:
    """The :class:`matplotlib.figure.Figure`."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    findings = _chosen(found)
    key, kernels = _kernels(found)
    rows = max(len(findings), len(kernels), 4)
    figure = Figure(figsize=(13.5, 3.0 + 0.33 * rows), facecolor="white", layout="constrained")
    left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": (1.15, 1)})
    title = textwrap.fill("Is it the kernel?  " + screen.verdict(found), 120) + "\n" + textwrap.fill("Is it us?  " + screen.us(found), 120)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
    judged = found.kernel.judged
    silent = found.total - judged
    figure.supxlabel(f"{judged} hosts judged, {silent} not (silent, never checked, UNKNOWN, no such check); slab grows on "
                     f"{found.kernel.grow}; {found.kernel.compared} groups compared; right: each host, median and middle half",
                     x=0.01, ha="left", fontsize=9, color="#555555")
    _forest(left, findings)
    _growth(right, key, kernels, {value for cause in found.kernel.causes for name, value in cause.group.names if name == key})
    return figure


def _chosen(found: Summary) -> list[Finding]:
    """The causes and their shadows, the kernels, and then what comes nearest to them."""
    findings = found.kernel.findings
    wanted = [one for one in findings if one.kind != attribution.PLAIN]
    wanted += [one for one in findings if one not in wanted and any(key in found.kernel_keys for key, _ in one.group.names)]
    wanted += [one for one in findings if one not in wanted]
    return sorted(wanted[:ROWS], key=lambda one: one.odds.ratio)


def _forest(axes: Any, findings: Sequence[Finding]) -> None:
    axes.set_title("Odds that slab grows, against all other hosts (95 %)", loc="left", fontsize=10)
    if not findings:
        axes.text(0.5, 0.5, "no two groups to compare", ha="center", va="center", transform=axes.transAxes)
        axes.set_axis_off()
        return
    axes.set_xscale("log")
    axes.axvline(1, color="#333333", linewidth=0.8)
    low, high = ENDS

    def inside(ratio: float) -> float:
        return min(high, max(low, ratio))

    seen = set()
    for place, one in enumerate(findings):
        colour = COLOURS[one.kind]
        label = WORDS[one.kind] if one.kind not in seen else None
        seen.add(one.kind)
        axes.plot([inside(one.odds.low), inside(one.odds.high)], [place, place], color=colour, linewidth=2, solid_capstyle="butt")
        axes.plot([inside(one.odds.ratio)], [place], "o", color=colour, markersize=6, label=label)
    names = [f"{textwrap.shorten(screen.names(one.group), 44, placeholder=' ...')}  ({one.table.a} of {one.table.a + one.table.b})"
             for one in findings]
    axes.set_yticks(range(len(findings)), names, fontsize=8)
    for text, one in zip(axes.get_yticklabels(), findings):
        if one.kind == attribution.CAUSE:
            text.set_fontweight("bold")
    ends = [inside(value) for one in findings for value in (one.odds.low, one.odds.high)]
    least, most = min(0.1, *ends) / 1.5, max(10.0, *ends) * 1.5
    ticks = [tick for tick in (0.001, 0.01, 0.1, 1, 10, 100, 1000, 10000, 100000) if least <= tick <= most]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlim(least, most)
    axes.set_ylim(-0.7, len(findings) - 0.3)
    axes.set_xlabel("odds ratio (1: no difference)", fontsize=9)
    axes.legend(loc="upper center", bbox_to_anchor=(0.4, -0.11), ncol=4, fontsize=8, frameon=False)
    _plain(axes)


Rates = list[tuple[float, bool]]
"""Of one kernel's hosts, in order: growth in MiB an hour, and whether a trend is proven."""


def _kernels(found: Summary) -> tuple[str, list[tuple[str, Rates]]]:
    """The attribute of which growth is shown, and its most frequent values with the growth of their hosts."""
    keys = [key for key in found.kernel_keys if key in found.growth] or list(found.growth)
    if not keys or not found.growth[keys[0]]:
        return "", []
    values = sorted(found.growth[keys[0]].items(), key=lambda item: (-len(item[1]), item[0]))[:ROWS]
    scaled = [(value, [(rate / MIB, proven) for rate, proven in sorted(rates)]) for value, rates in values]
    return keys[0], sorted(scaled, key=lambda item: (sum(proven for _, proven in item[1]) / len(item[1]), item[1][-1]))


def _growth(axes: Any, key: str, kernels: list[tuple[str, Rates]], guilty: set[str]) -> None:
    axes.set_title(f"How fast slab grows, by {clean(key) or 'kernel'}", loc="left", fontsize=10)
    if not kernels:
        axes.text(0.5, 0.5, "no host says which kernel it runs", ha="center", va="center", transform=axes.transAxes)
        axes.set_axis_off()
        return
    axes.set_xscale("symlog", linthresh=1, linscale=0.6)
    for place, (_, rates) in enumerate(kernels):
        some = rates[:: max(1, len(rates) // POINTS)]
        # Spread by place in the list and not by chance, so that the same fleet makes the same picture.
        heights = [place + 0.32 * (((number * 0.618034) % 1) * 2 - 1) for number in range(len(some))]
        # By shape, too: in grey both colours are the same.
        for proven, mark, colour, words in ((False, ".", "#7d97a6", "no trend proven"),
                                            (True, "^", COLOURS[attribution.CAUSE], "grows: a trend is proven")):
            points = [(rate, height) for (rate, is_so), height in zip(some, heights) if is_so is proven]
            # Labels for the legend once, even where this kernel has no such host.
            axes.plot([rate for rate, _ in points], [height for _, height in points], mark, color=colour, alpha=0.5, markersize=5,
                      markeredgewidth=0, rasterized=True, label=None if place else words)
        quarter, half, most = (rates[len(rates) * part // 4][0] for part in (1, 2, 3))
        axes.plot([quarter, most], [place, place], color="black", linewidth=6, alpha=0.22, solid_capstyle="butt")
        axes.plot([half, half], [place - 0.3, place + 0.3], color="black", linewidth=1.8)
    axes.set_yticks(range(len(kernels)), [f"{clean(value, 32)}  ({len(rates)})" for value, rates in kernels], fontsize=8)
    for text, (value, _) in zip(axes.get_yticklabels(), kernels):
        if value in guilty:
            text.set_fontweight("bold")
    top = 10 ** max(1.0, log10(max(1.0, *(rates[-1][0] for _, rates in kernels))) + 0.15)
    axes.set_xlim(-0.3, top)
    ticks = [tick for tick in (0, 1, 3, 10, 30, 100, 300, 1000, 3000, 10000, 100000) if tick <= top]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_ylim(-0.9, len(kernels) - 0.4)
    axes.set_xlabel("MiB an hour, of the fastest suspect cache", fontsize=9)
    legend = axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.11), ncol=2, fontsize=8, frameon=False)
    for handle in legend.legend_handles if hasattr(legend, "legend_handles") else legend.legendHandles:
        handle.set_alpha(1)
        handle.set_markersize(9)
    _plain(axes)


def _plain(axes: Any) -> None:
    axes.grid(axis="x", color="#e6e6e6", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)
