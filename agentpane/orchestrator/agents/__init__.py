"""Which agents there are, where they live, and what opens their backends to them."""
