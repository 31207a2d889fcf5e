"""A branch moved to what was reviewed and back again, and whatever was cut short on the way."""
