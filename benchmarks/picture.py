"""Bar pictures as SVG text. Takes numbers and words, knows no benchmark, needs no library."""

from __future__ import annotations

import math
from collections.abc import Mapping
from xml.sax.saxutils import escape

Bars = dict[str, float]

COLOURS = ("#2563a8", "#c2703d", "#8a8f98", "#5b9a5b", "#8a5fa8", "#b8a13a")
WIDTH, LEFT, RIGHT = 860, 230, 90
BAR, GAP, GROUP_GAP, TOP, BOTTOM = 13, 2, 12, 64, 34


def bars(title: str, groups: Mapping[str, Bars], *, unit: str, said: str, logarithmic: bool = False) -> str:
    """Horizontal bars in groups, one colour for each name; `said` is the small line at the bottom."""
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    colour = {name: COLOURS[n % len(COLOURS)] for n, name in enumerate(names)}
    values = [value for group in groups.values() for value in group.values()] or [1.0]
    most, least = max(values), min(values)
    height = TOP + BOTTOM + sum(len(group) * (BAR + GAP) + GROUP_GAP for group in groups.values())
    room = WIDTH - LEFT - RIGHT

    def length(value: float) -> float:
        if not logarithmic:
            return room * value / most if most else 0.0
        low = math.log10(least) - 0.5
        return room * (math.log10(value) - low) / ((math.log10(most) - low) or 1.0)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="16" y="24" font-size="15" font-weight="bold" fill="#222222">{escape(title)}</text>',
    ]
    at = 16
    for name in names:
        parts.append(f'<rect x="{at}" y="36" width="11" height="11" fill="{colour[name]}"/>')
        parts.append(f'<text x="{at + 16}" y="46" fill="#222222">{escape(name)}</text>')
        at += 34 + 7 * len(name)
    y = TOP
    for group_name, group in groups.items():
        middle = y + len(group) * (BAR + GAP) / 2 + 4
        parts.append(
            f'<text x="{LEFT - 10}" y="{middle:g}" text-anchor="end" fill="#222222">'
            f"{escape(group_name)}</text>"
        )
        for name, value in group.items():
            wide = max(1.0, length(value))
            parts.append(
                f'<rect x="{LEFT}" y="{y}" width="{wide:.1f}" height="{BAR}" fill="{colour[name]}"/>'
                f'<text x="{LEFT + wide + 5:.1f}" y="{y + 11}" font-size="11" fill="#444444">'
                f"{value:.3g} {escape(unit)}</text>"
            )
            y += BAR + GAP
        y += GROUP_GAP
    scale = "logarithmic scale; " if logarithmic else ""
    parts.append(
        f'<text x="16" y="{height - 12}" font-size="10" fill="#666666">{escape(scale + said)}</text></svg>\n'
    )
    return "\n".join(parts)
