"""The story that `make demo` tells: consent, payment, private answers, refusals, revocation, restart.

It is a client like any other: it uses the operator's HTTP API, the chain, and the command line, and
knows no more than they tell. It fails if any outcome differs from what the story says.
"""

from marketplace.demo.setting import class_page, class_terms, purpose, researcher_credential
from marketplace.demo.story import Story, run_story
from marketplace.demo.telling import StoryFailed

__all__ = [
    "Story",
    "StoryFailed",
    "class_page",
    "class_terms",
    "purpose",
    "researcher_credential",
    "run_story",
]
