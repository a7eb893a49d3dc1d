"""Programs written by a language model at an OpenAI-compatible endpoint; nothing is sent unless one is asked for."""

import json
import re
import time
from dataclasses import dataclass, field
from typing import Any

from graft.errors import GraftError
from graft.vqa.answer_cache import AnswerCache, cache_folder
from graft.vqa.check import check
from graft.vqa.endpoint import Endpoint, EndpointFault, Reply
from graft.vqa.json_form import read_json
from graft.vqa.prompt import Message, conversation, once_more
from graft.vqa.python_form import read_python
from graft.vqa.question_type import type_of
from graft.vqa.tree import Program
from graft.vqa.written import CannotParse, Written

_TRIES = 2
_REPEATED = 2000
"""Characters of a faulty answer that the model is shown again."""

_FENCED = re.compile(r"```[A-Za-z]*[ \t]*\n(.*?)```", re.DOTALL)


class _Cannot(Exception):
    """The model says why the functions do not suffice."""


@dataclass(frozen=True)
class LLMWriter:
    """A `Writer` that asks a language model, and once more with the fault where its program is refused.

    What it answers is read and checked like any other program; the functions are all that it can reach.

    Attributes:
        model: name at the endpoint.
        endpoint: where it is.
        cache: of programs that passed the checks.
        words: concepts that the model is told are known well.
        seed: for endpoints that can repeat an answer.
        seconds: for a question, all attempts together.
    """

    model: str
    endpoint: Endpoint = field(default_factory=Endpoint.from_environment)
    cache: AnswerCache = field(default_factory=lambda: AnswerCache(cache_folder()))
    words: tuple[str, ...] = ()
    seed: int = 0
    seconds: float = 120.0
    _down: list[EndpointFault] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model

    def write(self, question: str) -> Written:
        """The program of a clean question, from the cache where it was asked before.

        Raises:
            EndpointFault: the endpoint gave nothing to read; it is then left alone, and later questions get the same.
            CannotParse: the model finds that it cannot be answered, or wrote no program that passes the checks.
        """
        messages = conversation(question, self.words)
        asked = {"endpoint": self.endpoint.url, "model": self.model, "seed": self.seed, "messages": messages}
        kept = self.cache.read(asked)
        if kept is not None:
            try:
                return self._written(kept)
            except GraftError:  # an older graft's cache, or someone else's file: ask again
                pass
        until = time.monotonic() + self.seconds
        fault = came = ""
        for _ in range(_TRIES):
            reply = self._complete(messages, until)
            came, fault = reply.text, reply.fault
            if not fault:
                try:
                    written = self._written(self._read(came))
                except _Cannot as reason:
                    raise CannotParse(
                        f"{self.model} finds that this question cannot be answered from an image: "
                        f"{self.endpoint.shown(str(reason))}"
                    ) from reason
                except GraftError as error:
                    fault = str(error)
                else:
                    self.cache.write(asked, written.program)
                    return written
            messages = messages + once_more(came[:_REPEATED], fault)
        back = f'What came back: "{self.endpoint.shown(came)}". ' if came else ""
        raise CannotParse(
            f"{self.model} wrote no program that can be run, asked {_TRIES} times: {fault.rstrip('.')}. {back}"
            "Ask in other words, name another model (--llm), or give a program yourself (--program)."
        )

    def _complete(self, messages: list[Message], until: float) -> Reply:
        if self._down:  # a file of questions must not wait for each one's time-out
            raise self._down[0]
        try:
            return self.endpoint.complete(self.model, messages, seed=self.seed, until=until)
        except EndpointFault as fault:
            if fault.lasting:
                self._down.append(fault)
            raise

    def _written(self, program: Program) -> Written:
        return Written(program, type_of(check(program)), self.name)

    def _read(self, text: str) -> Program:
        """The program in an answer: JSON or Python, bare or fenced, after any thoughts."""
        if self.endpoint.key and self.endpoint.key in text:
            raise GraftError("the answer repeats the API key")
        bare = text.rpartition("</think>")[2]
        fenced = _FENCED.search(bare)
        source = (fenced[1] if fenced else bare).strip()
        if not source.startswith(("{", "[")):
            return read_python(source)
        answer: Any
        try:
            answer = json.loads(source)
        except (ValueError, RecursionError):
            return read_json(source)
        if isinstance(answer, dict):
            if isinstance(answer.get("cannot"), str) and "program" not in answer:
                raise _Cannot(answer["cannot"])
            if isinstance(answer.get("program"), str):
                return read_python(answer["program"])
        return read_json(source)
