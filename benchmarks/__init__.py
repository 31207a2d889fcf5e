"""Speed, always next to a floor measured in the same run. Rows are numbered as in docs/speed.md."""
