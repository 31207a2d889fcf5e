import unittest

from fairshare.settle import Payment, settle


class SettleTest(unittest.TestCase):
    def test_one_payment_is_enough_for_two(self):
        self.assertEqual(settle({"Ana": 400, "Ben": -400}), [Payment("Ben", "Ana", 400)])

    def test_nobody_pays_when_all_is_even(self):
        self.assertEqual(settle({"Ana": 0, "Ben": 0}), [])

    def test_the_biggest_debts_go_first(self):
        payments = settle({"Ana": 500, "Ben": -300, "Chloe": -200})
        self.assertEqual(payments, [Payment("Ben", "Ana", 300), Payment("Chloe", "Ana", 200)])


if __name__ == "__main__":
    unittest.main()
