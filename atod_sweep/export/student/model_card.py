"""The model card of an exported student: how to play with it, which one it is, what it was tested on, and what not."""

from __future__ import annotations

from typing import Any

from atod_sweep.config.kinds import kinds
from atod_sweep.config.objective import Mixture, Objective
from atod_sweep.export.attestation import attested
from atod_sweep.export.schedule.card import evidence, models, said


def model_card(p: dict[str, Any]) -> str:
    """Markdown for README.md, with the front matter of the Hugging Face hub."""
    return "\n\n".join([_front(p), _title(p), _use(p), _which(p), evidence(p), _untested(p)]) + "\n"


def _front(p: dict[str, Any]) -> str:
    """Of exports with a statement with the results, as the hub reads them."""
    student = p["model"]["config"]["student"]
    if attested(p):
        from huggingface_hub import ModelCardData

        further = student["kind"] == "pretrained"
        relation: dict[str, Any] = {"base_model_relation": "finetune"} if further else {}
        data = ModelCardData(
            library_name="transformers",
            pipeline_tag="text-generation",
            tags=["atod-sweep", "distillation", "agent"],
            license=None if further else "mit",
            base_model=student["path"] if further else None,
            **relation,
            model_name=f"{p['study']}-{p['arm']}",
            eval_results=_results(p),
        )
        return f"---\n{data.to_yaml()}\n---"
    origin = f"base_model: {student['path']}" if student["kind"] == "pretrained" else "license: mit"
    return (
        "---\nlibrary_name: transformers\npipeline_tag: text-generation\n"
        f"tags: [atod-sweep, distillation, agent]\n{origin}\n---"
    )


def _results(p: dict[str, Any]) -> list[Any]:
    """The arm over its seeds with its interval, and the student that is here."""
    from huggingface_hub import EvalResult

    name, result, model = p["metric"]["name"], p["result"], p["model"]
    where = {
        "task_type": "text-generation",
        "task_name": p["env"]["id"],
        "dataset_type": "atod-sweep",
        "dataset_name": f"held-out tasks of {p['env']['id']} at a horizon of {p['run']['horizon']}",
    }
    limits = {key: result[key] for key in ("low", "high", "level", "n") if result[key] is not None}
    arm = EvalResult(
        **where,
        metric_type=name,
        metric_value=result["mean"],
        metric_name=f"{name}, mean over {result['n']} seeds",
        metric_args=limits,
    )
    here = EvalResult(
        **where,
        metric_type=name,
        metric_value=model["score"],
        metric_name=f"{name}, this student (seed {model['seed']})",
    )
    return [arm, here]


def _title(p: dict[str, Any]) -> str:
    env, student = p["env"], p["model"]["config"]["student"]
    what = f"`{student['path']}`, trained further" if student["kind"] == "pretrained" else "A compact Llama"
    return (
        f"# Student of arm {said(p, p['arm'])} of {said(p, p['study'])}\n\n"
        f"{what} by {_method(p['model']['config']['objective']['kind'])} on `{env['id']}` at a horizon of "
        f"{p['run']['horizon']} turns, over {p['run']['steps']} optimiser steps.\n\n"
        f"Question of the study: {said(p, p['question'])}"
    )


def _method(kind: str) -> str:
    is_mixed = issubclass(kinds(Objective)[kind], Mixture)
    return "annealed on-policy distillation mixed with reward" if is_mixed else f"the objective `{kind}`"


def _use(p: dict[str, Any]) -> str:
    cut = "".join(f".split({stop!r})[0]" for stop in p["model"]["stop_strings"])
    temperature = p["model"]["config"]["evaluation"]["temperature"]
    how = f"samples at temperature {temperature:g}" if temperature else "takes the likeliest token"
    return f"""## Use it

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "."  # this one
tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)


def act(messages):  # the conversation so far: observations have the role "user", earlier actions "assistant"
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    tokens = model.generate(**prompt, tokenizer=tokenizer)[0, prompt["input_ids"].shape[1] :]
    return tokenizer.decode(tokens, skip_special_tokens=True){cut}.strip()
```

The generation config {how}, as the evaluation did."""


def _which(p: dict[str, Any]) -> str:
    model = p["model"]
    return (
        f"## Which student\n\nSeed {model['seed']} (trial `{model['trial']}`): {model['chosen']}. Its "
        f"{p['metric']['name']}: {model['score']:.3f}; its last evaluation: a success of {model['eval/success']:.3f} "
        f"on {model['config']['evaluation']['tasks']} held-out tasks. `atod-sweep verify THIS_FOLDER` checks every "
        "file and plays them again."
    )


def _untested(p: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in p["versions"].items())
    return (
        f"## Not tested on\n\n- Any environment other than `{p['env']['id']}`, and horizons other than "
        f"{p['run']['horizon']} turns.\n- Any use with people, or with anything at stake.\n\n"
        f"Trained with: {models(p['models'])} ({versions}, git {p['git'] or 'unknown'}, {p['run_date']}). "
        f"Licence: {_licence(p)}."
    )


def _licence(p: dict[str, Any]) -> str:
    student = p["model"]["config"]["student"]
    return f"that of `{student['path']}`" if student["kind"] == "pretrained" else "MIT"
