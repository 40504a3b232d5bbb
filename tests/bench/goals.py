"""The table of what is to be reached: each row with its goal beside it. Printed, never asserted."""


class Goals:
    """Rows, in the order in which they were measured."""

    def __init__(self):
        self.rows = []

    def most(self, what, value, goal, unit="", note=""):
        """A figure that is to be no more than `goal`."""
        self._add(what, value, goal, value <= goal, "≤", unit, note)

    def least(self, what, value, goal, unit="", note=""):
        """A figure that is to be no less."""
        self._add(what, value, goal, value >= goal, "≥", unit, note)

    def _add(self, what, value, goal, met, sign, unit, note):
        self.rows.append((what, f"{value:.2f}{unit}", f"{sign} {goal:g}{unit}",
                          "" if met else "missed", note))

    def print(self):
        """All of them."""
        if not self.rows:
            return
        print("\nGoals")
        width = max(len(row[0]) for row in self.rows)
        for what, value, goal, met, note in self.rows:
            print(f"  {what:<{width}}  {value:>10}   {goal:<10} {met:<7}"
                  f"{'   ' + note if note else ''}".rstrip())
