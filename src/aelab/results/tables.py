"""One table, three ways: terminal, markdown, csv. Cells are numbers, text, a spread over seeds or None."""

import csv
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

Row = dict[str, Any]


class Spread(NamedTuple):
    """``mean`` ± ``sd`` (n − 1; None of a single value) of ``n`` values, as a cell."""

    mean: float
    sd: float | None
    n: int


def markdown(rows: Sequence[Row]) -> str:
    """A markdown table, numbers to four digits."""
    body = [[cell(value).replace("|", "\\|") for value in row.values()] for row in rows]
    lines = [list(rows[0]), ["---"] * len(rows[0]), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def comma_separated(rows: Sequence[Row]) -> str:
    """The same as csv, numbers in full, nothing where there is nothing."""
    rows = in_numbers(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def in_numbers(rows: Sequence[Row]) -> list[Row]:
    """The same with a column for each number: where there are spreads, the mean, and ``NAME sd`` and ``NAME n``."""
    spread = {name for row in rows for name, value in row.items() if isinstance(value, Spread)}
    whole = [[parts(name, value, name in spread) for name, value in row.items()] for row in rows]
    return [{name: value for cells in row for name, value in cells} for row in whole]


def parts(name: str, value: Any, spread: bool) -> list[tuple[str, Any]]:
    """The columns of one cell."""
    if not spread:
        return [(name, value)]
    mean, sd, n = value if isinstance(value, Spread) else (value, None, None)
    return [(name, mean), (f"{name} sd", sd), (f"{name} n", n)]


def show(rows: Sequence[Row], title: str, first: Sequence[str] = (), bold: Sequence[int] = (0,)) -> None:
    """Print it on the terminal, the rows ``bold`` in bold; on its side where it would not fit and so does.

    Where neither fits, columns are left out, and named below: those stay longest that stand in ``first``.
    """
    from rich.console import Console

    console = Console()
    order = [*(name for name in first if name in rows[0]), *(name for name in rows[0] if name not in first)]
    unbounded = console.options.update(width=10**4)

    def fits(table: Any) -> bool:
        return console.measure(table, options=unbounded).maximum <= console.width

    turned = on_its_side(rows, title)
    for kept in range(len(order), 0, -1):
        names = [name for name in rows[0] if name in order[:kept]]
        table = upright([{name: row[name] for name in names} for row in rows], title, bold)
        if fits(table) or kept == 1:
            break
        if kept == len(order) and fits(turned):
            table = turned
            break
    console.print(table)
    if kept < len(order) and table is not turned:
        console.print(f"not shown: {', '.join(order[kept:])}", highlight=False, markup=False)


def upright(rows: Sequence[Row], title: str, bold: Sequence[int]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title)
    for column, value in rows[0].items():
        right = isinstance(value, int | float | Spread)
        table.add_column(Text(column), justify="right" if right else "left", overflow="fold")
    for place, row in enumerate(rows):
        table.add_row(*(Text(cell(value)) for value in row.values()), style="bold" if place in bold else None)
    return table


def on_its_side(rows: Sequence[Row], title: str) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, show_header=False)
    for column in rows[0]:
        table.add_row(Text(column), *(Text(cell(row[column])) for row in rows))
    return table


def cell(value: Any) -> str:
    """A value as a person reads it."""
    if value is None:
        return "–"
    if isinstance(value, Spread):
        mean, sd = together(value)
        return f"{mean} ± {sd} ({value.n})" if value.sd is not None else f"{mean} (1)"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def together(value: Spread) -> tuple[str, str]:
    """Mean and standard deviation to the same place, two digits of the latter: 18.32 and 0.23."""
    if not value.sd:
        return f"{value.mean:.4g}", "0"
    place = 1 - int(f"{value.sd:.1e}".partition("e")[2])
    if not -3 < place < 8:
        return f"{value.mean:.4g}", f"{value.sd:.2g}"
    return f"{value.mean:.{max(place, 0)}f}", f"{value.sd:.{max(place, 0)}f}"
