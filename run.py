"""Almanac's command line; `python run.py --help` lists the commands."""

from cli import main

if __name__ == "__main__":
    main()
