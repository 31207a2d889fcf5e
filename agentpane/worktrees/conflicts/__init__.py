"""What a merge would collide in: foreseen, laid out for whoever resolves it, and taken up when it is resolved."""
