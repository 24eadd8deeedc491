"""Ask banditd, call the model, say how it went. The client reports latency, failures and rewards by itself."""

import json
import os
import urllib.request

from banditd.client import Client, Turn

GATEWAY = os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:4000/v1")
client = Client(os.environ.get("BANDITD_URL", "http://127.0.0.1:8484"))


def chat(model: str, prompt: str) -> dict:
    """Stands for whatever calls your models."""
    body = {"model": model, "messages": [{"role": "user", "content": prompt}]}
    request = urllib.request.Request(
        f"{GATEWAY}/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


# As a context manager: everything that happens in the block belongs to one decision.
with client.turn("Write a function that reverses a list.", tags={"team": "tools"}) as turn:
    completion = turn.observe(chat(turn.model, "Write a function that reverses a list."))
    turn.reward("up")
print(turn.model, completion["choices"][0]["message"]["content"])


# As a decorator: callers leave the first parameter out, the judge's number becomes the reward.
def judge(text: str) -> float:
    return 1.0 if "because" in text else 0.3


@client.routed(reward=judge, source="judge", max_cost_usd=0.05)
def explain(turn: Turn, prompt: str) -> str:
    return turn.observe(chat(turn.model, prompt))["choices"][0]["message"]["content"]


print(explain("Why is the sky blue?"))

# Later, from anywhere that knows the decision's id:
client.reward(turn.decision_id, 0.8, source="metric", metric="tests_passed", idempotency_key=f"ci-{turn.decision_id}")
client.close()
