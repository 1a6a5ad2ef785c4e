"""The rows of a run and their table."""

import csv
import io
import math

import pytest

from aelab.runs.epochs import Epochs, columns_of, rows_of

ROWS = [
    {"epoch": 0, "train/loss": 0.1 + 0.2, "val/loss": 1e-300},
    {"epoch": 1, "train/loss": math.pi, "val/loss": -3.0, "probe, mine": 7.0},  # one that comes later, with a comma
    {"epoch": 2, "train/loss": 1e22, "val/elbo": 5.0},
]


def test_a_table_is_what_the_csv_module_writes_whenever_a_column_comes():
    expected = io.StringIO(newline="")
    table = csv.DictWriter(expected, ["epoch", "probe, mine", "train/loss", "val/elbo", "val/loss"])
    table.writeheader()
    table.writerows(ROWS)
    assert Epochs(ROWS).table == expected.getvalue()


def test_rows_are_read_back_bit_for_bit():
    assert rows_of(Epochs(ROWS).table) == ROWS
    assert rows_of(Epochs().table) == [] and columns_of(Epochs().table) == {"epoch": []}
    columns = columns_of(Epochs(ROWS).table)
    assert columns["epoch"] == [0, 1, 2] and columns["train/loss"] == [row["train/loss"] for row in ROWS]
    assert math.isnan(columns["val/loss"][2])


@pytest.mark.parametrize(
    "damage", [lambda t: t[:-4], lambda t: t.replace("\r\n1,", "\r\n4,"), lambda t: "a,b\r\n1\r\n"]
)
def test_a_damaged_table_is_noticed(damage):
    with pytest.raises((ValueError, csv.Error)):
        columns_of(damage(Epochs(ROWS).table))
