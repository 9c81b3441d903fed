"""Every guard against hostile files has a test that fails without it.

A guard is taken out of a copy of the package, and the test that is named beside it is run on the
copy: it must fail. A text that is no longer there is an error, so that the table stays true.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from support.hostile.table import FAULTS

import imig

PACKAGE = Path(imig.__file__).parent
ROOT = Path(__file__).parents[2]
FAILED = 1
"""pytest's exit code for tests that ran and failed; others are of tests that could not run."""


class Guard(NamedTuple):
    file: str
    """Below `imig/`."""
    text: str
    """Stands in the file once."""
    without: str
    test: str
    """Below `tests/`; must fail with `without` in place of `text`."""


HOSTILE = "hostile/test_hostile_table.py::"
PLANTED = HOSTILE + "test_a_fault_is_named"
PLANNED = HOSTILE + "test_an_index_that_no_training_can_be_planned_with"
LIMITS = "shards/test_shards_limits.py::"
KEPT = "fuzz/test_fuzz_mutants.py::test_what_has_been_found"
PICKLES = "models/test_models_pickles.py::"
ENDPOINT = "endpoint/test_endpoint_hostile.py::"
LOST = "stages/test_stages_source_lost.py::"
BUILDS = "engine/test_engine_lost.py::"

GUARDS: dict[str, Guard] = {
    # Pictures
    "formats of pictures": Guard(
        "pictures/opening.py", "Image.open(io.BytesIO(data), formats=formats)",
        "Image.open(io.BytesIO(data))",
        LIMITS + "test_formats_that_hand_a_file_to_other_programs_are_not_opened",
    ),
    "formats that validate opens": Guard(
        "checks/pictures.py", "Image.open(io.BytesIO(data), formats=FORMATS)",
        "Image.open(io.BytesIO(data))",
        LIMITS + "test_formats_that_hand_a_file_to_other_programs_are_not_opened_to_validate",
    ),
    "pixels before anything is decoded": Guard(
        "pictures/opening.py", "if width * height > max_pixels:", "if False:",
        "pictures/test_pictures_opening.py",
    ),
    "size and format before anything is decoded": Guard(
        "shards/views.py", "decode_pixels(self.read(member), check_header=check)",
        "decode_pixels(self.read(member))",
        LIMITS + "test_a_picture_of_another_size_is_not_decoded",
    ),
    "what a picture is and what is stated": Guard(
        "shards/views.py", "if found != stated:", "if False:", PLANTED + "[target-webp]",
    ),
    # Sizes in the schema
    "sides": Guard(
        "schema/parts.py", "Side = Annotated[int, Field(gt=0, le=MAX_SIDE)]",
        "Side = Annotated[int, Field(gt=0)]",
        PLANTED + "[scene-one-pixel-high]",
    ),
    "corners of boxes": Guard(
        "schema/parts.py",
        "Annotated[int, Field(ge=-MAX_SIDE, le=MAX_SIDE)]", "Annotated[int, Field()]",
        PLANTED + "[subject-box-huge]",
    ),
    "pixels of a mask": Guard(
        "schema/parts.py", 'check_pixels("a mask", *reversed(self.size))', "pass",
        LIMITS + "test_a_mask_of_the_largest_sides_is_too_large",
    ),
    "pixels of a target": Guard(
        "schema/scene.py", 'check_pixels("a target", self.width, self.height)', "pass",
        LIMITS + "test_a_target_of_the_largest_sides_is_too_large",
    ),
    "pixels of a scene": Guard(
        "schema/scene.py", "if pixels > MAX_SCENE_PIXELS:", "if False:",
        PLANTED + "[references-heavy-together]",
    ),
    "instances": Guard(
        "schema/scene.py",
        "instances: list[Instance] = Field(default_factory=list, max_length=MAX_INSTANCES)",
        "instances: list[Instance] = Field(default_factory=list)",
        LIMITS + "test_more_instances_than_there_may_be",
    ),
    "captions": Guard(
        "schema/scene.py", 'Field(default="", max_length=MAX_CAPTION)', 'Field(default="")',
        PLANTED + "[caption-1-mb]",
    ),
    "numbers that are none": Guard(
        "schema/parts.py", "allow_inf_nan=False, ", "", PLANTED + "[score-nan-text]",
    ),
    "keys of strangers": Guard(
        "schema/parts.py", 'extra="forbid", validate', "validate", PLANTED + "[unknown-key]",
    ),
    "areas": Guard(
        "schema/scene.py", "gt=0, le=MAX_PIXELS, description", "gt=0, description",
        LIMITS + "test_an_area_that_no_mask_can_have",
    ),
    "counts of a manifest": Guard(
        "schema/parts.py", "Count = Annotated[int, Field(ge=0, le=MAX_SEED)]",
        "Count = Annotated[int, Field(ge=0)]", LIMITS + "test_counts_that_no_table_can_hold",
    ),
    "sizes of an encoding": Guard(
        "schema/manifest.py", "reference_side: Side", "reference_side: int = Field(gt=0)",
        LIMITS + "test_an_encoding_at_sizes_that_cannot_be",
    ),
    "targets like threads, trained on": Guard(
        "training/prepare.py", "if size[0] * size[1] > MAX_PIXELS:", "if False:",
        LIMITS + "test_a_target_like_a_thread",
    ),
    "targets like threads, planned with": Guard(
        "training/catalogue.py", "except ValueError as error:", "except KeyError as error:",
        LIMITS + "test_a_target_like_a_thread_in_an_index",
    ),
    "boxes outside of their pictures": Guard(
        "shards/views.py", "(box[2] > size[0] or box[3] > size[1])", "False",
        KEPT + "[found-scene-subject-box-outside]",
    ),
    # Run lengths
    "characters of a run": Guard(
        "layout/run_lengths.py", "if characters.max() > MAX_CHARACTERS:", "if False:",
        LIMITS + "test_a_run_that_is_spelt_longer_than_any",
    ),
    "a mask of the target's size": Guard(
        "layout/masks.py", "if size not in (None, (width, height)):", "if False:",
        PLANTED + "[mask-of-another-size]",
    ),
    # Tars
    "links in a sample": Guard(
        "shards/dataset.py", "if not item.plain:", "if False:",
        LIMITS + "test_a_link_in_the_region_of_a_sample",
    ),
    "a link in place of the JSON": Guard(
        "shards/dataset.py", "if not header.plain:", "if False:",
        LIMITS + "test_a_link_in_place_of_the_json",
    ),
    "members twice": Guard(
        "shards/dataset.py", "if member in files:", "if False:", PLANTED + "[member-twice]",
    ),
    "links in a shard that is copied": Guard(
        "shards/writer.py", "if not item.plain or name in members:", "if name in members:",
        LIMITS + "test_a_link_in_a_shard_that_is_copied",
    ),
    "members twice in a shard that is copied": Guard(
        "shards/writer.py", "if not item.plain or name in members:", "if not item.plain:",
        LIMITS + "test_a_member_twice_in_a_shard_that_is_copied",
    ),
    "links, to validate": Guard(
        "checks/shard.py", "if not item.plain:", "if False:",
        LIMITS + "test_a_link_in_a_shard_that_is_copied",
    ),
    "members that reach beyond a sample": Guard(
        "shards/dataset.py", "if position + BLOCK + padded(header.size) > end:", "if False:",
        LIMITS + "test_a_member_that_reaches_beyond_its_sample_is_not_read",
    ),
    "pipes and devices": Guard(
        "regular_file.py", "if not stat.S_ISREG(os.fstat(descriptor).st_mode):", "if False:",
        LIMITS + "test_a_pipe_is_no_regular_file",
    ),
    "another sample's JSON": Guard(
        "shards/dataset.py", "if scene.id != sample_id:", "if False:",
        PLANTED + "[id-of-another]",
    ),
    # Manifest, index, report
    "names of shards": Guard(
        "schema/parts.py", r'Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,250}\.tar$")', "Field()",
        LIMITS + "test_a_shard_lies_in_the_folder",
    ),
    "shards listed twice": Guard(
        "schema/manifest.py",
        "if record.name in seen:", "if False:", PLANTED + "[manifest-shard-twice]",
    ),
    "merges of merges": Guard(
        "schema/manifest.py",
        "if depth > MAX_MERGES:", "if False:", PLANTED + "[manifest-merged-50-deep]",
    ),
    "places in shards": Guard(
        "shards/places.py", "if good.all():", "if True:",
        LIMITS + "test_rows_of_another_shard_are_not_there",
    ),
    "samples with two rows": Guard(
        "shards/places.py", "if len(set(ids)) < len(ids):", "if False:", PLANTED + "[row-twice]",
    ),
    "rows and samples": Guard(
        "shards/index.py", "if samples is not None and file.metadata.num_rows != samples:",
        "if False:", PLANTED + "[row-missing]",
    ),
    "rows for millions, to validate": Guard(
        "checks/folder.py", "if rows > 2 * samples + _FEW_ROWS:", "if False:",
        LIMITS + "test_many_more_rows_than_samples_are_not_read",
    ),
    "nulls in the columns of places": Guard(
        "shards/places.py", "if table[column].null_count:", "if False:",
        LIMITS + "test_rows_without_a_place",
    ),
    "rows of an index": Guard(
        "training/catalogue_check.py",
        'require_values(table, "subset", "width", "height", "caption", index=index)', "",
        PLANNED + "[row-caption-null]",
    ),
    "subsets in an index": Guard(
        "training/catalogue_check.py", '~_is_in(table["subset"], get_args(Subset))',
        "np.zeros(1)", PLANNED + "[row-subset-path]",
    ),
    "sides in an index": Guard(
        "training/catalogue_check.py", "(sides > 0) & (sides <= MAX_SIDE)", "sides > 0",
        PLANNED + "[row-width-huge]",
    ),
    "sides of nothing in an index": Guard(
        "training/catalogue_check.py", "(sides > 0) & (sides <= MAX_SIDE)", "sides <= MAX_SIDE",
        PLANNED + "[row-reference-zero]",
    ),
    "captions in an index": Guard(
        "training/catalogue_check.py",
        'pc.utf8_length(table["caption"]).to_numpy() > MAX_CAPTION', "np.zeros(1)",
        PLANNED + "[row-caption-1-mb]",
    ),
    "kinds in an index": Guard(
        "training/catalogue_check.py", "rows_of(~_is_in(kind, KINDS))", "np.zeros(1)",
        PLANNED + "[row-reference-kind]",
    ),
    "instances that are null": Guard(
        "training/catalogue_check.py", 'rows_of(_lacks(instances, "box", "face", "references"))',
        "np.zeros(1)", PLANNED + "[row-instance-null]",
    ),
    "references that are null": Guard(
        "training/catalogue_check.py", "rows_of(_lacks(references, *names))", "np.zeros(1)",
        PLANNED + "[row-reference-kind-null]",
    ),
    "boxes in an index": Guard(
        "training/catalogue_check.py", "(box <= MAX_SIDE).all(axis=1)", "True",
        HOSTILE + "test_boxes_of_an_index_are_boxes",
    ),
    "checksums of shards": Guard(
        "checks/folder.py", "elif check.sha256 != record.sha256:", "elif False:",
        "checks/test_checks_folder.py",
    ),
    "deep manifests": Guard(
        "shards/manifest.py", "(ValueError, AttributeError, RecursionError)",
        "(ValueError, AttributeError)", KEPT + "[found-manifest-deep]",
    ),
    "deep reports": Guard(
        "shards/funnel.py", "(ValueError, KeyError, TypeError, RecursionError)",
        "(ValueError, KeyError, TypeError)",
        HOSTILE + "test_a_report_that_is_none_costs_the_funnel_alone[report-deep]",
    ),
    "pictures of a card": Guard(
        "checks/folder.py", "if not is_jpeg(path):", "if False:",
        PLANTED + "[pictures-link]",
    ),
    # Features and encodings
    "the header of features": Guard(
        "shards/features.py", 'if stored != 2 * int(header["length"]):', "if False:",
        LIMITS + "test_features_of_another_length_than_stated",
    ),
    "the norm of features": Guard(
        "shards/features.py", "if not abs(norm - 1) <= NORM_TOLERANCE:", "if False:",
        "shards/test_shards_features.py",
    ),
    "another sample's encoding": Guard(
        "checks/encoded.py", "if header.id != sample:", "if False:",
        "checks/test_checks_encoded.py",
    ),
    "references of an encoding": Guard(
        "checks/encoded.py", "if name not in header.boxes:", "if False:",
        KEPT + "[found-encoding-shows-another-reference]",
    ),
    "layouts of an encoding": Guard(
        "training/data.py", "if choice.variant not in scene.layouts:", "if False:",
        KEPT + "[found-index-promises-a-face]",
    ),
    # What strangers have written, on a screen
    "terminal escapes": Guard(
        "cli.py", "to_printable(error.message, lines=True)", "error.message",
        "test_printable.py::test_errors_of_the_command_line",
    ),
    "markup": Guard(
        "display/stats.py", "{escape(to_printable(name))}", "{to_printable(name)}",
        "test_printable.py::test_statistics_show_phrases_as_they_are_written",
    ),
    "aliases of YAML": Guard(
        "recipe/yaml_lines.py", "if walk.visited > MAX_NODES:", "if False:",
        "recipe/test_recipe_values.py",
    ),
    # What endpoints answer
    "the time of a request": Guard(
        "endpoint/client.py", "left = self.deadline - time.monotonic()", "left = 9.0",
        ENDPOINT + "test_an_answer_that_comes_to_its_end_too_late_is_none",
    ),
    "the size of an answer": Guard(
        "endpoint/client.py", "if len(body) > MAX_BODY:", "if False:",
        ENDPOINT + "test_an_answer_has_a_size[body]",
    ),
    "the size of an answer on the wire": Guard(
        "endpoint/client.py", "if self.received > self.most:", "if False:",
        ENDPOINT + "test_an_answer_has_a_size[continue-and-good]",
    ),
    "the size of an answer, unpacked": Guard(
        "endpoint/client.py", "inflate.decompress(chunk, MAX_BODY + 1)",
        "inflate.decompress(chunk)",
        ENDPOINT + "test_what_is_packed_is_not_unpacked_beyond_the_bound",
    ),
    "redirections to other servers": Guard(
        "endpoint/client.py",
        "_require_same_server(request.url, response.next_request.url)", "pass",
        ENDPOINT + "test_redirections_stay_at_the_server",
    ),
    "the key in an answer": Guard(
        "endpoint/client.py", "hide_key_in_body(_one_choice(body), self._key)",
        "_one_choice(body)", ENDPOINT + "test_the_client_gives_nothing_back_that_has_the_key",
    ),
    "the key in the headers of an answer": Guard(
        "endpoint/client.py", "(name, hide_key(value, self._key))", "(name, value)",
        ENDPOINT + "test_the_client_gives_nothing_back_that_has_the_key",
    ),
    "the key in an error": Guard(
        "endpoint/errors.py", "return hide_key(text, self.key)", "return text",
        ENDPOINT + "test_an_odd_status_line_with_the_key_is_shown_nowhere",
    ),
    "the key, however it is written": Guard(
        "endpoint/key.py", "re.compile(encoded),", "",
        ENDPOINT + "test_the_key_is_hidden_however_it_is_written[base64-1]",
    ),
    # Sources and outputs
    "an output inside of its source": Guard(
        "engine/plan_source.py", "if is_within(output, folder):", "if False:",
        LOST + "test_an_output_is_never_read_as_input",
    ),
    "a source inside of its output": Guard(
        "engine/plan_source.py", "if isinstance(path, Path) and is_within(path, output):",
        "if False:",
        LOST + "test_an_output_is_never_read_as_input",
    ),
    "pictures that cannot be opened": Guard(
        "stages/sources/opening.py", "raise cannot_open(shown, error) from None",
        'raise PictureError("unreadable image", {}) from None',
        LOST + "test_one_file_gone_since_the_listing_is_no_reject",
    ),
    "sources that are gone": Guard(
        "stages/sources/opening.py", "if any(map(is_there, paths)):", "if True:",
        LOST + "test_a_folder_that_is_gone_stops_the_build[moved]",
    ),
    "builds that wrote nothing": Guard(
        "engine/failures.py", "not self.written or self.failed / self.seen > limit",
        "self.failed / self.seen > limit",
        BUILDS + "test_a_build_that_writes_nothing_has_failed_at_any_rate",
    ),
    "shards of which nothing is left": Guard(
        "engine/finish.py", "    _require_some_written(folder, shards)\n", "",
        BUILDS + "test_an_empty_shard_of_an_older_version_is_done_again",
    ),
    # Pickles
    "weights of segment-anything": Guard(
        "models/families/segment_anything.py", "weights_only=True", "weights_only=False",
        PICKLES + "test_weights[archive-segment-anything]",
    ),
    "weights of groundingdino": Guard(
        "models/families/groundingdino.py", "weights_only=True", "weights_only=False",
        PICKLES + "test_weights[archive-groundingdino]",
    ),
    "weights of a head": Guard(
        "models/families/aesthetics.py", "weights_only=True", "weights_only=False",
        PICKLES + "test_weights[archive-aesthetics]",
    ),
    "weights of transformers": Guard(
        "models/pretrained.py", "weights_only=True", "weights_only=False",
        "guards/test_guards_pickle_calls.py",
    ),
    "weights of open-clip": Guard(
        "models/families/open_clip.py", "weights_only=True", "weights_only=False",
        PICKLES + "test_weights[archive-open-clip, a folder]",
    ),
    "weights of a component": Guard(
        "contextgen/components.py", "use_safetensors=True,", "",
        "guards/test_guards_pickle_calls.py",
    ),
    "checkpoints": Guard(
        "training/checkpoint.py", "weights_only=True", "weights_only=False",
        "training/test_training_checkpoint.py::test_a_checkpoint_runs_no_code",
    ),
    "the tagger's model": Guard(
        "stages/word_classes.py", "HanoverTagger.HanoverTagger(str(model))",
        "HanoverTagger.HanoverTagger(model.name)",
        PICKLES + "test_a_model_of_hanta_in_the_current_folder",
    ),
}  # fmt: skip


@pytest.mark.parametrize("guard", GUARDS.values(), ids=GUARDS)
def test_the_text_of_a_guard_is_there(guard: Guard) -> None:
    assert (PACKAGE / guard.file).read_text(encoding="utf-8").count(guard.text) == 1
    file, _, name = guard.test.partition("::")
    name, _, case = name.partition("[")
    assert f"def {name}" in (ROOT / "tests" / file).read_text(encoding="utf-8")
    assert not guard.test.startswith(PLANTED) or case.removesuffix("]") in FAULTS


@pytest.mark.long
@pytest.mark.parametrize("guard", GUARDS.values(), ids=GUARDS)
def test_without_a_guard_its_test_fails(guard: Guard, tmp_path: Path) -> None:
    copy = tmp_path / "imig"
    _link_tree(PACKAGE, copy)
    mutated = copy / guard.file
    text = mutated.read_text(encoding="utf-8")
    mutated.unlink()  # the link, not the file
    mutated.write_text(text.replace(guard.text, guard.without), encoding="utf-8")
    done = _run_test(guard.test, package=tmp_path)
    assert done.returncode == FAILED, done.stdout[-2000:] + done.stderr[-2000:]
    assert "failed" in done.stdout.splitlines()[-1]


def test_the_page_says_how_many_there_are() -> None:
    page = ROOT / "docs" / "reliability.md"
    assert f"Each of {len(GUARDS)} guards" in page.read_text(encoding="utf-8")


@pytest.mark.long
def test_the_copy_is_what_is_tested(tmp_path: Path) -> None:
    """And passes as it is: else every mutation would seem to be found."""
    _link_tree(PACKAGE, tmp_path / "imig")
    done = _run_test(LIMITS + "test_a_pipe_is_no_regular_file", package=tmp_path)
    assert done.returncode == 0, done.stdout
    where = subprocess.run(
        [sys.executable, "-P", "-c", "import imig; print(imig.__file__)"],
        cwd=ROOT, env=_environment(tmp_path), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert where.stdout.startswith(str(tmp_path))


def _run_test(test: str, *, package: Path) -> subprocess.CompletedProcess[str]:
    # -P: the current folder's own package must not come first
    return subprocess.run(
        [
            *(sys.executable, "-P", "-m", "pytest", "-q", "-x", "--tb=line"),
            *("-p", "no:cacheprovider", "-m", "", f"tests/{test}"),
        ],
        cwd=ROOT, env=_environment(package), capture_output=True, text=True, check=False,
        timeout=300,
    )  # fmt: skip


def _environment(package: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1"}


def _link_tree(source: Path, target: Path) -> None:
    """A folder of folders like the source's, and links to its files."""
    for path in source.rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            link = target / path.relative_to(source)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
