"""The report as one HTML page that needs nothing but itself."""

from accelform.report.page.render import render

__all__ = ["render"]
