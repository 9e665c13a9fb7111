"""The operator's JSON API: thin routes over pipeline, intake, relay and reads; problem+json refusals."""

from marketplace.api.app import create_app

__all__ = ["create_app"]
