"""What links are compiled from: a change anywhere reaches every link made of it; max_clicks; the
salts of visitor values."""

import datetime
import os
import shutil

from support.wait import holds_for, wait_until

HUMAN = {"User-Agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15"
                       " (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
         "Accept": "text/html", "Accept-Language": "de-DE,de;q=0.9", "Sec-Fetch-Mode": "navigate"}


def location(service, slug):
    """Where a link leads; HEAD: without the click id, and not counted."""
    return service.get(f"/{slug}", method="HEAD").location


def wait_for(service, slug, wanted):
    """Waits until a link leads there."""
    wait_until(lambda: location(service, slug) == wanted, 10,
               lambda: f"/{slug} leads to {wanted}, not {location(service, slug)}")


def campaign(stack, slug, utm=None):
    """A campaign of workspace `default`; its id."""
    return stack.postgres.value(
        "insert into kudos.campaigns (workspace_id, slug, name, objective, utm)"
        " select id, %s, %s, 'launch', %s::jsonb from kudos.workspaces where name = 'default'"
        " returning id", slug, slug.title(), utm)


def influencer(stack, handle):
    """An influencer of workspace `default`; their id."""
    return stack.postgres.value(
        "insert into kudos.influencers (workspace_id, handle, name)"
        " select id, %s, '' from kudos.workspaces where name = 'default' returning id", handle)


def code(stack, campaign_id, influencer_id, text):
    """A code."""
    stack.postgres.sql(
        "insert into kudos.codes (workspace_id, campaign_id, influencer_id, code)"
        " select id, %s, %s, %s from kudos.workspaces where name = 'default'",
        campaign_id, influencer_id, text)


# What a link is made of ---------------------------------------------------------------------------

def test_changes_reach_every_link_made_of_them(stack):
    spring = campaign(stack, "spring", '{"source": "{handle}", "campaign": "{campaign}"}')
    anna, ben = influencer(stack, "anna"), influencer(stack, "Ben B")
    links = {}
    for person in (anna, ben):
        links[person] = [
            stack.kudos.create_link(f"https://example.com/{n}?c={{code}}", campaign=spring,
                                    influencer=person)["slug"] for n in range(3)]
    other = stack.kudos.create_link("https://example.com/{handle}", influencer=anna)["slug"]

    def expect(person, handle, code_text, slug):
        for n, link in enumerate(links[person]):
            wait_for(stack.kudos, link, f"https://example.com/{n}?c={code_text}"
                     f"&utm_source={handle}&utm_campaign={slug}")

    expect(anna, "anna", "", "spring")
    expect(ben, "Ben%20B", "", "spring")
    code(stack, spring, anna, "ANNA20")
    code(stack, spring, anna, "ANNA30")  # the first one counts
    expect(anna, "anna", "ANNA20", "spring")
    stack.postgres.sql("update kudos.codes set code = 'AB&C' where code = 'ANNA20'")
    expect(anna, "anna", "AB%26C", "spring")
    stack.postgres.sql("update kudos.codes set influencer_id = %s where code = 'AB&C'", ben)
    expect(anna, "anna", "ANNA30", "spring")
    expect(ben, "Ben%20B", "AB%26C", "spring")
    stack.postgres.sql("delete from kudos.codes where code = 'ANNA30'")
    expect(anna, "anna", "", "spring")
    stack.postgres.sql("update kudos.campaigns set slug = 'summer' where id = %s", spring)
    expect(anna, "anna", "", "summer")
    expect(ben, "Ben%20B", "AB%26C", "summer")
    stack.postgres.sql("update kudos.influencers set handle = 'ann' where id = %s", anna)
    expect(anna, "ann", "", "summer")
    wait_for(stack.kudos, other, "https://example.com/ann")
    stack.postgres.sql("update kudos.campaigns set utm = null where id = %s", spring)
    wait_for(stack.kudos, links[anna][0], "https://example.com/0?c=")


def test_a_snapshot_is_what_polling_has_made(stack):
    """Built anew, the replica says the same of every link: what each belongs to is read at once then."""
    own = campaign(stack, "own", '{"source": "{handle}", "content": "{code}"}')
    plain, carla = campaign(stack, "plain"), influencer(stack, "carla")
    dora = influencer(stack, "Dora D")
    code(stack, own, carla, "CARLA5")
    for platform, url, followers in (("instagram", "https://instagram.example/c", 5), ("youtube", "https://youtube.example/c", 9)):
        stack.postgres.sql("insert into kudos.influencer_profiles (workspace_id, influencer_id, platform, url, followers)"
                           " select workspace_id, id, %s, %s, %s from kudos.influencers where id = %s",
                           platform, url, followers, carla)
    slugs = [stack.add_link(f"https://example.com/{{campaign}}/{{handle}}?c={{code}}&n={n}", live=False, **belongs)
             for n, belongs in enumerate((
                 {}, {"campaign_id": own}, {"campaign_id": plain}, {"influencer_id": carla},
                 {"campaign_id": own, "influencer_id": carla}, {"campaign_id": own, "influencer_id": dora},
                 {"campaign_id": plain, "influencer_id": carla}))]
    stack.wait_live(slugs[-1])

    def pages():
        return [(location(stack.kudos, slug), stack.kudos.get(f"/{slug}+").text) for slug in slugs]
    before, built = pages(), stack.kudos.metric("replica_snapshots_total")
    assert before[4][0] == "https://example.com/own/carla?c=CARLA5&n=4&utm_source=carla&utm_content=CARLA5"
    assert "https://youtube.example/c" in before[4][1] and "Dora D" in before[5][1]
    shutil.rmtree(os.path.join(stack.kudos.settings["data_dir"], "replica"))
    wait_until(lambda: stack.kudos.metric("replica_snapshots_total") > built, 20, "a new snapshot")
    stack.add_link()  # is served from the new one
    assert pages() == before


def test_a_links_own_utm_parameters_override_one_by_one(stack):
    utm = campaign(stack, "utm", '{"source": "ig", "medium": "social", "term": "x"}')
    slug = stack.kudos.create_link("https://example.com/?utm_medium=mine", campaign=utm)["slug"]
    wait_for(stack.kudos, slug, "https://example.com/?utm_medium=mine&utm_source=ig&utm_term=x")
    stack.postgres.sql("update kudos.links set utm = %s where slug = %s",
                       '{"source": "tiktok", "term": null, "content": "{slug}"}', slug)
    wait_for(stack.kudos, slug, "https://example.com/?utm_medium=mine&utm_source=tiktok"
             f"&utm_content={slug}")


def test_touching_is_no_change_of_the_link(stack):
    touched = campaign(stack, "touched")
    link = stack.kudos.create_link(campaign=touched)
    before = stack.postgres.value("select changed::text from kudos.links where id = %s", link["id"])
    stack.postgres.sql("update kudos.campaigns set name = 'Other' where id = %s", touched)
    after = stack.postgres.value("select changed::text from kudos.links where id = %s", link["id"])
    assert int(after) > int(before)
    stack.postgres.sql("update kudos.campaigns set hashtag = '#x' where id = %s", touched)
    assert stack.postgres.value("select changed::text from kudos.links where id = %s",
                                link["id"]) == after
    shown = stack.kudos.admin("GET", f"/v1/links/{link['id']}").json()
    assert shown["updated_at"] == link["updated_at"]


def test_what_only_sql_can_store_costs_that_part_only(stack):
    link = stack.kudos.create_link("https://example.com/plain", click_id=False)
    before = stack.kudos.metric("replica_incomplete_total")
    stack.postgres.sql(
        "update kudos.links set rules = %s, destination = 'https://example.com/now' where id = %s",
        '[{"if": {"device": ["toaster"]}, "then": {"block": 404}}]', link["id"])
    wait_for(stack.kudos, link["slug"], "https://example.com/now")
    assert stack.kudos.get(f"/{link['slug']}").location == "https://example.com/now"
    assert stack.kudos.metric("replica_incomplete_total") > before
    assert stack.kudos.logged(rf"replica_row_incomplete.*id={link['id']} .*/0/if/device/0")


# max_clicks ---------------------------------------------------------------------------------------

def used_up(stack, link):
    """What PostgreSQL says."""
    return stack.postgres.value("select used_up from kudos.links where id = %s", link["id"])


def click(stack, link, times, headers=None):
    """Human clicks, unless the headers say otherwise."""
    for _ in range(times):
        assert stack.kudos.get(f"/{link['slug']}", headers or HUMAN).status in (302, 410)


def test_human_clicks_use_a_link_up(stack):
    link, free = stack.kudos.create_link(), stack.kudos.create_link()
    stack.postgres.sql("update kudos.links set max_clicks = 5 where id = %s", link["id"])
    click(stack, link, 10, {"User-Agent": "curl/8.0"})
    click(stack, link, 4)
    click(stack, free, 20)
    human = "select coalesce(sum(human), 0) from kudos.clicks_hourly where link_id = %s"
    wait_until(lambda: stack.postgres.value(human, link["id"]) == 4, 10, "four clicks are stored")
    assert not used_up(stack, link)
    click(stack, link, 1)
    wait_until(lambda: used_up(stack, link), 10, "the link is used up")
    wait_until(lambda: stack.kudos.get(f"/{link['slug']}").status == 410, 10, "it answers 410")
    stack.kudos.admin("PATCH", f"/v1/links/{link['id']}", {"fallback": "https://example.com/over"})
    assert location(stack.kudos, link["slug"]) == "https://example.com/over"
    assert not used_up(stack, free)
    assert stack.kudos.metric("links_used_up_total") == 1
    stack.postgres.sql("update kudos.links set max_clicks = 100 where id = %s", link["id"])
    assert not used_up(stack, link)
    wait_for(stack.kudos, link["slug"], "https://example.com/")
    stack.postgres.sql("update kudos.links set max_clicks = 3 where id = %s", link["id"])
    assert used_up(stack, link)
    stack.postgres.sql("update kudos.links set max_clicks = null where id = %s", link["id"])
    assert not used_up(stack, link)


def test_a_link_that_is_being_changed_is_marked_by_its_next_click(stack):
    """Flush waits for nobody's row."""
    link = stack.kudos.create_link()
    stack.postgres.sql("update kudos.links set max_clicks = 1 where id = %s", link["id"])
    editor = stack.postgres.connect()
    editor.autocommit = False
    with editor.cursor() as cursor:
        cursor.execute("update kudos.links set title = 'x' where id = %s", (link["id"],))
    human = "select coalesce(sum(human), 0) from kudos.clicks_hourly where link_id = %s"
    for number in (1, 2):
        click(stack, link, 1)
        wait_until(lambda: stack.postgres.value(human, link["id"]) == number, 5,
                   f"click {number} is stored")
    holds_for(lambda: not used_up(stack, link), 0.3, "the row is not changed behind the editor")
    editor.commit()
    editor.close()
    click(stack, link, 1)
    wait_until(lambda: used_up(stack, link), 10, "the link is used up")


# Domains ------------------------------------------------------------------------------------------

def test_what_a_domain_says_holds_at_once_for_its_links(stack):
    domain = stack.kudos.admin("POST", "/v1/domains", {"host": "b.example"}).json()
    link = stack.kudos.create_link("https://example.com/", domain="b.example")
    before = stack.postgres.value("select changed::text from kudos.links where id = %s", link["id"])

    def answers(path, status, wanted):
        def got():
            answer = stack.kudos.get(path, {"Host": "b.example", **HUMAN})
            return answer.status == status and (answer.location or "").startswith(wanted)
        wait_until(got, 10, f"{path} answers {status} {wanted}")

    answers(f"/{link['slug']}", 302, "https://example.com/?kudos_id=")
    answers("/nothing", 404, "")
    stack.kudos.admin("PATCH", f"/v1/domains/{domain['id']}", {
        "redirect_status": 307, "click_id": False, "root_destination": "https://root.example/",
        "not_found_destination": "https://what.example/", "fallback": "https://over.example/"})
    answers(f"/{link['slug']}", 307, "https://example.com/")
    assert stack.kudos.get(f"/{link['slug']}", {"Host": "b.example"}).location == \
        "https://example.com/"
    answers("/", 302, "https://root.example/")
    answers("/nothing", 302, "https://what.example/")
    assert stack.postgres.value("select changed::text from kudos.links where id = %s",
                                link["id"]) == before  # no link was written
    stack.postgres.sql("update kudos.links set expires_at = now() where id = %s", link["id"])
    answers(f"/{link['slug']}", 302, "https://over.example/")


# Salts --------------------------------------------------------------------------------------------

def salts(stack):
    """{day: salt}"""
    rows = stack.postgres.sql("select day, encode(salt, 'hex') from kudos.visitor_salts")
    return dict(rows)


def restart_sync(stack):
    """Ends sync; returns when its successor has looked after the salts."""
    before = len(stack.kudos.logged("event=sync_connected"))
    stack.kudos.kill_role("sync")
    wait_until(lambda: len(stack.kudos.logged("event=sync_connected")) > before, 15,
               "sync is connected again")
    slug = stack.kudos.create_link()["slug"]  # polls come after salts
    wait_until(lambda: stack.kudos.get(f"/{slug}").status == 302, 10, "sync polls")


def test_salts_are_made_ahead_survive_a_crash_and_go_in_time(stack):
    today = stack.postgres.value("select (now() at time zone 'UTC')::date")
    days = {today + datetime.timedelta(n) for n in range(3)}
    wait_until(lambda: set(salts(stack)) == days, 10, "salts for three days")
    made = salts(stack)
    assert len(set(made.values())) == 3
    old, kept = today - datetime.timedelta(3), today - datetime.timedelta(2)
    stack.postgres.sql("insert into kudos.visitor_salts (day, salt) values (%s, %s), (%s, %s)",
                       old, b"o" * 16, kept, b"k" * 16)
    restart_sync(stack)
    assert set(salts(stack)) == days | {kept}
    stack.postgres.sql("truncate kudos.visitor_salts")  # as a crash of PostgreSQL does
    restart_sync(stack)
    assert salts(stack) == made
    logged = stack.kudos.log()
    assert not any(salt in logged for salt in made.values())
