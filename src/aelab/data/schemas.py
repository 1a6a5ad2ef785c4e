"""schema.json of a run folder: how its model's inputs were made, read back without running anything."""

import json
from pathlib import Path
from typing import Any

from aelab.data.documents import WordSchema
from aelab.data.images import ImageSchema
from aelab.data.ratings import RatingSchema
from aelab.data.scaling import Scaling
from aelab.data.schema import ArraySchema, Schema
from aelab.data.table_schema import Category, TableSchema
from aelab.errors import UserError

KINDS: dict[str, type[Schema]] = {
    kind.kind: kind for kind in (ArraySchema, ImageSchema, RatingSchema, TableSchema, WordSchema)
}


def of_plain(plain: dict[str, Any]) -> Schema:
    """The schema that ``Schema.plain`` wrote."""
    fields = dict(plain)
    kind = KINDS[fields.pop("kind")]
    fields["shape"] = tuple(fields["shape"])
    if "scaling" in fields:
        fields["scaling"] = Scaling.of(fields["scaling"])
        fields["clip"] = None if fields["clip"] is None else tuple(fields["clip"])
    if kind is TableSchema:
        fields["columns"] = [Category(**column) for column in fields["columns"]]
    return kind(**fields)


def read(folder: Path, key: str) -> Schema:
    """The schema of the run in ``folder``; raises ``UserError`` at ``key`` where there is none that can be used."""
    path = folder / "schema.json"
    try:
        return of_plain(json.loads(path.read_text()))
    except FileNotFoundError as error:
        raise UserError(
            f"{key}: {folder} has no schema.json, so new data can't be read by it; train it again"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{key}: {path} is damaged ({str(error)[:80]}); take the folder as the run left it") from error
