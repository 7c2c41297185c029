"""`python -m meshscope.cli`: the command line."""

from meshscope.cli.main import main

if __name__ == "__main__":
    main()
