"""Hands, Objects, Experts: the library behind the book.

Metres, radians, frames, world frame, ``v' = R v + t``. Importing the package loads no plotting, mesh or text library;
each module imports what it needs where it needs it.
"""

__version__ = "0.1.0"
