"""Sections → one HTML file that needs nothing else: no network, no other file."""

import base64
import io
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
Cell = str | int | float | None
Part = dict[str, Any]  # what a live part of a page is made from, as JSON has it


class Table(NamedTuple):
    """Column names and rows; numbers stand to the right, to four digits."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]


class Section(NamedTuple):
    """A heading and, in this order, what there is of: words, a command, a table, live parts, pictures (PNG paths)."""

    title: str
    words: str = ""
    command: str = ""
    table: Table | None = None
    live: Sequence[Part] = ()
    pictures: Sequence[Path] = ()


def document(title: str, verdict: str, sections: Sequence[Section]) -> str:
    """The whole page."""
    style, script = (HERE / name for name in ("page.css", "live.js"))
    body = [f"<h1>{escape(title)}</h1>", f'<p class="verdict">{escape(verdict)}</p>', *map(_section, sections)]
    if any(section.live for section in sections):
        body.append(f"<script>{script.read_text()}</script>")
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    icon = '<link rel="icon" href="data:,">'
    return (
        f'<!doctype html><html lang="en"><head>{head}{icon}<style>{style.read_text()}</style></head>'
        f"<body>{chr(10).join(body)}</body></html>\n"
    )


def _section(section: Section) -> str:
    parts = [f"<section><h2>{escape(section.title)}</h2>"]
    if section.words:
        parts.append(f"<p>{escape(section.words)}</p>")
    if section.command:
        parts.append(f"<pre><code>{escape(section.command)}</code></pre>")
    if section.table is not None:
        parts.append(_table(section.table))
    parts += map(_live, section.live)
    if section.pictures:
        parts.append(f'<div class="pictures">{"".join(map(_picture, section.pictures))}</div>')
    return "".join([*parts, "</section>"])


def _table(table: Table) -> str:
    numeric = [
        all(isinstance(row[i], int | float) or row[i] is None for row in table.rows) for i in range(len(table.columns))
    ]

    def row(cells: Sequence[Any], tag: str) -> str:
        kinds = ['class="number"' if number else "" for number in numeric]
        return f"<tr>{''.join(f'<{tag} {kind}>{escape(_cell(c))}</{tag}>' for kind, c in zip(kinds, cells))}</tr>"

    body = "".join(row(cells, "td") for cells in table.rows)
    return f'<div class="wide"><table><thead>{row(table.columns, "th")}</thead><tbody>{body}</tbody></table></div>'


def _cell(value: Cell) -> str:
    return "–" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _picture(path: Path) -> str:
    from PIL import Image

    name = escape(path.stem.replace("_", " "))
    image = Image.open(path)
    small = io.BytesIO()
    image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    source = f"data:image/png;base64,{base64.b64encode(small.getvalue()).decode()}"
    size = f'width="{image.width}" height="{image.height}"'
    return f'<figure><img alt="{name}" {size} src="{source}"><figcaption>{name}</figcaption></figure>'


def _live(part: Part) -> str:
    about = json.dumps(part).replace("<", "\\u003c")
    inside = _chain_controls(part) if part["kind"] == "chain" else _map_and_sliders(part)
    numbers = f'<script type="application/json">{about}</script>'
    return f'<h3>{escape(part["title"])}</h3><div class="live" id="live-{part["name"]}">{numbers}{inside}</div>'


def _canvas(words: str, kind: str = "image", **attributes: str) -> str:
    others = "".join(f' {key}="{value}"' for key, value in attributes.items())
    return f'<canvas class="{kind}" aria-label="{escape(words)}"{others}></canvas>'


def _map_and_sliders(part: Part) -> str:
    how = f"{part['axes']}: drag the cross, or use the arrow keys"
    pad = _canvas(f"map of the test samples in {how}", "pad", tabindex="0", role="application")
    image = _canvas("what the decoder makes of that point", role="img")
    sliders = "".join(
        f'<label>unit {s["unit"]}<input type="range" data-unit="{s["unit"]}" min="{s["low"]:.4g}" '
        f'max="{s["high"]:.4g}" step="any"></label>'
        for s in part["sliders"]
    )
    return (
        f"<div>{pad}<br><small>{escape(how)}</small></div><div>{image}</div>"
        f'<div class="sliders controls">{sliders}</div>'
    )


def _chain_controls(part: Part) -> str:
    names = {"step": "one step", "hundred": "100 steps", "image": "start at a test sample", "noise": "start at noise"}
    buttons = "".join(f'<button type="button" data-do="{key}">{words}</button>' for key, words in names.items())
    labels = "".join(f'<option value="{n}">{n}</option>' for n in range(part["n_labels"]))
    choice = f'<label>label <select><option value="">any</option>{labels}</select></label>' if labels else ""
    image = _canvas("state of the chain", role="img")
    return f'<div>{image}<p>after <output>0</output> steps</p></div><div class="controls">{buttons}{choice}</div>'
