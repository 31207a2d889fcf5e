"""The dialogs that more than one page opens: a new task, are you sure, how to merge."""
