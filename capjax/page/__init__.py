"""A page to play with runs on: what they say of any image, and what tells it from others.

`serving` and `layout` need Gradio (the extra `demo`); nothing here imports them.
"""

from capjax.page.answers import Answers
from capjax.page.opened import open_answers

__all__ = ["Answers", "open_answers"]
