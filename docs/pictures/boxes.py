"""Draws the boxes that the README begins with: `python docs/pictures/boxes.py` writes boxes.svg beside this file."""

from pathlib import Path

WIDTH, HEIGHT = 860, 330

BOXES = {
    "client": (20, 40, 200, 74, "client", "submits tasks, waits for results"),
    "async": (20, 128, 200, 74, "client", "a web server, a script, a shell"),
    "coordinator": (310, 40, 230, 162, "coordinator", "a thread of your program, or"),
    "disk": (340, 246, 170, 60, "a directory", "LMDB, flushed"),
    "shop-1": (640, 40, 200, 74, "worker", "runs your functions"),
    "shop-2": (640, 128, 200, 74, "worker", "as many as you like"),
}
"""x, y, width, height, what it is, what it does."""

MORE = {"coordinator": ("one process for many programs", "keeps, assigns, watches, reassigns")}
"""Further lines of a box."""

ARROWS = (
    ((220, 70), (310, 70), "task"),
    ((310, 96), (220, 96), "receipt"),
    ((220, 165), (310, 165), ""),
    ((540, 70), (640, 70), "lease"),
    ((640, 96), (540, 96), "done"),
    ((540, 165), (640, 165), ""),
    ((425, 202), (425, 246), ""),
)

STYLE = """
text { font: 12px sans-serif; fill: #333; text-anchor: middle }
.name { font-weight: bold; font-size: 15px; fill: #111 }
rect { fill: #fff8ec; stroke: #b5541c; stroke-width: 1.5 }
.middle rect { fill: #ffe4c4 }
.ground { fill: #fff; stroke: none }
path { stroke: #777; stroke-width: 1.5; fill: none; marker-end: url(#head) }
marker path { fill: #777; stroke: none }
"""


def box(name: str) -> str:
    x, y, width, height, title, text = BOXES[name]
    center = x + width / 2
    lines = [text, *MORE.get(name, ())]
    top = y + height / 2 - 10 * len(lines) + 2
    words = [f'<text class="name" x="{center:g}" y="{top:g}">{title}</text>']
    words += [f'<text x="{center:g}" y="{top + 20 * number:g}">{line}</text>' for number, line in enumerate(lines, 1)]
    kind = ' class="middle"' if name == "coordinator" else ""
    return "\n".join((f'<g{kind}><rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8"/>', *words, "</g>"))


def arrow(start: tuple[int, int], end: tuple[int, int], text: str) -> str:
    x, y = (start[0] + end[0]) / 2, start[1] - 6
    label = f'\n<text x="{x:g}" y="{y:g}">{text}</text>' if text else ""
    return f'<path d="M{start[0]} {start[1]} L{end[0]} {end[1]}"/>{label}'


def picture() -> str:
    """Returns the SVG."""
    what = "Clients submit tasks to a coordinator, which keeps them in a directory and gives them to workers"
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{what}">',
            f"<style>{STYLE}</style>",
            '<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" '
            'orient="auto"><path d="M0 0 L8 4 L0 8 z"/></marker></defs>',
            f'<rect class="ground" width="{WIDTH}" height="{HEIGHT}"/>',
            *(box(name) for name in BOXES),
            *(arrow(*one) for one in ARROWS),
            "</svg>\n",
        )
    )


if __name__ == "__main__":
    Path(__file__).with_suffix(".svg").write_text(picture(), encoding="utf-8")
