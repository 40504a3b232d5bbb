"""Creates that arrive together are inserted together; each is answered as if it had been alone."""

import json

from support.api import make_key, make_workspace, problem, unique
from support.http import Raw

DESTINATION = "https://example.com/"


def message(key, body, headers=""):
    """A POST of a link as bytes."""
    text = json.dumps(body)
    return (f"POST /v1/links HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n{headers}"
            f"Content-Type: application/json\r\nContent-Length: {len(text.encode())}\r\n\r\n{text}")


def all_at_once(stack, messages):
    """Sends each on a connection of its own, then reads the answers, in the same order."""
    raws = [Raw(stack.kudos.admin_port) for _ in messages]
    for raw, each in zip(raws, messages):
        raw.send(each)
    answers = [raw.response() for raw in raws]
    for raw in raws:
        raw.socket.close()
    return answers


def test_each_gets_its_own_answer(stack):
    stack.kudos.admin("POST", "/v1/campaigns", {"name": "Spring", "objective": "launch"})
    other = make_workspace(stack, unique("brand"))
    keys, slug = [stack.kudos.key(), make_key(stack), other], unique("fought-over-")
    bodies = []
    for number in range(150):
        body = {"destination": f"https://example.com/{number}", "title": f"t{number} “ü” \\"}
        if number % 5 == 1:
            body["slug"] = slug
        elif number % 5 == 2:
            body["campaign"] = "nowhere"
        elif number % 5 == 3 and keys[number % 3] != other:
            body["campaign"], body["tags"] = "spring", ["a", "b"]
        bodies.append(body)
    answers = all_at_once(stack, [message(keys[number % 3], body)
                                  for number, body in enumerate(bodies)])
    winners = 0
    for number, (body, answer) in enumerate(zip(bodies, answers)):
        if body.get("campaign") == "nowhere":
            assert [error["pointer"] for error in problem(answer, 422)["errors"]] == ["/campaign"]
            continue
        if body.get("slug") == slug and answer.status == 409:
            problem(answer, 409, "slug-taken")
            continue
        assert answer.status == 201, (number, answer)
        made = answer.json()
        winners += made["slug"] == slug
        assert (made["destination"], made["title"]) == (body["destination"], body["title"])
        assert made["tags"] == body.get("tags", []) and made["live"] is True
        mine = stack.kudos.admin("GET", answer.headers["Location"], key=keys[number % 3])
        assert mine.headers["ETag"] == answer.headers["ETag"]
        assert mine.json() == {name: made[name] for name in made if name != "live"}
        log = stack.postgres.sql("select k.prefix from kudos.audit_log a join kudos.api_keys k on"
                                 " k.id = a.key_id where resource = 'link' and resource_id = %s",
                                 made["id"])
        assert log == [(keys[number % 3][:14],)]
    assert winners == 1


def test_a_revoked_key_makes_nothing(stack):
    key = make_key(stack)
    assert stack.kudos.admin("POST", "/v1/links", {"destination": DESTINATION}, key=key).status == 201
    before = stack.postgres.value("select count(*) from kudos.links")
    stack.postgres.sql("update kudos.api_keys set revoked_at = now() where prefix = %s", key[:14])
    answers = all_at_once(stack, [message(key, {"destination": DESTINATION})] * 60)
    assert {answer.status for answer in answers} == {401}
    assert stack.postgres.value("select count(*) from kudos.links") == before


def test_one_that_postgresql_refuses_spoils_none(stack):
    stack.postgres.sql("alter table kudos.links add constraint no_spam check (title <> 'spam')")
    answers = all_at_once(stack, [message(stack.kudos.key(), {
        "destination": DESTINATION, "title": "spam" if number % 20 == 7 else "good"})
        for number in range(60)])
    stack.postgres.sql("alter table kudos.links drop constraint no_spam")
    for number, answer in enumerate(answers):
        if number % 20 == 7:
            assert "no_spam" in problem(answer, 422)["detail"]
        else:
            assert answer.status == 201 and answer.json()["title"] == "good"


def test_one_that_waits_for_a_lock_holds_up_nobody(stack):
    slug = unique("held-")
    holder = stack.postgres.connect()
    holder.autocommit = False
    with holder.cursor() as cursor:
        cursor.execute("insert into kudos.links (workspace_id, domain_id, slug, destination) select"
                       " workspace_id, id, %s, 'https://example.com/' from kudos.domains"
                       " where is_default", (slug,))
    key = stack.kudos.key()
    waiting = Raw(stack.kudos.admin_port)
    waiting.send(message(key, {"destination": DESTINATION, "slug": slug}))
    answers = all_at_once(stack, [message(key, {"destination": DESTINATION})] * 80)
    assert {answer.status for answer in answers} == {201}
    holder.rollback()
    holder.close()
    # 503 where the others took so long that its statement's time was over.
    assert waiting.response().status in (201, 503)


def test_what_came_in_one_round_is_one_statement(stack):
    # Fails where the first of them sets out alone and the others wait for it.
    key = stack.kudos.key()
    raws = [Raw(stack.kudos.admin_port) for _ in range(20)]
    for raw in raws:  # accepted, and the key confirmed
        raw.send(f"GET /v1/links?limit=1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n")
        assert raw.response().status == 200
    stack.kudos.freeze("admin")
    for raw in raws:
        raw.send(message(key, {"destination": DESTINATION}))
    stack.kudos.wake("admin")
    made = [raw.response().json()["id"] for raw in raws]
    for raw in raws:
        raw.socket.close()
    assert stack.postgres.value("select count(distinct xmin::text) from kudos.links"
                                " where id = any (%s)", made) == 1
