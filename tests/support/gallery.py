"""Every part of the design once, on one page: for what no public page shows yet."""

from __future__ import annotations

import flask

GALLERY = """
{% extends "base.html" %}
{% from "parts/forms.html" import field, textarea, select, choices, file_drop, button, button_link %}
{% from "parts/layout.html" import page_header, section, empty %}
{% from "parts/states.html" import badge, notice, refused, stages %}
{% block title %}Parts{% endblock %}
{% block main %}
{{ page_header("Parts", "Every part once.") }}
<div class="badges">
{% for tone in ["good", "active", "care", "bad", "still", "fact"] %}{{ badge(tone, tone) }}{% endfor %}
</div>
{{ notice("News", "Three custodians have it.") }}
{{ notice("Care", "More than half of what is left.", "warning") }}
{{ refused({"message": "Too much.", "remedy": "Lower it.", "code": "budget_exceeded", "field": "cost"}) }}
{% call section("A form", "form") %}
<form class="form">
{{ field("limit", "Limit for life", hint="Over all requests.", unit="nano-rho", value="30000000") }}
{{ field("until", "End date", type="date", error="The earliest end is tomorrow. Choose a later day.") }}
{{ select("purpose", "Purpose", [("1", "biomedical research"), ("2", "genetic research")]) }}
{{ textarea("why", "Why", required=false, hint="In your own words.") }}
{{ choices("who", "Who may ask?", options, chosen=["x"], hint="One of them.") }}
{{ choices("release", "What may leave", options, kind="switch", chosen=["y"]) }}
{{ choices("duties", "Duties", options, kind="checkbox", error="Choose at least one.") }}
{{ file_drop("bundle", "Your record", hint="It does not leave this browser.", accept=".json") }}
<div class="actions">
  {{ button("Go") }}{{ button("Not now", kind="plain") }}{{ button("Stop", kind="danger") }}
  {{ button("Wait", attributes={"disabled": true}) }}{{ button_link("Elsewhere", "/") }}
</div>
</form>
{% endcall %}
{% call section("Stages", "stages") %}
{{ stages(steps, "Stages of nothing") }}
{{ empty("Nothing yet", "What you did shows here.") }}
{% endcall %}
{% endblock %}
"""
OPTIONS = (
    {"value": "x", "label": "Universities", "hint": "and public bodies"},
    {"value": "y", "label": "W" * 60},
)
STEPS = tuple(
    {"label": state, "means": "What it means.", "state": state, "at": 1_795_293_000}
    for state in ("done", "now", "ahead", "ended")
)


def add_gallery(pages: flask.Flask) -> None:
    """Serves it at /gallery; its endpoint is `gallery`, which needs a rule."""

    @pages.get("/gallery")
    def gallery() -> str:
        return flask.render_template_string(GALLERY, options=OPTIONS, steps=STEPS)
