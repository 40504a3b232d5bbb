"""What a contract earns, worked out a second time, in Python: the model that tests of earnings compare
PostgreSQL with. Integers and fractions only."""

from fractions import Fraction


def rounded(value):
    """Half away from zero."""
    doubled = abs(Fraction(value)) * 2
    whole = (int(doubled) + 1) // 2
    return whole if value >= 0 else -whole


class Order:
    """A sale and its refunds, as (time, id, minor) each; `share` is the influencer's percent."""

    def __init__(self, time, key, minor, share=100):
        self.time, self.key, self.minor, self.share = time, key, minor, share
        self.refunds = []

    def part(self, minor):
        """The influencer's part; what cannot be halved is the other's."""
        return minor if self.share == 100 else (abs(minor) // 2) * (1 if minor >= 0 else -1)

    def lines(self):
        """(time, id, part of the amount, what is left of the order) of the sale and each refund."""
        left, out = 0, []
        for time, key, minor in [(self.time, self.key, self.minor), *sorted(self.refunds)]:
            left += self.part(minor)
            out.append((max(time, self.time), key, self.part(minor), left))
        return out

    def counts(self):
        """Whether something is left of it."""
        return not self.refunds or self.lines()[-1][3] > 0


def tier_of(tiers, number):
    """The tier that holds for a sale, or None."""
    fitting = [tier for tier in tiers if tier["from"] <= number]
    return max(fitting, key=lambda tier: tier["from"]) if fitting else None


def lines_of(terms, orders):
    """{(kind, id): minor} of everything that sales earn, before the cap."""
    lines, number = {}, 1
    for order in sorted(orders, key=lambda each: (each.time, each.key)):
        tier = tier_of(terms.get("tiers", []), number)
        number += order.counts()
        source = terms if tier is None else tier
        fee, percent = source.get("per_sale"), source.get("revenue_share")
        earned = taken = 0
        for at, (_, key, _, left) in enumerate(order.lines()):
            if percent is not None:
                total = rounded(Fraction(str(percent)) * left / 100)
                lines["share", key] = total - earned
                earned = total
            if fee is not None:
                whole = rounded(Fraction(fee["amount_minor"] * order.share, 100))
                total = whole if at == 0 or left > 0 and taken else 0
                if total != taken or at == 0:
                    lines["sale", key] = total - taken
                taken = total
    return lines
