"""The commits that a person reviews and goes back to, and the differences between them."""
