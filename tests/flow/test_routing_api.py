"""What the API takes and refuses about routing: rules, templates, UTM parameters, life, domains."""

import pytest

from support.wait import wait_until

GO = "https://example.com/"
TO = {"destination": GO}


def problem(answer, status=422):
    """The bad fields of a refusal: {pointer: detail}."""
    assert answer.status == status, answer
    return {error["pointer"]: error["detail"] for error in answer.json()["errors"]}


def refused(stack, **fields):
    """The bad fields of a link that is not made."""
    return problem(stack.kudos.admin("POST", "/v1/links", {"destination": GO, **fields}))


def rule(then=None, **conditions):
    """A rule."""
    return {"if": conditions, "then": then or TO}


RULES = [
    rule({"destination": "https://m.example/{country}?x={click_id}#top"}, device=["smartphone"],
         os=["iOS", "Android"], app=["Instagram"], country=["DE", "AT"], language=["de", "pt-BR"],
         platform=["instagram"], verdict=["human"], query={"src": "tt", "x": None},
         time={"from": "2026-06-01T00:00:00Z", "until": "2036-07-01T00:00:00+02:00"}),
    rule({"split": [{"weight": 70, "destination": "https://a.example/"},
                    {"weight": 30, "destination": "https://b.example/"}]}, region=["US-CA"]),
    rule({"app": {"ios": {"store": "https://apps.apple.com/app/id1"},
                  "android": {"package": "com.example.app", "link": "https://example.com/app",
                              "store": "https://play.google.com/store/apps/details?id=x"}}},
         city=["München"]),
    rule({"block": 410}, verdict=["bot"]),
]


# Links --------------------------------------------------------------------------------------------

def test_everything_comes_back(stack):
    fields = {"rules": RULES, "utm": {"source": "{handle}", "medium": "social", "term": None},
              "max_clicks": 1000, "starts_at": "2026-01-01T00:00:00.000000Z",
              "expires_at": "2036-01-01T00:00:00.000000Z", "pass_query": True, "click_id": False,
              "redirect_status": 308, "fallback": "https://example.com/{code}?over",
              "destination": "https://Example.com/{handle}?c={country}&id={click_id}"}
    link = stack.kudos.admin("POST", "/v1/links", fields).json()
    fields["destination"] = "https://example.com/{handle}?c={country}&id={click_id}"
    assert {name: link[name] for name in fields} == fields
    assert link["used_up"] is False and link["live"] is True
    path = f"/v1/links/{link['id']}"
    shown = stack.kudos.admin("GET", path).json()
    assert {name: shown[name] for name in fields} == fields
    emptied = {"rules": None, "utm": None, "max_clicks": None, "fallback": None, "starts_at": None,
               "expires_at": None}
    shown = stack.kudos.admin("PATCH", path, emptied).json()
    assert {name: shown[name] for name in emptied} == emptied
    assert shown["destination"] == fields["destination"]
    assert stack.kudos.admin("PATCH", path, {"rules": []}).json()["rules"] == []


def test_rules_reach_the_replica_whole(stack):
    before = stack.kudos.metric("replica_incomplete_total")
    link = stack.kudos.create_link(rules=RULES)
    assert link["live"] is True
    assert stack.kudos.metric("replica_incomplete_total") == before


@pytest.mark.parametrize("rules, pointer, detail", [
    ({"if": {}}, "/rules", "array"),
    ("x", "/rules", "array"),
    ([7], "/rules/0", "object"),
    ([rule(), {"if": {}, "then": TO, "else": TO}], "/rules/1/else", "unknown field"),
    ([rule(device=["smartphone", "toaster"])], "/rules/0/if/device/1", ""),
    ([rule(os=[])], "/rules/0/if/os", ""),
    ([rule(country=["XXX"])], "/rules/0/if/country/0", ""),
    ([rule(verdict="human")], "/rules/0/if/verdict", ""),
    ([rule(shoe=["38"])], "/rules/0/if/shoe", "unknown field"),
    ([{"if": {"a/b~c": 1}, "then": TO}], "/rules/0/if/a~1b~0c", "unknown field"),
    ([{"if": {"ä" * 30: 1}, "then": TO}], None, "unknown field"),
    ([rule(query={"src": 7})], "/rules/0/if/query/src", ""),
    ([rule(time={"from": "yesterday"})], "/rules/0/if/time/from", "time"),
    ([rule(time={"from": "2026-06-02T00:00:00Z", "until": "2026-06-01T00:00:00Z"})],
     "/rules/0/if/time", "before"),
    ([{"if": {}}], "/rules/0/then", ""),
    ([rule({"destination": GO, "block": 404})], "/rules/0/then", ""),
    ([rule({"block": 403})], "/rules/0/then/block", "404 or 410"),
    ([rule({"destination": "ftp://x.example/"})], "/rules/0/then/destination", "http"),
    ([rule({"destination": "https://{handle}.example/"})], "/rules/0/then/destination", "host"),
    ([rule({"destination": "https://x.example/{wat}"})], "/rules/0/then/destination", "{wat}"),
    ([rule({"split": [{"weight": 70, "destination": GO}]})], "/rules/0/then/split", "2 to 10"),
    ([rule({"split": [{"weight": 70, "destination": GO}, {"weight": 40, "destination": GO}]})],
     "/rules/0/then/split", "110"),
    ([rule({"split": [{"weight": 100.5, "destination": GO}, {"weight": 1, "destination": GO}]})],
     "/rules/0/then/split/0/weight", "integer"),
    ([rule({"app": {"ios": {}}})], "/rules/0/then/app/ios", ""),
    ([rule({"app": {"android": {"package": "x;y", "link": GO, "store": GO}}})],
     "/rules/0/then/app/android/package", "package"),
    ([rule()] * 51, "/rules", "50"),
])
def test_bad_rules_are_refused_where_they_are_bad(stack, rules, pointer, detail):
    bad = refused(stack, rules=rules)
    assert len(bad) == 1
    assert pointer is None or pointer in bad, bad
    assert detail in list(bad.values())[0], bad


def test_other_bad_fields(stack):
    bad = refused(stack, utm={"source": "x", "sauce": "y"}, max_clicks=0, redirect_status=303,
                  fallback="mailto:x@example.com", rules=[rule(os=["Amiga"])], used_up=True)
    assert set(bad) == {"/utm/sauce", "/max_clicks", "/redirect_status", "/fallback",
                        "/rules/0/if/os/0", "/used_up"}
    for utm, pointer in (({"source": 1}, "/utm/source"), ({"term": "a\nb"}, "/utm/term"),
                         ({"medium": "{country}"}, "/utm/medium"), ([], "/utm"),
                         ({"content": "x" * 201}, "/utm/content"), (7, "/utm")):
        assert set(refused(stack, utm=utm)) == {pointer}
    assert set(refused(stack, max_clicks=-5)) == {"/max_clicks"}
    assert set(refused(stack, max_clicks="7")) == {"/max_clicks"}


def test_loops_to_an_own_domain_are_refused(stack):
    own = f"{stack.kudos.settings['base_url']}/abc"
    made = stack.kudos.admin("POST", "/v1/domains", {"host": "Loop.Example."})
    assert made.status == 201 and made.json()["host"] == "loop.example", made

    def is_refused():
        answer = stack.kudos.admin("POST", "/v1/links", {"destination": "https://LOOP.example/x"})
        return answer.status == 422
    wait_until(is_refused, 10, "the new domain is known as one of ours")
    for url in (own, "http://loop.example", "http://loop.example./x",
                f"http://loop.example:{stack.kudos.port}/"):
        assert set(refused(stack, destination=url)) == {"/destination"}, url
        assert set(refused(stack, fallback=url)) == {"/fallback"}, url
        assert set(refused(stack, rules=[rule(), rule({"destination": url})])) == \
            {"/rules/1/then/destination"}, url
    link = stack.kudos.create_link(GO)
    patched = stack.kudos.admin("PATCH", f"/v1/links/{link['id']}", {"fallback": own})
    assert set(problem(patched)) == {"/fallback"}
    # Another service on this machine is none of ours.
    stack.kudos.create_link("http://127.0.0.1:1/x")
    stack.kudos.create_link("http://loop.example:1/x")
    stack.kudos.create_link("https://not-loop.example/x")


def test_max_clicks_can_be_raised_and_lowered(stack):
    link = stack.kudos.create_link(max_clicks=5)
    stack.postgres.sql(
        "insert into kudos.clicks_hourly (link_id, hour, verdict, partition, clicks, human)"
        " values (%s, date_trunc('hour', now()), 'human', 0, 7, 7)", link["id"])
    path = f"/v1/links/{link['id']}"
    for limit, used_up in ((8, False), (7, True), (None, False), (1, True), (100, False)):
        shown = stack.kudos.admin("PATCH", path, {"max_clicks": limit}).json()
        assert (shown["max_clicks"], shown["used_up"]) == (limit, used_up)


# Domains ------------------------------------------------------------------------------------------

def test_domain_comes_back_and_changes(stack):
    fields = {"host": "go.brand.example", "case_sensitive": True, "redirect_status": 307,
              "click_id": False, "root_destination": "https://brand.example/",
              "not_found_destination": "https://brand.example/404",
              "fallback": "https://brand.example/over",
              "app_site_association": {"applinks": {"details": [{"appIDs": ["A.b"]}]}},
              "assetlinks": [{"relation": ["delegate_permission/common.handle_all_urls"]}]}
    answer = stack.kudos.admin("POST", "/v1/domains", fields)
    assert answer.status == 201, answer
    domain = answer.json()
    assert {name: domain[name] for name in fields} == fields and domain["is_default"] is False
    path = answer.headers["Location"]
    assert path == f"/v1/domains/{domain['id']}"
    assert stack.kudos.admin("GET", path).json() == domain
    assert domain in stack.kudos.admin("GET", "/v1/domains").json()["items"]
    changed = stack.kudos.admin("PATCH", path, {"fallback": None, "redirect_status": 302}).json()
    assert changed == {**domain, "fallback": None, "redirect_status": 302}
    assert set(problem(stack.kudos.admin("POST", "/v1/domains", {"host": "GO.brand.example"}),
                       409)) == {"/host"}


def test_bad_domains(stack):
    post = lambda **fields: problem(stack.kudos.admin("POST", "/v1/domains", fields))
    assert set(post()) == {"/host"}
    assert set(post(host="a b")) == {"/host"}
    assert set(post(host="x.example/path")) == {"/host"}
    assert set(post(host="x.example", redirect_status=200, fallback="x", assetlinks=7,
                    root_destination=f"{stack.kudos.settings['base_url']}/", is_default=True)) == \
        {"/redirect_status", "/fallback", "/assetlinks", "/root_destination", "/is_default"}
    host = stack.kudos.admin("POST", "/v1/domains", {"host": "fixed.example"}).json()
    path = f"/v1/domains/{host['id']}"
    assert set(problem(stack.kudos.admin("PATCH", path, {"host": "other.example"}))) == {"/host"}
    assert stack.kudos.admin("PATCH", "/v1/domains/999999", {"click_id": True}).status == 404
    assert stack.kudos.admin("GET", "/v1/domains/999999").status == 404


def test_domains_belong_to_their_workspace(stack):
    stack.kudos.run("workspace", "create", "other")
    keys = {scope: stack.kudos.run("key", "create", "--workspace", "other", "--scope", scope,
                                   "--name", "t").stdout.splitlines()[-1]
            for scope in ("admin", "write")}
    mine = stack.kudos.admin("POST", "/v1/domains", {"host": "mine.example"}).json()
    path = f"/v1/domains/{mine['id']}"
    assert stack.kudos.admin("GET", path, key=keys["admin"]).status == 404
    assert stack.kudos.admin("PATCH", path, {"click_id": False}, key=keys["admin"]).status == 404
    assert stack.kudos.admin("GET", "/v1/domains", key=keys["admin"]).json()["items"] == []
    assert stack.kudos.admin("POST", "/v1/domains", {"host": "w.example"},
                             key=keys["write"]).status == 403
    assert problem(stack.kudos.admin("POST", "/v1/domains", {"host": "mine.example"},
                                     key=keys["admin"]), 409)


def test_case_sensitive_can_change_only_without_links(stack):
    domain = stack.kudos.admin("POST", "/v1/domains", {"host": "case.example"}).json()
    path = f"/v1/domains/{domain['id']}"
    assert stack.kudos.admin("PATCH", path, {"case_sensitive": True}).json()["case_sensitive"]
    stack.kudos.create_link(domain="case.example", slug="Abc")
    assert set(problem(stack.kudos.admin("PATCH", path, {"case_sensitive": False}), 409)) == \
        {"/case_sensitive"}


def test_links_follow_their_domain_unless_they_say_otherwise(stack):
    domain = stack.kudos.admin("POST", "/v1/domains", {
        "host": "follow.example", "redirect_status": 307, "click_id": False}).json()
    follows = stack.kudos.create_link(domain="follow.example")
    says = stack.kudos.create_link(domain="follow.example", redirect_status=301, click_id=True)
    assert (follows["redirect_status"], follows["click_id"]) == (307, False)
    assert (says["redirect_status"], says["click_id"]) == (301, True)
    stack.kudos.admin("PATCH", f"/v1/domains/{domain['id']}", {"redirect_status": 308})
    paths = [f"/v1/links/{link['id']}" for link in (follows, says)]
    assert [stack.kudos.admin("GET", path).json()["redirect_status"] for path in paths] == \
        [308, 301]
    back = stack.kudos.admin("PATCH", paths[1], {"redirect_status": None, "click_id": None}).json()
    assert (back["redirect_status"], back["click_id"]) == (308, False)
