"""The rating page: a rater opens their link, reads a post and its replies, ranks them, and comes back
whenever they like.

Knows: what a rater sees and sends, and who may ask. Does not know: systems, the key, SQL; the wording of the
task (``instructions``).

Each page is made on the server from what the store holds, so nothing is lost with the server or a browser.
Only the token in the link says who asks; without a valid one there is nothing to see, not even how many
raters there are. Jinja escapes all text.
"""

from __future__ import annotations

import contextlib
import ipaddress
import math
import re
import secrets
import socket
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import jinja2
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from empathy_lib.core.errors import UserError
from empathy_lib.core.helplines import CRISIS_LINE, HELPLINES
from empathy_lib.core.paper import DIMENSIONS
from empathy_lib.human_eval.instructions import DIMENSION_TEXTS, WORDS
from empathy_lib.human_eval.run.collect import Collection, Sheet
from empathy_lib.human_eval.run.store import Rater

_FILES = Path(__file__).with_name("rating_page")
HEADERS = {
    "Cache-Control": "no-store",  # a page from a cache would show ranks that were changed since
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
    "connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",  # the address holds the token
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def create_app(collection: Collection, address: str) -> Starlette:
    """The web application of one study. It answers only under ``address``, which the links begin with, and
    this machine's own names."""
    return _Page(collection, address).app


class _Page:
    def __init__(self, collection: Collection, address: str) -> None:
        self._sheets, self._store = collection.sheets, collection.store
        self._hosts = [_host(address), *LOOPBACK]
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_FILES),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.globals |= {
            "words": WORDS,
            "texts": DIMENSION_TEXTS,
            "crisis_line": CRISIS_LINE,
            "helplines": HELPLINES,
        }
        self._template = environment.get_template("page.html")
        self.app = Starlette(
            routes=[
                Route("/", self.start, methods=["GET"]),
                Route("/", self.decide, methods=["POST"]),
                Route("/sheet/{number:int}", self.show, methods=["GET"]),
                Route("/sheet/{number:int}", self.save, methods=["POST"]),
                *(
                    Route(f"/{name}", FileResponse(_FILES / name, headers=HEADERS))
                    for name in ("page.css", "page.js")
                ),
            ],
            middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=self._hosts, www_redirect=False)],
            exception_handlers={
                HTTPException: self._refuse,
                sqlite3.Error: self._unsaved,
                # left before the request was whole; nobody reads this
                ClientDisconnect: lambda *_: Response(status_code=400),
            },
        )

    def start(self, request: Request) -> Response:
        """The notice, the first sheet that is not complete, or thanks."""
        rater = self._rater(request)
        sheets = self._sheets[rater.name]
        if not rater.consented or rater.stopped:
            return self._render("stopped" if rater.stopped else "notice", request, total=len(sheets))
        complete = self._store.complete_items(rater.name)
        for number, sheet in enumerate(sheets, 1):
            if sheet.item not in complete:
                return _redirect(request, f"/sheet/{number}")
        return self._render("done", request, total=len(sheets), sheets=self._overview(rater))

    async def decide(self, request: Request) -> Response:
        """Consent, stop, or take up again."""
        rater = await run_in_threadpool(self._rater, request)
        choice = (await request.form()).get("go")
        deeds = {"consent": self._store.consent, "stop": self._store.stop, "resume": self._store.resume}
        if choice not in deeds:
            raise HTTPException(400)
        await run_in_threadpool(deeds[choice], rater.name)
        return _redirect(request, "/")

    def show(self, request: Request) -> Response:
        """One sheet with the ranks given so far."""
        rater = self._rater(request)
        sheet = self._sheet(rater, request)
        if not rater.consented or rater.stopped:
            return _redirect(request, "/")
        return self._render_sheet(request, rater, sheet)

    async def save(self, request: Request) -> Response:
        """Keep what was sent; 204 to the script that saves each click, the next sheet to the button."""
        rater = await run_in_threadpool(self._rater, request)
        sheet = self._sheet(rater, request)
        if not rater.consented:  # a rater who has stopped may have a last click still under way
            raise HTTPException(403)
        form = await request.form()
        ranks = _ranks(form, sheet)
        visit, step, seconds = (
            str(form.get("visit", ""))[:64],
            _number(form, "step"),
            _number(form, "seconds"),
        )
        await run_in_threadpool(
            self._store.save, rater.name, sheet.item, ranks, visit=visit, step=int(step), seconds=seconds
        )
        if form.get("go") != "next":
            return Response(status_code=204, headers=HEADERS)
        if sheet.item not in await run_in_threadpool(self._store.complete_items, rater.name):
            return await run_in_threadpool(self._render_sheet, request, rater, sheet, incomplete=True)
        number = request.path_params["number"] + 1
        return _redirect(request, f"/sheet/{number}" if number <= len(self._sheets[rater.name]) else "/")

    def _rater(self, request: Request) -> Rater:
        rater = self._store.rater(request.query_params.get("rater", ""))
        if rater is None or (request.method == "POST" and is_foreign(request, self._hosts)):
            raise HTTPException(403)
        return rater

    def _sheet(self, rater: Rater, request: Request) -> Sheet:
        sheets, number = self._sheets[rater.name], request.path_params["number"]
        if not 1 <= number <= len(sheets):
            raise HTTPException(404)
        return sheets[number - 1]

    def _overview(self, rater: Rater) -> list[bool]:
        complete = self._store.complete_items(rater.name)
        return [sheet.item in complete for sheet in self._sheets[rater.name]]

    def _render_sheet(
        self, request: Request, rater: Rater, sheet: Sheet, *, incomplete: bool = False
    ) -> Response:
        overview = self._overview(rater)
        return self._render(
            "sheet",
            request,
            status=422 if incomplete else 200,
            sheet=sheet,
            number=request.path_params["number"],
            total=len(overview),
            sheets=overview,
            ranks=self._store.ranks(rater.name, sheet.item),
            incomplete=incomplete,
            visit=secrets.token_hex(8),
        )

    def _render(self, view: str, request: Request, status: int = 200, **values: Any) -> HTMLResponse:
        query = urlencode({"rater": request.query_params.get("rater", "")})
        return HTMLResponse(self._template.render(view=view, query=query, **values), status, headers=HEADERS)

    def _refuse(self, request: Request, error: HTTPException) -> Response:
        return self._render(
            "refused" if error.status_code == 403 else "lost", request, status=error.status_code
        )

    def _unsaved(self, request: Request, error: sqlite3.Error) -> Response:
        print(
            f"error: {self._store.path}: {error}; a save was refused, and the rater told so", file=sys.stderr
        )
        return self._render("unsaved", request, status=503)


def is_foreign(request: Request, hosts: Sequence[str]) -> bool:
    """Whether a page of another site sends this, in the browser of someone who may; ``hosts`` are ours."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    # our own forms say null too, since they send no referrer
    origin = request.headers.get("origin", "null")
    return origin != "null" and _host(origin) not in hosts


def _host(address: str) -> str:
    """Host of a web address, lower case, an IPv6 number in brackets as a Host header has it; empty where
    there is none."""
    try:
        host = urlsplit(address).hostname or ""
    except ValueError:
        return ""
    return f"[{host}]" if ":" in host else host


def _redirect(request: Request, path: str) -> Response:
    query = urlencode({"rater": request.query_params["rater"]})
    return RedirectResponse(f"{path}?{query}", 303, headers=HEADERS)


def _ranks(form: FormData, sheet: Sheet) -> dict[tuple[str, str], int]:
    """The ranks in a form; looks only for what the sheet holds."""
    allowed = {str(rank): rank for rank in range(1, len(sheet.replies) + 1)}
    found = {}
    for letter in (reply.letter for reply in sheet.replies):
        for dimension in DIMENSIONS:
            value = form.get(f"{dimension} {letter}")
            if value is None:
                continue
            if value not in allowed:
                raise HTTPException(400)
            found[letter, dimension] = allowed[value]
    return found


def _number(form: FormData, field: str) -> float:
    """A number of at least 0 that the page's script fills in; 0 without the script."""
    try:
        value = float(form.get(field) or 0)
    except (TypeError, ValueError):
        value = math.nan
    if not 0 <= value < 2**53:
        raise HTTPException(400)
    return value


def links(collection: Collection, address: str) -> dict[str, str]:
    """Rater -> their link; whoever has it can rate as them."""
    return {
        rater: f"{address}/?{urlencode({'rater': token})}"
        for rater, token in collection.store.tokens().items()
    }


def listen(host: str, port: int) -> socket.socket:
    """Take the port, so that links can be shown before the server runs; 0 is any free one.

    Raises:
        UserError: the port is taken, or the host is none of this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        taken = socket.socket(family, kind, protocol)
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(address)
        taken.listen(128)  # two servers on one port is what SO_REUSEADDR allows until one listens
    except (OSError, OverflowError) as error:
        raise UserError(
            f"--host {host} --port {port}: cannot listen there ({error}); choose another port, or leave them "
            f"out"
        ) from error
    return taken


def is_open_to_others(taken: socket.socket) -> bool:
    """Whether other machines can reach the socket."""
    return not ipaddress.ip_address(taken.getsockname()[0]).is_loopback


def address(taken: socket.socket, url: str = "") -> str:
    """What the links begin with: ``url``, else the socket's address; of one that listens everywhere, by this
    machine's name.

    Raises:
        UserError: ``url`` is no address of a whole site.
    """
    if url:
        if not (re.fullmatch(r"https?://[^/?#@]+/?", url) and _host(url)):
            raise UserError(
                f"--url {url}: no address of a whole site; give one such as https://rating.example.org, "
                f"without a path"
            )
        return url.rstrip("/")
    host, port = taken.getsockname()[:2]
    ip = ipaddress.ip_address(host)
    return (
        f"http://{socket.gethostname() if ip.is_unspecified else f'[{ip}]' if ip.version == 6 else ip}:{port}"
    )


def serve(collection: Collection, taken: socket.socket, address: str) -> None:
    """Serve until Ctrl-C or SIGTERM. Nothing is logged of requests: their addresses hold tokens."""
    config = uvicorn.Config(
        create_app(collection, address), log_level="warning", access_log=False, timeout_graceful_shutdown=5
    )
    with contextlib.suppress(KeyboardInterrupt):  # the usual end
        uvicorn.Server(config).run(sockets=[taken])
