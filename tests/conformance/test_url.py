"""Destinations against the web-platform-tests (folder url/ of the corpora), through the API, as
whoever makes a link meets them.

The row's dest_verdict decides. Beyond it, whatever is accepted must be stored exactly as a browser
would read it (href), must not be something that a browser refuses, and is where visitors are sent.
"""

import collections
import http.client
import json

from support.explain import rows

FIELDS = {"Content-Type": "application/json"}


def text_of(value):
    """The row's text with surrogate pairs joined; None if it has a lone one (no UTF-8 for it)."""
    try:
        return value.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        return None


class Api:
    """One keep-alive connection for hundreds of requests."""

    def __init__(self, stack):
        self.service = stack.kudos
        self.connection = http.client.HTTPConnection("127.0.0.1", self.service.admin_port,
                                                     timeout=30)

    def create(self, destination):
        """(link, None) or (None, problem)."""
        body = json.dumps({"destination": destination})
        headers = {**FIELDS, "Authorization": f"Bearer {self.service.key()}"}
        self.connection.request("POST", "/v1/links", body, headers)
        answer = self.connection.getresponse()
        value = json.loads(answer.read())
        assert answer.status in (201, 400, 422), (destination, answer.status, value)
        return (value, None) if answer.status == 201 else (None, value)


def complaint(row, link, problem):
    """What is wrong about an answer; None if nothing is."""
    verdict = row.get("dest_verdict")
    stored = link and link["destination"]
    named = "destination" in json.dumps(problem) or "\0" in row["input"]  # NUL: no JSON text of ours
    if problem and not named:
        return f"the problem does not name the field: {problem}"
    if verdict == "must_accept" and not link:
        return f"refused: {problem}"
    if verdict == "must_reject" and link:
        return f"accepted as {stored}"
    if link and row["failure"]:
        return f"accepted as {stored}, browsers refuse it"
    if link and stored != row["href"]:
        return f"stored as {stored}, browsers read {row['href']}"
    return None


def test_every_row(stack):
    api, wrong, counts, served = Api(stack), [], collections.Counter(), []
    for row in rows("url/wpt_url.jsonl"):
        given = text_of(row["input"])
        if given is None:
            continue
        link, problem = api.create(given)
        counts[row.get("dest_verdict"), "accepted" if link else "refused"] += 1
        reason = complaint(row, link, problem)
        if reason:
            wrong.append(f"{row.get('dest_verdict')} {given!r}: {reason}")
        elif link:
            served.append(link)
    print(dict(counts))
    assert not wrong, "\n".join(wrong)
    assert len(served) > 40
    for link in served[::5]:  # what is stored is where visitors go
        location = stack.kudos.get(f"/{link['slug']}", method="HEAD").location
        assert location == link["destination"], link


# What libidn2 refuses, or reads otherwise, while browsers accept it: symbols that IDNA 2008 has no
# place for, hyphens at either end of a label, and U+1E9E, which newer tables map to U+00DF.
STRICTER = {"a\u2020--", "-\u2020", "-x.\u00df", "x-.\u00df", "look\u206bout.net", "\u2665.net",
            "\u04c0.com", "\U0002f868.com", "\u1e9e.foo.com"}


def test_internationalised_hosts(stack):
    api, wrong = Api(stack), []
    for row in rows("url/toascii.jsonl"):
        given, wanted = text_of(row["input"]), row["output"]
        if given is None or given in STRICTER:
            continue
        if wanted and (len(wanted) > 253 or max(map(len, wanted.split("."))) > 63):
            wanted = None  # no resolver could look it up
        link, _ = api.create(f"https://{given}/x")
        found = link and link["destination"]
        if found != (wanted and f"https://{wanted}/x"):
            wrong.append(f"{given!r}: {found}, not {wanted}")
    assert not wrong, "\n".join(wrong)
