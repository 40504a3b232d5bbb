"""`kudos reattribute` killed around its commits: the same command goes on, and the end is the same."""

import os
import subprocess

from support.brand import Brand

STACK = {"roles": "admin"}
SALES = 1201  # three batches


def test_killed_at_each_commit(stack):
    brand = Brand(stack)
    for handle in ("anna", "ben"):
        brand.influencer(handle)
    brand.sql("select kudos.record_conversion(%s, jsonb_build_object('event', 'sale', 'key', 'M-' || n, 'order_id',"
              " 'M-' || n, 'path', 'api', 'verified', true, 'amount_minor', n, 'currency', 'EUR', 'code', 'BEN20',"
              " 'click_id', 'm' || n, 'click_origin', 11, 'click_seq', n, 'click_link_id', %s::bigint,"
              " 'click_time', now() - interval '1 day')) from generate_series(1, %s) n", brand.number,
              brand.links["anna"], SALES)
    total = SALES * (SALES + 1) // 2
    for round_, precedence in enumerate(("link_first", "code_first")):
        answer = brand.api("PATCH", f"/v1/campaigns/{brand.campaign}", {
            "attribution": {"window_days": 30, "precedence": precedence}})
        assert answer.status == 200
        point = ("reattribute_before_commit", "reattribute_after_commit")[round_]
        done = None
        for passes in (1, 2, 1, 1):
            once = os.path.join(stack.kudos.folder, f"once-{round_}-{passes}-{os.urandom(4).hex()}")
            done = subprocess.run(
                [stack.kudos.binary, "reattribute", "--campaign", "spring", "--workspace", brand.name],
                env={**stack.kudos.environment(), "KUDOS_CRASH_AT": f"{point}:{passes}", "KUDOS_CRASH_ONCE": once},
                capture_output=True, encoding="utf-8", check=False)
            if done.returncode == 0:
                break
            assert done.returncode < 0, done
        last = stack.kudos.run("reattribute", "--campaign", "spring", "--workspace", brand.name, check=False) \
            if done.returncode else done
        assert last.returncode == 0, last.stderr
        winner = "anna" if precedence == "link_first" else "ben"
        assert f"{SALES} conversions decided anew, {SALES} are credited otherwise" in last.stdout, last.stdout
        line = [each for each in last.stdout.splitlines() if each.startswith(winner)]
        assert f"EUR 0 -> {total} (" in line[0]
        assert brand.sql("select via::text, count(*)::int, sum(amount_minor)::int from report.conversions"
                         " where workspace = %s and influencer = %s group by 1", brand.name, winner) == [
            ("link" if winner == "anna" else "code", SALES, total)]
        assert brand.value("select count(*) from kudos.reattributions where ended_at is null") == 0
    assert brand.value("select sums from kudos.reattributions order by id limit 1") == {
        "anna EUR": [0, total, 0, SALES], "ben EUR": [total, 0, SALES, 0]}
