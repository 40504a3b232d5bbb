"""First, last and linear credit worked out a second time, in Python, for tests of report.attribution_models."""


def _equal_parts(amount, count):
    """Parts that add up; what is left over goes one each to the first."""
    whole, left = divmod(abs(amount), count)
    sign = 1 if amount >= 0 else -1
    return [sign * (whole + (place < left)) for place in range(count)]


def split(model, amount, count):
    """What each of `count` touches gets."""
    if model == "linear":
        return _equal_parts(amount, count)
    return [amount if place == (0 if model == "first" else count - 1) else 0 for place in range(count)]


def touches_of(sale, conversions, window_s):
    """[influencer] of the touches that count, in order. Clicks are {(time, influencer, id)}, codes (influencer)."""
    found = set()
    for other in conversions:
        same = other is sale or (sale["customer"] and other["customer"] == sale["customer"]
                                 and other["event"] != "refund")
        if not same:
            continue
        for time, who, number in other["clicks"]:
            if time <= sale["time"] <= time + window_s:
                found.add((time, 0, number, 0, who))
        if other["code"] and (other is sale or other["time"] <= sale["time"] <= other["time"] + window_s):
            found.add((other["time"], 1, 0, other["id"], other["code"]))
    return [touch[-1] for touch in sorted(found)]


def credited(model, conversions, window_s):
    """{(order, influencer or None): minor} of everything."""
    sums = {}
    for sale in conversions:
        if sale["event"] == "refund":
            continue
        touched = touches_of(sale, conversions, window_s)
        left = sale["amount"] + sum(each["amount"] for each in conversions
                                    if each["event"] == "refund" and each["order"] == sale["order"])
        parts = split(model, left, len(touched)) if touched else [left]
        for who, part in zip(touched or [None], parts):
            sums[sale["order"], who] = sums.get((sale["order"], who), 0) + part
    return sums
