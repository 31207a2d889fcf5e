"""What ./dev does: the virtual environment, the system's libraries and programs, and the five commands.

Standard library only, since it runs before anything is installed. Nothing of it is shipped in the wheel.
"""
