import unittest

from fairshare.ledger import Bill, LedgerError, parse


class LedgerTest(unittest.TestCase):
    def test_a_bill_is_shared_by_all(self):
        ledger = parse("people: Ana, Ben\nAna 8.50 Lunch at the market")
        self.assertEqual(ledger.bills, (Bill("Ana", 850, "Lunch at the market", ("Ana", "Ben")),))

    def test_a_bill_may_be_shared_by_some(self):
        ledger = parse("people: Ana, Ben, Chloe\nBen 3.00 Tram -> Ana, Chloe")
        self.assertEqual(ledger.bills[0].shared_by, ("Ana", "Chloe"))

    def test_comments_and_empty_lines_are_left_out(self):
        self.assertEqual(parse("# a trip\n\npeople: Ana  # just me").people, ("Ana",))

    def test_a_stranger_is_named_with_the_line(self):
        with self.assertRaisesRegex(LedgerError, "line 2: who is Zoe?"):
            parse("people: Ana\nZoe 1.00 Coffee")


if __name__ == "__main__":
    unittest.main()
