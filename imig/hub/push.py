"""`imig push`: a finished dataset becomes a dataset repository of a hub.

An earlier dataset there is taken away first, if that was asked for. Shards and tables follow, in
commits of many files; cards and manifests come last, in one commit. Before that the repository has
no `dataset.json`, and no reader takes it for a dataset. What is there already, by its checksum, is
not sent again: a push that was stopped goes on.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from imig import __version__
from imig.errors import DataError, ImigError, UsageError
from imig.hub.files import HubFile, HubFolder, is_dataset_file, read_hub_folder, with_url
from imig.licences.refusals import check_publishable
from imig.paths import command_text
from imig.shards.card import CARD_NAME, licence_text, owners_licence, read_front_matter
from imig.shards.croissant import CROISSANT_NAME
from imig.shards.hub_errors import explain_hub_error, no_token
from imig.shards.manifest import MANIFEST_NAME

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile
    from rich.console import Console

_AT_ONCE: Final = 200
"""Files of a commit; `huggingface_hub` keeps 256 patterns compiled."""
_FAULTS: Final = 3
"""Of a damaged dataset that are named."""
_PREFIX: Final = "hf://datasets/"


@dataclass(frozen=True)
class Pushed:
    """What a push did, or would do."""

    repository: str
    url: str
    files: list[HubFile]
    sent: list[HubFile]
    """Of these, the ones that were not there."""
    removed: list[str]
    """Files of an earlier dataset."""
    samples: int
    remarks: list[str]

    def address(self) -> str:
        """As `imig.Dataset` takes it; of a split, the folder of its training side."""
        split = not any(one.name == MANIFEST_NAME for one in self.files)
        return f"{_PREFIX}{self.repository}{'/train' if split else ''}"


def plan_push(folder: Path, repository: str, *, despite_licences: bool = False) -> Pushed:
    """What a push would send, if nothing is there; asks no server.

    Raises as `push_dataset` does, but for what the hub says.
    """
    from huggingface_hub import constants

    name = repository_name(repository)
    plan = read_hub_folder(folder)
    _require_publishable(plan, despite=despite_licences)
    url = f"{constants.ENDPOINT}/datasets/{name}"
    return Pushed(name, url, plan.files, plan.files, [], plan.samples(), list(plan.remarks()))


def push_dataset(
    folder: Path,
    repository: str,
    *,
    private: bool = False,
    validate: bool = True,
    overwrite: bool = False,
    despite_licences: bool = False,
    workers: int = 1,
    console: Console | None = None,
) -> Pushed:
    """Put a finished dataset, or the two of `imig split`, into a dataset repository.

    The token is the one that `hf auth login` has stored, or of the variable HF_TOKEN.

    Parameters
    ----------
    repository:
        ``owner/name``; made where it is not there.
    private:
        Make it private; one that is there and public is refused.
    validate:
        Check every byte before.
    overwrite:
        Take the place of another dataset in the repository.
    despite_licences:
        Also what the licences of its scenes do not let anybody give on.
    workers:
        Shards checked at a time.
    console:
        Where progress is shown; without one nowhere.

    Raises
    ------
    UsageError
        The folder is no finished dataset, or its licences forbid it; there is no token, or it has
        not the right; the repository holds another dataset.
    DataError
        The dataset is damaged, or the hub does not answer. The same call goes on.
    """
    from huggingface_hub import HfApi, HfFileSystem, get_token

    name = repository_name(repository)
    place = _PREFIX + name
    plan = read_hub_folder(folder)
    _require_publishable(plan, despite=despite_licences)
    with _explained(place):
        token = get_token()
    if not token:
        raise no_token(place)
    if validate:
        _validate(plan, workers=workers, console=console)
    api = HfApi(token=token, library_name="imig", library_version=__version__)
    with _explained(place), _progress(shown=console is not None and console.is_terminal):
        url = str(
            api.create_repo(name, repo_type="dataset", private=private or None, exist_ok=True)
        )
        if private and not api.repo_info(name, repo_type="dataset").private:
            raise UsageError(
                f"{place} is there, and is public",
                cure="make it private in its settings, or take another name",
            )
        there = _list_files(api, name)
        sent = [one for one in plan.files if not _is_there(one, there.get(one.name), url=url)]
        stale = _stale(there, plan)
        if sent or stale:
            _refuse_other(place, there, sent, stale, overwrite=overwrite)
            if not overwrite:
                _refuse_foreign_cards(api, place, there, sent)
            _withdraw(api, name, there, sent, stale)
            _send(api, name, plan, [one for one in sent if not one.last()], console=console)
            _finish(api, name, plan, url)
    # What was cached of the repository while it was not whole.
    HfFileSystem.clear_instance_cache()
    return Pushed(name, url, plan.files, sent, stale, plan.samples(), list(plan.remarks()))


def repository_name(text: str) -> str:
    """``owner/name`` of what people write. Raises UsageError when it is none."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    name = text.removeprefix(_PREFIX).strip("/")
    try:
        if name.count("/") != 1:
            raise HFValidationError("it has not one owner and one name")
        validate_repo_id(name)
    except HFValidationError as error:
        raise UsageError(
            f"{text!r} is no name of a dataset repository: {str(error).splitlines()[0]}",
            cure="write owner/name, as in `imig push shards/ me/my-dataset`",
        ) from error
    return name


def _require_publishable(plan: HubFolder, *, despite: bool) -> None:
    """By what the manifests have, and by what the cards say, which their owner may have edited."""
    above = owners_licence(plan.folder / CARD_NAME, *plan.datasets.values())
    for prefix, manifest in plan.datasets.items():
        check_publishable(manifest, despite=despite)
        card = owners_licence(plan.folder / prefix / CARD_NAME, manifest)
        for stated in (card, above):
            if stated:
                declared = licence_text(stated)
                check_publishable(manifest, declared=declared, despite=despite)


def _validate(plan: HubFolder, *, workers: int, console: Console | None) -> None:
    from imig.checks.dataset import validate_dataset

    for prefix in plan.datasets:
        root = plan.folder / prefix
        if console is not None:
            console.print(f"checking {root}", highlight=False, markup=False, soft_wrap=True)
        report = validate_dataset(root, workers=workers)
        if report.faults:
            shown = "; ".join(f"{one.kind}: {one.message}" for one in report.faults[:_FAULTS])
            raise DataError(
                f"{root} has {len(report.faults)} faults: {shown}",
                cure=f"`{command_text('imig', 'validate', root)}` lists them; --no-validate pushes "
                "it all the same",
            )


def _list_files(api: HfApi, name: str) -> dict[str, RepoFile]:
    from huggingface_hub.hf_api import RepoFile

    tree = api.list_repo_tree(name, repo_type="dataset", recursive=True)
    return {one.path: one for one in tree if isinstance(one, RepoFile)}


def _is_there(file: HubFile, there: RepoFile | None, *, url: str) -> bool:
    if there is None:
        return False
    if _base(file.name) == CROISSANT_NAME:
        # It is sent with its address, and says nothing that the manifest does not.
        return there.size == len(with_url(file.path, url))
    if there.size != file.size:
        return False
    if there.lfs is not None:
        return bool(there.lfs.sha256 == file.sha256())
    return bool(there.blob_id == file.git_id())


def _stale(there: dict[str, RepoFile], plan: HubFolder) -> list[str]:
    """What an earlier dataset has left, or a push that was cut off: readers would find it."""
    return sorted(one for one in there.keys() - plan.names() if is_dataset_file(one))


def _base(name: str) -> str:
    return name.rpartition("/")[2]


def _refuse_other(
    place: str,
    there: dict[str, Any],
    sent: Sequence[HubFile],
    stale: Sequence[str],
    *,
    overwrite: bool,
) -> None:
    """A finished dataset in the repository, which others may have come to rely on.

    Cards are edited on the hub, too.
    """
    if overwrite:
        return
    changed = sorted({*stale, *(one.name for one in sent if one.last() and one.name in there)})
    manifests = [one for one in changed if _base(one) == MANIFEST_NAME]
    if not any(_base(one) == MANIFEST_NAME for one in there):
        if not stale:
            return
        what = f"files of another dataset, or of a push that was not ended: {stale[0]} is one"
    elif manifests or stale:
        what = f"another dataset: its {(manifests or changed)[0]} differs"
    elif changed:
        what = f"this dataset with another {changed[0]}"
    else:
        return
    raise UsageError(
        f"{place} holds {what}",
        cure="take another name, or --overwrite to put this one in its place; the hub keeps the "
        "old one in its history",
    )


def _refuse_foreign_cards(
    api: HfApi, place: str, there: dict[str, RepoFile], sent: Sequence[HubFile]
) -> None:
    """A card that imig has not written is somebody's work, be there a dataset of ours or not."""
    for one in sent:
        if _base(one.name) != CARD_NAME or one.name not in there:
            continue
        with tempfile.TemporaryDirectory(prefix="imig-") as folder:
            card = api.hf_hub_download(
                place.removeprefix(_PREFIX), one.name, repo_type="dataset", local_dir=folder
            )
            ours = read_front_matter(Path(card)) is not None
        if not ours:
            raise UsageError(
                f"{place} has a {one.name} that imig has not written",
                cure="take another name, or --overwrite to put this dataset's in its place; the "
                "hub keeps the old one in its history",
            )


def _withdraw(
    api: HfApi, name: str, there: dict[str, Any], sent: Sequence[HubFile], stale: Sequence[str]
) -> None:
    """Take an earlier dataset away: nobody shall read old manifests beside new shards."""
    from huggingface_hub import CommitOperationDelete

    replaced = any(not one.last() for one in sent)
    manifests = [one for one in there if _base(one) == MANIFEST_NAME] if replaced else []
    gone = sorted({*stale, *manifests})
    if gone:
        api.create_commit(
            name,
            [CommitOperationDelete(path_in_repo=one) for one in gone],
            commit_message="Take the earlier dataset away, to put another in its place",
            repo_type="dataset",
        )


def _send(
    api: HfApi, name: str, plan: HubFolder, files: Sequence[HubFile], *, console: Console | None
) -> None:
    """Everything but cards and manifests."""
    done = 0
    for batch in _batches(files):
        if console is not None:
            size = sum(one.size for one in batch) / 1e6
            text = (
                f"sending files {done + 1} to {done + len(batch)} of {len(files)} ({size:.1f} MB)"
            )
            console.print(text, highlight=False, markup=False, soft_wrap=True)
        api.upload_folder(
            repo_id=name,
            folder_path=plan.folder,
            repo_type="dataset",
            allow_patterns=[one.name for one in batch],
            commit_message=f"Add {batch[0].name} and {len(batch) - 1} other files",
        )
        done += len(batch)


def _batches(files: Sequence[HubFile]) -> Iterator[Sequence[HubFile]]:
    for start in range(0, len(files), _AT_ONCE):
        yield files[start : start + _AT_ONCE]


def _finish(api: HfApi, name: str, plan: HubFolder, url: str) -> None:
    """Cards and manifests in one commit: all or none."""
    from huggingface_hub import CommitOperationAdd

    operations = []
    for one in plan.files:
        if not one.last():
            continue
        content: bytes | Path = one.path
        if _base(one.name) == CROISSANT_NAME:
            content = with_url(one.path, url)
        operations.append(CommitOperationAdd(path_in_repo=one.name, path_or_fileobj=content))
    api.create_commit(
        name,
        operations,
        commit_message=f"Finish the dataset: {plan.samples()} scenes",
        repo_type="dataset",
    )


@contextmanager
def _explained(place: str) -> Iterator[None]:
    """Whatever the client raises, in words for people."""
    try:
        yield
    except ImigError:
        raise
    except Exception as error:  # the client lets through errors of several libraries below it
        raise explain_hub_error(error, place=place) from error


@contextmanager
def _progress(*, shown: bool) -> Iterator[None]:
    """The client's own bars, which know bytes, on a screen and nowhere else."""
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    if shown or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
