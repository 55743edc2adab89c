"""`python -m ulam` is `ulam`."""

from .apps.cli.main import run

if __name__ == "__main__":
    run()
