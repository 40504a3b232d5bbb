"""Clicks that are paid for: flush counts closed days, notes what comes late, and counts again."""

import time

from support.feeder import Feeder
from support.wait import wait_until

STACK = {"roles": "flush"}
DAY = 86400


def test_late_clicks_are_counted(stack):
    link, who, workspace = stack.postgres.sql(
        "with i as (insert into kudos.influencers (workspace_id, handle) select workspace_id, 'anna'"
        " from kudos.domains where is_default returning *),"
        " l as (insert into kudos.links (workspace_id, domain_id, slug, destination, influencer_id) select"
        " d.workspace_id, d.id, 'late', 'https://example.com/', i.id from kudos.domains d, i where d.is_default"
        " returning id), k as (insert into kudos.contracts (workspace_id, influencer_id, per_click, starts_on, status)"
        " select workspace_id, id, '{\"amount_minor\": 5, \"currency\": \"EUR\"}', current_date - 10, 'active' from i)"
        " select l.id, i.id, i.workspace_id from l, i")[0]
    feeder = Feeder(stack)

    def feed(days_ago, visitor):
        feeder.add(link=link, workspace=workspace, influencer=who, visitor=visitor,
                   time_us=int((time.time() - days_ago * DAY) * 1e6)).wait_flushed()

    def counted():
        stack.postgres.value("select kudos.count_clicks(1000)")
        return stack.postgres.value("select coalesce(sum(earned_minor), 0)::int from report.earnings")

    feed(0, 1)
    feed(3, 1)
    wait_until(lambda: counted() == 10, what=lambda: f"two clicks are counted: {counted()}")
    feed(3, 2)
    # The builder makes a day anew every ten minutes; none that was made just now.
    stack.postgres.sql("update kudos.days set built_at = built_at - interval '1 hour'")
    wait_until(lambda: counted() == 15, 60, what=lambda: f"a late click is counted: {counted()}")
    number = stack.kudos.run("reclassify", "--visitor", "2", "--to", "bot", "--because", "x").stdout
    assert "1 clicks reclassified" in number
    stack.postgres.sql("update kudos.days set built_at = built_at - interval '1 hour'")
    wait_until(lambda: counted() == 10, 60, what=lambda: f"a click that is none is not paid for: {counted()}")
    stack.assert_consistent()
