"""Whether a call may be made: what it would do, what the policy says, and who is asked."""
