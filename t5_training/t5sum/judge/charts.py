"""Small charts as inline SVG: numbers in, markup out. Every text in them is escaped."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup, escape

WIDTH, HEIGHT = 720, 260
LEFT, RIGHT, TOP, BOTTOM = 56, 24, 14, 40
MOST_DOTS = 25  # beyond that they hide the line
COLOURS = ("#2563c9", "#c2570c", "#5f6b7a")  # blue, orange, grey: distinguishable without red and green


def line_chart(
    series: dict[str, Sequence[tuple[float, float]]], x_label: str, y_label: str, describe: str
) -> Markup:
    """Lines through (x, y) points, one per name; points that are not numbers are left out."""
    kept = {name: [p for p in points if all(map(math.isfinite, p))] for name, points in series.items()}
    kept = {name: points for name, points in kept.items() if points}
    xs = [x for points in kept.values() for x, _ in points]
    ys = [y for points in kept.values() for _, y in points]
    place = _Plot(min(xs), max(xs), min(ys), max(ys))
    parts = [place.axes(x_label, y_label)]
    for (name, points), colour in zip(kept.items(), COLOURS, strict=False):
        path = " ".join(f"{place.x(x):.1f},{place.y(y):.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for x, y in points if len(points) <= MOST_DOTS else ():
            title = escape(f"{name}: {y:.4g} at {x:g}")
            parts.append(
                f'<circle cx="{place.x(x):.1f}" cy="{place.y(y):.1f}" r="3" fill="{colour}">'
                f"<title>{title}</title></circle>"
            )
    return _svg(parts, list(kept), describe)


def histogram(values: dict[str, Sequence[float]], x_label: str, describe: str, bins: int = 24) -> Markup:
    """Shares of articles by value, one outline per name, over common bins.

    The longest percent of the values goes into the last bin, so that one giant does not flatten the rest.
    """
    kept = {name: [v for v in each if v is not None and math.isfinite(v)] for name, each in values.items()}
    kept = {name: each for name, each in kept.items() if each}
    everything = sorted(v for each in kept.values() for v in each)
    low, high = everything[0], everything[min(len(everything) - 1, int(0.99 * len(everything)))]
    step = max((high - low) / bins, 1e-9) if high > low else 1.0
    shares = {}
    for name, each in kept.items():
        counts = [0] * bins
        for value in each:
            counts[min(bins - 1, max(0, int((value - low) / step)))] += 1
        shares[name] = [100 * count / len(each) for count in counts]
    place = _Plot(low, low + step * bins, 0, max(max(each) for each in shares.values()))
    parts = [place.axes(x_label, "% of articles")]
    for (name, each), colour in zip(shares.items(), COLOURS, strict=False):
        corners = [(low, 0.0)]
        for number, share in enumerate(each):
            corners += [(low + number * step, share), (low + (number + 1) * step, share)]
        corners.append((low + bins * step, 0.0))
        path = " ".join(f"{place.x(x):.1f},{place.y(y):.1f}" for x, y in corners)
        parts.append(
            f'<polygon points="{path}" fill="{colour}" fill-opacity=".14" stroke="{colour}" '
            f'stroke-width="1.5"><title>{escape(name)}</title></polygon>'
        )
    return _svg(parts, list(shares), describe)


class _Plot:
    """Where numbers lie on the picture."""

    def __init__(self, x_low: float, x_high: float, y_low: float, y_high: float) -> None:
        self.x_ticks = ticks(x_low, x_high)
        self.y_ticks = ticks(y_low, y_high)
        self.x_low, self.x_high = min(x_low, self.x_ticks[0]), max(x_high, self.x_ticks[-1])
        self.y_low, self.y_high = min(y_low, self.y_ticks[0]), max(y_high, self.y_ticks[-1])

    def x(self, value: float) -> float:
        return LEFT + (value - self.x_low) / (self.x_high - self.x_low) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (value - self.y_low) / (self.y_high - self.y_low) * (HEIGHT - TOP - BOTTOM)

    def axes(self, x_label: str, y_label: str) -> str:
        parts = []
        for tick in self.y_ticks:
            y = self.y(tick)
            parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
            parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
        for tick in self.x_ticks:
            x = self.x(tick)
            parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{tick:g}</text>')
        middle = (LEFT + WIDTH - RIGHT) / 2
        parts.append(f'<text x="{middle:.0f}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_label)}</text>')
        parts.append(
            f'<text transform="translate(13 {(TOP + HEIGHT - BOTTOM) / 2:.0f}) rotate(-90)" '
            f'text-anchor="middle">{escape(y_label)}</text>'
        )
        return "".join(parts)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers from at or below `low` to at or above `high`, always two at least."""
    if not high > low:
        high = low + (abs(low) or 1.0)
    rough = (high - low) / about
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def _svg(parts: Sequence[str], names: Sequence[str], describe: str) -> Markup:
    legend = "".join(
        f'<span class="key"><i style="background:{colour}"></i>{escape(name)}</span>'
        for name, colour in zip(names, COLOURS, strict=False)
    )
    return Markup(  # noqa: S704 - every text in the parts was escaped before
        f'<div class="legend">{legend}</div>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(describe)}">'
        f"{''.join(parts)}</svg>"
    )
