"""What TRL cannot carry of a config, by the table of its export target; and TRL itself, if it is not here."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from atod_sweep.config.models import Pretrained
from atod_sweep.config.train import Train
from atod_sweep.config.trainer import Trl
from atod_sweep.errors import UserError
from atod_sweep.export.schedule import schedule_file
from atod_sweep.export.targets.parts import PARTS, needed
from atod_sweep.export.targets.trl import TARGET

VERSION = "1.16"  # private methods of its trainer are called
ENGINES = {"use_vllm": "vllm", "deepspeed": "deepspeed", "use_liger_kernel": "liger_kernel"}
INSTALL = 'pip install "atod-sweep[trl]"'


def check(config: Train, here: bool = True) -> None:
    """UserError for what would train another method than the config says. `here`: trials run on this machine."""
    schedule = schedule_file.from_train(config)
    served = {part: TARGET.serves(part) for part in needed(schedule)}
    replayed = "it can only replay what a run has recorded"
    lost = [
        f"{PARTS[part]}: {carried.note if carried.how == 'no' else replayed}"
        for part, carried in served.items()
        if carried.how != "yes"
    ]
    if lost:
        raise UserError(
            f"trainer.kind: 'trl' cannot carry {len(lost)} part{'s' if len(lost) > 1 else ''} of this config "
            f"({'; '.join(lost)}); change that, or use trainer.kind: atod"
        )
    if isinstance(config.student, Pretrained) and config.student.lora and config.student.lora.dropout:
        raise UserError(
            f"student.lora.dropout: {config.student.lora.dropout}, but with trainer.kind: trl the update must see the "
            "policy that played; set it to 0"
        )
    if here:
        _installed(config)


def _installed(config: Train) -> None:
    try:
        found = version("trl")
        version("datasets")
    except PackageNotFoundError as error:
        raise UserError(f"trainer.kind: 'trl' needs {error.name}, which is not installed; {INSTALL}") from None
    if not f"{found}.".startswith(f"{VERSION}."):
        raise UserError(f"trainer.kind: 'trl' is written for trl {VERSION}, and {found} is installed; {INSTALL}")
    assert isinstance(config.trainer, Trl)
    for name, package in ENGINES.items():
        if config.trainer.args.get(name) and find_spec(package) is None:
            raise UserError(f"trainer.args.{name}: {package} is not installed; install it, or drop this")
