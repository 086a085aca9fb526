"""`python -m handrail.cli`: the `handrail` command without its script."""

from handrail.cli import main

if __name__ == "__main__":
    main()
