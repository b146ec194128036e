"""Trials on other machines: models travel with them, and their files come back where no folder is shared."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from atod_sweep.records import layout
from atod_sweep.records.status import Status
from atod_sweep.sweep.trials.jobs import Job

# Absolute path of a model's folder on the driver -> the files in it.
Cargo = dict[str, dict[str, bytes]]


class NoSharedFolder(Exception):
    """A worker that sees neither the run's folder nor a storage could not give its results back."""

    status = Status.NO_SHARED_FOLDER


# ---- models -------------------------------------------------------------------------------------------------------


def pack_models(paths: list[str]) -> Cargo:
    """The models among `paths` that were trained here: folders with a recipe. Others every node fetches by itself."""
    return {
        path: {str(file.relative_to(path)): file.read_bytes() for file in Path(path).rglob("*") if file.is_file()}
        for path in paths
        if (Path(path) / layout.RECIPE).is_file()
    }


def unpack_models(cargo: Mapping[str, Mapping[str, bytes]]) -> None:
    """Put models where the driver has them, unless they are there: once per node, and never half of one."""
    for name, files in cargo.items():
        target = Path(name)
        if target.is_dir():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock"):
            if target.is_dir():
                continue
            staging = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
            for relative, data in files.items():
                path = staging / relative
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            staging.rename(target)


# ---- files of trials ------------------------------------------------------------------------------------------------


def place(job: Job, storage: str | None) -> Job:
    """The job with a folder that this machine can write: the run's own, or a new one that `push` copies to the storage.

    The caller removes the new one.
    """
    if (Path(job.directory).parents[1] / layout.LEDGER).is_file():
        return job
    if storage is None:
        raise NoSharedFolder(
            f"{os.uname().nodename} does not see {job.directory}; put --out on a file system that all nodes share, "
            "or give --storage"
        )
    local = Path(tempfile.mkdtemp(prefix="atod-trial-"))  # nobody else can have put something there
    if job.resume:
        fetch(job, storage, local)
    return replace(job, directory=str(local))


def address(job: Job, storage: str) -> str:
    """Where the files of a trial lie in the storage: under the names of its run and itself."""
    folder = Path(job.directory)
    return f"{storage.rstrip('/')}/{folder.parents[1].name}/trials/{job.trial}"


def push(folder: Path, uri: str) -> None:
    """Make the folder at `uri` equal to a local one: new and changed files go up, then vanished ones are removed."""
    pafs = _arrow()
    remote, root = pafs.FileSystem.from_uri(uri)
    there = _sizes(remote, root)
    here = {str(p.relative_to(folder)): p.stat().st_size for p in folder.rglob("*") if p.is_file()}
    for name, size in here.items():
        if there.get(name) != size:
            remote.create_dir(f"{root}/{name}".rpartition("/")[0], recursive=True)
            pafs.copy_files(str(folder / name), f"{root}/{name}", pafs.LocalFileSystem(), remote)
    for name in there.keys() - here.keys():
        remote.delete_file(f"{root}/{name}")


def fetch(job: Job, storage: str, folder: Path) -> None:
    """Copy what the storage holds of a trial into a local folder; nothing if it holds nothing."""
    pafs = _arrow()
    remote, root = pafs.FileSystem.from_uri(address(job, storage))
    for name in _sizes(remote, root):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pafs.copy_files(f"{root}/{name}", str(path), remote, pafs.LocalFileSystem())


def _sizes(remote: Any, root: str) -> dict[str, int]:
    pafs = _arrow()
    found = remote.get_file_info(pafs.FileSelector(root, allow_not_found=True, recursive=True))
    prefix = len(root.rstrip("/")) + 1
    return {info.path[prefix:]: info.size for info in found if info.type == pafs.FileType.File}


def _arrow() -> Any:
    """pyarrow's file systems (Ray brings them along): local paths, s3://, gs:// and others under one interface."""
    import pyarrow.fs  # type: ignore[import-untyped]

    return pyarrow.fs
