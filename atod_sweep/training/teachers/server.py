"""A teacher on a server of its own that has the student's vocabulary: vLLM, or another with OpenAI's completions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, assert_never

import torch

from atod_sweep.config import teachers as config
from atod_sweep.errors import UserError
from atod_sweep.training.batch import TokenBatch
from atod_sweep.training.failures import TeacherFailed
from atod_sweep.training.models import vocabulary
from atod_sweep.training.play.conversation import OBSERVATIONS
from atod_sweep.training.play.episodes import Player
from atod_sweep.training.scoring import FullDistribution
from atod_sweep.training.teachers.client import BadAnswer, Json
from atod_sweep.training.teachers.remote import Remote
from atod_sweep.training.teachers.teacher import Action, State

NEVER = -9999.0  # what vLLM writes for minus infinity, which JSON has no word for
UNTOLD = math.log(2.0**-23)  # of all other ids together: what float32 does not tell from none
SMALLEST = math.log(torch.finfo(torch.float32).tiny)  # as `top_k_with_tail` has it where there are no others
ANOTHER = 1.0  # nats between two answers about one text, above which they are not of one model
ASKED = 64  # ids, spread over the vocabulary, by which two tokenizers are compared


class Server(Remote[config.ServerTeacher]):
    """Sends token ids, so that nothing is tokenized twice. Raises UserError where it is not what it should be."""

    def __init__(self, config: config.ServerTeacher, pupil: Player, device: torch.device) -> None:
        super().__init__(config, pupil, device, f"server {config.model}")
        self.words = vocabulary.words(pupil.conversation.tokenizer)
        self.path = f"{config.url}/completions"

    # ---- log-probs ---------------------------------------------------------------------------------------------------

    def score(self, batch: TokenBatch, temperature: float, full: FullDistribution | None, tokens: int) -> TokenBatch:
        """As `training.scoring.score`; of distributions the likeliest ids, and the mass of all others together."""
        assert temperature == 1.0, "the config refuses other ones"
        likeliest = 0 if full is None else min(full.top_k or 0, self.words)
        places: dict[int, list[int]] = {}  # sequence -> its generated tokens, as rows of the batch
        for n, sequence in enumerate(batch.sequence_N.tolist()):
            places.setdefault(sequence, []).append(n)
        ids, columns = batch.ids_ST.tolist(), batch.column_N.tolist()
        questions = []
        for sequence, rows in places.items():
            where = [columns[n] for n in rows]
            questions.append(self._question(ids[sequence][: max(where) + 1], where, likeliest))
        found = self._scored(questions)
        order = [n for rows in places.values() for n in rows]
        back = torch.empty(len(order), dtype=torch.long)
        back[torch.tensor(order, dtype=torch.long)] = torch.arange(len(order))

        def flat(name: str, kind: torch.dtype) -> torch.Tensor:
            values = [value for one in found for value in one[name]]
            return torch.tensor(values, dtype=kind)[back].to(batch.ids_ST.device)

        fields = {"teacher_logp": flat("logp", torch.float32)}
        if likeliest:
            fields |= {"teacher_index": flat("index", torch.long), "teacher_full": flat("full", torch.float32)}
        return batch.having(**fields)

    def _question(self, ids: list[int], columns: list[int], likeliest: int) -> Json:
        """About the ids in these columns, given what comes before each."""
        what = {"score": ids, "columns": columns, "likeliest": likeliest, "api": self.config.api}
        return {"model": self.config.model, **what}

    def _scored(self, questions: Sequence[Json]) -> list[Any]:
        read = partial(_read_scores, self.config.api, self.words)
        return self.answered(questions, self.path, self._asking, read, self.config.batch)

    def _asking(self, questions: Sequence[Json]) -> Json:
        body: Json = {"model": self.config.model, "prompt": [q["score"] for q in questions], "max_tokens": 1}
        match self.config.api:
            case "vllm":
                return body | {"temperature": 0.0, "prompt_logprobs": questions[0]["likeliest"]}
            case "openai":
                return body | {"temperature": 0.0, "echo": True, "logprobs": 1}
            case _:
                assert_never(self.config.api)

    # ---- actions -----------------------------------------------------------------------------------------------------

    def act(self, states: Sequence[State], temperature: float, generator: torch.Generator) -> list[Action]:
        """In the student's own conversation, continued by the server."""
        talk = self.pupil.conversation
        prompts = self.pupil.prompts([(state.past, state.observation) for state in states])
        most = talk.answer_tokens(self.pupil.limits.action_tokens)
        how = {"model": self.config.model, "max_tokens": most, "temperature": temperature, "api": self.config.api}
        draws = self.draws(len(states), temperature, generator)
        questions = [{**how, "act": ids, "draw": draw} for ids, draw in zip(prompts, draws, strict=True)]
        answers = self.answered(questions, self.path, self._continuing, _read_action)
        return [self._action(answer) for answer in answers]

    def _continuing(self, questions: Sequence[Json]) -> Json:
        (question,) = questions
        talk = self.pupil.conversation
        body = {name: question[name] for name in ("model", "max_tokens", "temperature")} | {"prompt": question["act"]}
        strings = list(talk.stop_strings)
        match self.config.api:
            case "vllm":
                body |= {"stop_token_ids": sorted(talk.stop_ids), "return_token_ids": True}
                if question["draw"] is not None:
                    body["seed"] = question["draw"]
            case "openai":
                strings += [text for i in sorted(talk.stop_ids) if (text := talk.tokenizer.decode([i]))]
            case _:
                assert_never(self.config.api)
        return body | ({"stop": strings[:4]} if strings else {})

    def _action(self, answer: Json) -> Action:
        talk = self.pupil.conversation
        ids = answer["ids"]
        if ids is None:
            ids = talk.tokenizer(answer["text"], add_special_tokens=False)["input_ids"]
        said = (*ids,) if ids and ids[-1] in talk.stop_ids else (*ids, *talk.end_ids)
        heard = talk.heard(said)
        marked = None if talk.format.marks is None else heard is not None
        return Action(heard or "", said, len(ids), answer["cut"], marked)

    # ---- whether it is the right one ---------------------------------------------------------------------------------

    def check(self, scores: bool, likeliest: int) -> None:
        """Raise UserError unless the server has the student's vocabulary, and gives log-probs where `scores`.

        Raises TeacherUnreachable.
        """
        try:
            ids = self._check_vocabulary()
            if scores:
                self._check_scores(ids, likeliest)
        except TeacherFailed as error:
            raise UserError(f"{error} (teacher.api: {self.config.api})") from None

    def _check_vocabulary(self) -> list[int]:
        tokenizer = self.pupil.conversation.tokenizer
        spread = dict.fromkeys(round(i * (self.words - 1) / (ASKED - 1)) for i in range(ASKED))
        ids: list[int] = []
        for text in ("\n".join(OBSERVATIONS), " ".join(tokenizer.decode([i]) for i in spread)):
            ids = tokenizer(text, add_special_tokens=False)["input_ids"]
            theirs = self._ids_of(text, ids)
            if theirs != ids:
                at = next((i for i, (a, b) in enumerate(zip(ids, theirs, strict=False)) if a != b), 0)
                raise UserError(
                    f"teacher.model: {self.config.model!r} has another vocabulary than the student: of a text of "
                    f"{len(ids)} ids, number {at} is {theirs[at : at + 1]} there and {ids[at : at + 1]} here; serve "
                    "one of the student's family, or use teacher.kind: chat with objective.distill.kind: relabel"
                )
        return ids

    def _ids_of(self, text: str, ids: list[int]) -> list[int]:
        """What the server makes of a text; of ids, where it tokenizes nothing: those that it spells as we do."""
        match self.config.api:
            case "vllm":
                path = f"{self.config.url.removesuffix('/v1')}/tokenize"
                body: Json = {"model": self.config.model, "prompt": text, "add_special_tokens": False}
                return self.client.ask(path, body, lambda answer: [int(i) for i in answer["tokens"]])
            case "openai":
                spelled = self.pupil.conversation.tokenizer.decode(ids)
                body = {"model": self.config.model, "prompt": ids, "max_tokens": 1, "echo": True, "logprobs": 1}
                said = self.client.ask(self.path, body, lambda answer: str(answer["choices"][0]["text"]))
                return ids if said.startswith(spelled) else []
            case _:
                assert_never(self.config.api)

    def _check_scores(self, ids: list[int], likeliest: int) -> None:
        """Ask for log-probs, and compare them with what this name has answered before."""
        question = self._question(ids, list(range(1, len(ids))), min(likeliest, self.words))
        read = partial(_read_scores, self.config.api, self.words, [question])
        (now,) = self.client.ask(self.path, self._asking([question]), read)
        before = self.answers.get(question)
        if before is None:
            self.answers.put([(question, now)])
        elif max(abs(a - b) for a, b in zip(before["logp"], now["logp"], strict=True)) > ANOTHER:
            raise UserError(
                f"teacher.model: {self.config.url} serves another model as {self.config.model!r} than the one whose "
                f"answers are kept in {self.answers.path}; serve it under a name of its own, or delete that file"
            )


# ---- reading answers -------------------------------------------------------------------------------------------------


def _choices(answer: Any, count: int) -> list[Any]:
    """The choices of an answer in their order. Raises BadAnswer unless there is one for every question."""
    found = {choice["index"]: choice for choice in answer["choices"]}
    if len(answer["choices"]) != count or sorted(found) != list(range(count)):
        raise BadAnswer(f"asked {count} questions, got the answers {sorted(found)}")
    return [found[i] for i in range(count)]


def _read_scores(api: str, words: int, questions: Sequence[Json], answer: Any) -> list[Any]:
    """For every question the log-probs `logp` of its ids in its columns, and with likeliest ids those: `index`, and
    `full`, their log-probs and that of all others together."""
    read = _from_prompt_logprobs if api == "vllm" else _from_echo
    choices = _choices(answer, len(questions))
    return [read(question, choice, words) for question, choice in zip(questions, choices, strict=True)]


def _from_prompt_logprobs(question: Json, choice: Any, words: int) -> Json:
    ids, told = question["score"], choice["prompt_logprobs"]
    if len(told) != len(ids):
        raise BadAnswer(f"log-probs of {len(told)} ids, asked for those of {len(ids)}")
    found: Json = {"logp": [], "index": [], "full": []}
    for column in question["columns"]:
        of = {int(i): _logp(one["logprob"]) for i, one in told[column].items()}
        found["logp"].append(_possible(of[ids[column]]))
        if question["likeliest"]:
            index = sorted(of, key=lambda i: (-of[i], i))[: question["likeliest"]]
            if len(index) < question["likeliest"]:
                raise BadAnswer(f"the {len(index)} likeliest ids, asked for {question['likeliest']}")
            if max(index) >= words:
                raise TeacherFailed(
                    f"the teacher's id {max(index)} is none of the student's {words}; use a teacher with the same "
                    "vocabulary, or objective.distill.kind: sampled_reverse_kl"
                )
            found["index"].append(index)
            found["full"].append([*(of[i] for i in index), _tail([of[i] for i in index], words)])
    return found


def _from_echo(question: Json, choice: Any, words: int) -> Json:
    ids, told = question["score"], choice["logprobs"]["token_logprobs"]
    if not len(ids) <= len(told) <= len(ids) + 1:
        raise BadAnswer(f"log-probs of {len(told)} tokens, asked for those of {len(ids)} and one more")
    return {"logp": [_possible(_logp(told[column])) for column in question["columns"]]}


def _logp(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or math.isnan(value) or value > 1e-3:
        raise BadAnswer(f"{value!r} is no log-probability")
    return float(value)


def _possible(logp: float) -> float:
    if logp <= NEVER:
        raise TeacherFailed("the teacher gives a sampled token the log-probability -inf; is it the right model?")
    return logp


def _tail(likeliest: list[float], words: int) -> float:
    """Log-probability of all other ids together."""
    if len(likeliest) == words:
        return SMALLEST
    rest = 1.0 - math.fsum(math.exp(logp) for logp in likeliest)
    return max(UNTOLD, math.log(rest)) if rest > 0 else UNTOLD


def _read_action(questions: Sequence[Json], answer: Any) -> list[Any]:
    (choice,) = _choices(answer, len(questions))
    text, ids = choice["text"], choice.get("token_ids")
    if not isinstance(text, str):
        raise BadAnswer(f"{text!r} is no text")
    cut = choice["finish_reason"] == "length"
    return [{"text": text, "ids": None if ids is None else [int(i) for i in ids], "cut": cut}]
