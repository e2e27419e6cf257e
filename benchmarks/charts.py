"""Draw the results as SVG: ``draw`` makes one for each benchmark and one of all their targets.

Needs matplotlib, which the extra ``bench`` brings. The background is transparent and every
colour has a contrast of 4 or so with white as well as with black, so that a page may be either.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from textwrap import fill
from typing import Any, Final, TypeAlias

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.target import share_of_limit

#: A benchmark's entry in the summary, or the series in it.
Document: TypeAlias = Mapping[str, Any]

OVERVIEW: Final = "overview"

_TEXT: Final = "#74808d"
_BLUE: Final = "#2f81d7"
_ORANGE: Final = "#c2681c"
_GREEN: Final = "#2c8f46"
_RED: Final = "#d1343f"
_SERIES: Final = (_BLUE, _ORANGE, _GREEN)
#: By what a target came to.
_VERDICTS: Final = {"met": _GREEN, "missed": _RED, "not settled": _TEXT}

_WIDTH: Final = 8.0
#: Inches of a line of a bar's label, of the gap to the next, and of title and axis together.
_LINE: Final = 0.16
_GAP: Final = 0.1
_FRAME: Final = 1.1
#: Characters of such a line, half the width, and of one of the title, which stands beside it.
_LABEL: Final = 50
_TITLE: Final = 50
#: Bars end here, that one missed target does not squeeze all the others; their labels tell.
_LONGEST: Final = 2.0

_STYLE: Final[Any] = {  # names that each version of matplotlib types differently
    "axes.edgecolor": _TEXT,
    "axes.facecolor": "none",
    "axes.labelcolor": _TEXT,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": _TEXT,
    "axes.titlesize": 11,
    "figure.facecolor": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "grid.alpha": 0.25,
    "grid.color": _TEXT,
    "legend.frameon": False,
    "legend.labelcolor": _TEXT,
    # The same figures give the same file, and its text stays text.
    "svg.fonttype": "none",
    "svg.hashsalt": "relaybox-hooks",
    "text.color": _TEXT,
    "xtick.color": _TEXT,
    "ytick.color": _TEXT,
}


def draw(documents: Sequence[Document], directory: Path, changed: Collection[str]) -> list[Path]:
    """Draw all that can be drawn of ``documents``; return the files, the overview first.

    Args:
        changed: names of those with new figures. The chart of another stays as it is where
            there is one: another version of matplotlib would draw it differently.
    """
    drawn = []
    if any(map(_shares, documents)):
        path = directory / f"{OVERVIEW}.svg"
        if changed or not path.exists():
            with _figure(path, _height(documents)) as figure:
                _targets(figure.subplots(), documents, "Measured, as a share of what is allowed")
        drawn.append(path)
    for document in documents:
        name = document["benchmark"]
        path = directory / f"{name}.svg"
        if name not in _OWN and not _shares(document):
            continue
        drawn.append(path)
        if name not in changed and path.exists():
            continue
        if name in _OWN:
            with _figure(path, _TALL.get(name, 3.2)) as figure:
                _OWN[name](figure, document["series"])
        else:
            with _figure(path, _height([document])) as figure:
                _targets(figure.subplots(), [document], document["question"])
    return drawn


@contextmanager
def _figure(path: Path, height: float) -> Iterator[Figure]:
    """A figure that is written to ``path`` once the block has drawn it."""
    with rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        yield figure
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None})


# Targets


def _shares(document: Document) -> list[tuple[str, float, str]]:
    """Each target's text, its figure as a share of its limit, and the verdict.

    Where nothing is allowed there is no share: RESULTS.md has those.
    """
    return [
        (each["what"], share, each["verdict"])
        for each in document["targets"]
        if (share := share_of_limit(each)) is not None
    ]


def _bars(documents: Sequence[Document]) -> list[tuple[str, float, str]]:
    """All their shares, labelled for a chart: in lines, and the first says whose they are."""
    several = len(documents) > 1
    return [
        (fill(f"{document['benchmark']}: {what}" if several else what, _LABEL), share, verdict)
        for document in documents
        for what, share, verdict in _shares(document)
    ]


def _pitch(label: str) -> float:
    """Inches that a bar and its label take."""
    return _LINE * (label.count("\n") + 1) + _GAP


def _height(documents: Sequence[Document]) -> float:
    return _FRAME + sum(_pitch(label) for label, _, _ in _bars(documents))


def _targets(axes: Axes, documents: Sequence[Document], title: str) -> None:
    labels, shares, verdicts = zip(*_bars(documents), strict=True)
    ends = list(accumulate(map(_pitch, labels)))
    places = [end - _pitch(label) / 2 for end, label in zip(ends, labels, strict=True)]
    bars = axes.barh(
        places,
        [min(max(share, 0.0), _LONGEST) for share in shares],
        color=[_VERDICTS[verdict] for verdict in verdicts],
        height=_LINE,
    )
    axes.bar_label(bars, [f"{share:.2f}" for share in shares], padding=3)
    axes.axvline(1.0, color=_TEXT, linewidth=1, linestyle="--", zorder=0)
    axes.set_yticks(places, labels)
    axes.set_ylim(ends[-1], 0)
    axes.set_xlim(0, _LONGEST + 0.2)
    axes.set_xlabel("1 is the limit; green is met, red is missed, grey has not settled")
    axes.set_title(fill(title.replace("`", ""), _TITLE))
    axes.grid(axis="x")
    axes.set_axisbelow(True)


# Benchmarks with charts of their own


def _isolation(figure: Figure, series: Document) -> None:
    names = [name.replace(", ", ",\n") for name in series["configurations"]]
    for axes, quantile in zip(figure.subplots(1, 2), ("p50", "p99"), strict=True):
        values = series[quantile]
        bars = axes.bar(names, values, color=_SERIES)
        axes.bar_label(bars, [f"{value:.1f}" for value in values], padding=2)
        axes.set_title(f"{quantile}, emit to received by a healthy webhook")
        axes.set_ylabel("ms")
        axes.margins(y=0.15)


def _memory(figure: Figure, series: Document) -> None:
    axes = figure.subplots()
    for number, (name, each) in enumerate(series.items()):
        axes.plot(
            each["emits"],
            each["MiB"],
            label=f"the endpoint {name}",
            color=_SERIES[number % len(_SERIES)],
            marker="o",
            markersize=3,
        )
    axes.set_title("Resident memory while events are emitted to a dead endpoint")
    _from_zero(axes, "events emitted", "MiB")
    axes.legend(loc="lower right")


def _soak(figure: Figure, series: Document) -> None:
    minutes = series["minutes"]
    left, right = figure.subplots(1, 2)
    left.plot(minutes, series["MiB"], color=_BLUE)
    left.set_title("Resident memory")
    _from_zero(left, "minutes", "MiB")
    right.plot(minutes, series["tasks"], color=_BLUE, label="tasks")
    right.plot(minutes, series["files"], color=_ORANGE, label="open files")
    right.set_title("Tasks and open files")
    _from_zero(right, "minutes", "")
    right.legend(loc="lower right")


def _emit(figure: Figure, series: Document) -> None:
    """Microseconds of every contender, ours in blue, in each of the situations."""
    situations = (
        ("no_match", "An emit that matches nothing"),
        ("one_subscriber", f"To one function, {series['burst']} at once"),
        ("one_at_a_time", "To one function, one at a time"),
    )
    heights = [len(series[situation]) for situation, _ in situations]
    grid = figure.subplots(len(situations), 1, height_ratios=heights)
    for axes, (situation, title) in zip(grid, situations, strict=True):
        names, values = zip(*series[situation].items(), strict=True)
        colors = [_BLUE if name.startswith("emit") else _ORANGE for name in names]
        bars = axes.barh(names, values, color=colors, height=0.7)
        axes.bar_label(bars, [f"{value:.2f}" for value in values], padding=3)
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.set_title(title)
    grid[-1].set_xlabel("µs of CPU, until the function has run")


def _throughput(figure: Figure, series: Document) -> None:
    """Events per second of both contenders, side by side on each event loop."""
    axes = figure.subplots()
    loops = series["loops"]
    for place, (name, label, color) in enumerate(
        (("bare", "a bare loop of posts", _ORANGE), ("hooks", "relaybox_hooks", _BLUE))
    ):
        places = [number + (place - 0.5) * 0.36 for number in range(len(loops))]
        bars = axes.bar(places, series[name], width=0.32, color=color, label=label)
        axes.bar_label(bars, [f"{rate:,.0f}" for rate in series[name]], padding=2)
    axes.set_xticks(range(len(loops)), loops)
    axes.set_xlim(-0.6, len(loops) - 0.4)
    axes.set_title("Delivered to one webhook, 32 requests in flight")
    _from_zero(axes, "", "events per second")
    figure.legend(loc="outside lower center", ncols=2)


def _scaling(figure: Figure, series: Document) -> None:
    grid = figure.subplots(1, 2)
    for axes, name, label in (
        (grid[0], "webhooks", "webhooks, each gets every event"),
        (grid[1], "bodies", "bytes of the body, one webhook"),
    ):
        each = series[name]
        at = each["at"]
        axes.plot(at, each["per_second"], color=_BLUE, marker="o", label="delivered per second")
        cpu = axes.twinx()
        cpu.spines["right"].set_visible(True)
        spent = each["cpu_per_delivery"]
        cpu.plot(at, spent, color=_ORANGE, marker="s", label="µs of CPU per delivery")
        axes.set_xscale("log")
        axes.set_xticks(at, [f"{value:,}" for value in at])
        axes.minorticks_off()
        _from_zero(axes, label, "delivered per second")
        _from_zero(cpu, label, "µs of CPU per delivery")
        cpu.grid(visible=False)
        axes.yaxis.label.set_color(_BLUE)
        cpu.yaxis.label.set_color(_ORANGE)
    figure.suptitle("Deliveries by number of webhooks and by size of body", fontsize=11)


def _pending(figure: Figure, series: Document) -> None:
    axes = figure.subplots()
    names, values = zip(*series.items(), strict=True)
    bars = axes.barh(names, values, color=_BLUE, height=0.7)
    axes.bar_label(bars, [f"{value:.0f}" for value in values], padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.set_title("Bytes that a pending event takes beyond its body")
    axes.set_xlabel("bytes")


def _journal(figure: Figure, series: Document) -> None:
    left, right = figure.subplots(1, 2)
    emitters = series["emitters"]
    for number, (name, rates) in enumerate(series["accepted"].items()):
        left.bar(
            [place + 0.4 * number for place in range(len(emitters))],
            rates,
            width=0.4,
            align="edge",
            color=_SERIES[number],
            label=name,
        )
    left.set_xticks(
        [place + 0.4 for place in range(len(emitters))],
        [f"{count}\n{each}" for count, each in zip(emitters, series["durability"], strict=True)],
    )
    left.set_title("Events accepted per second")
    _from_zero(left, "emitters at a time, durability", "")
    left.legend(loc="upper right")
    right.plot(series["pending"], series["MiB"], color=_BLUE)
    right.set_title("Resident memory")
    _from_zero(right, "events pending", "MiB")


def _tuning(figure: Figure, series: Document) -> None:
    """CPU per delivered event with each setting, on each event loop."""
    grid = figure.subplots(1, len(series), sharex=True, sharey=True)
    for axes, (loop, settings) in zip(grid, series.items(), strict=True):
        names, values = zip(*settings.items(), strict=True)
        colors = [_ORANGE, *[_BLUE] * (len(names) - 1)]
        bars = axes.barh(names, values, color=colors, height=0.7)
        axes.bar_label(bars, [f"{value:.0f}" for value in values], padding=3)
        axes.margins(x=0.15)
        axes.set_title(loop)
        axes.set_xlabel("µs of CPU per delivered event")
    grid[0].invert_yaxis()


def _from_zero(axes: Axes, x: str, y: str) -> None:
    """Label the axes; the vertical one begins at zero, so that flat looks flat."""
    axes.set_ylim(0, axes.dataLim.ymax * 1.15)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(axis="y")
    axes.set_axisbelow(True)


#: Inches of those that need more than the usual height.
_TALL: Final = {"emit": 4.6}

_OWN: Final[Mapping[str, Callable[[Figure, Document], None]]] = {
    "emit": _emit,
    "isolation": _isolation,
    "journal": _journal,
    "memory": _memory,
    "pending": _pending,
    "scaling": _scaling,
    "soak": _soak,
    "throughput": _throughput,
    "tuning": _tuning,
}
