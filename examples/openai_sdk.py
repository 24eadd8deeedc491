"""OpenAI's library with the model that banditd chose. OPENAI_BASE_URL and OPENAI_API_KEY are the library's own."""

import os

from openai import OpenAI

from banditd.client import Client

banditd = Client(os.environ.get("BANDITD_URL", "http://127.0.0.1:8484"))
openai = OpenAI()
messages = [{"role": "user", "content": "Summarise in one sentence: the cat sat on the mat."}]

with banditd.turn(messages, session_id="chat-7") as turn:
    completion = turn.observe(openai.chat.completions.create(model=turn.model, messages=messages))
    answer = completion.choices[0].message.content
    turn.reward(1.0 if len(answer) < 200 else 0.5, source="metric")

print(turn.model, answer)
banditd.close()
openai.close()
