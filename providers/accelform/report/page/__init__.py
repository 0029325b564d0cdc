"""The report as one HTML page that needs nothing but itself: templates (Jinja2), and what stands in them as text and
numbers."""

from accelform.report.page.render import render

__all__ = ["render"]
