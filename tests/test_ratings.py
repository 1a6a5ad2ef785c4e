"""Ratings: read as they are published, split by rating within each user, mostly empty; nothing held out is an input."""

import numpy as np
import pytest
import torch

from aelab.data.ratings import Ratings, RatingSchema, place_within, read_ratings
from aelab.data.schemas import of_plain
from aelab.data.sparse import SparseRows
from aelab.errors import UserError

NAMED = {"user": None, "item": None, "rating": None}
ROWS = [("ann", "x", 4), ("ann", "y", 1), ("bob", "x", 5), ("bob", "z", 2.5), ("cid", "y", 4)]


def source(path, **settings):
    given = {**NAMED, "rows": "users", "folds": 5, "fold": 0, "test_seed": 0, **settings}
    return Ratings(str(path), **given)


def split(path, seed=0, validation=0.2, **settings):
    return source(path, **settings).parts("made", validation, None, torch.Generator().manual_seed(seed))


def pairs(part: SparseRows) -> set:
    row, column, value = part.entries()
    return set(zip(row.tolist(), column.tolist(), value.tolist()))


@pytest.fixture
def file(tmp_path):
    rng = np.random.default_rng(0)
    lines = ["userId,movieId,rating,timestamp"]
    for user in range(30):
        rated = rng.choice(40, 10 + user % 7, replace=False)
        lines += [f"{user},{item},{rng.integers(1, 6)},9" for item in rated]
    (tmp_path / "ratings.csv").write_text("\n".join(lines))
    return tmp_path / "ratings.csv"


@pytest.mark.parametrize("written", [
    "ann\tx\t4\t881250949\nann\ty\t1\t8\nbob\tx\t5\t8\nbob\tz\t2.5\t8\ncid\ty\t4\t8\n",  # u.data
    "ann::x::4::8\nann::y::1::8\nbob::x::5::8\nbob::z::2.5::8\ncid::y::4::8\n",  # ratings.dat
    "userId,movieId,rating,timestamp\nann,x,4.0,8\nann,y,1.0,8\nbob,x,5.0,8\nbob,z,2.5,8\ncid,y,4.0,8\n",
    "user_id:token\titem_id:token\trating:float\nann\tx\t4\nann\ty\t1\nbob\tx\t5\nbob\tz\t2.5\ncid\ty\t4\n",
    '"","s","d","y"\n"1","ann","x",4\n"2","ann","y",1\n"3","bob","x",5\n"4","bob","z",2.5\n"5","cid","y",4\n',
    "\ufeffrating;item;user\n4;x;ann\n1;y;ann\n5;x;bob\n2.5;z;bob\n4;y;cid\n\n",
])  # fmt: skip
def test_files_as_they_are_published(written, tmp_path):
    (tmp_path / "f").write_text(written, encoding="utf-8")
    table = read_ratings(tmp_path / "f", NAMED)
    read = [(table.users[u], table.items[i], table.levels[k]) for u, i, k in zip(*table[:3])]
    assert read == ROWS
    assert table.levels == [1, 2.5, 4, 5]


def test_columns_are_recognised_or_named(tmp_path):
    (tmp_path / "f.csv").write_text("who,what,stars\n" + "\n".join(f"{u},{i},{r}" for u, i, r in ROWS))
    table = read_ratings(tmp_path / "f.csv", {"user": "who", "item": "what", "rating": "Stars"})
    assert (table.users, table.items) == (["ann", "bob", "cid"], ["x", "y", "z"])
    with pytest.raises(UserError, match=r"^data\.user: .*has who, what, stars, no user"):
        read_ratings(tmp_path / "f.csv", NAMED)


@pytest.mark.parametrize(("written", "message"), [
    ("", "is empty"), ("a b c\n", "one column"), ("u,i,r\na,x,3\na,y,4\na,x,2\n", "several ratings of 'x' by 'a'"),
    ("user,item,rating\na,x,3\na,y\n", "no user, item and number"),
    ("user,item,rating\na,x,3\na,y,good\n", "no user, item and number"),
    ("user,item,rating\na,x,3\na,y,3\n", "1 different ratings"), ("user,item,rating\na,x,nan\na,y,3\n", "finite"),
    ("user,item,rating\n" + "\n".join(f"a,{i},{i / 7}" for i in range(30)), "30 different ratings"),
])  # fmt: skip
def test_files_that_hold_no_ratings_are_refused_in_a_line(written, message, tmp_path):
    (tmp_path / "f.csv").write_text(written)
    named = {"user": "u", "item": "i", "rating": "r"} if written.startswith("u,") else NAMED
    with pytest.raises(UserError, match=rf"^data\.path: .*{message}") as error:
        read_ratings(tmp_path / "f.csv", named)
    assert "\n" not in str(error.value)


def test_a_file_that_is_none(tmp_path):
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(UserError, match=r"^data\.path: .*does not exist"):
            read_ratings(path, NAMED)
    (tmp_path / "zip").write_bytes(b"\x1f\x8b\xff\xfe")
    with pytest.raises(UserError, match=r"^data\.path: .*cannot be read as text"):
        read_ratings(tmp_path / "zip", NAMED)


def test_folds_are_equal_parts_of_each_users_ratings_and_together_all(file):
    tests = [pairs(split(file, fold=fold).test.y) for fold in range(5)]
    assert sum(map(len, tests)) == len(set().union(*tests)) == len(file.read_text().splitlines()) - 1
    for user in range(30):
        counts = [sum(pair[0] == user for pair in test) for test in tests]
        assert max(counts) - min(counts) <= 1


def test_the_test_part_is_the_same_whatever_the_seed_and_no_input(file):
    first, second = split(file, seed=0), split(file, seed=1)
    assert pairs(first.test.y) == pairs(second.test.y)
    assert pairs(first.val.y) != pairs(second.val.y)
    assert pairs(split(file, test_seed=1).test.y) != pairs(first.test.y)
    known, val, test = pairs(first.train.x), pairs(first.val.y), pairs(first.test.y)
    assert pairs(first.val.x) == pairs(first.test.x) == known
    assert not known & val and not known & test and not val & test
    assert len(known | val | test) == len(file.read_text().splitlines()) - 1


def test_rows_may_be_items(file):
    users, items = split(file), split(file, rows="items")
    assert items.train.x.shape == users.train.x.shape[::-1]
    assert {(item, user, level) for user, item, level in pairs(users.test.y)} == pairs(items.test.y)


def test_place_within_a_group():
    place = place_within(np.array([0, 1, 0, 0, 1]), np.array([0.3, 0.9, 0.1, 0.2, 0.4]))
    np.testing.assert_allclose(place, [5 / 6, 3 / 4, 1 / 6, 3 / 6, 1 / 4])


def test_rows_come_whole_and_memory_is_that_of_what_is_there():
    whole = torch.randint(1, 6, (50, 2000)) * (torch.rand(50, 2000) < 0.01)
    rows, columns = whole.nonzero(as_tuple=True)
    shuffled = torch.randperm(len(rows))
    values = whole[rows, columns].float()
    sparse = SparseRows.of(rows[shuffled], columns[shuffled], values[shuffled], (50, 2000))
    index = torch.tensor([3, 3, 49, 0])
    assert torch.equal(sparse.index_select(0, index), whole[index].float())
    assert torch.equal(sparse[10:12], whole[10:12].float())
    assert torch.equal(sparse[:], whole.float())
    assert sum(t.numel() for t in (sparse.offsets, sparse.columns, sparse.values)) == 51 + 2 * len(rows)
    with pytest.raises(UserError, match=r"^model: it needs whole rows \(mean\).*model=rating_rbm"):
        sparse.mean(0)


def test_the_schema_reads_back_and_refuses_another_rating(file):
    schema = split(file).schema
    again = of_plain(schema.plain())
    assert again == schema and isinstance(again, RatingSchema)
    rows = np.full((2, schema.n_input), np.nan)
    rows[0, 3], rows[1, 0] = 5, 1
    x = again.encode(rows, "rows").x
    assert x[0, 3] == 5 and x[1, 0] == 1 and int((x > 0).sum()) == 2
    np.testing.assert_array_equal(again.decode(x.numpy()), rows)
    rows[1, 4] = 3.5
    with pytest.raises(UserError, match=r"rows: '\d+' is rated 3.5 in row 1"):
        again.encode(rows, "rows")


def test_new_ratings_are_read_by_the_columns_of_the_run(file, tmp_path):
    schema = split(file).schema
    item = schema.columns[2]
    (tmp_path / "new.csv").write_text(f"user,item,rating\nnew,{item},4\nnew,a film that came later,2\nother,{item},1\n")
    x = source(tmp_path / "new.csv").all_rows(schema)[:]
    expected = torch.zeros(2, schema.n_input)
    expected[:, 2] = torch.tensor([4.0, 1.0])
    assert torch.equal(x, expected)


@pytest.mark.parametrize("fold", [5, 7])
def test_the_fold_is_one_of_the_folds(fold, file):
    with pytest.raises(UserError, match=rf"^data\.fold: must be from 0 to 4, got {fold}"):
        split(file, fold=fold)
