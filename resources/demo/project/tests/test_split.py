import unittest

from fairshare.ledger import parse
from fairshare.split import balances, shares


class SplitTest(unittest.TestCase):
    def test_everybody_pays_the_same(self):
        self.assertEqual(shares(900, ("Ana", "Ben", "Chloe")), {"Ana": 300, "Ben": 300, "Chloe": 300})

    def test_no_cent_is_lost(self):
        self.assertEqual(sum(shares(1000, ("Ana", "Ben", "Chloe")).values()), 1000)

    def test_whoever_pays_is_owed_by_the_others(self):
        ledger = parse("people: Ana, Ben\nAna 8.00 Lunch")
        self.assertEqual(balances(ledger), {"Ana": 400, "Ben": -400})


if __name__ == "__main__":
    unittest.main()
