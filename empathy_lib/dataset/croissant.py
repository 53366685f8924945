"""The dataset folder's metadata for machines: ``croissant.json``, Croissant 1.0 in JSON-LD.

Knows: the split files of a folder, the fields of an item, the classes of mlcroissant. Does not know: how the
dataset was built, or what is to be said about it in words; the words are those of ``card``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from empathy_lib import __version__
from empathy_lib.core.coe import LAYERS
from empathy_lib.core.config import DatasetConfig
from empathy_lib.core.errors import UserError
from empathy_lib.core.files import sha256, write_json
from empathy_lib.core.schema import Gold, Item
from empathy_lib.dataset import card

CROISSANT = "croissant.json"
RECORD_SET = "questions"
_FILES, _FORMAT, _TEXT = "split-files", "application/jsonlines", "https://schema.org/Text"
_TYPES = {"crisis": "https://schema.org/Float"}  # a whole number, but pandas knows none beside an empty field
_CONFORMS_TO = ["http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0"]
_CITE_AS = (
    "@article{yao2025empathyr1, title={Empathy-R1: A Chain-of-Empathy and Reinforcement Learning Framework "
    "for Long-Form Mental Health "
    "Support}, author={Yao and She and Zhang and Zhang and Sun and Ahmed and Gao and Jin}, "
    "journal={arXiv preprint arXiv:2509.14851}, year={2025}} "
    "@misc{empathyr1reproduction, title={Empathy-R1, reproduced}, "
    f"note={{the dataset is of this reproduction, version {__version__}, which is independent of the paper's "
    f"authors}}}}"
)
_FIELDS = {
    "id": "the post's id",
    "question": "the help-seeking post",
    "topic": "topic, as the source or the synthesis names it",
    "subtopic": "sub-topic, as the source or the synthesis names it",
    "answers": "all reference answers of the post",
    "gold": "the labels a synthetic post was generated from",
    "source": "where the post was read from",
    "coe_origin": "who made the chains: gold (the source), rules or teacher",
    "noise": "kind of noise the synthesis planted in the post",
    "crisis": "level of the crisis gate's rules, 1 to 3; left out where they found nothing",
}
_ANSWER = {  # JSONPath in an answer to what stands there
    "text": "one reference answer",
    "strategy": "name of the response strategy",
    **{
        f"coe.{layer}": f"layer {layer} of the Chain of Empathy that leads to this answer" for layer in LAYERS
    },
    "noise": "kind of noise the synthesis planted in the answer",
}


def write_croissant(
    folder: Path, statistics: dict[str, Any], config: DatasetConfig, licence: str = ""
) -> Path:
    """Write ``croissant.json`` into a dataset folder and return its path; the same files and figures give the
    same bytes.

    The record set ``questions`` reads all splits; an answer and its chain are sub-fields of a post. A field
    is declared only if every split has it, since a reader of Croissant stops at a column that a file lacks.
    No date is written: none would be the same twice.

    Args:
        folder: holds the split files as they will stay (their SHA-256 is written down).
        statistics: as :func:`empathy_lib.dataset.build.statistics` gives them.
        config: the choices the dataset was built with.
        licence: of the user's data, as an SPDX id, a URL or a name; unused for synthetic data.

    Raises:
        UserError: a split's file is missing.
        mlcroissant.ValidationError: the metadata break the format (would be a bug of ours).
    """
    import mlcroissant as mlc  # here, since the import takes about a second

    files = {name: folder / f"{name}.jsonl" for name in statistics["splits"]}
    for path in files.values():
        if not path.is_file():
            raise UserError(f"{path}: no such file; build the dataset anew")
    context = mlc.Context(conforms_to=_CONFORMS_TO)
    make = partial(_make, mlc, context)
    synthetic = statistics["synthetic"]
    metadata = make(
        "Metadata",
        name=card.name(statistics),
        description=_plain(f"{card.summary(statistics)} {card.ORIGIN[synthetic]}"),
        conforms_to=_CONFORMS_TO,
        creators=[make("Organization", name="Empathy-R1 reproduction")] if synthetic else [],
        license=[card.licence_url(card.licence_of(statistics, licence))],
        version=__version__,
        cite_as=_CITE_AS,
        keywords=card.tags(statistics),
        in_language=[card.LANGUAGE],
        distribution=[
            *(_file_object(make, name, path) for name, path in files.items()),
            _file_set(make, files),
        ],
        record_sets=[_questions(make, list(files), _columns(list(files.values())))],
        **_notes(statistics, config),
    )
    path = folder / CROISSANT
    write_json(path, metadata.to_json())
    return path


def _make(mlc: Any, context: Any, kind: str, **properties: Any) -> Any:
    """A node of mlcroissant's class ``kind``; all nodes of a document share one context."""
    return getattr(mlc, kind)(ctx=context, **properties)


def _notes(statistics: dict[str, Any], config: DatasetConfig) -> dict[str, Any]:
    """The responsible-AI properties, in the words of the card."""
    synthetic, annotator = statistics["synthetic"], statistics["annotator"]
    return {
        "data_collection": _plain(card.COLLECTION[synthetic]),
        "data_collection_type": ["Others" if synthetic else "Secondary Data analysis"],
        "data_preprocessing_protocol": [_plain(card.cleaning(config))],
        "data_annotation_protocol": [_plain(card.CHAINS[annotator])],
        "data_use_cases": [_plain(card.USES)],
        "data_limitations": [_plain(card.DATA_LIMITS[synthetic]), _plain(card.CHAIN_LIMITS[annotator])],
        "personal_sensitive_information": [_plain(card.personal_data(statistics, config))],
        "data_release_maintenance_plan": _plain(card.MAINTENANCE[synthetic]),
    }


def _plain(text: str) -> str:
    """The card's words without Markdown."""
    return re.sub(r"[*`]", "", text)


def _columns(files: list[Path]) -> set[str]:
    """The fields that some line of each file has."""
    found: list[set[str]] = []
    for path in files:
        with path.open(encoding="utf-8") as handle:
            # line by line, since the file may be large
            found.append(set(chain.from_iterable(map(json.loads, handle))))
    return set.intersection(*found)


def _file_object(make: Callable[..., Any], split: str, path: Path) -> Any:
    return make(
        "FileObject",
        id=path.name,
        name=path.name,
        description=f"the {split} split, one post with its answers a line",
        content_url=path.name,
        content_size=f"{path.stat().st_size} B",
        encoding_formats=[_FORMAT],
        sha256=sha256(path),
    )


def _file_set(make: Callable[..., Any], files: dict[str, Path]) -> Any:
    """The split files as one; named one by one, since other JSONL lies beside them."""
    names = [path.name for path in files.values()]
    return make(
        "FileSet",
        id=_FILES,
        name=_FILES,
        description="the files of all splits",
        encoding_formats=[_FORMAT],
        includes=names,
    )


def _questions(make: Callable[..., Any], splits: list[str], columns: set[str]) -> Any:
    """The record set of the posts, answers and gold labels nested."""

    def leaf(
        name: str,
        description: str,
        extract: dict[str, str],
        transform: dict[str, str] | None = None,
        *types: str,
    ) -> Any:
        transforms = [make("Transform", **transform)] if transform else []
        source = make("Source", file_set=_FILES, extract=make("Extract", **extract), transforms=transforms)
        return make(
            "Field",
            id=f"{RECORD_SET}/{name}",
            name=name,
            description=description,
            data_types=[_TYPES.get(name, _TEXT), *types],
            source=source,
        )

    def nest(name: str, paths: dict[str, str], **more: Any) -> Any:
        parts = [
            leaf(f"{name}/{path.split('.')[-1]}", text, {"column": name}, {"json_path": path})
            for path, text in paths.items()
        ]
        return make(
            "Field", id=f"{RECORD_SET}/{name}", name=name, description=_FIELDS[name], sub_fields=parts, **more
        )

    # No reference to a record set of splits, as Croissant knows them: mlcroissant reads a joined record set
    # only once.
    split = {"regex": rf"^({'|'.join(splits)})\.jsonl$"}
    fields = [
        leaf("split", "the split the post belongs to", {"file_property": "fullpath"}, split, "cr:Split")
    ]
    for name in Item.model_fields:
        if name not in columns:
            continue
        if name == "answers":
            fields.append(nest(name, _ANSWER, repeated=True))
        elif name == "gold":
            fields.append(
                nest(name, {label: info.description or "" for label, info in Gold.model_fields.items()})
            )
        else:
            fields.append(leaf(name, _FIELDS[name], {"column": name}))
    text = "one record a post, with its answers; a field that a line leaves out is null"
    return make(
        "RecordSet", id=RECORD_SET, name=RECORD_SET, description=text, key=f"{RECORD_SET}/id", fields=fields
    )
