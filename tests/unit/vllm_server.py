"""A small server that answers as vLLM's does, and the patches that let TRL's client use it without a card.

What is real: TRL's trainer and client, the requests, the importance ratio. What is not: vLLM, which is not
installed; weights travel over HTTP instead of NCCL.
"""

import json
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from unittest import mock

import requests
import torch
from safetensors.torch import load, save
from trl.generation import vllm_client, vllm_generation

from empathy_lib.models import vllm


class VllmServer(ThreadingHTTPServer):
    """Samples from ``model`` on a port of this machine; ``updates`` counts how often it got new weights."""

    def __init__(self, model, eos: int):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.model, self.eos, self.updates, self.asked = model.eval(), eos, 0, []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self):
        Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    @torch.no_grad()
    def complete(self, prompt: list[int], told: dict) -> dict:
        """One sampled completion with the log-probability of each token."""
        ids = torch.tensor([prompt])
        for _ in range(told["max_tokens"]):
            logits = self.model(input_ids=ids).logits[0, -1].float() / told["temperature"]
            ids = torch.cat([ids, logits.softmax(-1).multinomial(1)[None]], dim=1)
            if ids[0, -1] == self.eos:
                break
        logps = (self.model(input_ids=ids).logits[0].float() / told["temperature"]).log_softmax(-1)
        new = ids[0, len(prompt) :].tolist()
        found = [float(logps[len(prompt) - 1 + place, token]) for place, token in enumerate(new)]
        names = [f"token_id:{token}" for token in new]
        logprobs = {"tokens": names, "token_logprobs": found, "top_logprobs": [None] * len(new)}
        return {"prompt_token_ids": prompt, "token_ids": new, "logprobs": logprobs}


class _Handler(BaseHTTPRequestHandler):
    server: VllmServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Nothing: a test's output is the test's."""

    def do_GET(self):
        answers = {
            "/health": {},
            "/v1/models": {"data": [{"id": "policy"}]},
            "/server_info": {"vllm_config": {"model_config": {"logprobs_mode": "processed_logprobs"}}},
        }
        self._answer(answers[self.path.partition("?")[0]])

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/v1/completions":
            told = json.loads(body)
            self.server.asked.append(told)
            choices = [
                self.server.complete(prompt, told) for prompt in told["prompt"] for _ in range(told["n"])
            ]
            self._answer({"choices": choices})
            return
        if self.path == "/update_weights":
            self.server.model.load_state_dict(load(body), strict=False)
            self.server.updates += 1
        self._answer({"success": True})

    def _answer(self, what: dict):
        body = json.dumps(what).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _push(client, _metadata, named) -> None:
    body = save({name: weights.detach().contiguous() for name, weights in named})
    requests.post(f"{client.base_url}/update_weights", data=body, timeout=60).raise_for_status()


@contextmanager
def without_vllm_itself():
    """TRL believes that vLLM is installed, and sends weights over HTTP."""
    with ExitStack() as stack:
        for module in (vllm_client, vllm_generation):
            stack.enter_context(mock.patch.object(module, "is_vllm_available", lambda *_, **__: True))
        stack.enter_context(mock.patch.object(vllm, "find_spec", lambda _: True))
        stack.enter_context(mock.patch.object(vllm_client.VLLMClient, "init_communicator", mock.Mock()))
        stack.enter_context(mock.patch.object(vllm_client.VLLMClient, "update_named_params", _push))
        yield
