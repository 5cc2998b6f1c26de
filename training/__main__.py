"""`python -m training --out DIR`."""

from .cli import app

app(prog_name="python -m training")
