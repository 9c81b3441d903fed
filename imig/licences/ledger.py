"""A dataset's licences, added up: by source, by model, and what follows for its card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Final

from imig.licences.table import CardLicence, card_licence, find_terms
from imig.models.families import FAMILIES
from imig.models.family import Task
from imig.models.weights import TINY
from imig.schema import Licences, Manifest, ModelTerms, SourceTerms
from imig.shards.index import IndexRow

_OURS: Final = "CC0-1.0"
"""Of what imig's own procedural world draws."""
_PAINTER: Final = "tabletop"
"""The kind of source, and the family of models, that it draws as."""
_TINY_LICENCE: Final = "Apache-2.0"
"""Of the weights that ship with imig, which is its own licence."""
_MAKING: Final[frozenset[Task]] = frozenset(
    {"draw pictures", "edit pictures", "compose pictures", "draw layouts"}
)
"""Tasks of models whose work becomes part of the dataset; `draw layouts` is the family of ours that
`imig encode` takes latents from."""


def add_up(manifest: Manifest, rows: Iterable[IndexRow]) -> Licences:
    """The ledger of a dataset with these scenes; what was declared before stays declared.

    The scenes alone say which sources there are, and which models they name: so what is merged,
    split, filtered or taken out counts right, whatever was done before.
    """
    sources: Counter[tuple[str, str | None]] = Counter()
    named: Counter[tuple[str, str]] = Counter()
    scenes = 0
    for row in rows:
        scenes += 1
        kind = row.source_kind or "file"
        sources[kind, _OURS if kind == _PAINTER else row.licence] += 1
        # Two revisions in a scene are the same model.
        named.update({_without_revision(one) for one in row.models})
    source_terms = [
        SourceTerms.model_validate(
            {"kind": kind, "licence": licence, "terms": _name(licence), "scenes": count}
        )
        for (kind, licence), count in sorted(sources.items(), key=lambda one: str(one[0]))
    ]
    took_part = dict.fromkeys(
        [
            *((one.family, one.weights.split("@")[0]) for one in manifest.models),
            *sorted(named),
        ]
    )
    model_terms = [
        _model_terms(
            family,
            weights,
            scenes=scenes if _encodes(family, manifest) else named[family, weights],
        )
        for family, weights in took_part
    ]
    declared = manifest.licences.declared if manifest.licences is not None else None
    card = to_card(source_terms, model_terms, declared=declared)
    return Licences(sources=source_terms, models=model_terms, declared=declared, **vars(card))


def to_card(
    sources: Sequence[SourceTerms], models: Sequence[ModelTerms], *, declared: str | None
) -> CardLicence:
    """What the card says: what was declared, else what the sources and the models' work are under.

    A model's licence counts where it says something of what is made with it (FLUX.1 [dev]'s does,
    Apache-2.0 does not). Prompts are the maker's own words: their pictures are the models'.
    """
    if declared is not None:
        return card_licence({declared})
    licences: set[str | None] = {one.licence for one in sources if one.kind != "prompt"}
    licences |= {one.licence for one in sources if one.kind == "prompt" and one.licence}
    for one in models:
        terms = find_terms(one.licence)
        if one.makes and one.scenes and one.family == _PAINTER:
            licences.add(_OURS)
        elif one.makes and one.scenes and terms is not None and terms.reaches_outputs:
            licences.add(one.licence)
    return card_licence(licences)


def model_licence(family: str, weights: str) -> str | None:
    """The licence of a model as imig's families say it; None: not known.

    A local copy is taken for the checkpoint whose name its folder or file has.
    """
    known = FAMILIES.get(family)
    if known is None:
        return None
    if weights == TINY:
        return _TINY_LICENCE
    name = weights.partition("@")[0]
    by_name = {one.weights: one.licence for one in known.checkpoints}
    by_last_part = {PurePosixPath(one).name: licence for one, licence in by_name.items()}
    return by_name.get(name) or by_last_part.get(PurePosixPath(name).name)


def _model_terms(family: str, weights: str, *, scenes: int) -> ModelTerms:
    licence = model_licence(family, weights)
    known = FAMILIES.get(family)
    return ModelTerms(
        family=family,
        weights=weights,
        licence=licence,
        terms=_name(licence),
        makes=known is not None and not _MAKING.isdisjoint(known.tasks),
        scenes=scenes,
    )


def _encodes(family: str, manifest: Manifest) -> bool:
    known = FAMILIES.get(family)
    return manifest.encoding is not None and known is not None and "draw layouts" in known.tasks


def _without_revision(name: str) -> tuple[str, str]:
    """``family:weights@revision`` -> family and weights."""
    family, _, rest = name.partition(":")
    return family, rest.rpartition("@")[0] or rest


def _name(licence: str | None) -> str | None:
    terms = find_terms(licence)
    return None if terms is None else terms.id
