"""A model directory from somebody else is data: code that it brings is neither run nor asked about."""

from __future__ import annotations

import builtins
import json

import pytest
import torch
from small import LLAMA, tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from atod_sweep.config.models import Pretrained
from atod_sweep.errors import UserError
from atod_sweep.training.models.load import load_model, load_tokenizer

CODE = "import pathlib\npathlib.Path({marker!r}).write_text('ran')\nfrom transformers import LlamaConfig as Evil\n"


@pytest.fixture
def received(tmp_path, monkeypatch):
    """A small model with a module beside its weights, at a terminal where somebody answers yes."""
    asked: list[str] = []
    monkeypatch.setattr(builtins, "input", lambda question="": asked.append(question) or "y")
    folder = tmp_path / "received"
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**LLAMA)).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    (folder / "evil.py").write_text(CODE.format(marker=str(tmp_path / "ran")))
    yield folder
    assert asked == []
    assert not (tmp_path / "ran").exists()


def amend(folder, file: str, **changes: object) -> None:
    data = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(data | changes))


@pytest.mark.parametrize(
    "keys",
    [
        {"AutoConfig": "evil.Evil"},
        {"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil"},
        {"AutoModelForCausalLM": "evil.Evil"},
    ],
)
@pytest.mark.parametrize("kind", ["llama", "evil"])
def test_a_model_that_names_code(keys, kind, received):
    amend(received, "config.json", auto_map=keys, model_type=kind)
    if kind == "llama":  # known here: loaded by the code that is installed
        assert type(load_model(Pretrained(path=str(received)))).__name__ == "LlamaForCausalLM"
    else:
        with pytest.raises(UserError, match="cannot be loaded") as error:
            load_model(Pretrained(path=str(received)))
        assert len(str(error.value).splitlines()) == 1
        assert ("brings code of its own" in str(error.value)) == ("AutoConfig" in keys)


def test_a_tokenizer_that_names_code(received):
    amend(received, "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Evil", "evil.Evil"]})
    assert load_tokenizer(received).get_vocab() == tokenizer().get_vocab()
    amend(received, "tokenizer_config.json", tokenizer_class="Evil")
    with pytest.raises(UserError, match="brings code of its own, which is not run unless it is allowed to"):
        load_tokenizer(received)
