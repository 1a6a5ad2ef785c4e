"""Documents: every form that they come in is counted alike; the words are training's alone; bad files are one line."""

import csv
import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import aelab, composed

from aelab.config.build import build
from aelab.data.documents import Chosen, DocumentSource, WordSchema, counted, read_documents
from aelab.data.own import Where
from aelab.data.schemas import of_plain
from aelab.errors import UserError

TEXTS = ["Rain and rain, 3 times.", "The sun!", "größer als Regen"]
COUNTS = [Counter(rain=2, **{"and": 1}, times=1), Counter(the=1, sun=1), Counter({"größer": 1, "als": 1, "regen": 1})]
CHOSEN = Chosen(text="text", label=None, vocabulary=2000, min_documents=1, stop_words="english")


def source(path, **chosen):
    return DocumentSource(str(path), Where(0.3, None, 0, None, None, None), CHOSEN._replace(**chosen))


def parts(path, test_path=None, **chosen):
    made = DocumentSource(str(path), Where(0.3, test_path, 0, None, None, None), CHOSEN._replace(**chosen))
    return made.parts("made", 0.25, None, torch.Generator().manual_seed(0))


def write(folder: Path, form: str) -> tuple[Path, Chosen]:
    """``TEXTS`` in one of the forms."""
    path, chosen = folder / f"documents{form}", CHOSEN
    if form == "":
        for i, text in enumerate(TEXTS):
            (path / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
            (path / "ab"[i % 2] / f"{i}.txt").write_text(text, encoding="utf-8")
    elif form == ".txt":
        path.write_text("\n\n".join(TEXTS), encoding="utf-8")
    elif form == ".ldac":
        words = sorted(set().union(*COUNTS))
        path.with_suffix(".tokens").write_text("\n".join(words), encoding="utf-8")
        lines = [f"{len(c)} " + " ".join(f"{words.index(w)}:{n}" for w, n in c.items()) for c in COUNTS]
        path.write_text("\n".join(lines))
    else:
        chosen = chosen._replace(text="body", label="kind")
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter="\t" if form == ".tsv" else ",")
            writer.writerows([["kind", "body"], *(["x", text] for text in TEXTS)])
    return path, chosen


@pytest.mark.parametrize("form", ["", ".txt", ".csv", ".tsv", ".ldac"])
def test_every_form_of_documents_is_read(form, tmp_path):
    path, chosen = write(tmp_path, form)
    found = read_documents(path, chosen, "data.path")
    if form == "":
        assert sorted(map(str, found.counts)) == sorted(map(str, COUNTS))
        assert sorted(found.labels) == ["a", "a", "b"]
    else:
        assert found.counts == COUNTS
        assert (found.labels is not None) == (form in (".csv", ".tsv"))


def test_words_are_the_commonest_of_the_training_part(tmp_path):
    """Every document has a word of its own: those of documents for validation and test are no inputs."""
    own = [chr(97 + i // 5) * 3 + chr(97 + i % 5) * 3 for i in range(20)]
    (tmp_path / "d.txt").write_text("\n".join(f"the rain rain sun {word}" for word in own))
    made = parts(tmp_path / "d.txt")
    assert made.schema.words[:2] == ["rain", "sun"] and "the" not in made.schema.words
    assert len(set(made.schema.words) & set(own)) == len(made.train.x) == 20 - 6 - len(made.val.x)
    assert bool((made.test.x.sum(1) == 3).all()) and bool((made.train.x.sum(1) == 4).all())
    assert parts(tmp_path / "d.txt", vocabulary=1).schema.words == ["rain"]  # the commonest
    assert parts(tmp_path / "d.txt", min_documents=2, stop_words="none").schema.words == ["rain", "sun", "the"]


def test_a_test_set_in_a_file_of_its_own(tmp_path):
    (tmp_path / "train.txt").write_text("\n".join(["rain sun"] * 8))
    (tmp_path / "test.txt").write_text("\n".join(["rain snow", "sun sun", "fog"]))
    made = parts(tmp_path / "train.txt", test_path=str(tmp_path / "test.txt"))
    assert made.test.x.tolist() == [[1, 0], [0, 2], [0, 0]]
    assert len(made.train.x) + len(made.val.x) == 8


def test_the_schema_reads_back_and_counts_texts():
    schema = WordSchema(shape=(2,), unit_interval=False, words=["rain", "sun"])
    again = of_plain(json.loads(json.dumps(schema.plain())))
    assert again == schema
    assert again.encode(["Rain, rain; snow", ""], "rows").x.tolist() == [[2, 0], [0, 0]]
    assert again.encode(np.array([[3, 1]]), "rows").x.tolist() == [[3, 1]]
    with pytest.raises(UserError, match=r"rows: row 1 is no text but int"):
        again.encode(["a", 3], "rows")


@pytest.mark.parametrize(("name", "content", "message"), [
    ("d.txt", "", r"no document with a word"), ("d.txt", "1 2 3\n4", "no document with a word"),
    ("d.pdf", "x", "by its name"), ("d.csv", "text\na\nb,c\n", "row 1 has 2 cells"),
    ("d.csv", "words\nrain\n", r"no column 'text'"), ("d.ldac", "1 0:2\n", "needs its words"),
])  # fmt: skip
def test_files_that_hold_no_documents_are_refused_in_a_line(name, content, message, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=rf"^data\.(path|text): .*{message}") as error:
        source(tmp_path / name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("line", ["1 0:x", "1 9:1", "1 0", "1 0:-1"])
def test_lines_that_are_no_lda_c_are_refused_by_number(line, tmp_path):
    (tmp_path / "d.tokens").write_text("rain\nsun\n")
    (tmp_path / "d.ldac").write_text(f"1 0:2\n{line}\n")
    with pytest.raises(UserError, match=r"^data\.path: .*line 2"):
        source(tmp_path / "d.ldac")


def test_paths_that_are_none_and_bytes_that_are_no_text(tmp_path):
    (tmp_path / "d.txt").write_bytes(b"\xff\xfe\xe4")
    (tmp_path / "empty").mkdir()
    for path, words in (("nothing", "does not exist"), ("d.txt", "UTF-8"), ("empty", "no document")):
        with pytest.raises(UserError, match=rf"^data\.path: .*{words}"):
            source(tmp_path / path)


@pytest.mark.parametrize("form", ["", ".txt", ".ldac"])
def test_a_column_of_labels_of_what_is_no_table_is_refused(form, tmp_path):
    path, _ = write(tmp_path, form)
    cfg = composed("data=documents", f"data.path={path}", "data.label=kind", "model=replicated_softmax")
    with pytest.raises(UserError, match=r"^data\.label: .* is no table"):
        build(cfg.data, "data", seed=0, batch_size=1, below=[])


def test_counted_words_have_two_letters_or_more():
    assert counted("A B-52 it's Ärger x_y ab") == Counter({"it": 1, "ärger": 1, "ab": 1})


@pytest.mark.slow
def test_the_command_finds_topics_and_encodes_new_documents(capsys, tmp_path, monkeypatch, made_data):
    monkeypatch.chdir(tmp_path)
    documents = made_data / "own" / "documents.csv"
    outcome = aelab(
        capsys, "model=replicated_softmax", "data=documents", f"data.path={documents}", "data.label=label",
        "model.n_hidden=2", "train.epochs=60", "train.batch_size=10", "optimizer.lr=0.05", "logger=csv",
        "evaluate.perplexity.lda_samples=50", "hydra.run.dir=run",
    )  # fmt: skip
    assert outcome.status == 0, outcome.error
    metrics = json.loads(Path("run/metrics.json").read_text())
    assert 6 <= metrics["test/perplexity"] < 0.8 * metrics["test/unigram_perplexity"]
    assert metrics["test/retrieval_precision"] > 0.9 and "test/lda_perplexity" in metrics
    topics = list(csv.DictReader(Path("run/topics.csv").read_text().splitlines()))
    assert [topic["unit"] for topic in topics] == ["1", "2"]
    kinds = [{"rain", "wind", "cloud", "storm", "sun", "snow"}, {"goal", "team", "match", "score", "league", "coach"}]
    assert any(set(topic["words"].split()[:6]) in kinds for topic in topics)
    Path("new.txt").write_text("wind and rain\na goal\n")
    outcome = aelab(capsys, "task=encode", "run=run", "data=documents", "data.path=new.txt", "out=codes.npy")
    assert outcome.status == 0, outcome.error
    assert np.load("codes.npy").shape == (2, 2)


def test_a_model_of_documents_refuses_what_is_not_counted(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = aelab(capsys, "model=replicated_softmax", "logger=csv")
    assert outcome.status == 1
    assert any(re.search(r"^aelab: model: a replicated softmax takes counted words", line) for line in outcome.error)
