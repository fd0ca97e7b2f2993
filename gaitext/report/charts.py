"""Where a chart's lines, ticks and colours go; the templates only write them down as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gaitext.report.document import Array, Axis, Chart, Forest, Heatmap, as_numbers

#: Of Okabe and Ito's palette, told apart by the colour-blind; black is the page's own text colour.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8F6400", "#56B4E9", "currentColor")
DASHES = ("", "7 3", "2 3", "9 3 2 3", "12 4", "4 4", "1 2")
#: The colours of verdicts; the words beside them say the same.
_VERDICTS = {"": COLOURS[0], "holds": COLOURS[0], "does not hold": COLOURS[1]}
#: Cividis (Nuñez, Anderton, Renslow, 2018) at equal steps from 0 to 1; between them colours are mixed.
_CIVIDIS = np.array(
    [
        (0, 34, 78), (18, 53, 112), (59, 73, 108), (87, 93, 109), (112, 113, 115),
        (138, 134, 120), (165, 156, 116), (195, 179, 105), (225, 204, 85), (254, 232, 56),
    ],
    np.float64,
)  # fmt: skip

WIDTH, HEIGHT = 460.0, 280.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 54.0, 12.0, 12.0, 42.0
#: More points than these say nothing more at this size.
_POINTS = 400
#: What is further from 0 decides no axis.
_BEYOND = 1e100


@dataclass(frozen=True)
class Tick:
    at: float
    text: str


@dataclass(frozen=True)
class Drawn:
    """A line as it is drawn: an SVG path, a colour, a dash, and its name."""

    name: str
    path: str
    area: str
    colour: str
    dash: str


@dataclass(frozen=True)
class Plot:
    """A chart as it is drawn, in units of the SVG's view box."""

    title: str
    x_label: str
    y_label: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    lines: list[Drawn]
    width: float = WIDTH
    height: float = HEIGHT
    left: float = _LEFT
    right: float = WIDTH - _RIGHT
    top: float = _TOP
    bottom: float = HEIGHT - _BOTTOM


def plot(chart: Chart) -> Plot:
    """Lay a chart out."""
    x = _Scale(chart.x, [line.x for line in chart.lines], (_LEFT, WIDTH - _RIGHT))
    y = _Scale(chart.y, [line.y for line in chart.lines], (HEIGHT - _BOTTOM, _TOP))
    drawn = []
    for i, line in enumerate(chart.lines):
        across, up = _thinned(as_numbers(line.x), as_numbers(line.y))
        points = [(x.place(a), y.place(b)) for a, b in zip(across, up)]
        area = ""
        if chart.filled and points:
            floor = f"{HEIGHT - _BOTTOM:.1f}"
            area = f"{_path(points)}L{points[-1][0]:.1f} {floor}L{points[0][0]:.1f} {floor}Z"
        drawn.append(Drawn(line.name, _path(points), area, COLOURS[i % len(COLOURS)], DASHES[i % len(DASHES)]))
    return Plot(chart.title, chart.x.label, chart.y.label, x.ticks(), y.ticks(), drawn)


class _Scale:
    """From an axis's numbers to the drawing's."""

    def __init__(self, axis: Axis, values: Sequence[Array], ends: tuple[float, float]) -> None:
        self.log, self.ends = axis.log, ends
        together = np.concatenate([as_numbers(v) for v in values]) if values else np.empty(0)
        seen = together[(np.abs(together) < _BEYOND) & ((together > 0) | (not axis.log))]
        low = axis.low if axis.low is not None else float(seen.min()) if len(seen) else 0.0
        high = axis.high if axis.high is not None else float(seen.max()) if len(seen) else 1.0
        if axis.log:
            low = 10.0 ** math.floor(math.log10(max(low, 1e-12)))
            high = max(high, low * 10)
        elif high - low <= 1e-9 * max(abs(low), abs(high)):
            room = max(0.5, 0.01 * abs(low))
            low, high = low - room, low + room
        self.low, self.high = low, high

    def place(self, value: float) -> float:
        """Where a number lies; NaN for none. What is beyond the axis lies on its end."""
        if not math.isfinite(value):
            return math.nan
        inside = min(max(value, self.low), self.high)
        share = (
            math.log(inside / self.low) / math.log(self.high / self.low)
            if self.log
            else (inside - self.low) / (self.high - self.low)
        )
        return self.ends[0] + share * (self.ends[1] - self.ends[0])

    def ticks(self) -> list[Tick]:
        if self.log:
            powers = range(round(math.log10(self.low)), math.floor(math.log10(self.high) + 1e-9) + 1)
            return [Tick(self.place(10.0**power), f"{10.0**power:g}") for power in powers]
        step = _step(self.high - self.low)
        first = math.ceil(self.low / step - 1e-9)
        count = math.floor(self.high / step + 1e-9) - first + 1
        return [Tick(self.place((first + k) * step), f"{(first + k) * step:.6g}") for k in range(count)]


def _step(span: float) -> float:
    """1, 2 or 5 times a power of ten, so that there are about five of them."""
    power = 10.0 ** math.floor(math.log10(span / 5))
    return next(power * digit for digit in (1, 2, 5, 10) if power * digit >= span / 5 - 1e-12 * span)


def _thinned(x: Array, y: Array) -> tuple[Array, Array]:
    if len(x) <= _POINTS:
        return x, y
    kept = np.unique(np.linspace(0, len(x) - 1, _POINTS).round().astype(int))
    return x[kept], y[kept]


def _path(points: Sequence[tuple[float, float]]) -> str:
    """An SVG path; a point without a place breaks it."""
    parts, down = [], False
    for x, y in points:
        if math.isnan(x) or math.isnan(y):
            down = False
            continue
        parts.append(f"{'L' if down else 'M'}{x:.1f} {y:.1f}")
        down = True
    return "".join(parts)


@dataclass(frozen=True)
class Coloured:
    """A cell of a heat map: its text, its ground and the colour that can be read on it."""

    text: str
    ground: str
    ink: str


def coloured(heatmap: Heatmap) -> list[list[Coloured]]:
    """The cells of a heat map, [R][C]: cividis from 0 % to 100 %, text black or white, whichever contrasts more."""
    return [[_coloured(float(value)) for value in line] for line in heatmap.values]


def _coloured(value: float) -> Coloured:
    if math.isnan(value):
        return Coloured("–", "", "")
    at = min(max(value / 100, 0.0), 1.0) * (len(_CIVIDIS) - 1)
    before = min(int(at), len(_CIVIDIS) - 2)
    rgb = (_CIVIDIS[before] + (at - before) * (_CIVIDIS[before + 1] - _CIVIDIS[before])).round().astype(int)
    light = luminance(rgb)
    ink = "#000000" if (light + 0.05) / 0.05 >= 1.05 / (light + 0.05) else "#ffffff"
    return Coloured(f"{value:.1f}", "#{:02x}{:02x}{:02x}".format(*rgb), ink)


def luminance(rgb: Array) -> float:
    """A colour's relative luminance, 0 to 1 (WCAG 2.2), of red, green and blue in 0..255."""
    share = as_numbers(rgb) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return float(linear @ np.array([0.2126, 0.7152, 0.0722]))


@dataclass(frozen=True)
class Whisker:
    """A row of a forest plot: its middle, its interval, its seeds, in units of the view box."""

    name: str
    words: str
    y: float
    value: float | None
    low: float | None
    high: float | None
    seeds: list[float]
    colour: str
    least: float | None


@dataclass(frozen=True)
class Trees:
    """A forest plot as it is drawn."""

    title: str
    label: str
    rows: list[Whisker]
    ticks: list[Tick]
    line: float | None
    width: float
    height: float
    left: float
    right: float
    bottom: float


def forest(of: Forest) -> Trees:
    """Lay a forest plot out; names and words stand above each row, so that it fits a phone."""
    tall, left, right, lead = 52.0, 12.0, WIDTH - 12.0, 8.0
    values = [as_numbers([m.value, m.low, m.high, m.least, *m.seeds]) for m in of.marks]
    reach = [] if of.line is None else [as_numbers([of.line])]
    scale = _Scale(Axis(of.label), [*values, *reach], (left + 6, right - 6))
    rows = []
    for i, mark in enumerate(of.marks):
        places = (scale.place(v) for v in (mark.value, mark.low, mark.high, mark.least))
        value, low, high, least = (None if math.isnan(place) else place for place in places)
        seeds = [scale.place(seed) for seed in mark.seeds if math.isfinite(seed)]
        colour = _VERDICTS.get(mark.verdict, "currentColor")
        rows.append(Whisker(mark.name, mark.words, lead + tall * i, value, low, high, seeds, colour, least))
    bottom = lead + tall * len(of.marks)
    line = None if of.line is None else scale.place(of.line)
    return Trees(of.title, of.label, rows, scale.ticks(), line, WIDTH, bottom + 40, left, right, bottom)
