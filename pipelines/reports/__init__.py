"""The report of a day: one page for people, `quality.json` for programs, and the page of all days.

`publish_report.report` loads what was published (`load_report.py`, `sections/`), collects the
findings, decides the verdict (`verdict.py`) and renders the page (`page.py`). `reconcile_day.py`
checks the finished day.
"""
