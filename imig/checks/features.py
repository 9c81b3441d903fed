"""Check the stored feature of one sample."""

from __future__ import annotations

from imig.checks.pictures import Findings
from imig.errors import DataError
from imig.shards.features import features_from_bytes


def check_features(findings: Findings, data: bytes) -> None:
    """Type, shape and norm; which picture the feature is of cannot be seen without the model."""
    try:
        features_from_bytes(data, place=findings.sample)
    except DataError as error:
        findings.add("bad-features", error.message.removeprefix(f"{findings.sample}: "))
