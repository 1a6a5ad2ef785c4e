"""Documents as counted words: from folders, lines, a table's column or LDA-C counts; the words are training's alone."""

import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from aelab.data.batches import Data
from aelab.data.own import Own, Where, files_below
from aelab.data.schema import Samples, Schema, row_number
from aelab.errors import UserError
from aelab.ranges import Count, Seed, Share
from aelab.rbm.layer import Layer

WORD = re.compile(r"[^\W\d_]{2,}")  # two letters or more, of any alphabet
LONGEST = 1 << 24  # characters of a cell
TABLES = (".csv", ".tsv")


class Chosen(NamedTuple):
    """What is read and counted, as the config says it; see conf/data/documents.yaml."""

    text: str
    label: str | None
    vocabulary: int
    min_documents: int
    stop_words: Literal["english", "none"]


class Documents(NamedTuple):
    """``counts`` of each document's words, and its label, or None."""

    counts: list[Counter[str]]
    labels: np.ndarray | None


@dataclass(kw_only=True)
class WordSchema(Schema):
    """An input is how often each of ``words`` is in a document; other words are passed over."""

    kind = "words"
    words: list[str]

    @property
    def names(self) -> list[str]:
        return self.words

    @property
    def features(self) -> list[str]:
        return self.words

    def by_feature(self, values: np.ndarray) -> np.ndarray:
        return values

    def cells(self, rows: Any, place: np.ndarray) -> np.ndarray:
        return np.take_along_axis(np.asarray(rows), place[:, None], 1)[:, 0]

    def encode(self, rows: Any, at: str, first: int | np.ndarray = 0) -> Samples:
        """Texts, mappings word → count, or an array of counts (n, words)."""
        if isinstance(rows, np.ndarray) and rows.dtype.kind in "fiu":
            if rows.shape[1:] != (len(self.words),):
                raise UserError(f"{at}: counts must be (documents, {len(self.words)}), got {rows.shape}")
            return Samples(torch.from_numpy(rows.astype(np.float32)))
        number = {word: i for i, word in enumerate(self.words)}
        x = torch.zeros(len(rows), len(self.words))
        for i, row in enumerate(rows):
            if not isinstance(row, str | Mapping):
                raise UserError(f"{at}: row {row_number(first, i)} is no text but {type(row).__name__}; give texts")
            for word, count in (counted(row) if isinstance(row, str) else row).items():
                if word in number:
                    x[i, number[word]] = count
        return Samples(x)

    def decode(self, x: np.ndarray) -> np.ndarray:
        return x

    def plain(self) -> dict[str, Any]:
        return super().plain() | {"words": self.words}


class DocumentData(Data):
    """Documents; see :class:`DocumentSource` for how they become inputs."""

    def __init__(
        self, path: str, name: str, text: str, label: str | None, vocabulary: Count, min_documents: Count,
        stop_words: Literal["english", "none"], test: Share, test_seed: Seed, test_path: str | None,
        validation: Share, train_size: Count | None, labelled: Count | None, seed: int, batch_size: int,
        below: list[Layer],
    ):  # fmt: skip
        where = Where(test, test_path, test_seed, None, None, None)
        source = DocumentSource(path, where, Chosen(text, label, vocabulary, min_documents, stop_words))
        if label is not None and source.path.suffix not in TABLES:
            raise UserError(f"data.label: {path} is no table with a column of that name; leave it out")
        super().__init__(
            source, name=name, root=None, cache="", download=False, validation=validation, train_size=train_size,
            labelled=labelled, binarize="none", shift=0, mirror="none", rotate=0.0, zoom=0.0, mix=0.0, seed=seed,
            batch_size=batch_size, below=below,
        )  # fmt: skip


class DocumentSource(Own):
    """The words are the commonest of the training part: a document for the test has no say in what is counted."""

    def __init__(self, path: str, where: Where, chosen: Chosen):
        super().__init__(path, where)
        self.chosen = chosen
        self.documents = read_documents(self.path, chosen, self.at)
        if len(self) < 3:
            raise UserError(f"{self.at} has {len(self)} documents, too few for training, validation and test")

    def __len__(self) -> int:
        return len(self.documents.counts)

    def labels(self) -> np.ndarray | None:
        return self.documents.labels

    def elsewhere(self, path: str) -> "DocumentSource":
        return DocumentSource(path, self.where, self.chosen)

    def blocks(self, rows: np.ndarray) -> Iterator[tuple[np.ndarray, Any]]:
        yield rows, [self.documents.counts[row] for row in rows]

    def fit(self, rows: np.ndarray) -> WordSchema:
        total, documents = Counter[str](), Counter[str]()
        for row in rows:
            total.update(self.documents.counts[row])
            documents.update(self.documents.counts[row].keys())
        out = stop_words() if self.chosen.stop_words == "english" else frozenset()
        known = [w for w in total if documents[w] >= self.chosen.min_documents and w not in out]
        if len(known) < 2:
            raise UserError(
                f"data.min_documents: {len(known)} words are in {self.chosen.min_documents} of the {len(rows)} "
                "training documents; lower it"
            )
        words = sorted(known, key=lambda word: (-total[word], word))[: self.chosen.vocabulary]
        return WordSchema(shape=(len(words),), unit_interval=False, words=words)


def counted(text: str) -> Counter[str]:
    """How often each word is in ``text``, in small letters."""
    return Counter(WORD.findall(text.lower()))


def stop_words() -> frozenset[str]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return ENGLISH_STOP_WORDS


def read_documents(path: Path, chosen: Chosen, at: str) -> Documents:
    """The documents in a folder or file; ``at`` begins the message about one that holds none."""
    if path.is_dir():
        files = files_below(path, ".txt")
        parents = [file.relative_to(path).parts[:-1] for file in files]
        labels = np.array([parts[0] for parts in parents]) if files and all(parents) else None
        documents = Documents([counted(read(file, at)) for file in files], labels)
    elif not path.is_file():
        raise UserError(f"{at} does not exist; give a folder of .txt files, a .txt, .csv, .tsv or .ldac file")
    elif path.suffix == ".ldac":
        documents = Documents(read_ldac(path, at), None)
    elif path.suffix in TABLES:
        documents = read_column(path, chosen, at)
    elif path.suffix == ".txt":
        documents = Documents([counted(line) for line in read(path, at).splitlines() if line.strip()], None)
    else:
        raise UserError(f"{at} is no file of documents by its name; give a folder of .txt, or .txt, .csv, .tsv, .ldac")
    if not any(documents.counts):
        raise UserError(f"{at} holds no document with a word; give a folder of .txt files, or one document per line")
    return documents


def read(file: Path, at: str) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{at}: {file.name} cannot be read as UTF-8 text ({error}); convert it") from error


def read_column(path: Path, chosen: Chosen, at: str) -> Documents:
    csv.field_size_limit(LONGEST)
    try:
        rows = list(csv.reader(read(path, at).splitlines(True), delimiter="\t" if path.suffix == ".tsv" else ","))
    except csv.Error as error:
        raise UserError(f"{at} is no table ({error}); mend it") from error
    header, *rows = rows or [[]]
    for key, name in (("text", chosen.text), ("label", chosen.label)):
        if name is not None and name not in header:
            raise UserError(f"data.{key}: {path} has no column {name!r}; it has {', '.join(header[:10])}")
    short = next((i for i, row in enumerate(rows) if len(row) != len(header)), None)
    if short is not None:
        raise UserError(f"{at}: row {short} has {len(rows[short])} cells, the header has {len(header)}; mend it")
    text, label = header.index(chosen.text), None if chosen.label is None else header.index(chosen.label)
    labels = None if label is None else np.array([row[label] for row in rows])
    return Documents([counted(row[text]) for row in rows], labels)


def read_ldac(path: Path, at: str) -> list[Counter[str]]:
    """``M word:count …`` per line, words by their number in a list that lies beside the file."""
    lists = [path.with_suffix(end) for end in (".tokens", ".vocab") if path.with_suffix(end).is_file()]
    if not lists:
        raise UserError(f"{at} needs its words in {path.with_suffix('.tokens').name}, one per line; put it there")
    words = read(lists[0], at).splitlines()
    documents = []
    for number, line in enumerate(read(path, at).splitlines(), 1):
        try:
            _, *pairs = line.split() or ["0"]
            counts = Counter({words[int(word)]: int(count) for word, count in (pair.split(":") for pair in pairs)})
        except (ValueError, IndexError) as error:
            raise UserError(
                f"{at}: line {number} is no LDA-C line of the words in {lists[0].name} ({error})"
            ) from error
        if any(count < 0 for count in counts.values()):
            raise UserError(f"{at}: line {number} has a count below 0; mend it")
        documents.append(counts)
    return documents
