"""/v1/sources: who may tell conversions on the public plane, and how they prove it."""

import hashlib

import pytest

from support.api import audit, ids, make, make_key, make_workspace, pointers, problem, unique

PATH = "/v1/sources"
SHOPS = ("shopify", "stripe", "woocommerce")


def proves(stack, token, at="now()"):
    """The source that a token proves, as the service's own function says."""
    return stack.postgres.value(f"select (select id from kudos.source_of_token(%s, {at}))",
                                hashlib.sha256(token.encode()).digest())


def secrets(stack, source, at="now()"):
    return stack.postgres.value(f"select kudos.source_secrets(%s, {at})", source)


def nowhere(stack, text, but=()):
    """That a text is in no log and no table."""
    assert not any(text in log for log in (stack.kudos.log(), stack.postgres.log()))
    for (table,) in stack.postgres.sql("select format('%I.%I', schemaname, tablename) from pg_tables"
                                       " where schemaname = 'kudos'"):
        assert table in but or stack.postgres.value(
            f"select count(*) from {table} t where strpos(t::text, %s) > 0", text) == 0, table


def test_a_token_is_made_and_shown_once(stack):
    made = make(stack, PATH, {"kind": "postback", "name": "checkout"})
    assert made["token"].startswith(made["prefix"] + "_") and made["path"] == "/-/postback"
    assert "secret" not in made and "secrets" not in made and "token_hash" not in made
    read = stack.kudos.admin("GET", f"{PATH}/{made['id']}").json()
    assert read == {name: made[name] for name in made if name != "token"}
    assert made["id"] in ids(stack, PATH, "kind=postback")
    assert made["id"] not in ids(stack, PATH, "kind=stripe")
    assert proves(stack, made["token"]) == made["id"]
    assert proves(stack, made["token"] + "x") is None
    nowhere(stack, made["token"][14:])


@pytest.mark.parametrize("kind", SHOPS)
def test_secrets_are_taken_and_never_shown(stack, kind):
    mine = [unique("whsec_"), unique("whsec_")]
    made = make(stack, PATH, {"kind": kind, "name": "shop", "secrets": mine})
    assert made["path"] == f"/-/hooks/{kind}/{made['id']}"
    assert not {"secrets", "secret", "token"} & made.keys() and made["prefix"] is None
    assert len(set(made["secret_fingerprints"])) == 2 and secrets(stack, made["id"]) == mine
    changed = stack.kudos.admin("PATCH", f"{PATH}/{made['id']}", {"secrets": mine[1:]}).json()
    assert changed["secret_fingerprints"] == made["secret_fingerprints"][1:]
    assert secrets(stack, made["id"]) == mine[1:]
    assert audit(stack, "source", made["id"])[-1] == (
        "update", {"secret_fingerprints": made["secret_fingerprints"]},
        {"secret_fingerprints": made["secret_fingerprints"][1:]})
    renamed = stack.kudos.admin("PATCH", f"{PATH}/{made['id']}", {"name": "other"}).json()
    assert renamed["name"] == "other" and secrets(stack, made["id"]) == mine[1:]
    other = make(stack, PATH, {"kind": kind, "name": "same secret", "secrets": mine})
    assert not set(other["secret_fingerprints"]) & set(made["secret_fingerprints"])
    for secret in mine:
        nowhere(stack, secret, but=("kudos.sources",))


def test_a_secret_is_made_where_the_shop_takes_one(stack):
    made = make(stack, PATH, {"kind": "woocommerce", "name": "shop"})
    assert made["secret"].startswith(made["prefix"] + "_")
    assert secrets(stack, made["id"]) == [made["secret"]]
    for kind in ("shopify", "stripe"):  # these make it themselves, once they know the address
        assert "secret" not in make(stack, PATH, {"kind": kind, "name": "shop"})


def test_a_repeated_call_answers_the_same(stack):
    for kind, shown in (("postback", "token"), ("woocommerce", "secret")):
        body, header = {"kind": kind, "name": "s"}, {"Idempotency-Key": unique("k")}
        first = make(stack, PATH, body, headers=header)
        assert make(stack, PATH, body, headers=header) == first
        assert make(stack, PATH, body)[shown] != first[shown]
        rotate, header = f"{PATH}/{first['id']}/rotate", {"Idempotency-Key": unique("k")}
        again = [stack.kudos.admin("POST", rotate, {}, header).json() for _ in range(2)]
        assert again[0] == again[1] and again[0][shown] != first[shown]
        problem(stack.kudos.admin("POST", rotate, {"overlap_s": 5}, header), 422,
                "idempotency-key-reused")


def test_rotation(stack):
    old = make(stack, PATH, {"kind": "postback", "name": "p"})
    rotate = f"{PATH}/{old['id']}/rotate"
    new = stack.kudos.admin("POST", rotate, {"overlap_s": 3600}).json()
    assert new["id"] == old["id"] and new["previous_until"] and new["token"] != old["token"]
    assert proves(stack, new["token"]) == proves(stack, old["token"]) == old["id"]
    assert proves(stack, old["token"], "now() + interval '61 minutes'") is None
    newest = stack.kudos.admin("POST", rotate, {}).json()
    assert newest["previous_until"] is None and proves(stack, newest["token"]) == old["id"]
    assert proves(stack, new["token"]) is None and proves(stack, old["token"]) is None
    action, before, after = audit(stack, "source", old["id"])[-1]
    assert (action, before["prefix"], after["prefix"]) == ("rotate", new["prefix"], newest["prefix"])
    for bad in ({"overlap_s": -1}, {"overlap_s": "1"}, {"colour": 1}, {"secrets": "x"}):
        problem(stack.kudos.admin("POST", rotate, bad), 422)


def test_rotation_of_secrets(stack):
    source = make(stack, PATH, {"kind": "shopify", "name": "s", "secrets": ["old"]})["id"]
    rotate = f"{PATH}/{source}/rotate"
    assert pointers(problem(stack.kudos.admin("POST", rotate, {}), 422)) == {"/secrets"}
    answer = stack.kudos.admin("POST", rotate, {"secrets": ["new"], "overlap_s": 60})
    assert answer.status == 200 and not {"secret", "token"} & answer.json().keys()
    assert secrets(stack, source) == ["new", "old"]
    assert secrets(stack, source, "now() + interval '61 seconds'") == ["new"]
    shop = make(stack, PATH, {"kind": "woocommerce", "name": "s"})
    made = stack.kudos.admin("POST", f"{PATH}/{shop['id']}/rotate", {}).json()
    assert secrets(stack, shop["id"]) == [made["secret"]] != [shop["secret"]]


def test_revoked(stack):
    made = make(stack, PATH, {"kind": "postback", "name": "gone"})
    answer = stack.kudos.admin("DELETE", f"{PATH}/{made['id']}")
    assert answer.status == 200 and answer.json()["revoked_at"]
    assert proves(stack, made["token"]) is None and secrets(stack, made["id"]) is None
    problem(stack.kudos.admin("POST", f"{PATH}/{made['id']}/rotate", {}), 404)
    assert [entry[0] for entry in audit(stack, "source", made["id"])] == ["create", "revoke"]


def test_only_with_scope_admin_and_only_in_the_own_workspace(stack):
    made = make(stack, PATH, {"kind": "stripe", "name": "s"})
    stranger = make_workspace(stack, unique("stranger"))
    calls = (("POST", PATH, {"kind": "stripe", "name": "s"}), ("GET", PATH, None),
             ("GET", f"{PATH}/{made['id']}", None), ("PATCH", f"{PATH}/{made['id']}", {"name": "x"}),
             ("POST", f"{PATH}/{made['id']}/rotate", {"secrets": ["x"]}),
             ("DELETE", f"{PATH}/{made['id']}", None))
    for scope in ("write", "read", "conversions"):
        key = make_key(stack, scope=scope)
        for method, path, body in calls:
            problem(stack.kudos.admin(method, path, body, key=key), 403, "forbidden")
    for method, path, body in calls[2:]:
        problem(stack.kudos.admin(method, path, body, key=stranger), 404, "not-found")
    assert made["id"] not in ids(stack, PATH, key=stranger)
    assert stack.kudos.admin("GET", f"{PATH}/{made['id']}").json() == made


@pytest.mark.parametrize("fields, pointer", [
    ({"kind": "paypal"}, "/kind"), ({"name": ""}, "/name"), ({"prefix": "ksrc_x"}, "/prefix"),
    ({"token_hash": "x"}, "/token_hash"), ({"secrets": "x"}, "/secrets"),
    ({"secrets": [""]}, "/secrets"), ({"secrets": ["x"] * 9}, "/secrets"), ({"secrets": [1]}, "/secrets"),
    ({"secrets": ["x" * 256]}, "/secrets"), ({"secrets": ["a\nb"]}, "/secrets"),
    ({"secrets": {"a": "b"}}, "/secrets"), ({"secrets": None}, "/secrets"),
    ({"token": "x"}, "/token"), ({"revoked_at": "2020-01-01T00:00:00Z"}, "/revoked_at"),
])
def test_bad_fields(stack, fields, pointer):
    answer = stack.kudos.admin("POST", PATH, {"kind": "stripe", "name": "n", **fields})
    assert pointers(problem(answer, 422)) == {pointer}
