"""What is kept before anything is discarded, and how it comes back."""
