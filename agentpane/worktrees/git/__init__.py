"""Starting git, always pinned, and reading the small files that it keeps."""
