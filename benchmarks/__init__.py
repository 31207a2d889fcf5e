"""Speed, always next to a floor measured in the same run. `python -m benchmarks` says which rows there are."""
