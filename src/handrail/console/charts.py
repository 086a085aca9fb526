"""Charts: numbers in, SVG out, and a table of the same numbers for whoever would rather read.

No style attributes (the policy of the pages forbids them): colours and dashes come from classes, lengths are per cent
of a stretched plot, and words stand outside it, so that they keep their size on a phone. A missing number is a gap and
never nought.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from markupsafe import Markup, escape

MOST_POINTS = 300
_WIDTH, _HEIGHT = 1000, 100
_PLOT_TOP, _PLOT_HEIGHT, _LABEL_HEIGHT = 18, 150, 24
_MOST_LABELS = 4
# Half of a label is a tenth of the plot there.
_ROOM = 0.1
_NOUGHT = 1e-9


@dataclass(frozen=True, slots=True)
class Series:
    """One line: a value for each of the chart's times. `low` and `high` draw a band of uncertainty around it."""

    name: str
    values: Sequence[float | None]
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()


@dataclass(frozen=True, slots=True)
class Bar:
    """One row of a bar chart. `value`, `low` and `high` share a unit; `link` leads to what is behind the number."""

    name: str
    value: float | None
    text: str
    low: float | None = None
    high: float | None = None
    link: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One row of a waterfall: times in milliseconds from the start of the whole."""

    name: str
    start: float
    length: float
    depth: int
    text: str
    kind: str = ""
    has_failed: bool = False


def lines(
    label: str,
    times: Sequence[str],
    series: Sequence[Series],
    show: Callable[[float], str],
    links: Sequence[str] = (),
) -> Markup:
    """Values over time, with what they are as a table under it.

    Args:
        label: what the chart shows, for whoever can't see it.
        times: names of the times, oldest first; at most `MOST_POINTS` of them are drawn.
        show: a value as text, for the labels and the table.
        links: for each time the address of what is behind its numbers; they stand in the table.
    """
    links = links[:: ceil(len(times) / MOST_POINTS) or 1]
    times, series = _thinned(times, series)
    top = nice_top(max((value for each in series for value in _all(each) if value is not None), default=0.0))
    drawn = Markup("").join(_line(index, each, top) for index, each in enumerate(series))
    height = _PLOT_TOP + _PLOT_HEIGHT + _LABEL_HEIGHT
    return Markup(
        '<figure class="chart">{legend}<svg class="lines" role="img" aria-label="{label}" width="100%" '
        'height="{height}">'
        '<svg x="0" y="{top}" width="100%" height="{plot}" viewBox="0 0 {w} {h}" preserveAspectRatio="none">'
        "{grid}{drawn}{hits}</svg>{words}</svg>{table}</figure>"
    ).format(
        legend=_legend(series),
        label=label,
        height=height,
        top=_PLOT_TOP,
        plot=_PLOT_HEIGHT,
        w=_WIDTH,
        h=_HEIGHT,
        grid=_grid(),
        drawn=drawn,
        hits=_hits(times, series, show),
        words=_words(times, top, show),
        table=_table(label, times, series, show, links),
    )


def bars(label: str, rows: Sequence[Bar], *, head: tuple[str, str], top: float | None = None) -> Markup:
    """Values by name: a table whose second column is drawn, with a whisker where the uncertainty is known."""
    known = [value for row in rows for value in (row.value, row.high) if value is not None]
    most = top or nice_top(max(known, default=0.0))
    body = Markup("").join(_bar(row, most) for row in rows)
    return Markup(
        '<div class="rows table bars" tabindex="0" role="group" aria-label="{label}"><table>'
        '<thead><tr><th scope="col">{name}</th><th scope="col" colspan="2">{value}</th></tr></thead>'
        "<tbody>{body}</tbody></table></div>"
    ).format(label=label, name=head[0], value=head[1], body=body)


def sparkline(label: str, values: Sequence[float | None]) -> Markup:
    """A line without axes, as wide as its place."""
    series = Series(label, values)
    top = nice_top(max((value for value in values if value is not None), default=0.0))
    return Markup(
        '<svg class="sparkline" role="img" aria-label="{label}" width="100%" height="28" viewBox="0 0 {w} {h}" '
        'preserveAspectRatio="none">{line}</svg>'
    ).format(label=label, w=_WIDTH, h=_HEIGHT, line=_line(0, series, top))


def waterfall(label: str, steps: Sequence[Step], total: float) -> Markup:
    """What happened when: one row a step, in a table that reads without the drawing.

    Args:
        total: how long the whole took, in milliseconds.
    """
    body = Markup("").join(_step(each, total or 1.0) for each in steps)
    return Markup(
        '<div class="rows table waterfall" tabindex="0" role="group" aria-label="{label}"><table>'
        '<thead><tr><th scope="col">Step</th><th scope="col">When</th><th scope="col">Took</th></tr></thead>'
        "<tbody>{body}</tbody></table></div>"
    ).format(label=label, body=body)


def nice_top(value: float) -> float:
    """The next of 1, 2, 2.5, 5 times a power of ten: where an axis ends."""
    if value <= _NOUGHT:
        return 1.0
    power = 10.0 ** floor(log10(value))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= value * (1 - 1e-9))


def _all(series: Series) -> Sequence[float | None]:
    return [*series.values, *series.high]


def _thinned(times: Sequence[str], series: Sequence[Series]) -> tuple[Sequence[str], Sequence[Series]]:
    every = ceil(len(times) / MOST_POINTS)
    if every <= 1:
        return times, series
    return times[::every], [
        Series(each.name, each.values[::every], each.low[::every], each.high[::every]) for each in series
    ]


def _x(place: int, count: int) -> float:
    return round((place + 0.5) * _WIDTH / count, 2)


def _y(value: float, top: float) -> float:
    return round(_HEIGHT * (1 - min(value / top, 1.0)), 2)


def _runs(values: Sequence[float | None]) -> list[list[int]]:
    """Places of values that follow one another without a gap."""
    runs: list[list[int]] = [[]]
    for place, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append(place)
    return [run for run in runs if run]


def _line(index: int, series: Series, top: float) -> Markup:
    count = len(series.values)
    parts: list[Markup] = []
    if series.low and series.high:
        parts.extend(_band(index, series, run, top) for run in _runs(series.low) if len(run) > 1)
    for run in _runs(series.values):
        points = [f"{_x(place, count)},{_y(series.values[place] or 0.0, top)}" for place in run]
        if len(points) == 1:  # A single point has no line: a short one makes it seen.
            x, _, y = points[0].partition(",")
            points = [f"{float(x) - 3},{y}", f"{float(x) + 3},{y}"]
        parts.append(Markup('<polyline class="s{i}" points="{p}"/>').format(i=index % 4, p=" ".join(points)))
    return Markup("").join(parts)


def _band(index: int, series: Series, run: Sequence[int], top: float) -> Markup:
    count = len(series.values)
    above = [f"{_x(place, count)},{_y(series.high[place] or 0.0, top)}" for place in run]
    below = [f"{_x(place, count)},{_y(series.low[place] or 0.0, top)}" for place in reversed(run)]
    return Markup('<polygon class="band s{i}" points="{p}"/>').format(i=index % 4, p=" ".join([*above, *below]))


def _grid() -> Markup:
    return Markup("").join(
        Markup('<line class="grid" x1="0" x2="{w}" y1="{y}" y2="{y}"/>').format(w=_WIDTH, y=y)
        for y in (0, _HEIGHT // 2, _HEIGHT)
    )


def _hits(times: Sequence[str], series: Sequence[Series], show: Callable[[float], str]) -> Markup:
    """What a pointer over a time is told."""
    width = _WIDTH / max(len(times), 1)
    parts: list[Markup] = []
    for place, time in enumerate(times):
        said = "; ".join(f"{each.name} {_said(each.values[place], show)}" for each in series)
        parts.append(
            Markup('<rect class="hit" x="{x}" y="0" width="{w}" height="{h}"><title>{t}</title></rect>').format(
                x=round(place * width, 2), w=round(width, 2), h=_HEIGHT, t=f"{time}: {said}"
            )
        )
    return Markup("").join(parts)


def _words(times: Sequence[str], top: float, show: Callable[[float], str]) -> Markup:
    upright = [
        Markup('<text x="0" y="{y}">{t}</text>').format(
            y=_PLOT_TOP + _PLOT_HEIGHT * share - 4, t=show(top * (1 - share))
        )
        for share in (0.0, 0.5)
    ]
    below = [
        Markup('<text x="{x}%" y="{y}" text-anchor="middle">{t}</text>').format(
            x=round(_x(place, len(times)) / _WIDTH * 100, 2),
            y=_PLOT_TOP + _PLOT_HEIGHT + _LABEL_HEIGHT - 7,
            t=times[place],
        )
        for place in _labelled(len(times))
    ]
    return Markup("").join([*upright, *below])


def _labelled(count: int) -> Sequence[int]:
    """The places whose time is written below: as many as fit, none so near an end that a phone would cut it."""
    for parts in range(_MOST_LABELS, 0, -1):
        places = sorted({(2 * part + 1) * count // (2 * parts) for part in range(parts)})
        if all(_ROOM <= _x(place, count) / _WIDTH <= 1 - _ROOM for place in places):
            return places
    return ()


def _legend(series: Sequence[Series]) -> Markup:
    if len(series) < 2:
        return Markup("")
    keys = Markup("").join(
        Markup(
            '<li><svg width="28" height="10" aria-hidden="true"><line class="s{i}" x1="0" x2="28" y1="5" y2="5"/></svg>'
            "{name}</li>"
        ).format(i=index % 4, name=each.name)
        for index, each in enumerate(series)
    )
    return Markup('<ul class="legend" aria-hidden="true">{}</ul>').format(keys)


def _table(
    label: str, times: Sequence[str], series: Sequence[Series], show: Callable[[float], str], links: Sequence[str]
) -> Markup:
    head = Markup("").join(Markup('<th scope="col">{}</th>').format(each.name) for each in series)
    rows = Markup("").join(
        Markup('<tr><th scope="row">{t}</th>{cells}</tr>').format(
            t=Markup('<a href="{}">{}</a>').format(links[place], time) if links else time,
            cells=Markup("").join(Markup("<td>{}</td>").format(_said(each.values[place], show)) for each in series),
        )
        for place, time in enumerate(times)
    )
    return Markup(
        '<details class="as-table"><summary>Show as a table</summary>'
        '<div class="table" tabindex="0" role="group" aria-label="{label}"><table><thead><tr><th scope="col">Time (UTC)'
        "</th>{head}</tr></thead><tbody>{rows}</tbody></table></div></details>"
    ).format(label=f"{label}, as a table", head=head, rows=rows)


def _said(value: float | None, show: Callable[[float], str]) -> str:
    return "no data" if value is None else show(value)


def _bar(row: Bar, top: float) -> Markup:
    name = escape(row.name)
    if row.link:
        name = Markup('<a href="{href}">{name}</a>').format(href=row.link, name=row.name)
    return Markup(
        '<tr><th scope="row">{name}</th><td class="drawn">{bar}</td><td class="said-as">{text}</td></tr>'
    ).format(name=name, bar=_drawn(row, top), text=row.text)


def _drawn(row: Bar, top: float) -> Markup:
    if row.value is None:
        return Markup("")
    parts = [
        Markup('<rect class="bar" x="0" y="4" width="{w}%" height="12" rx="2"/>').format(w=_share(row.value, top)),
    ]
    if row.low is not None and row.high is not None:
        parts.append(
            Markup('<line class="whisker" x1="{a}%" x2="{b}%" y1="10" y2="10"/>').format(
                a=_share(row.low, top), b=_share(row.high, top)
            )
        )
    return Markup('<svg width="100%" height="20" aria-hidden="true">{}</svg>').format(Markup("").join(parts))


def _share(value: float, top: float) -> float:
    return round(min(max(value / top, 0.0), 1.0) * 100, 2)


def _step(step: Step, total: float) -> Markup:
    start = _share(step.start, total)
    return Markup(
        '<tr><th scope="row" class="depth{depth}">{name}<span class="quiet">{text}</span></th><td class="drawn">'
        '<svg width="100%" height="20" aria-hidden="true"><rect class="{classes}" x="{x}%" y="4" width="{w}%" '
        'height="12" rx="2"/></svg></td><td class="took">{took}</td></tr>'
    ).format(
        depth=min(step.depth, 5),
        name=step.name,
        text=step.text,
        classes=f"bar {step.kind}{' is-bad' if step.has_failed else ''}",
        x=start,
        w=max(min(_share(step.length, total), 100 - start), 0.4),
        took=milliseconds(step.length),
    )


def milliseconds(value: float) -> str:
    """A length of time as people say it: `340 ms`, `2.4 s`, `3 min 20 s`."""
    if value < 1:
        return "under 1 ms"
    if value < 10:
        return f"{value:.1f} ms"
    if value < 999.5:
        return f"{value:.0f} ms"
    seconds = value / 1000
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60)} s"
