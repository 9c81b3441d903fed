"""What the search for duplicates needs of a sample, taken from its members."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from imig.duplicates.config import DuplicatesConfig
from imig.duplicates.perceptual_hash import perceptual_hash
from imig.duplicates.signatures import Signatures
from imig.errors import VALIDATE, DataError
from imig.sample import decode_image
from imig.schema import Scene
from imig.shards.features import FEATURES_MEMBER, features_from_bytes
from imig.shards.writer import JSON_MEMBER

SIGNED_MEMBERS: Final = frozenset({JSON_MEMBER, FEATURES_MEMBER, "target.jpg"})
"""Members that `add_signature` may look at."""

NO_FEATURES = (
    "no sample has a stored feature, so `similarity` was not looked at; `quality.features` stores "
    "them"
)
"""Why stored features were not compared."""


def add_signature(
    signatures: Signatures,
    scene: Scene,
    files: Mapping[str, bytes],
    config: DuplicatesConfig,
    *,
    place: str,
) -> None:
    """Take note of a sample's hash and feature, as far as `config` compares them.

    A hash that no stage has stored is computed from the target. `place` is the sample's, for
    messages.

    Raises
    ------
    DataError
        When the target does not decode or the feature is damaged.
    """
    hash_, features = None, None
    if config.hash_distance is not None:
        hash_ = scene.scores.perceptual_hash or _hash_of_target(scene, files, place)
    if config.similarity is not None and FEATURES_MEMBER in files:
        features = features_from_bytes(files[FEATURES_MEMBER], place=place)
    signatures.add(scene.id, hash_=hash_, features=features)


def _hash_of_target(scene: Scene, files: Mapping[str, bytes], place: str) -> str:
    try:
        return perceptual_hash(decode_image(files[scene.target]))
    except (KeyError, OSError) as error:
        raise DataError(
            f"{place}: {scene.target} does not decode: {error}", cure=VALIDATE
        ) from error
