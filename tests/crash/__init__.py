"""The engine is killed in the middle of what it does, started again, and everything of the person's is counted.

`sequences.py` says as data what is done to a card and where it may be cut off; `engine.py` is the process that dies;
`campaign.py` chooses where, and keeps the histogram. `python -m tests.crash.campaign --help` runs it by hand.
"""
