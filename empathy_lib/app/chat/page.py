"""The chat page: a form on this machine, the answer streamed into it.

Knows: what the browser gets and may send. Does not know: what may be shown (``answering``). It listens at
127.0.0.1 alone, asks no other host for anything, keeps no text, and logs none. Headers and guards are those
of the rating page.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict
from pathlib import Path
from socket import socket

import jinja2
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import iterate_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

from empathy_lib.app.chat import words
from empathy_lib.app.chat.answering import STRAY, Chat
from empathy_lib.core.coe import LAYER_TITLES
from empathy_lib.core.helplines import resources
from empathy_lib.human_eval.run.page import HEADERS, LOOPBACK, address, is_foreign, listen

HOST = "127.0.0.1"
_FILES = Path(__file__).with_name("chat_page")
_BYTES = 256 * 1024  # of a request; far more than a post that is answered, since the gate reads longer ones


def create_app(chat: Chat, label: str) -> Starlette:
    """The web application; ``label`` says whose answers these are. It answers under this machine's own names
    alone."""
    return _Page(chat, label).app


class _Page:
    def __init__(self, chat: Chat, label: str) -> None:
        self._chat, self._one = chat, threading.Lock()
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_FILES), autoescape=True, undefined=jinja2.StrictUndefined
        )
        titles = {name: f"{name} {title}" for name, title in LAYER_TITLES.items()}
        self._html = environment.get_template("page.html").render(
            words=words, label=label, here=resources(chat.region),
            titles={**titles, STRAY: words.both(words.STRAY)},
        )  # fmt: skip
        files = ("page.css", "page.js")
        self.app = Starlette(
            routes=[
                Route("/", self.show, methods=["GET"]),
                Route("/answer", self.answer, methods=["POST"]),
                *(Route(f"/{name}", FileResponse(_FILES / name, headers=HEADERS)) for name in files),
            ],
            middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(LOOPBACK), www_redirect=False)],
        )

    def show(self, request: Request) -> Response:
        """The form; the same for everybody."""
        return HTMLResponse(self._html, headers=HEADERS)

    async def answer(self, request: Request) -> Response:
        """The parts of an answer to the post in the body, a line of JSON each, as they come."""
        if is_foreign(request, LOOPBACK):
            raise HTTPException(403)
        sent = bytearray()
        async for chunk in request.stream():
            sent += chunk
            if len(sent) > _BYTES:
                raise HTTPException(413)
        post = sent.decode("utf-8", "replace")
        if not post.strip():
            raise HTTPException(400)
        return StreamingResponse(self._lines(post), media_type="application/x-ndjson", headers=HEADERS)

    async def _lines(self, post: str) -> AsyncIterator[str]:
        parts = self._parts(post)
        try:
            async for line in iterate_in_threadpool(parts):
                yield line
        finally:  # a reader who has left ends the generation
            parts.close()

    def _parts(self, post: str) -> Iterator[str]:
        with self._one, contextlib.closing(self._chat.answer(post)) as parts:  # one answer at a time
            for part in parts:
                yield json.dumps(asdict(part), ensure_ascii=False) + "\n"


def take(port: int) -> socket:
    """Listen on this machine alone; 0 is any free port.

    Raises:
        UserError: the port is taken.
    """
    return listen(HOST, port)


def serve(chat: Chat, label: str, taken: socket) -> None:
    """Serve until Ctrl-C or SIGTERM; no request is logged."""
    print(f"open {address(taken)} in a browser on this machine; Ctrl-C ends the page", flush=True)
    config = uvicorn.Config(
        create_app(chat, label), log_level="warning", access_log=False, timeout_graceful_shutdown=5
    )
    with contextlib.suppress(KeyboardInterrupt):  # the usual end
        uvicorn.Server(config).run(sockets=[taken])
