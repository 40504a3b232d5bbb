"""`kudos explain` for the conformance tests: requests in, answers out."""

import json
import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
KUDOS = os.environ.get("KUDOS_BIN", str(ROOT / "build" / "kudos"))


def corpus(path):
    """A file of the corpora folder (environment CORPUS); skips the test where there is none."""
    folder = os.environ.get("CORPUS")
    if not folder:
        pytest.skip("CORPUS is not set")
    found = pathlib.Path(folder) / path
    if not found.exists():
        pytest.skip(f"{found} does not exist")
    return found


def rows(path):
    """The objects of a JSON Lines file of the corpora."""
    with open(corpus(path), encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def explain(requests, *options, check=True):
    """The answer to each request, in order. The process must end by itself with status 0."""
    done = subprocess.run(
        [KUDOS, "explain", *map(str, options)],
        input="".join(json.dumps(request) + "\n" for request in requests).encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=120,
        check=False,
    )
    if check:
        assert done.returncode == 0, (done.returncode, done.stderr.decode(errors="replace"))
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(requests)
    return answers


def agent(ua, **headers):
    """A request with this user agent, as a browser would send it."""
    return {
        "ip": "198.51.100.7",
        "method": "GET",
        "target": "/x",
        "headers": {"User-Agent": ua, "Accept": "*/*", **headers},
    }
