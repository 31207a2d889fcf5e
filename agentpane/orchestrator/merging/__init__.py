"""What becomes of a reviewed diff: its conflicts foreseen and resolved, its checks, the merge, and the way back."""
