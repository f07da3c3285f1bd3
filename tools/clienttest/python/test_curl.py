"""curl, as a reader of the documentation types it."""

import json
import subprocess

from conftest import PATIENCE

REQUEST = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "one two three"}]}
ANSWER = "primary answers: one two three"


def curl(*arguments):
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--max-time", str(PATIENCE), *arguments],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout


def test_whole(url):
    out = curl(f"{url}/v1/chat/completions", "--fail-with-body", "--json", json.dumps(REQUEST))
    assert json.loads(out)["choices"][0]["message"]["content"] == ANSWER


def test_body_needs_no_content_type(url):
    out = curl(f"{url}/v1/chat/completions", "-d", json.dumps(REQUEST))
    assert json.loads(out)["choices"][0]["message"]["content"] == ANSWER


def test_stream(url):
    out = curl("-N", f"{url}/v1/chat/completions", "-d", json.dumps({**REQUEST, "stream": True}))
    events = [line.removeprefix("data: ") for line in out.splitlines() if line.startswith("data: ")]
    assert events.pop() == "[DONE]"
    deltas = [json.loads(event)["choices"][0]["delta"].get("content") or "" for event in events]
    assert "".join(deltas) == ANSWER
    assert len([delta for delta in deltas if delta]) >= 2


def test_accepted_now_and_looked_up_later(url):
    accepted = json.loads(curl(f"{url}/v1/async/chat/completions", "--fail-with-body", "-d", json.dumps(REQUEST)))
    assert accepted["status"] == "queued"
    report = {}
    while report.get("status") != "answered":
        report = json.loads(curl(f"{url}/v1/requests/{accepted['id']}", "--fail-with-body"))
        assert report["status"] in ("queued", "in_progress", "answered")
    assert report["result"]["choices"][0]["message"]["content"] == ANSWER


def test_error_has_a_status_and_a_code(url):
    out = curl("-w", "\n%{http_code}", f"{url}/v1/chat/completions", "-d", "{")
    body, status = out.rsplit("\n", 1)
    assert status == "400"
    assert json.loads(body)["error"]["code"] == "invalid_json"
