"""What can be wrong with a dataset, in the words that `imig validate` prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

KINDS: Final[dict[str, str]] = {
    # The tar
    "unreadable-shard": "the file cannot be read, or is empty",
    "truncated-header": "the shard ends inside a tar header",
    "truncated-data": "the shard ends inside a member",
    "bad-header-checksum": "a tar header is damaged",
    "garbage-between-members": "bytes between two members that belong to none",
    "missing-end-of-archive": "the two closing zero blocks are missing",
    "data-after-end": "bytes behind the end of the archive, which no reader sees",
    # Members
    "unsafe-name": "a member name that is absolute, has `..` or a folder, or breaks the pattern",
    "not-a-plain-file": "a link, device or folder in the shard",
    "duplicate-member": "a sample has two members of one name",
    "unsorted-members": "the members of a sample are not sorted by name",
    "scattered-sample": "the members of a sample are not adjacent",
    "duplicate-sample": "a sample id occurs twice",
    "missing-json": "a sample without its JSON",
    "missing-member": "the JSON names a member that is not there",
    "unexpected-member": "a member that the JSON does not name",
    # JSON
    "bad-json": "the JSON cannot be parsed",
    "doubled-key": "a key stands twice in an object: parsers differ in which one they take",
    "schema-violation": "the JSON does not obey the schema",
    "id-mismatch": "the id in the JSON is not the sample's key",
    "missing-identity": "an instance without identity id",
    "layer-order": "`layer_order` contradicts the layers of the instances",
    "relation": "a relation contradicts boxes or parents",
    "parent": "an instance whose parent is smaller, or that is its own ancestor",
    "score-range": "a cosine outside [-1, 1]",
    # What the subset promises
    "view-record": "a view without the record that its kind needs",
    "missing-view": "an instance without a view that the subset promises",
    "too-few-instances": "fewer instances than the subset promises",
    "subject": "an instance of the flexible subset without a subject of its own",
    # Pictures, boxes, masks
    "undecodable-image": "a picture does not decode",
    "image-size": "a picture has not the stated size",
    "image-format": "a picture is not of the stated format and colour mode",
    "box-outside-image": "a box reaches outside its image",
    "undecodable-mask": "run lengths that describe no mask of their size",
    "mask-size": "a mask has not the size of its image",
    "empty-mask": "a mask without a pixel",
    "mask-outside-box": "a mask reaches outside its instance's box",
    "mask-area": "`area` is not the number of the mask's pixels",
    "subject-box": "a reference's subject box does not fit its mask",
    # What duplicates are found by
    "bad-features": "a feature that cannot be read, or is no float16 vector of norm 1",
    # What `imig encode` adds
    "bad-encoding": "latents or embeddings that cannot be read, or contradict the JSON",
    "missing-encoding": "a sample that is not encoded, in a dataset that is",
    "encoding-mismatch": "a sample that was encoded otherwise than the manifest says",
    # Index, manifest, folder
    "missing-index": "there is no index.parquet",
    "bad-index": "index.parquet cannot be read, or lacks columns",
    "index-missing-row": "a sample that the index does not have",
    "index-stale-row": "an index row without a sample",
    "index-duplicate-row": "an id that the index has twice",
    "index-offset": "the index gives a wrong place for a sample",
    "index-values": "the index disagrees with the JSON",
    "index-checksum": "index.parquet is not the file that the build wrote",
    "missing-manifest": "there is no dataset.json",
    "bad-manifest": "dataset.json cannot be read, or does not obey the schema",
    "missing-shard": "the manifest lists a shard that is not there",
    "unlisted-shard": "a shard that the manifest does not list",
    "shard-samples": "a shard has not the number of samples in the manifest",
    "shard-size": "a shard has not the number of bytes in the manifest",
    "shard-checksum": "a shard has not the SHA-256 in the manifest",
    "counts": "the counts of the manifest do not add up",
    "table-rows": "rejects.parquet or quarantine.parquet is damaged, or disagrees with the counts",
    "bad-report": "report.json cannot be read as the report of a build",
    "bad-croissant": "croissant.json cannot be read, or lists other files than the manifest",
    "missing-file": "a file that every dataset has is not there",
    "unexpected-file": "a file that belongs to no dataset",
    "unfinished-build": "leftovers of a build that did not finish",
}
"""Every kind of fault and what it means."""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong, and where."""

    kind: str
    message: str
    shard: str | None = None
    """File name; None for the folder, the index or the manifest."""
    sample: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown kind of fault: {self.kind}")
