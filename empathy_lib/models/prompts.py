"""What a model is asked: one prompt for each kind of system.

Knows: the wording of the prompts and how a tokenizer's chat template wraps them. Does not know: who answers.
The paper's prompts are not known; these are ours.
"""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from empathy_lib.core.coe import render
from empathy_lib.core.schema import Item

# Short for trained policies (they learn the format), explicit for the untrained base (it must be told).
COE_PROMPT = "阅读求助帖，先写共情思考（L1情绪、L2原因、L3意图、L4策略），再写回复。\n求助帖：{question}\n"
PLAIN_PROMPT = "阅读求助帖，写一段回复。\n求助帖：{question}\n"
BASE_PROMPT = (
    "阅读求助帖，先写共情思考，再写回复。格式：<empathy_think><L1>情绪与情境</L1><L2>原因与信念</L2>"
    "<L3>意图</L3><L4>回应策略</L4></empathy_think><answer>回复</answer>\n求助帖：{question}\n"
)


def wrap(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    """Put a prompt into the tokenizer's chat template if it has one; a base model gets the bare text.

    A template that lets its model think aloud first is told not to: the chain of empathy stands there.
    """
    if tokenizer.chat_template is None:
        return text
    wrapped = tokenizer.apply_chat_template(
        [{"role": "user", "content": text}],
        tokenize=False,
        add_generation_prompt=True,
        enable_thinking=False,  # a template that knows no such switch ignores it
    )
    return wrapped.removeprefix(tokenizer.bos_token or "")  # the tokenizer adds it again


def coe_prompt(tokenizer: PreTrainedTokenizerBase, question: str) -> str:
    """Prompt of the policies that reason (SFT with CoE, GRPO)."""
    return wrap(tokenizer, COE_PROMPT.format(question=question))


def plain_prompt(tokenizer: PreTrainedTokenizerBase, question: str) -> str:
    """Prompt of the no-CoE ablation."""
    return wrap(tokenizer, PLAIN_PROMPT.format(question=question))


def base_prompt(tokenizer: PreTrainedTokenizerBase, question: str) -> str:
    """Zero-shot prompt of the untrained base, with the format spelt out."""
    return wrap(tokenizer, BASE_PROMPT.format(question=question))


def few_shot_prompt(tokenizer: PreTrainedTokenizerBase, question: str, examples: list[Item]) -> str:
    """The zero-shot prompt after ``examples``: training items, each with its first annotated answer."""
    shots = [
        BASE_PROMPT.format(question=item.question) + render(answer.coe, answer.text)
        for item in examples
        for answer in [a for a in item.answers if a.coe is not None][:1]
    ]
    return wrap(tokenizer, "\n\n".join([*shots, BASE_PROMPT.format(question=question)]))


def training_texts(items: list[Item]) -> list[str]:
    """All text that training will show a model, prompts and tags included: what a trimmed vocabulary must
    keep whole."""
    texts = []
    for item in items:
        texts += [
            template.format(question=item.question) for template in (COE_PROMPT, PLAIN_PROMPT, BASE_PROMPT)
        ]
        texts += [
            answer.text if answer.coe is None else render(answer.coe, answer.text) for answer in item.answers
        ]
    return texts
