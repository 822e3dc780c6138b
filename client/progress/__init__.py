"""How a build is shown: `plain` lines, a `tty` picture, `rawjson`, or `quiet`. Each takes StatusResponses and is closed at the end."""

from client.progress.display import Display, make_display

__all__ = ["Display", "make_display"]
