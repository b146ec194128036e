"""An export on the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path

from atod_sweep.errors import UserError, first_line


def push(folder: Path, name: str, dry_run: bool) -> list[str]:
    """Upload all files of an export to the repository ORG/NAME, or tell what would be. UserError if that fails."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise UserError(f"--push {name!r}: name a repository of the hub as ORG/NAME")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    told = [f"{path.relative_to(folder).as_posix():32} {path.stat().st_size:>12,} bytes" for path in files]
    if dry_run:
        return [f"would push       {len(files)} files to {name}:", *told]
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        api = HfApi()
        api.create_repo(name, exist_ok=True)
        url = api.upload_folder(repo_id=name, folder_path=folder, commit_message=f"atod-sweep export {folder.name}")
    except (HfHubHTTPError, OSError, ValueError) as error:  # of an offline mode, a missing token, a connection
        raise UserError(f"--push {name}: {first_line(error)[:200]}; the export itself is whole: {folder}") from None
    return [f"pushed           {len(files)} files to {url}"]
