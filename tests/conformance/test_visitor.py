"""Who clicked, over the corpora: the share of user agents, referrers and proxied requests that
`kudos explain` gets right. Each figure is printed for two halves of the rows (by a hash of the user
agent): the lists were tuned on the first, so the second tells what to expect of what nobody has
looked at. The bars hold for both halves together."""

import base64
import hashlib
import os
import re
import socket
import subprocess

import pytest

from support.explain import ROOT, agent, corpus, explain, rows

DEVICES = {
    "smartphone": "smartphone",
    "phablet": "smartphone",
    "feature phone": "smartphone",
    "tablet": "tablet",
    "tv": "tv",
    "desktop": "desktop",
    "console": "console",
    "wearable": "wearable",
    "car browser": "car",
    # no class of ours: portable media player, camera, smart speaker, smart display, peripheral
}
FAMILIES = {
    "Android": {"Android"},
    "iOS": {"iOS"},
    "Windows": {"Windows"},
    "Mac": {"macOS"},
    "GNU/Linux": {"Linux"},
    "Chrome OS": {"Chrome OS"},
    "Firefox OS": {"KaiOS"},
    "Windows Mobile": {"Windows Phone"},
    "BlackBerry": {"BlackBerry"},
    "Symbian": {"Symbian"},
    "Unix": {"Unix"},
    "Real-time OS": {"Feature phone"},
    "Brew": {"Feature phone"},
    "OpenHarmony": {"HarmonyOS"},
    "Gaming Console": {"PlayStation", "Nintendo"},
    "Mobile Gaming Console": {"PlayStation", "Nintendo"},
    "Other Mobile": {"Tizen", "webOS"},
    "AmigaOS": {"Other"},
    "BeOS": {"Other"},
    "IBM": {"Other"},
    "WebTV": {"Other"},
}
APPS = {
    "Facebook": {"Facebook", "Messenger"},
    "Twitter": {"X"},
    "Line": {"LINE"},
    "TikTok": {"TikTok", "Douyin"},
}


def half_of(row):
    return hashlib.sha256(row["ua"].encode("utf-8", "surrogatepass")).digest()[0] & 1


def asked(path):
    """Pairs of row and answer."""
    found = rows(path)
    return list(zip(found, explain([agent(row["ua"]) for row in found])))


def share(name, pairs, right):
    """Prints how many of the pairs are right, by half, and returns the share of all in percent."""
    line = f"{name:36}"
    for half in (0, 1):
        part = [pair for pair in pairs if half_of(pair[0]) == half]
        good = sum(bool(right(*pair)) for pair in part)
        line += f" {good:5} of {len(part):5} {100 * good / max(len(part), 1):7.2f} %"
    total = 100 * sum(bool(right(*pair)) for pair in pairs) / max(len(pairs), 1)
    print(f"{line}   all {total:6.2f} %")
    return total


def is_machine(_row, answer):
    return answer["verdict"] != "human"


@pytest.fixture(scope="module")
def people():
    return asked("ua/humans.jsonl")


def test_machines_are_recognised():
    pairs = asked("ua/bots.jsonl")
    unlisted = [pair for pair in pairs if "monperrus" not in pair[0]["src"]]
    assert share("bots recalled", pairs, is_machine) >= 97
    assert share("bots outside the crawler list", unlisted, is_machine) >= 90


def test_link_previews_are_recognised():
    pairs = asked("ua/link_preview.jsonl")
    share("called preview", pairs, lambda row, answer: answer["verdict"] == "preview")
    # Six of these rows are there for the word "zoom" alone: crawlers of ZoomInfo, SEOzoom, ZoomSpider
    # and Ezooms, which draw no card. They are bots here.
    drawn = [pair for pair in pairs if not re.search("zoominfo|seozoom|zoomspider|ezooms", pair[0]["ua"], re.I)]
    assert share("  of those that draw a card", drawn, lambda row, answer: answer["verdict"] == "preview") >= 98
    assert share("previews kept out of billing", pairs, is_machine) >= 98


def test_people_are_not_taken_for_machines(people):
    assert share("people called machines", people, is_machine) <= 1


def test_apps_are_people_and_named():
    pairs = [
        (row, answer)
        for row, answer in asked("ua/inapp.jsonl")
        if row["bot"] is not True and not row.get("preview")
    ]
    assert share("in-app called machines", pairs, is_machine) <= 1
    named = share(
        "in-app named", pairs, lambda row, answer: answer["app"] in APPS.get(row["inapp"], {row["inapp"]})
    )
    assert named >= 95


def test_devices(people):
    labelled = [pair for pair in people if pair[0].get("device") in DEVICES]
    for kind in DEVICES:
        part = [pair for pair in labelled if pair[0]["device"] == kind]
        share("  " + kind, part, lambda row, answer: answer["device"] == DEVICES[row["device"]])
    assert share("device", labelled, lambda row, answer: answer["device"] == DEVICES[row["device"]]) >= 95


def test_operating_systems(people):
    labelled = [pair for pair in people if pair[0].get("os_family") in FAMILIES]
    assert share("OS family", labelled, lambda row, answer: answer["os"] in FAMILIES[row["os_family"]]) >= 97


def test_unlabelled_agents_are_answered():
    for row, answer in asked("ua/unlabelled.jsonl"):
        assert "error" not in answer, row


def test_referrers():
    found = rows("referer/referer_tests.jsonl")
    answers = explain([agent("x", Referer=row["uri"]) for row in found])
    wrong = [
        (row["uri"], row["medium"], answer["medium"])
        for row, answer in zip(found, answers)
        if answer["medium"] != row["medium"]
    ]
    print(f"referrer medium: {len(found) - len(wrong)} of {len(found)}; wrong: {wrong}")
    assert len(wrong) <= len(found) * 0.05


def test_addresses_behind_proxies():
    wrong = []
    for row in rows("http/x_forwarded_for.jsonl"):
        (answer,) = explain([{"ip": row["peer"], "headers": row["headers"]}], "--trusted", ",".join(row["trusted"]))
        if answer["address"] not in re.findall(r"[0-9a-f.:]{7,}", row["expect"]):
            wrong.append((row["id"], row["expect"], answer["address"]))
    assert not wrong


def proxy_protocol(data):
    """What the parser says: an address, peer, close, or partial."""
    tool = os.environ.get("KUDOS_PROXY_PROTOCOL", str(ROOT / "build" / "unit" / "test_proxy_protocol"))
    done = subprocess.run([tool, "parse"], input=data, stdout=subprocess.PIPE, check=True, timeout=10)
    return done.stdout.decode().strip()


def allowed(expect):
    """The results that the corpus allows, of "198.51.100.7 or ::ffff:198.51.100.7", "peer or close"."""
    words = set(re.findall(r"\bpeer\b|\bclose\b", expect))
    for word in re.findall(r"[0-9a-f.:]{7,}", expect):
        for family in (socket.AF_INET, socket.AF_INET6):
            try:
                words.add(socket.inet_ntop(family, socket.inet_pton(family, word)))
            except OSError:
                continue
    return words


def test_proxy_protocol():
    wrong = []
    for row in rows("http/proxy_protocol.jsonl"):
        data = base64.b64decode(row["input_b64"])
        result = proxy_protocol(data)
        expect = allowed(row["expect_client"])
        if "ignore TLV" in row["expect_client"]:
            expect.add("198.51.100.7")
        if result not in expect:
            wrong.append((row["id"], row["expect_client"], result))
    assert not wrong


def test_structured_fields():
    tool = ROOT / "build" / "unit" / "test_structured"
    if not tool.exists():
        pytest.skip("make unit builds it")
    folder = corpus("http/structured_fields.jsonl").parents[1]
    subprocess.run([tool], env={**os.environ, "CORPUS": str(folder)}, check=True, timeout=60)


def test_hostile_strings_are_harmless():
    strings = rows("hostile/strings.jsonl")
    requests = []
    for row in strings:
        raw = base64.b64decode(row["b64"]) if "b64" in row else row.get("s", row.get("string", "")).encode()
        text = raw.decode("utf-8", "replace").replace("\0", "\ufffd")
        requests.append(
            {
                "ip": "198.51.100.7",
                "target": text,
                "headers": {
                    "User-Agent": text,
                    "Referer": "https://" + text,
                    "Accept-Language": text,
                    "Sec-CH-UA": text,
                    "Sec-CH-UA-Model": text,
                    "X-Forwarded-For": text,
                    "Forwarded": text,
                },
            }
        )
    for request, answer in zip(requests, explain(requests, "--trusted", "198.51.100.0/24")):
        assert "error" not in answer, request
        assert re.fullmatch(r"[a-z0-9._-]*", answer["referrer_host"] or ""), answer
        assert re.fullmatch(r"[A-Za-z0-9-]*", answer["language"] or ""), answer


def test_twenty_thousand_lines_take_seconds():
    import time

    found = rows("ua/humans.jsonl")
    requests = [agent(found[i % len(found)]["ua"]) for i in range(20000)]
    began = time.monotonic()
    explain(requests)
    took = time.monotonic() - began
    print(f"20,000 lines in {took:.2f} s")
    assert took < 10  # a second or two when nothing else runs
