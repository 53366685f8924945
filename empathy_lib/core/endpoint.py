"""Tasks for a language model behind an OpenAI-compatible endpoint: asked at a pace, checked, asked again,
never paid for twice.

Knows: the client, the cache of replies, the pace, what a run would cost. Does not know: what is asked, or
what a good reply is: a :class:`Task` says both (``dataset.teacher``, ``metrics.judge``). All text of a task
goes to whoever runs the endpoint, so ``dataset.deidentify`` must come first.

The endpoint is ``OPENAI_BASE_URL`` (unset: OpenAI's own) and the key ``OPENAI_API_KEY``; the key is never
printed or written.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from empathy_lib.core.config import TeacherConfig
from empathy_lib.core.errors import UserError, extra

if TYPE_CHECKING:
    import openai

MakeClient = Callable[[], "openai.AsyncOpenAI"]
Result = TypeVar("Result")
_MESSAGE_TOKENS = 8  # a chat template's own tokens around one message


@dataclass(frozen=True)
class Fault:
    """Why a reply, or a request, gave no result: ``kind`` is a task's own, ``no reply`` or ``request
    failed``."""

    kind: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}" if self.detail else self.kind


class Task(Protocol[Result]):
    """One thing to ask."""

    def messages(self) -> list[dict[str, str]]:
        """The request."""

    def check(self, reply: str, *, cut: bool = False) -> tuple[Result | None, list[Fault]]:
        """The result in a reply, or all its faults; ``cut`` says that the reply ended at ``max_tokens``."""

    def again(self, faults: Sequence[Fault]) -> str:
        """The message that sends a reply back with its faults."""


def after_thinking(reply: str) -> str:
    """The reply without what a model that thinks aloud puts before it, up to its own ``</think>``."""
    return reply.rpartition("</think>")[2]


class ReplyCache:
    """A JSONL file with a line per reply, good or not, appended as it arrives. It holds replies, and no
    posts.

    Raises:
        UserError: a line other than a half-written last one is broken.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        data = self.path.read_bytes() if self.path.exists() else b""
        # bytes: a kill may cut a character, and some characters pass for line ends in text
        whole = data[: data.rfind(b"\n") + 1]
        self._torn = len(whole) if len(whole) < len(data) else None
        self.replies: dict[str, list[dict[str, Any]]] = {}
        for number, line in enumerate(whole.split(b"\n")[:-1], 1):
            try:
                record = json.loads(line)
                self.replies.setdefault(record["key"], []).append(record)
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(
                    f"{self.path}, line {number}: no record of a reply; delete this line"
                ) from error

    def result(self, key: str, task: Task[Result]) -> Result | None:
        """The result paid for already, checked again: the checks may have changed since. A task whose replies
        all failed has none and is asked again, since a model that samples, or a server that was down, may do
        better next time."""
        replies = [record["reply"] for record in self.replies.get(key, []) if record["reply"]]
        return next((result for reply in replies if (result := task.check(reply)[0]) is not None), None)

    def append(self, record: dict[str, Any]) -> None:
        """Write one line to the disk, after taking off a line that a kill had cut."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self._torn is not None:
            os.truncate(self.path, self._torn)
            self._torn = None
        with self.path.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(record, ensure_ascii=False) + "\n")
        self.replies.setdefault(record["key"], []).append(record)


def estimate(
    tasks: Mapping[str, Task[Any]],
    config: TeacherConfig,
    cache: ReplyCache,
    *,
    reply_tokens: int,
    count_tokens: Callable[[str], int] | None = None,
) -> dict[str, float | None]:
    """``cached``, ``calls``, ``calls_at_most``, ``input_tokens``, ``output_tokens``, ``cost`` of a run;
    nothing is sent.

    Without ``count_tokens`` (text to number of tokens) a token is three bytes, one Chinese character, which
    is on the high side. Output: the mean of this model's replies in the cache, else ``reply_tokens``. One
    reply a task is assumed; ``calls_at_most`` is with every attempt used. ``cost`` is in the currency of the
    prices, None where none is set.
    """
    count = count_tokens or (lambda text: math.ceil(len(text.encode()) / 3))
    asked = [task for key, task in tasks.items() if cache.result(key, task) is None]
    seen = [
        r["output_tokens"]
        for rs in cache.replies.values()
        for r in rs
        if r["model"] == config.model and r.get("output_tokens")
    ]
    inputs = sum(count(m["content"]) + _MESSAGE_TOKENS for task in asked for m in task.messages())
    outputs = len(asked) * (math.ceil(sum(seen) / len(seen)) if seen else reply_tokens)
    cost = (
        (inputs * config.input_price + outputs * config.output_price) / 1e6
        if config.input_price or config.output_price
        else None
    )
    known = {
        "cached": len(tasks) - len(asked),
        "calls": len(asked),
        "calls_at_most": len(asked) * config.attempts,
    }
    return {**known, "input_tokens": inputs, "output_tokens": outputs, "cost": cost}


@dataclass(frozen=True)
class Asked(Generic[Result]):
    """What came of it: ``results`` by key (None: none), the ``faults`` of what was asked now, and ``used``:
    calls and tokens."""

    results: dict[str, Result | None]
    faults: dict[str, list[str]]
    used: Counter[str]


def ask(
    tasks: Mapping[str, Task[Result]],
    config: TeacherConfig,
    cache: ReplyCache,
    *,
    who: str,
    setting: str,
    client: MakeClient | None = None,
) -> Asked[Result]:
    """Ask for all tasks that the cache has no result for.

    Args:
        tasks: key (a content hash, under which replies are cached) to task.
        who: what errors call the model.
        setting: the option that names the model, for the remedy of an error.
        client: makes the client, if the two environment variables do not say all; a function, since a client
            belongs to one loop.

    Raises:
        UserError: no key is set, or the endpoint refuses it or the model, or stops answering. What was paid
            for is in the cache, and the next run goes on from there.
    """
    results = {key: cache.result(key, task) for key, task in tasks.items()}
    run = _Run(
        config, cache, {key: tasks[key] for key, result in results.items() if result is None}, who, setting
    )
    if run.waiting:
        with extra("judge"):
            from anyio.from_thread import start_blocking_portal
        # a thread with its own loop: a Jupyter kernel's is taken; an interrupt cancels it
        with start_blocking_portal() as portal:
            portal.call(run.ask_all, client or (lambda: _client_of_environment(config)))
    return Asked(results | run.results, run.faults, run.used)


def _client_of_environment(config: TeacherConfig) -> openai.AsyncOpenAI:
    key, address = os.environ.get("OPENAI_API_KEY", ""), os.environ.get("OPENAI_BASE_URL")
    if not key.isascii() or not key.isprintable() or not key.strip():
        raise UserError(
            "OPENAI_API_KEY is not set or no key; set it to the endpoint's key (any word for a server that "
            "asks for none)"
        )
    if address is not None and not address.startswith(("http://", "https://")):
        raise UserError(
            f"OPENAI_BASE_URL='{address}' is no address; set it to one such as http://localhost:8000/v1"
        )
    with extra("judge"):
        import openai
    return openai.AsyncOpenAI(max_retries=config.transport_retries, timeout=config.timeout_seconds)


class _Run(Generic[Result]):
    """The requests of one run. All of it runs in one event loop, so nothing needs a lock."""

    def __init__(
        self,
        config: TeacherConfig,
        cache: ReplyCache,
        waiting: dict[str, Task[Result]],
        who: str,
        setting: str,
    ) -> None:
        self.config, self.cache, self.waiting, self.who, self.setting = config, cache, waiting, who, setting
        self.results: dict[str, Result] = {}
        self.faults: dict[str, list[str]] = {key: [] for key in waiting}
        self.used: Counter[str] = Counter()
        self._failed_in_a_row, self._next_start = 0, 0.0

    async def ask_all(self, make_client: MakeClient) -> None:
        """Ask for all that waits, ``concurrency`` tasks at a time; the first :class:`UserError` stops all."""
        queue = iter(self.waiting.items())

        async def work(client: openai.AsyncOpenAI) -> None:
            for key, task in queue:
                await self._ask(client, key, task)

        async with make_client() as client:
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(self.config.concurrency):
                        group.create_task(work(client))
            except BaseExceptionGroup as group:
                raise group.exceptions[0] from None

    async def _ask(self, client: openai.AsyncOpenAI, key: str, task: Task[Result]) -> None:
        """Up to ``attempts`` replies for one task; each is cached, a failed one is sent back with its
        faults."""
        messages = task.messages()
        for attempt in range(self.config.attempts):
            await self._pace()
            reply, cut, tokens, faults = await self._request(client, messages)
            result, faults = (None, faults) if faults else task.check(reply, cut=cut)
            named = [str(fault) for fault in faults]
            self.cache.append(
                {"key": key, "model": self.config.model, "reply": reply, "faults": named, **tokens}
            )
            self.used.update({"calls": 1, **tokens})
            self.faults[key] += named
            failed = bool(faults) and faults[0].kind == "request failed"
            self._failed_in_a_row = self._failed_in_a_row + 1 if failed else 0
            # two rounds of all workers: it is the server, not the task
            if self._failed_in_a_row >= 2 * self.config.concurrency:
                times = f"{self._failed_in_a_row} times in a row"
                raise UserError(
                    f"{self.who}: {named[0]}, {times}; run again later, {self.cache.path} goes on"
                )
            if result is not None:
                self.results[key] = result
            if result is not None or failed:  # the client has repeated a failed request already
                return
            if reply:
                last = {"role": "assistant", "content": after_thinking(reply)}
                messages = [*task.messages(), last, {"role": "user", "content": task.again(faults)}]
            elif attempt + 1 < self.config.attempts:
                await asyncio.sleep(self.config.pause_seconds * 2**attempt)

    async def _pace(self) -> None:
        if self.config.requests_per_minute:
            now = asyncio.get_running_loop().time()
            start = max(now, self._next_start)
            self._next_start = start + 60 / self.config.requests_per_minute
            await asyncio.sleep(start - now)

    async def _request(
        self, client: openai.AsyncOpenAI, messages: list[dict[str, str]]
    ) -> tuple[str, bool, dict[str, int], list[Fault]]:
        """Reply, whether it was cut at ``max_tokens``, its input and output tokens, and what went wrong on
        the way."""
        import openai

        config, host = self.config, client.base_url.host
        wanted: Any = {
            "model": config.model,
            "temperature": config.temperature,
            "max_tokens": config.max_tokens,
            "messages": messages,
        }
        try:
            answer: Any = await client.chat.completions.create(**wanted)
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise UserError(
                f"{host} refuses the key (HTTP {error.status_code}); set OPENAI_API_KEY to a key of this "
                f"endpoint"
            ) from None
        except openai.NotFoundError:
            remedy = f"set {self.setting} to a model it has, or mend OPENAI_BASE_URL (it mostly ends in /v1)"
            raise UserError(
                f"{host} has no model '{config.model}' or no such path (HTTP 404); {remedy}"
            ) from None
        except (
            openai.APIError,
            ValueError,
        ) as error:  # ValueError: the body is half a JSON object, or no UTF-8
            # some servers send the key back
            message = " ".join(str(error).replace(client.api_key or "\0", "***").split())[:200]
            kind = "request failed" if isinstance(error, openai.APIError) else "no reply"
            return "", False, {}, [Fault(kind, f"{message} (OPENAI_BASE_URL is at {host})")]
        # the client checks no types: a proxy's web page comes as text
        choices = getattr(answer, "choices", None)
        choice = choices[0] if isinstance(choices, list) and choices else None
        text, cut = (
            getattr(getattr(choice, "message", None), "content", None),
            getattr(choice, "finish_reason", None) == "length",
        )
        names = {"input_tokens": "prompt_tokens", "output_tokens": "completion_tokens"}
        tokens = {
            ours: getattr(getattr(answer, "usage", None), theirs, None) or 0 for ours, theirs in names.items()
        }
        if isinstance(text, str) and text.strip():
            # a server that cuts bytes may cut an emoji in two
            return (text.encode(errors="replace").decode(), cut, tokens, [])
        return (
            "",
            cut,
            tokens,
            [Fault("no reply", "max_tokens were spent before any text" if cut else "the message is empty")],
        )
