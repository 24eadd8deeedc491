"""LiteLLM with the model that banditd chose. An arm's upstream_model may be any name that LiteLLM knows."""

import os

import litellm

from banditd.client import Client

banditd = Client(os.environ.get("BANDITD_URL", "http://127.0.0.1:8484"))
messages = [{"role": "user", "content": "Translate into French: good morning"}]

with banditd.turn(messages, max_cost_usd=0.05) as turn:
    completion = turn.observe(
        litellm.completion(
            model=f"openai/{turn.model}",  # "openai/" says which protocol the gateway speaks
            messages=messages,
            api_base=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:4000/v1"),
            api_key=os.environ.get("OPENAI_API_KEY", "none"),
        )
    )
    turn.reward("up" if completion.choices[0].message.content else "down")

print(turn.model, completion.choices[0].message.content)
banditd.close()
