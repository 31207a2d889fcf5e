"""The review page: the files, the diff, and what stands in the way of approving."""
