"""The board: its columns, its cards as they are painted, and carrying one."""
