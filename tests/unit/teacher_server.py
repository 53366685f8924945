"""A scripted server of ``/v1/chat/completions`` on this machine: what the tests of the teacher and of the
judge talk to.

Knows: the protocol, how to answer badly, what it was asked. Does not know: the Chain of Empathy.
"""

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-secret-key-of-the-test"
# A reply is the text of a message, or one of these: a status, a body as it is, a closed connection, half a
# body.
Reply = str | dict[str, Any]
QUICK = {"retry-after-ms": "5"}


def status(code: int, message: str = "no", headers: dict[str, str] | None = None) -> Reply:
    return {"status": code, "body": json.dumps({"error": {"message": message}}), "headers": headers or QUICK}


def body(text: str, kind: str = "application/json") -> Reply:
    return {"body": text, "type": kind}


HANG_UP: Reply = {"hang_up": True}
HALF_A_BODY: Reply = {"half": True}


def completion(text: Any, finish: str = "stop") -> str:
    """A whole response; ``text`` None is a message without content."""
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}
    return json.dumps(
        {
            "id": "1",
            "object": "chat.completion",
            "created": 0,
            "model": "m",
            "choices": [choice],
            "usage": usage,
        }
    )


class TeacherServer(ThreadingHTTPServer):
    """Answers request ``n`` (from 0) with ``script(n, request)``; keeps all requests and the most that were
    open at once."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script: Callable[[int, dict[str, Any]], Reply] = lambda n, request: "?"
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.open = self.most_open = 0
        self.delay = 0.0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no matter of the test's output."""


class _Handler(BaseHTTPRequestHandler):
    server: TeacherServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with self.server.lock:
            number = len(self.server.requests)
            self.server.requests.append(request)
            self.server.headers.append(dict(self.headers))
            self.server.open += 1
            self.server.most_open = max(self.server.most_open, self.server.open)
        time.sleep(self.server.delay)
        reply = self.server.script(number, request)
        with self.server.lock:
            self.server.open -= 1
        self._send({"body": completion(reply)} if isinstance(reply, str) else reply)

    def _send(self, reply: dict[str, Any]) -> None:
        if reply.get("hang_up"):
            self.close_connection = True
            return
        data = reply.get("body", completion("半句")).encode()
        self.send_response(reply.get("status", 200))
        for name, value in {
            "content-type": reply.get("type", "application/json"),
            **reply.get("headers", {}),
        }.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if reply.get("half") else data)
        self.close_connection = bool(reply.get("half"))

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on the screen."""
