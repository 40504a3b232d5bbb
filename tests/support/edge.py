"""What tests of the edge share: redirect, journal, ship, seen from outside."""

import glob
import os

from .clicker import decode

SETTINGS = {"redis_timeout_ms": 500, "journal_segment_bytes": 65536}


def start(make_stack, env=None, **settings):
    """A running stack with one link; (stack, path)."""
    made = make_stack(settings={**SETTINGS, **settings}, env=env).start()
    return made, "/" + made.add_link()


def settle(stack, *clickers):
    """What was promised is there, once, and the books balance."""
    for clicker in clickers:
        assert not clicker.without_id
        stack.assert_exactly_once(clicker.ids)
    stack.assert_consistent()


def journal(stack):
    """The journal folder."""
    return os.path.join(stack.kudos.settings["data_dir"], "journal")


def segments(stack, origin="*"):
    """Segment files, by origin and then by first seq."""
    name = origin if isinstance(origin, str) else f"{origin:016x}"
    return sorted(glob.glob(os.path.join(journal(stack), name, "*.seg")))


def shipped(stack):
    """Seqs that Redis has, of all origins."""
    return sum(map(int, stack.redis.client().hgetall("kudos:{0}:last_seq").values()))


def count_origins(clicker):
    """How many origins the ids of a client name."""
    return len({decode(each)[1] for each in clicker.ids})
