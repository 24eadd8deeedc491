#!/usr/bin/env bash
# Ask banditd, call the model, report what it used, reward the decision. Nothing but curl; python3 reads the JSON.
set -euo pipefail
banditd=${BANDITD_URL:-http://127.0.0.1:8484}
gateway=${OPENAI_BASE_URL:-http://127.0.0.1:4000/v1}
question=${1:-Prove that the square root of two is irrational.}

post() { curl --fail-with-body --silent --show-error --retry 3 -H 'Content-Type: application/json' "$@"; }
field() { python3 -c 'import functools, json, sys; print(functools.reduce(lambda v, k: v[int(k) if k.isdigit() else k], sys.argv[1:], json.load(sys.stdin)))' "$@"; }
message=$(python3 -c 'import json, sys; print(json.dumps([{"role": "user", "content": sys.argv[1]}]))' "$question")

decision=$(post "$banditd/v1/route" -d "{\"messages\": $message, \"max_cost_usd\": 0.05}")
id=$(field decision_id <<<"$decision")
model=$(field upstream_model <<<"$decision")

answer=$(post "$gateway/chat/completions" -H "Authorization: Bearer ${OPENAI_API_KEY:-none}" \
  -d "{\"model\": \"$model\", \"messages\": $message}")
field choices 0 message content <<<"$answer"

tokens_in=$(field usage prompt_tokens <<<"$answer")
tokens_out=$(field usage completion_tokens <<<"$answer")
post "$banditd/v1/decisions/$id/usage" -d "{\"input_tokens\": $tokens_in, \"output_tokens\": $tokens_out}" >/dev/null

# The same key on a retry makes it count once.
post "$banditd/v1/rewards" -H "Idempotency-Key: thumb-$id" -d "{\"decision_id\": \"$id\", \"thumb\": \"up\"}" >/dev/null
