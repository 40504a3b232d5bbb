"""Posts and what they have reached, entered many at a time."""

from support.api import make, problem


def bulk(stack, what, body, kind="application/json"):
    """One call."""
    return stack.kudos.admin("POST", f"/v1/{what}/bulk/create", body if kind == "application/json"
                             else body.encode(), None if kind == "application/json" else
                             {"Content-Type": kind})


def good(answer, **counts):
    """The items of an answer, after a look at its numbers."""
    assert answer.status == 200, answer
    assert {name: answer.json()[name] for name in counts} == counts, answer.json()
    return answer.json()["items"]


def test_posts_and_metrics(stack):
    make(stack, "/v1/influencers", {"handle": "poster"})
    posts = [{"url": f"https://www.instagram.com/p/{n}", "platform": "instagram",
              "influencer": "poster", "published_at": "2026-01-01T00:00:00Z", "tags": ["a"]}
             for n in range(1200)]
    items = good(bulk(stack, "posts", posts), created=1200, error=0)
    post = stack.kudos.admin("GET", f"/v1/posts/{items[7]['id']}").json()
    assert (post["url"], post["platform"], post["tags"]) == (posts[7]["url"], "instagram", ["a"])
    text = "post,taken_at,source,reach,comments,sentiment,external_id\r\n" + "".join(
        f"https://www.instagram.com/p/{n},2026-01-02T00:00:00Z,tool,{n},5,0.5,m{n}\r\n"
        for n in range(1200))
    items = good(bulk(stack, "post-metrics", text, "text/csv"), created=1200, error=0)
    reading = stack.kudos.admin("GET", f"/v1/post-metrics/{items[9]['id']}").json()
    assert (reading["reach"], reading["comments"], reading["sentiment"]) == (9, 5, 0.5)
    again = good(bulk(stack, "post-metrics", text, "text/csv"), existed=1200, created=0)
    assert [item["id"] for item in again] == [item["id"] for item in items]


def test_errors(stack):
    make(stack, "/v1/posts", {"url": "https://www.tiktok.com/@x/video/1", "platform": "tiktok"})
    items = good(bulk(stack, "posts", [
        {"url": "https://www.tiktok.com/@x/video/1", "platform": "tiktok"},
        {"url": "https://www.tiktok.com/@x/video/2", "platform": "tiktok", "influencer": "nobody"},
        {"url": "https://www.tiktok.com/@x/video/3", "platform": "tiktok"}, {"platform": 7}]),
        created=1, error=3)
    assert [{error["pointer"] for error in item.get("errors", [])} for item in items[:3]] == [
        {"/0/url"}, {"/1/influencer"}, set()]
    items = good(bulk(stack, "post-metrics", [
        {"post": "https://nowhere.example/", "reach": 1}, {"post": items[2]["id"], "reach": -1},
        {"post": items[2]["id"], "reach": 1, "taken_at": "2026-01-01T00:00:00Z"},
        {"post": items[2]["id"], "reach": 2, "taken_at": "2026-01-01T00:00:00Z"}]),
        created=1, error=3)
    assert [{error["pointer"] for error in item.get("errors", [])} for item in items] == [
        {"/0/post"}, {"/1/reach"}, set(), {"/3/taken_at"}]
    problem(bulk(stack, "posts", "url\n\"x", "text/csv"), 400)
