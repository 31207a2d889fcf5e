"""The doctor: compares the database with git, the disk and the processes, and mends what it is told to mend."""
