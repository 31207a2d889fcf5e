"""A session as it is read: the transcript, its tools and pictures, and what it asks of the person."""
