"""An upstream that fails on demand: the model's name picks how. Any gateway can be held to it.

    python -m bench.faulty --port 9000

It speaks OpenAI's chat completions, responses and embeddings, and Anthropic's messages, below ``/v1``.
``GET /v1/models`` lists every name with what it does, and ``GET /calls`` tells what has been called, with the headers
that arrived, and what was hung up on.
"""
