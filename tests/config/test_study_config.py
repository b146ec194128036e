"""Study files: hypotheses as sentences, and every refusal with its one-line message."""

import math
from pathlib import Path
from typing import Any

import pytest

from atod_sweep.config.base import validate
from atod_sweep.config.files import load_file
from atod_sweep.config.study import Hypothesis, Study
from atod_sweep.errors import UserError

FACTORS = {"horizon": {"short": {}, "long": {}}, "env": {"desk": {}}}


def study(**fields: Any) -> Study:
    base = {"name": "s", "question": "q?", "base": "presets/x", "arms": {"cosine": {}, "linear": {}}}
    return validate(Study, base | fields, "study.yaml")


# ---- hypotheses --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("cosine > linear", {}),
        ("cosine >= linear within 0.1", {"relation": ">=", "margin": 0.1}),
        ("cosine > linear on eval/turns by 1", {"metric": "eval/turns", "margin": 1.0}),
        ("  cosine   >   linear  ", {}),
        ("cosine > linear on eval/f1", {"metric": "eval/f1"}),
        ("cosine > linear by 0.05", {"margin": 0.05}),
        ("cosine = linear within 3e-2", {"relation": "=", "margin": 0.03}),
        ("cosine > linear at horizon=long", {"at": {"horizon": "long"}}),
        ("cosine > linear at horizon=long,env=desk", {"at": {"horizon": "long", "env": "desk"}}),
        (
            "cosine > linear at horizon=long , env=desk by 0.1",
            {"at": {"horizon": "long", "env": "desk"}, "margin": 0.1},
        ),
        (
            "cosine >= linear on eval/f1 at horizon=short within 0.5",
            {"relation": ">=", "metric": "eval/f1", "at": {"horizon": "short"}, "margin": 0.5},
        ),
    ],
)
def test_sentences(sentence: str, expected: dict[str, Any]) -> None:
    (claim,) = study(hypotheses=[sentence], factors=FACTORS).hypotheses
    assert claim == Hypothesis(**{"arm": "cosine", "relation": ">", "other": "linear"} | expected)


def test_sentences_and_records_are_the_same_and_read_back() -> None:
    record = {"arm": "cosine", "relation": "=", "other": "opd", "at": {"horizon": "long"}, "margin": 0.03}
    sentence = "cosine = opd on eval/success at horizon=long within 0.03"
    from_record, from_sentence = study(hypotheses=[record, sentence], factors=FACTORS, controls=["opd"]).hypotheses
    assert from_record == from_sentence
    assert str(from_record) == sentence
    assert str(Hypothesis(arm="a", relation=">", other="b", margin=0.1)) == "a > b on eval/success by 0.1"


# ---- refusals ----------------------------------------------------------------------------------------------------

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"arm": {}}, "unknown key 'arm'; did you mean 'arms'?"),
    ({"metric": {"nme": "x"}}, "unknown key 'metric.nme'; did you mean 'metric.name'?"),
    ({"resources": {"cpus": 2}}, "unknown key 'resources.cpus'; did you mean 'resources.cpu'?"),
    ({"resources": {"cpu": 0}}, "resources.cpu: must be above 0, got 0"),
    ({"resources": {"gpu": math.nan}}, "resources.gpu: must be a finite number"),
    ({"concurrency": 0}, "concurrency: must be at least 1, got 0"),
    ({"name": "a/b"}, "name: 'a/b' cannot name a folder; use letters, digits, '_', '-' and '.'"),
    ({"name": "../up"}, "name: '../up' cannot name a folder"),
    ({"name": ""}, "name: '' cannot name a folder"),
    ({"name": "a\n"}, "name: 'a\\n' cannot name a folder"),
    ({"name": "a" * 201}, "name: 'aaaaaaaaaaaaaaaaaaaa…' cannot name a folder: it has 201 characters; use at most 200"),
    ({"arms": {"a\n": {}}}, "arms: 'a\\n' cannot name an arm"),
    ({"arms": {"b" * 300: {}}}, "arms: 'bbbbbbbbbbbbbbbbbbbb…' cannot name an arm: it has 300 characters"),
    ({"factors": {"h": {"l\n": {}}}}, "factors: 'l\\n' cannot be a name"),
    (
        {"arms": {"c" * 120: {}}, "factors": {"h": {"d" * 96: {}}, "i": {"e" * 20: {}}}},
        "a trial of 'cccccccccccccccccccc…', 'dddddddddddddddddddd…', 'eeeeeeeeeeeeeeeeeeee', 's2' has a name of 241",
    ),
    # arms, controls, factors
    ({"arms": {}}, "arms: needs at least 1, got {}"),
    ({"arms": {"a b": {}}}, "arms: 'a b' cannot name an arm; use letters,"),
    ({"arms": {"a~b": {}}}, "arms: 'a~b' cannot name an arm"),
    ({"arms": {"a": 3}}, "arms.a: expected a mapping, got 3"),
    ({"reference": "sine"}, "reference: 'sine' is not an arm; did you mean 'cosine'? known: cosine, linear"),
    ({"controls": ["opdx"]}, "controls.0: unknown value 'opdx'; did you mean 'opd'? known: teacher, base, opd,"),
    ({"controls": ["rl", "rl"]}, "controls: each control runs once, got ['rl', 'rl']"),
    ({"controls": ["opd"], "arms": {"opd": {}}}, "arms.opd: is also a control; rename the arm or drop the control"),
    ({"factors": {"horizon": {}}}, "factors.horizon: has no levels, so nothing would run"),
    ({"factors": {"horizon": {"a/b": {}}}}, "factors: 'a/b' cannot be a name"),
    ({"factors": {"a b": {"x": {}}}}, "factors: 'a b' cannot be a name"),
    # seeds
    ({"seeds": 0}, "seeds: a study needs at least one seed, none below 0, got 0; use seeds: 3"),
    ({"seeds": []}, "seeds: a study needs at least one seed, none below 0, got []"),
    ({"seeds": -1}, "seeds: a study needs at least one seed, none below 0, got -1"),
    ({"seeds": [3, -1]}, "seeds: a study needs at least one seed, none below 0, got [3, -1]"),
    ({"seeds": [1, 1]}, "seeds: each seed counts once, got [1, 1]"),
    ({"seeds": "some"}, "seeds: expected a whole number or a list, got 'some'"),
    # hypotheses
    ({"hypotheses": ["cosine beats linear"]}, "hypotheses.0: cannot read 'cosine beats linear'; write for example"),
    ({"hypotheses": ["cosine > linear", "cosine < linear"]}, "hypotheses.1: cannot read 'cosine < linear'"),
    ({"hypotheses": ["cosine > linear by lots"]}, "hypotheses.0: cannot read"),
    ({"hypotheses": ["cosine > linear by ."]}, "hypotheses.0: expected a number, got '.'"),
    ({"hypotheses": ["cosine > linear by -0.1"]}, "hypotheses.0: must be at least 0"),
    (
        {"hypotheses": ["cosine > sine"]},
        "hypotheses.0: 'sine' is not an arm; did you mean 'cosine'? known: cosine, linear",
    ),
    ({"hypotheses": ["opd > cosine"]}, "hypotheses.0: 'opd' is not an arm; known: cosine, linear"),
    ({"hypotheses": ["cosine > cosine"]}, "hypotheses.0: compares 'cosine' with itself"),
    (
        {"hypotheses": ["cosine > linear at horizon=long"]},
        "hypotheses.0: horizon=long is not a level; known: no factors",
    ),
    (
        {"hypotheses": ["cosine > linear at horizon=tall"], "factors": FACTORS},
        "hypotheses.0: horizon=tall is not a level; did you mean 'horizon=long'? known: horizon=short",
    ),
    # claims that could never be decided as they are meant
    (
        {"hypotheses": ["cosine > linear within 0.03"]},
        "hypotheses.0: 'cosine > linear within 0.03': the margin of '>' is a 'by', and 'within' belongs to "
        "'=' or '>='; write 'by 0.03', or the other relation",
    ),
    ({"hypotheses": ["cosine >= linear by 0.03"]}, "hypotheses.0: 'cosine >= linear by 0.03': the margin of '>=' is a"),
    ({"hypotheses": ["cosine = linear by 0.03"]}, "hypotheses.0: 'cosine = linear by 0.03': the margin of '=' is a"),
    ({"hypotheses": ["cosine = linear"]}, "hypotheses.0: 'cosine = linear' needs a margin: no number of seeds"),
    ({"hypotheses": ["cosine >= linear"]}, "hypotheses.0: 'cosine >= linear' needs a margin"),
    ({"hypotheses": ["cosine = linear within 0"]}, "hypotheses.0: 'cosine = linear' needs a margin"),
    (
        {"hypotheses": [{"arm": "cosine", "relation": "=", "other": "linear"}]},
        "hypotheses.0: 'cosine = linear' needs a margin",
    ),
    (
        {"hypotheses": ["cosine > linear by 1.5"]},
        "hypotheses.0: a margin of 1.5 is as much as eval/success can differ by at all, from 0 to 1; use less",
    ),
    ({"hypotheses": ["cosine = linear within 1"]}, "hypotheses.0: a margin of 1 is as much as eval/success can"),
    (
        {"hypotheses": ["cosine > linear on success"]},
        "hypotheses.0: no trial reports 'success'; did you mean 'eval/success'?",
    ),
    ({"hypotheses": ["cosine > linear on cost/step"]}, "hypotheses.0: no trial reports 'cost/step'"),
    ({"hypotheses": ["cosine > linear on lr"]}, "hypotheses.0: of lr neither large nor small values are better"),
    ({"metric": {"name": "succes"}}, "metric.name: no trial reports 'succes'; did you mean 'eval/success'?"),
    (
        {"bars": {"learning": {"eval/success": 1}}},
        "bars.learning: eval/success: 1.0 is no bar; use a number above 0, b",
    ),
    ({"bars": {"learning": {"eval/turns": 0}}}, "bars.learning: eval/turns: 0.0 is no bar; use a number above 0"),
    (
        {"metric": {"name": "eval/token_entropy"}},
        "metric.name: of eval/token_entropy neither large nor small values are",
    ),
    (
        {"bars": {"learning": {"cost/tokens": 5}}},
        "bars.learning: cost/tokens has no value at step 0 that a gain could be told from; use a metric of",
    ),
    (
        {"bars": {"learning": {"final/success": 0.2}}},
        "bars.learning: final/success has no value at step 0 that a gain could be told from; use eval/suc",
    ),
    ({"bars": {"learning": {"lr": 1}}}, "bars.learning: of lr neither large nor small values are better"),
    ({"bars": {"collapse": 1}}, "bars.collapse: must be below 1, got 1"),
    ({"hypotheses": [3]}, "hypotheses.0: expected a mapping, got 3"),
]


@pytest.mark.parametrize(("fields", "message"), REFUSED, ids=[message[:60] for _, message in REFUSED])
def test_refused_on_one_line(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        study(**fields)
    assert str(caught.value).startswith(f"study.yaml: {message}")
    assert "\n" not in str(caught.value)


def test_what_a_ledger_recorded_is_read_all_the_same() -> None:
    """A run that was begun before claims were checked can still be finished."""
    data = {"name": "s", "question": "q?", "base": "presets/x", "arms": {"cosine": {}, "linear": {}}}
    old = data | {"hypotheses": ["cosine = linear on eval/success"]}
    assert validate(Study, old, "study.yaml", context={"recorded": True}).hypotheses[0].margin == 0


def test_what_is_missing_is_named() -> None:
    with pytest.raises(UserError) as caught:
        validate(Study, {"name": "s", "base": "presets/x", "arms": {"a": {}}}, "study.yaml")
    assert str(caught.value) == "study.yaml: question: is missing (what the study asks, as one sentence)"


# ---- the study itself --------------------------------------------------------------------------------------------


def test_seeds_and_reference() -> None:
    assert study().seed_list == [0, 1, 2]
    assert study(seeds=2).seed_list == [0, 1]
    assert study(seeds=[7, 3]).seed_list == [7, 3]
    assert study().reference_arm == "cosine"
    assert study(reference="linear").reference_arm == "linear"
    assert study(reference="opd", controls=["opd"]).reference_arm == "opd"


def test_a_study_file(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(
        "name: s\nquestion: q?\nbase: presets/x\nseeds: 1\n"
        "arms:\n  off: {objective.distill_weight: 0}\n  on: {objective.distill_weight: 1e-1}\n"
    )
    loaded = load_file(Study, path)
    assert loaded.arms == {"off": {"objective.distill_weight": 0}, "on": {"objective.distill_weight": 0.1}}
    path.write_text("name: s\nquestion: q?\nbase: presets/x\narms: {a: {}}\nseedz: 1\n")
    with pytest.raises(UserError, match=r"s\.yaml: unknown key 'seedz'; did you mean 'seeds'\?$"):
        load_file(Study, path)
