"""What was spent: the page, its table and its days."""
