"""How a text file writes its table (separator, decimal comma), and tables out of files, CSV or Parquet."""

import csv
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from aelab.clock import memory
from aelab.data.table_schema import pyarrow
from aelab.data.unpacking import too_much
from aelab.errors import UserError

if TYPE_CHECKING:
    from pyarrow import Table

LOOKED_AT = 1 << 18  # bytes of a file by which its separator is told
BLOCK = 1 << 24  # bytes that are read at once; a line must fit
SEPARATORS = ",;\t|"
ROWS_AT_ONCE = 4096  # of a Parquet file with texts
PACKED = {
    b"\x1f\x8b": "gzip",
    b"PK": "a zip or a spreadsheet",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}
COMMA = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")
POINT = re.compile(r"[+-]?\d*\.\d+([eE][+-]?\d+)?")
FORMULA = r"^\s*=|^[@+-][A-Za-z]+.*\("  # what a spreadsheet would compute, or run


class Format(NamedTuple):
    """``delimiter`` between cells, ``decimal`` sign, ``encoding``, and further ``missing`` words; None: recognised."""

    delimiter: str | None
    decimal: str | None
    encoding: str
    missing: list[str]


def read_table(path: Path, form: Format, at: str) -> "Table":
    """The table in a CSV or Parquet file; ``at`` begins the message about a file that is none."""
    pa = pyarrow()
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise UserError(f"{at} {what}; give a CSV or Parquet file")
    if path.stat().st_size == 0:
        raise UserError(f"{at} is empty; give a file with a header and rows")
    if path.suffix.lower() in (".parquet", ".pq"):
        table = read_parquet(path, at)
    elif path.suffix.lower() in (".csv", ".tsv", ".txt"):
        table = read_csv(path, form, at)
    else:
        raise UserError(f"{at} is no table by its name; give a .csv, .tsv, .txt or .parquet file")
    twice = [name for name, count in Counter(table.column_names).items() if count > 1]
    if twice:
        raise UserError(f"{at} has {len(twice)} column names twice, {twice[0]!r} for one; give each column its own")
    if len(table) == 0:
        raise UserError(f"{at} has a header and no rows; give at least a few")
    for i, name in enumerate(table.column_names):
        kind = table.schema.field(i).type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        if pa.types.is_binary(kind):
            raise UserError(f"{at}: {name!r} is not {form.encoding} text; give data.encoding=cp1252, say")
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            table = table.set_column(i, name, table.column(i).cast(pa.string()))
            refuse_formulas(table.column(i), name, at)
    return table


def read_parquet(path: Path, at: str) -> "Table":
    pa = pyarrow()
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
        if reason := too_much(sum(group.total_byte_size for group in groups), path.stat().st_size):
            raise ValueError(f"it {reason}")
        return _within_memory(file, at)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{at} is damaged or no Parquet file ({_reason(error)}); write it again") from error


def _within_memory(file: Any, at: str) -> "Table":
    """All of a ``ParquetFile``. Raises ``UserError`` before it takes half of the machine's memory.

    A page may say of one number that it stands there a billion times, and of one long text too. The sizes that the file
    tells show neither: numbers are counted, and texts are read a little at a time.
    """
    pa, most = pyarrow(), memory() // 2
    held = 8 * file.metadata.num_rows * file.metadata.num_columns
    pieces = []
    if held <= most and not all(pa.types.is_primitive(known.type) for known in file.schema_arrow):
        held = 0
        for piece in file.iter_batches(ROWS_AT_ONCE):
            held += piece.nbytes
            if held > most:
                break
            pieces.append(piece)
    if held > most:
        said = f"{held / 1e9:.3g} GB or more in memory, and {most / 1e9:.3g} are to spare"
        raise UserError(f"{at} is {said}; take fewer rows")
    return pa.Table.from_batches(pieces, file.schema_arrow) if pieces else file.read()


def read_csv(path: Path, form: Format, at: str) -> "Table":
    pa = pyarrow()
    from pyarrow import csv as arrow_csv

    form = recognised(path, form, at)
    convert = arrow_csv.ConvertOptions(decimal_point=form.decimal, strings_can_be_null=True)
    convert.null_values = [*convert.null_values, *form.missing]
    read = arrow_csv.ReadOptions(encoding=form.encoding, block_size=BLOCK)
    try:
        return arrow_csv.read_csv(
            str(path), read,
            arrow_csv.ParseOptions(delimiter=form.delimiter, newlines_in_values=True), convert,
        )  # fmt: skip
    except (pa.ArrowException, UnicodeError, LookupError) as error:
        raise UserError(f"{at} cannot be read as {form.encoding} text ({_reason(error)}); mend the file") from error


def refuse_formulas(values: Any, name: str, at: str) -> None:
    """Raise ``UserError`` for a cell that a spreadsheet would compute: here it would be one more category."""
    import pyarrow.compute as pc

    found = pc.fill_null(pc.match_substring_regex(values, FORMULA), False)
    row = pc.index(found, True).as_py()
    if row >= 0:
        raise UserError(
            f"{at}: {name!r} holds the formula {values[row].as_py()!r} in row {row}; save the values instead"
        )


def recognised(path: Path, form: Format, at: str) -> Format:
    """``form`` with what it left open told from the beginning of the file."""
    with path.open("rb") as file:
        head = file.read(LOOKED_AT)
    for magic, kind in PACKED.items():
        if head.startswith(magic):
            raise UserError(f"{at} is packed ({kind}), not text; unpack it, or save it as CSV")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) and form.encoding == "utf-8":
        raise UserError(f"{at} is UTF-16 text, not UTF-8; give data.encoding=utf-16")
    try:
        text = head.decode(form.encoding)
    except LookupError as error:
        raise UserError(f"data.encoding: there is no {form.encoding!r}; utf-8 and cp1252 are the usual ones") from error
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # not a character that the end of the piece cut
            raise UserError(
                f"{at} is not {form.encoding} text (byte {head[error.start]:#x} at {error.start}); "
                "give data.encoding=cp1252, say"
            ) from error
        text = head.decode(form.encoding, errors="ignore")
    if "\0" in text:
        raise UserError(f"{at} holds zero bytes: it is no text; give a CSV or Parquet file")
    lines = text.removeprefix("\ufeff").splitlines()
    lines = lines[:-1] if len(head) == LOOKED_AT else lines  # the last one may be cut
    delimiter = form.delimiter or separator(lines[:200])
    if len(delimiter) != 1:
        raise UserError(f"data.delimiter: must be one character, got {delimiter!r}")
    if form.decimal not in (None, ".", ","):
        raise UserError(f"data.decimal: must be . or , and is {form.decimal!r}")
    decimal = form.decimal or decimal_sign(lines[1:2000], delimiter)
    return form._replace(delimiter=delimiter, decimal=decimal)


def separator(lines: list[str]) -> str:
    """The separator that splits every line into equally many cells, and into most; a comma where none does."""
    best, most = ",", 1
    for candidate in SEPARATORS:
        try:
            counts = {len(row) for row in csv.reader(lines, delimiter=candidate) if row}
        except csv.Error:  # a cell longer than any cell is: not this separator
            continue
        if len(counts) == 1 and min(counts) > most:
            best, most = candidate, min(counts)
    return best


def decimal_sign(lines: list[str], delimiter: str) -> str:
    """A comma where cells such as 3,14 stand and none such as 3.14."""
    cells = [cell.strip() for row in csv.reader(lines, delimiter=delimiter) for cell in row]
    return "," if any(map(COMMA.fullmatch, cells)) and not any(map(POINT.fullmatch, cells)) else "."


def _reason(error: BaseException) -> str:
    return str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__
