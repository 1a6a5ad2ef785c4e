"""One table, three ways: terminal, markdown, csv. Cells are numbers, text or None; the keys name the columns."""

import csv
import io
from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]


def markdown(rows: Sequence[Row]) -> str:
    """A markdown table, numbers to four digits."""
    body = [[cell(value).replace("|", "\\|") for value in row.values()] for row in rows]
    lines = [list(rows[0]), ["---"] * len(rows[0]), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def comma_separated(rows: Sequence[Row]) -> str:
    """The same as csv, numbers in full, nothing where there is nothing."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def show(rows: Sequence[Row], title: str) -> None:
    """Print it on the terminal, the first row in bold; on its side where it would not fit and so does."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    upright, turned = Table(title=title), Table(title=title, show_header=False)
    for column, value in rows[0].items():
        upright.add_column(Text(column), justify="right" if isinstance(value, int | float) else "left", overflow="fold")
        turned.add_row(Text(column), *(Text(cell(row[column])) for row in rows))
    for place, row in enumerate(rows):
        upright.add_row(*(Text(cell(value)) for value in row.values()), style="bold" if place == 0 else None)
    unbounded = console.options.update(width=10**4)
    wide, tall = (console.measure(table, options=unbounded).maximum for table in (upright, turned))
    console.print(turned if wide > console.width and tall < wide else upright)


def cell(value: Any) -> str:
    """A value as a person reads it."""
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
