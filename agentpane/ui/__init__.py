"""The window: it shows frozen values and sends requests; it decides nothing and knows only the door and the domain."""
